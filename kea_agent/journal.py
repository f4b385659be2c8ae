# SPDX-License-Identifier: MPL-2.0
"""What a unit wrote to the journal: the only place where Kea says why it did not take a file, or did not start."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from kea_agent import redact

_TIMEOUT = 5.0
# What stands before a message is the operator's choice (a logger's `pattern`); often it is the severity.
_MESSAGE = re.compile(r"^(?P<before>.*?)\b(?P<said>(?P<id>[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+) .*)", re.MULTILINE)
_SEVERITY = re.compile(r"\b(?:WARN|ERROR|FATAL)\b")
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
    return f"; kea said: {redact.cleaned(redact.redacted_text(said.rstrip('.')), tree)}" if said else ""


def last_error(unit: str, since: float) -> str | None:
    """The last thing of priority `err` or worse that a unit's own processes wrote since a Unix time."""
    lines = _written(since, "--priority", "err", f"_SYSTEMD_UNIT={unit}").splitlines()
    return lines[-1] if lines else None


def most_telling(output: str) -> str | None:
    """Pick the complaint that names a reason out of Kea's log lines, else the last complaint."""
    messages = list(_MESSAGE.finditer(output))
    telling = [each["said"] for name in _TELLING for each in messages if name in each["id"]]
    complaints = [each["said"] for each in messages if _SEVERITY.search(each["before"])]
    return next((said.strip() for said in telling or complaints[-1:]), None)


def _written(since: float, *selection: str) -> str:
    command = ["journalctl", "--since", f"@{since:.3f}", "--output", "cat", "--no-pager", "--quiet"]
    environment = {"PATH": "/usr/bin:/bin"}
    try:
        done = subprocess.run(
            [*command, *selection], capture_output=True, timeout=_TIMEOUT, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
