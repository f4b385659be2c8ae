# SPDX-License-Identifier: MPL-2.0
"""Findings in files: where they are, how they are shown, how they are turned off, and what the pipeline makes of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kea_agent import check, keaconf, lint
from kea_agent.errors import ConfigError
from kea_agent.rules import RULES

TOP = Path(__file__).parents[2]
TEXT = """{ "Dhcp4": {
  "subnet4": [
    { "id": 1, "subnet": "192.0.2.1/24" },%s
    { "id": 1, "subnet": "198.51.100.0/24" }%s
  ],
  "interfaces-config": { "interfaces": [ "lo" ] }, "control-socket": { "socket-type": "unix", "socket-name": "s" }
} }
"""
NOISE = ("subnet-empty",)


def read(path: Path, above: str = "", beside: str = "", text: str = TEXT) -> keaconf.Document:
    path.write_text(text % (above, beside))
    return keaconf.read(str(path), "Dhcp4")


def run(document: keaconf.Document, *disabled: str) -> list[lint.Finding]:
    return lint.run("dhcp4", document, lint.Setup(disabled=(*NOISE, *disabled)))


def test_errors_first_then_by_place(tmp_path: Path) -> None:
    found = run(read(tmp_path / "f"))
    assert [(each.severity, each.rule, each.row, each.column) for each in found] == [
        ("error", "subnet-id-duplicate", 4, 13),
        ("warning", "subnet-host-bits", 3, 26),
    ]
    assert found[0].line[found[0].caret :].startswith("1, ")
    assert found[0].place == f"{tmp_path}/f:4:13"


@pytest.mark.parametrize(
    ("above", "beside"),
    [
        ("", " // kea-agent: ignore=subnet-id-duplicate"),
        ("", " # known: kea-agent: ignore=x,subnet-id-duplicate,y because"),
        ("\n  /* kea-agent: ignore=subnet-id-duplicate */", ""),
        ("\n# kea-agent: ignore=subnet-id-duplicate", ""),
    ],
)
def test_a_comment_turns_a_rule_off_at_its_place(tmp_path: Path, above: str, beside: str) -> None:
    assert [each.rule for each in run(read(tmp_path / "f", above, beside))] == ["subnet-host-bits"]


@pytest.mark.parametrize(
    ("above", "beside"),
    [
        (" // kea-agent: ignore=subnet-id-duplicate", ""),  # another line's
        ("\n // kea-agent: ignore=subnet-id-duplicate\n", ""),  # not right above
        ("", " // kea-agent: ignore=subnet-id"),
        (
            "",
            ', { "id": 9, "subnet": "203.0.113.0/24", "user-context": { "a": "// kea-agent: ignore=subnet-id-duplicate" } }',
        ),
    ],
)
def test_what_turns_nothing_off(tmp_path: Path, above: str, beside: str) -> None:
    assert "subnet-id-duplicate" in [each.rule for each in run(read(tmp_path / "f", above, beside))]


def test_a_rule_that_is_disabled(tmp_path: Path) -> None:
    assert run(read(tmp_path / "f"), "subnet-id-duplicate", "subnet-host-bits") == []


def test_a_long_line_is_not_shown(tmp_path: Path) -> None:
    document = read(tmp_path / "f", text=TEXT.replace("\n", " " * 999))
    assert {each.line for each in run(document)} == {""}


def test_a_line_with_a_secret_and_signs_of_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text('{ "Dhcp4": { "user-context": { "é": "ü", "password":\n"hunter2", "x": 1 }, "lease-databse": 1 } }')
    found = [each for each in run(keaconf.read(str(path), "Dhcp4")) if each.rule == "keyword-unknown"]
    assert found[0].line == '"*****", "x": 1 }, "lease-databse": 1 } }'
    assert found[0].line[found[0].caret :].startswith('"lease-databse"')


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    document = read(tmp_path / "f")
    (tmp_path / "f").write_text("{}")
    with pytest.raises(ConfigError):
        run(document)


@pytest.mark.parametrize(
    ("name", "script", "version"),
    [
        ("kea-dhcp4", "echo 2.6.3", (2, 6, 3)),
        ("kea-dhcp4", "echo 3.1.0-git", (3, 1, 0)),
        ("kea-dhcp4", "echo what", None),
        ("kea-dhcp4", "exit 1", None),
        ("checker", "echo 2.6.3", None),
    ],
)
def test_the_version_of_an_installed_kea(
    tmp_path: Path, name: str, script: str, version: tuple[int, int, int] | None
) -> None:
    path = tmp_path / name
    assert check.version_of(str(path)) is None
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    assert check.version_of(str(path)) == version


def test_the_ids_are_words_that_a_comment_can_name() -> None:
    assert all(name.replace("-", "").isalnum() and name.islower() for name in RULES)


def test_a_checkout_checks_files_with_python_alone(tmp_path: Path) -> None:
    """What .pre-commit-hooks.yaml starts; no site-packages, so no package can be needed."""
    entry = re.search(r"^  entry: (\S+)$", (TOP / ".pre-commit-hooks.yaml").read_text(), re.MULTILINE)
    assert entry
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    path = tmp_path / "kea-dhcp4.conf"
    for text, code, words in (
        ('{ "Dhcp4": { "valid-lifetime": 1 } }', 0, ""),
        ('{ "Dhcp4": { "valid-lifetime": "1" } }', 1, "[value-type]"),
        ('{ "Dhcp4": { "valid-lifetime": 1 "renew-timer": 1 } }', 1, "= Put a comma"),
    ):
        path.write_text(text)
        done = subprocess.run(
            [TOP / entry[1], "--kea-version", "3.0", path],
            env={"PATH": f"{tmp_path}:{os.defpath}"}, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, words in done.stdout) == (code, True), done.stdout


@pytest.mark.parametrize(
    ("unit", "times"),
    [("#", 150_000), ("/*", 75_000), ('"\\"', 50_000), ("kea-agent: ", 13_000), ("# kea-agent: ignore=", 7_000)],
)
def test_a_long_comment_beside_a_finding(tmp_path: Path, unit: str, times: int) -> None:
    """Found at once: 150,000 signs in one line took minutes."""
    found = run(read(tmp_path / "f", beside=f" # {unit * times}"))
    assert "subnet-id-duplicate" in [each.rule for each in found]
