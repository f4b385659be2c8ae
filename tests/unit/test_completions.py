# SPDX-License-Identifier: MPL-2.0
"""kea-agent's completions: made from its command line, and what comes of pressing Tab in the real shells."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
COMPLETIONS = TOP / "packaging/completion"
# An interactive shell without anybody's own settings; it is told the rest as a person would tell it.
SHELLS = {"bash": ["bash", "--norc", "-i"], "fish": ["fish", "--no-config", "-i"], "zsh": ["zsh", "-f", "-i"]}
SET_UP = {
    "bash": ". {there}/kea-agent.bash",
    "fish": ". {there}/kea-agent.fish",
    "zsh": "fpath=({work} $fpath); autoload -Uz compinit; compinit -u -d {work}/dump",
}
TYPED = {
    "kea-agent hist\t": ["history"],
    "kea-agent --vers\t": ["--version"],
    "kea-agent check --lev\trehe\t": ["check", "--level", "rehearsal"],
    "kea-agent check --form\tsa\tdh\t6\t": ["check", "--format", "sarif", "dhcp6"],
    "kea-agent check --prev\t{work}/kea-o\t": ["check", "--previous", "{work}/kea-old.conf"],
    "kea-agent check {work}/kea-n\t": ["check", "{work}/kea-new.conf"],
    "kea-agent run --sett\t{work}/kea-\t": ["run", "--settings", "{work}/kea-settings"],
    "kea-agent reload --ag\tctrl\t": ["reload", "--again", "ctrl-agent"],
    "kea-agent rollback --unc\tdhcp4": ["rollback", "--unconfirmed", "dhcp4"],
    "kea-agent apply --conf\t5m {work}/kea-n\tdd\t": ["apply", "--confirm", "5m", "{work}/kea-new.conf", "ddns"],
    "kea-agent status dh\t": ["status", "dh"],
}


@pytest.mark.parametrize("shell", SHELLS)
def test_they_are_what_the_command_line_is(shell: str) -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import from_parser; print(from_parser.script(sys.argv[2]), end='')"
    command: list[str | Path] = [sys.executable, "-c", script, COMPLETIONS, shell]
    made = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout
    kept = (COMPLETIONS / f"kea-agent.{shell}").read_text()
    assert kept == made, "python3 packaging/completion/from_parser.py writes it"


@contextmanager
def terminal(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """A program with a terminal of its own, and the other end of that."""
    ours, its = pty.openpty()
    process = subprocess.Popen(["setsid", "--ctty", *command], stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def answer(terminal: int, file: Path, seconds: float = 30) -> list[str]:
    """What the command wrote down of its words; whatever the shell prints meanwhile is read and forgotten."""
    os.set_blocking(terminal, False)
    shown, until = b"", time.monotonic() + seconds
    while not file.exists() and time.monotonic() < until:
        try:
            shown += os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.01)
    assert file.exists(), shown
    words = [word.removesuffix("/") for word in file.read_text().split("\n")[:-1]]
    file.unlink()
    return words


@pytest.mark.parametrize("shell", SHELLS)
def test_pressing_tab_completes(shell: str, tmp_path: Path) -> None:
    program, said = tmp_path / "bin/kea-agent", tmp_path / "said"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{said}.new\nmv {said}.new {said}\n')
    program.chmod(0o755)
    for name in ("kea-old.conf", "kea-new.conf"):
        (tmp_path / name).touch()
    (tmp_path / "kea-settings").mkdir()
    (tmp_path / "_kea-agent").symlink_to(COMPLETIONS / "kea-agent.zsh")
    environment = {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }
    found = {}
    with terminal(SHELLS[shell], environment) as shown:
        set_up = SET_UP[shell].format(there=COMPLETIONS, work=tmp_path)
        os.write(shown, f"{set_up}\nkea-agent ready\n".encode())
        assert answer(shown, said) == ["ready"]
        for typed in TYPED:
            os.write(shown, f"{typed.format(work=tmp_path)}\n".encode())
            found[typed] = answer(shown, said)
    assert found == {typed: [word.format(work=tmp_path) for word in words] for typed, words in TYPED.items()}
