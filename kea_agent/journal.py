# SPDX-License-Identifier: MPL-2.0
"""What a unit wrote to the journal: the only place where Kea says why it did not take a file, or did not start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kea_agent import redact
from kea_agent.check import Limits, run

# What is kept of what journalctl prints: the end, which is the newest.
_LIMITS = Limits(timeout=5.0, output_bytes=1 << 20)
_ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
# The id of a message, DHCP4_CONFIG_LOAD_FAIL, and the blank after it; what stands before a message is the operator's
# choice (a logger's `pattern`), and often it is the severity.
_ID = re.compile(r"(?<!\w)[A-Z][A-Z0-9_]*+(?= )")
_SEVERITY = re.compile(r"\b(?:WARN|ERROR|FATAL)\b")
_ERROR = re.compile(r"\b(?:ERROR|FATAL)\b")
# These name the failure; others only say that there was one.
_TELLING = (
    "CONFIG_LOAD_FAIL",
    "CONFIG_FILE_LOAD_FAIL",
    "ALREADY_RUNNING",
    "INIT_FAIL",
    "INIT_PROCESS_FAIL",
    "PID_FILE_ERROR",
    "SERVER_FAILED",
    "PROCESS_FAILED",
    "PARSER_FAIL",
    "CFG_FILE_RELOAD_ERROR",
    "OPEN_SOCKET_FAIL",
    "START_ERROR",
    "COMMIT_FAIL",
)


def complaint(unit: str, since: float) -> str | None:
    """Kea's most telling complaint since a Unix time, None where there is none or the journal cannot be read."""
    return most_telling(_written(since, "--unit", unit))


def clause(unit: str, since: float, tree: Any) -> str:
    """The same without the secrets of a configuration's tree, to follow other words; empty where Kea said nothing."""
    said = complaint(unit, since)
    return f"; kea said: {redact.cleaned(said.rstrip('.'), tree)}" if said else ""


def last_error(unit: str, since: float) -> str | None:
    """The last thing of priority `err` or worse that a unit's own processes wrote since a Unix time."""
    lines = _written(since, "--priority", "err", f"_SYSTEMD_UNIT={unit}").splitlines()
    return lines[-1] if lines else None


@dataclass(frozen=True)
class Message:
    """One line of a log: its id, what it says from the id on, and what stands before it."""

    id: str
    said: str
    before: str

    @property
    def is_complaint(self) -> bool:
        """Whether it is of severity WARN or worse, where the line tells."""
        return bool(_SEVERITY.search(self.before))


def messages(output: str) -> Iterator[Message]:
    """Kea's own messages, one a line; all else that is in the output is left out."""
    for line in output.splitlines():
        for match in _ID.finditer(line):
            if "_" in match[0] and all(match[0].split("_")):
                yield Message(match[0], line[match.start() :], line[: match.start()])
                break


def most_telling(output: str) -> str | None:
    """Pick the complaint that names a reason out of Kea's log lines, else the last complaint."""
    found = list(messages(output))
    telling = [each.said for name in _TELLING for each in found if name in each.id]
    complaints = [each.said for each in found if each.is_complaint]
    return next((said.strip() for said in telling or complaints[-1:]), None)


def first_error(output: str) -> str | None:
    """The first message of severity ERROR or worse."""
    return next((each.said for each in messages(output) if _ERROR.search(each.before)), None)


def _written(since: float, *selection: str) -> str:
    command = ["journalctl", "--since", f"@{since:.3f}", "--output", "cat", "--no-pager", "--quiet", *selection]
    try:
        return run(command, _ENVIRONMENT, _LIMITS)[1]
    except OSError:
        return ""
