# SPDX-License-Identifier: MPL-2.0
"""Log lines as the journal and as people get them, from a process of its own: the root logger is the process's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAD = f"import logging, os, sys; sys.path.insert(0, {str(REPOSITORY)!r}); from kea_agent import log\n"
AS_JOURNAL = "s = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}'\n"
EVERY_LEVEL = "\nfor level in (10, 20, 30, 40, 50, 25): logging.log(level, 'said at %d', level)\n"


def stderr_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-I", "-c", HEAD + code], check=True, stderr=subprocess.PIPE)
    return done.stderr.decode()


def test_priorities_for_the_journal() -> None:
    assert stderr_of(AS_JOURNAL + "log.configure('debug')" + EVERY_LEVEL).splitlines() == [
        "<7>said at 10",
        "<6>said at 20",
        "<4>said at 30",
        "<3>said at 40",
        "<2>said at 50",
        "<6>said at 25",
    ]


def test_plain_lines_for_people() -> None:
    lines = stderr_of("log.configure('warning')" + EVERY_LEVEL).splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "WARNING said at 30",
        "ERROR said at 40",
        "CRITICAL said at 50",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", line) for line in lines)


def test_another_stream_is_not_the_journal() -> None:
    assert "<" not in stderr_of("os.environ['JOURNAL_STREAM'] = '1:2'; log.configure('info'); logging.error('x')")


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("logging.error('one\\n\\ntwo\\rthree')", "<3>one | two | three"),
        ("logging.error('')", "<3>"),
        ("logging.error('\\udcfc \\u2192 \\x9b\\u202e')", "<3>\\xfc \u2192 \\x9b\\u202e"),
    ],
)
def test_a_record_is_one_line(code: str, line: str) -> None:
    assert stderr_of(AS_JOURNAL + "log.configure('info')\n" + code) == line + "\n"


def test_an_exception_is_one_line() -> None:
    code = AS_JOURNAL + "log.configure('info')\ntry: 1 / 0\nexcept ZeroDivisionError: logging.exception('failed')\n"
    said = stderr_of(code)
    assert said.startswith("<3>failed | Traceback (most recent call last): | ")
    assert said.endswith("| ZeroDivisionError: division by zero\n")
    assert said.count("\n") == 1


def test_configuring_twice_does_not_say_everything_twice() -> None:
    assert stderr_of(AS_JOURNAL + "log.configure('info'); log.configure('error'); logging.error('x')") == "<3>x\n"


def test_without_a_stderr() -> None:
    assert stderr_of("import io; sys.stderr = io.StringIO(); log.configure('info'); logging.error('x')") == ""
