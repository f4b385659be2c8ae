# SPDX-License-Identifier: MPL-2.0
"""sd_notify(3); the only importer of sdnotify.

sdnotify encodes Latin-1 and drops, without a word, a whole datagram that does not fit it: text goes through
UTF-8 first, so what leaves is UTF-8. Without a service manager every call does nothing.
"""

from __future__ import annotations

import os
import time

from sdnotify import SystemdNotifier

from kea_agent.plain import printable


class Notifier:
    """Tells the service manager what the agent is doing."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        self.watchdog_seconds = _watchdog_seconds()
        # Children must not speak in the agent's name.
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)

    def ready(self, status: str) -> None:
        """Startup, or a reload of the settings, is over."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """The settings are being read again; `ready` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Going down on purpose."""
        self._send("STOPPING=1", "STATUS=")

    def alive(self) -> None:
        """Feed the watchdog; only the loop that does the work may call this."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if self._notifier is not None:
            utf8 = "\n".join(assignments).encode(errors="backslashreplace")
            self._notifier.notify(utf8.decode("latin-1"))


def _watchdog_seconds() -> float | None:
    """The service manager's watchdog period, None when it does not wait for this process."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not usec.isdecimal() or (pid is not None and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6 or None


def _line(text: str) -> str:
    return printable(" ".join(text.split()))
