# SPDX-License-Identifier: MPL-2.0
"""`kea-* -t`: everything Kea was seen to say, and shell scripts in its place that misbehave."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kea_agent.check import Limits, problem_in, with_kea
from kea_agent.proc import is_alive
from kea_agent.verdict import Verdict

LOG = "2026-11-20 20:33:08.140 {} [kea-dhcp4.dhcp4/4203.140530740802048] {}\n"
SYNTAX = "Syntax check failed with: "
SEMANTIC = "Error encountered: "

# kea.md, 4.2: identical in 2.2.0, 2.6.3 and 3.0.4 unless noted.
SAID = [
    (
        SYNTAX + '/cfg/missingcomma.conf:4.5-17: syntax error, unexpected renew-timer, expecting "," or }',
        ("/cfg/missingcomma.conf", 4, 5, 'syntax error, unexpected renew-timer, expecting "," or }'),
    ),
    (
        SYNTAX + '/cfg/unk.conf:4.5-11: got unexpected keyword "bogus" in Dhcp4 map.',
        ("/cfg/unk.conf", 4, 5, 'got unexpected keyword "bogus" in Dhcp4 map'),
    ),
    (
        SYNTAX + "/cfg/type.conf:3.23-27: syntax error, unexpected constant string, expecting integer",
        ("/cfg/type.conf", 3, 23, "syntax error, unexpected constant string, expecting integer"),
    ),
    (
        SYNTAX + "/cfg/dup.conf:4:5: duplicate valid-lifetime entries in Dhcp4 map (previous at /cfg/dup.conf:3:23)",
        ("/cfg/dup.conf", 4, 5, "duplicate valid-lifetime entries in Dhcp4 map (previous at /cfg/dup.conf:3:23)"),
    ),
    (
        SYNTAX + "/cfg/empty.conf:1.1: syntax error, unexpected end of file, expecting {",
        ("/cfg/empty.conf", 1, 1, "syntax error, unexpected end of file, expecting {"),
    ),
    (
        SYNTAX + "/cfg/wrongtop.conf:2.3-9: syntax error, unexpected constant string, expecting Dhcp4",
        ("/cfg/wrongtop.conf", 2, 3, "syntax error, unexpected constant string, expecting Dhcp4"),
    ),
    (
        SYNTAX + "/cfg/lines.conf:2.3-4.1: syntax error, unexpected }",
        ("/cfg/lines.conf", 2, 3, "syntax error, unexpected }"),
    ),
    (
        SYNTAX + "/cfg/bom.conf:1.1: Invalid character: \ufffd",
        ("/cfg/bom.conf", 1, 1, "Invalid character: \ufffd"),
    ),
    (
        SEMANTIC + "ID of the new IPv4 subnet '1' is already in use (/cfg/dupsub.conf:3:52)",
        ("/cfg/dupsub.conf", 3, 52, "ID of the new IPv4 subnet '1' is already in use"),
    ),
    (
        SEMANTIC + "Failed to select interface: interface 'nope0' doesn't exist in the system"
        " (/cfg/iface.conf:3:42) (/cfg/iface.conf:3:27)",
        (
            "/cfg/iface.conf", 3, 42,
            "Failed to select interface: interface 'nope0' doesn't exist in the system",
        ),
    ),
    (
        SEMANTIC + "subnet configuration failed: missing parameter 'id' (/cfg/noid.conf:3:18)",
        ("/cfg/noid.conf", 3, 18, "subnet configuration failed: missing parameter 'id'"),
    ),
    (
        SEMANTIC + "hooks library configuration error: invalid path specified: '/opt', supported path is"
        " '/usr/lib/x86_64-linux-gnu/kea/hooks' (/cfg/hookpath.conf:3:38)",
        (
            "/cfg/hookpath.conf", 3, 38,
            ("hooks library configuration error: invalid path specified: '/opt', supported path is"
            " '/usr/lib/x86_64-linux-gnu/kea/hooks'"),
        ),
    ),
    (
        SEMANTIC + "'socket-name' is invalid: invalid path specified: '/tmp', supported path is '/run/kea'",
        (
            "/cfg/main.conf", None, None,
            "'socket-name' is invalid: invalid path specified: '/tmp', supported path is '/run/kea'",
        ),
    ),
    (
        SEMANTIC + "'socket-name' is invalid: socket path:/run/kea does not exist or has more relaxed permissions than 750",
        (
            "/cfg/main.conf", None, None,
            "'socket-name' is invalid: socket path:/run/kea does not exist or has more relaxed permissions than 750",
        ),
    ),
    *(
        (SYNTAX + words, ("/cfg/main.conf", None, None, words.rstrip(".")))
        for words in (
            "Unable to open file /cfg/main.conf",
            "Can't open include file /cfg/inc.conf",
            "Too many nested include.",
            "Comment not closed. (/* in line 7",
            "Missing mandatory Dhcp4 element",
            "No configuration found",
        )
    ),
    ("input in flex scanner failed", ("/cfg/main.conf", None, None, "kea exited with 1: input in flex scanner failed")),
    ("", ("/cfg/main.conf", None, None, "kea exited with 1 and said nothing")),
]  # fmt: skip


@pytest.mark.parametrize(("output", "expected"), SAID)
def test_what_kea_says(output: str, expected: tuple[str, int | None, int | None, str]) -> None:
    logged = LOG.format("ERROR", "DHCP4_PARSER_FAIL failed to create or run parser") if output else ""
    found = problem_in(logged + output, "/cfg/main.conf", 1)
    assert (found.file, found.line, found.column, found.message) == expected


def test_the_last_verdict_counts() -> None:
    output = f"{SYNTAX}/cfg/a:1.1: first\n{SEMANTIC}second (/cfg/b:2:3)\n"
    assert str(problem_in(output, "/cfg/main.conf", 1)) == "/cfg/b:2:3: second"


# -- running it


class Checker:
    """A shell script in the place of kea-dhcp4, and the unit's words that lead to it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "kea-dhcp4"
        self.argv = [str(self.path), "-c", "/etc/kea/kea-dhcp4.conf"]
        self.environment: dict[str, str] = {}
        self.limits = Limits(timeout=10)

    def run(self, script: str) -> Verdict:
        self.path.write_text("#!/bin/sh\n" + script)
        self.path.chmod(0o755)
        return with_kea(self.argv, self.environment, "/cfg/main.conf", self.limits)


@pytest.fixture
def checker(tmp_path: Path) -> Checker:
    return Checker(tmp_path)


def test_yes(checker: Checker) -> None:
    verdict = checker.run("exit 0")
    assert (verdict.level, verdict.problem, verdict.could_not, verdict.warnings) == ("kea", None, None, ())
    assert 0 < verdict.seconds < 10


@pytest.mark.parametrize("code", [1, 2, 127])
def test_no(checker: Checker, code: int) -> None:
    problem = checker.run(f"echo '{SYNTAX}/cfg/main.conf:4.5: bad' >&2; exit {code}").problem
    assert str(problem) == "/cfg/main.conf:4:5: bad"


def test_warnings(checker: Checker) -> None:
    words = "/cfg/trailing.conf:3.27: Extraneous comma. A piece of configuration may have been omitted."
    log = LOG.format("WARN ", f"DHCP4_CONFIG_SYNTAX_WARNING configuration syntax warning: {words}")
    verdict = checker.run(f"cat <<'END'\n{LOG.format('INFO ', 'DHCP4_X fine')}{log}END\n")
    assert verdict.problem is None
    assert verdict.warnings == (f"configuration syntax warning: {words}",)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-c", "/etc/kea/kea-dhcp4.conf"], "-t /cfg/main.conf"),
        (["-X", "-c", "/etc/kea/kea-dhcp4.conf", "-d", "-p", "6767"], "-X -p 6767 -t /cfg/main.conf"),
        (["-c/etc/kea/kea-dhcp4.conf", "-X"], "-X -t /cfg/main.conf"),
        ([], "-t /cfg/main.conf"),
    ],
)
def test_the_units_options_come_before_the_file(checker: Checker, argv: list[str], words: str) -> None:
    checker.argv = [str(checker.path), *argv]
    problem = checker.run(f'echo "{SEMANTIC}$*"; exit 1').problem
    assert problem is not None
    assert problem.message == words


def test_the_units_environment_and_no_other(checker: Checker) -> None:
    checker.environment = {"KEA_CONTROL_SOCKET_DIR": "/srv", "KEA_LOCKFILE_DIR": "/run/lock/kea"}
    problem = checker.run(f'echo "{SEMANTIC}$KEA_CONTROL_SOCKET_DIR $KEA_LOCKFILE_DIR $HOME $PWD"; exit 1').problem
    assert problem is not None
    assert problem.message == "/srv none  /"


def test_bytes_that_are_no_text(checker: Checker) -> None:
    problem = checker.run(f"printf '{SYNTAX}/cfg/main.conf:1.1: Invalid character: \\357\\377\\n' >&2; exit 1").problem
    assert str(problem) == "/cfg/main.conf:1:1: Invalid character: \ufffd\ufffd"


def test_the_end_of_a_flood_is_kept(checker: Checker) -> None:
    checker.limits = Limits(timeout=10, output_bytes=200)
    problem = checker.run(f"head -c 5000000 /dev/zero; echo; echo '{SEMANTIC}bad (/cfg/a:1:2)' >&2; exit 1").problem
    assert str(problem) == "/cfg/a:1:2: bad"


def test_a_flood_without_an_end_is_ended(checker: Checker) -> None:
    checker.limits = Limits(timeout=0.2)
    started = time.monotonic()
    assert checker.run("exec cat /dev/zero").could_not == f"{checker.path} -t did not finish within 0.2 s and was ended"
    assert time.monotonic() - started < 5


def killed(pid_file: Path) -> bool:
    """Whether the process is gone or about to be: its parent has died before it, so PID 1 may still have to reap it."""
    deadline = time.monotonic() + 5
    while is_alive(int(pid_file.read_text())) and time.monotonic() < deadline:
        os.sched_yield()
    return not is_alive(int(pid_file.read_text()))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("sleep 600 & echo $! >{pid}; wait", id="both sleep"),
        pytest.param("sleep 600 & echo $! >{pid}; exit 0", id="the child keeps the output open"),
        pytest.param("trap '' TERM HUP INT; sleep 600 & echo $! >{pid}; wait", id="deaf to signals"),
        pytest.param("exec >/dev/null 2>&1; sleep 600 & echo $! >{pid}; wait", id="output closed"),
    ],
)
def test_sleepers_are_killed_with_all_their_children(checker: Checker, tmp_path: Path, script: str) -> None:
    checker.limits = Limits(timeout=0.3)
    started = time.monotonic()
    verdict = checker.run(script.format(pid=tmp_path / "pid"))
    assert time.monotonic() - started < 5
    assert verdict.problem is None
    assert verdict.could_not == f"{checker.path} -t did not finish within 0.3 s and was ended"
    assert killed(tmp_path / "pid")


@pytest.mark.parametrize(("number", "name"), [("SEGV", "SIGSEGV"), ("ABRT", "SIGABRT"), ("40", "signal 40")])
def test_ended_by_a_signal(checker: Checker, number: str, name: str) -> None:
    problem = checker.run(f"ulimit -c 0; echo last words; kill -{number} $$").problem
    assert str(problem) == f"/cfg/main.conf: kea was ended by {name}: last words"


def test_killed_is_no_verdict(checker: Checker) -> None:
    verdict = checker.run("kill -KILL $$")
    assert verdict.problem is None
    assert verdict.could_not == f"{checker.path} -t was killed, for memory perhaps, before it had a verdict"


def test_no_checker(checker: Checker) -> None:
    verdict = with_kea(checker.argv, {}, "/cfg/main.conf", Limits())
    assert verdict == Verdict("kea", None, 0.0, could_not=f"cannot run {checker.path} -t: no such file or directory")


def test_a_checker_that_may_not_be_run(checker: Checker) -> None:
    checker.path.write_text("#!/bin/sh\n")
    verdict = with_kea(checker.argv, {}, "/cfg/main.conf", Limits())
    assert verdict.could_not == f"cannot run {checker.path} -t: permission denied"


def test_nothing_is_read_from_standard_input(checker: Checker) -> None:
    assert checker.run("cat; exit 0").could_not is None
