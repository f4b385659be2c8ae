# SPDX-License-Identifier: MPL-2.0
"""Log lines on stderr: with syslog priorities when stderr is the journal, plain when it is a terminal or a file.

sd-daemon(3): a line that starts with `<N>` has priority N. $JOURNAL_STREAM names the journal's socket by device
and inode (systemd.exec(5)); the prefix covers one line only, so a record is always one line, and one that can be printed:
of any other the journal shows a blob.
"""

from __future__ import annotations

import logging
import os
import sys

from kea_agent.plain import printable

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(" | ".join(line for line in super().format(record).splitlines() if line.strip()))


class _Journal(_OneLine):
    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{super().format(record)}"


def configure(level: str) -> None:
    """Send everything from `level` (debug, info, warning, error) on to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    plain = _OneLine("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_Journal("%(message)s") if _stderr_is_journal() else plain)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])


def for_commands() -> None:
    """What a command has to warn of goes to stderr as bare words, as long as nobody has configured more."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_OneLine("%(message)s"))
        root.addHandler(handler)


def _stderr_is_journal() -> bool:
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
