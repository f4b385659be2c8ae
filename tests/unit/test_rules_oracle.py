# SPDX-License-Identifier: MPL-2.0
"""The rules beside real Kea: what a rule of severity error is about, Kea refuses; what Kea's own examples say, no rule does."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kearoots import LAB, Root, roots
from rulespage import Example, Section, sections

from kea_agent import keaconf, lint
from kea_agent.daemons import DAEMONS, DHCP4, DHCP6, Daemon
from kea_agent.errors import ConfigError
from kea_agent.rules import RULES, Severity, parse_version

SECTIONS = sections()
ERRORS = [section for section in SECTIONS if RULES[section.name].severity is Severity.ERROR]
# What no check of Kea's shows: leases that are lost, and a pair that waits for ever (measured once, see the rule).
UNSEEN = {"subnet-id-changed", "ha-without-lease-cmds"}
# -T of 2.2 does not exist, and in 2.6.3 the control socket is taken away by the reload only (experiments).
ONLY_AT_RELOAD = {"control-socket-directory": (3, 0)}
# What the images do not have: certificates, secrets, the directory of sockets, some hooks.
ABSENT = re.compile(
    r"hooks libraries failed to validate|does not exist or|Expected a file at|No such file|bad TLS config|load of CA file"
)
TAGS = ("2.2.0", "2.6.3", "3.0.4", "3.2.0", "3.3.0")
# Kea's own examples that Kea refuses: a TSIG key that is used and not defined (-t); before 2.7, a configuration backend
# without its hook (-T: "The type of the configuration backend: 'mysql' is not supported", 2.6.3).
REGRETTED = {
    "ddns/all-keys.json": "ddns-key-unknown",
    "ddns/all-keys-netconf.json": "ddns-key-unknown",
    "kea4/all-keys.json": "config-backend-hook-missing",
    "kea6/all-keys.json": "config-backend-hook-missing",
    "kea4/all-keys-netconf.json": "config-backend-hook-missing",
    "kea6/all-keys-netconf.json": "config-backend-hook-missing",
}


@pytest.fixture(name="keas", scope="module")
def _keas() -> tuple[Root, ...]:
    found = roots()
    if not found:
        pytest.skip(f"did not run: no Kea to compare with (no image below {LAB}, or not root)")
    return found


def fitting(keas: tuple[Root, ...], example: Example) -> Iterator[Root]:
    for kea in keas:
        if example.version is None or example.version[:2] == kea.release:
            yield kea


def refusal(kea: Root, example: Example) -> str:
    """What Kea says against an example with -t or, where there is one, -T; empty if it takes it."""
    with kea.directory() as directory:
        file = directory / "kea.conf"
        file.write_text(example.text)
        for flag in ("-t", "-T") if kea.release > (2, 2) and example.daemon in (DHCP4, DHCP6) else ("-t",):
            verdict = kea.ask(example.daemon.binary, flag, file)
            if not verdict.accepted:
                return verdict.words
    return ""


@pytest.mark.parametrize("section", [each for each in ERRORS if each.name not in UNSEEN], ids=lambda each: each.name)
def test_kea_refuses_what_an_error_is_about(keas: tuple[Root, ...], section: Section) -> None:
    asked = [kea for kea in fitting(keas, section.bad) if kea.release >= ONLY_AT_RELOAD.get(section.name, (0, 0))]
    answers = {kea.version: refusal(kea, section.bad) for kea in asked}
    # 2.2.0 has no -T, which is what shows a hook's and a database's refusal.
    silent = {version for version, words in answers.items() if not words and not version.startswith("2.2")}
    assert silent == set()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each.name)
def test_kea_takes_the_good_examples(keas: tuple[Root, ...], section: Section) -> None:
    for kea in fitting(keas, section.good):
        with kea.directory() as directory:
            file = directory / "kea.conf"
            file.write_text(section.good.text)
            verdict = kea.ask(section.good.daemon.binary, "-t", file)
        assert verdict.accepted or ABSENT.search(verdict.words), f"{kea.version}: {verdict.words[:600]}"


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda daemon: daemon.name)
def test_what_the_packages_ship_has_no_error(keas: tuple[Root, ...], daemon: Daemon) -> None:
    for kea in keas:
        shipped = [
            kea.path / daemon.config_path.lstrip("/"),
            *kea.path.glob(f"usr/share/doc/kea*/examples/{daemon.name}*/*.json"),
        ]
        for path in (path for path in shipped if path.exists()):
            assert errors(path, daemon, kea.version) == []


def errors(path: Path, daemon: Daemon, version: str) -> list[str]:
    document = keaconf.read(str(path), daemon.root_key)
    found = lint.run(daemon.name, document, lint.Setup(parse_version(version)))
    return [f"{finding.place}: {finding.message} [{finding.rule}]" for finding in found if finding.severity == "error"]


@pytest.mark.parametrize("tag", TAGS)
def test_the_examples_of_keas_source_have_no_error(tmp_path: Path, tag: str) -> None:
    source = os.environ.get("KEA_AGENT_KEA_SOURCE")
    if not source:
        pytest.skip("did not run: $KEA_AGENT_KEA_SOURCE names no clone of Kea's repository")
    archive = subprocess.run(
        ["git", "-C", source, "archive", f"Kea-{tag}", "doc/examples"], stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive.stdout, check=True)
    read = 0
    for path in sorted(tmp_path.rglob("*.json")):
        daemon = owner(path)
        if daemon is None:
            continue
        read += 1
        regretted = REGRETTED.get(f"{path.parent.name}/{path.name}", "nothing")
        assert [each for each in errors(path, daemon, tag) if regretted not in each] == []
    assert read > 60


def owner(path: Path) -> Daemon | None:
    """Whose example it is; None for kea-netconf's, which is no daemon of ours. A syntax error is one of ours."""
    for daemon in DAEMONS:
        try:
            keaconf.read(str(path), daemon.root_key)
        except ConfigError as error:
            if "top-level key" not in error.message:
                raise
        else:
            return daemon
    assert '"Netconf"' in path.read_text()
    return None


def test_kea_regrets_the_examples_that_are_said_to_be_regretted(keas: tuple[Root, ...], tmp_path: Path) -> None:
    source = os.environ.get("KEA_AGENT_KEA_SOURCE")
    if not source:
        pytest.skip("did not run: $KEA_AGENT_KEA_SOURCE names no clone of Kea's repository")
    asked = 0
    for kea in keas:
        for name in (name for name in REGRETTED if name.startswith("ddns/")):
            path = f"Kea-{kea.version}:doc/examples/{name}"
            text = subprocess.run(["git", "-C", source, "show", path], stdout=subprocess.PIPE, check=True).stdout
            if b"d2.sha1.key" not in text or not errors(_saved(tmp_path, text), DAEMONS[2], kea.version):
                continue
            with kea.directory() as directory:
                verdict = kea.ask("kea-dhcp-ddns", "-t", _saved(directory, text))
            assert "undefined key" in verdict.words
            assert not verdict.accepted
            asked += 1
    assert asked


def _saved(directory: Path, text: bytes) -> Path:
    file = directory / "kea.conf"
    file.write_bytes(text)
    return file
