# SPDX-License-Identifier: MPL-2.0
"""The linters are tests: they run wherever the tests do, and a finding is a failure like any other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MOST_LINES = 450


def tracked(*patterns: str) -> list[str]:
    """The files of the checkout that match, whether committed yet or not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout.split()
    # git also names what was deleted and not committed yet.
    return [name for name in names if (TOP / name).exists()]


SHELL_SCRIPTS = [
    name for name in tracked(".ci", "packaging", "tests", "debian") if (TOP / name).read_bytes()[:64].startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))
]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "--no-cache", "."], id="ruff check"),
        pytest.param(["ruff", "format", "--no-cache", "--check", "."], id="ruff format"),
        pytest.param(["mypy", "--no-incremental"], id="mypy"),
    ],
)
def test_python_is_clean(command: list[str]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SHELL_SCRIPTS)
def test_shell_is_clean(name: str) -> None:
    done = subprocess.run(["shellcheck", name], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_modules_stay_small() -> None:
    sizes = {name: (TOP / name).read_text().count("\n") for name in tracked("kea_agent/*.py", "kea_agent/**/*.py")}
    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES} == {}


def test_every_source_names_its_licence() -> None:
    sources = [*tracked("*.py", "units", "packaging", "Makefile"), *SHELL_SCRIPTS]
    texts = {name: (TOP / name).read_text() for name in sources if (TOP / name).is_file()}
    assert [name for name, text in texts.items() if "SPDX-License-Identifier: MPL-2.0" not in text] == []
