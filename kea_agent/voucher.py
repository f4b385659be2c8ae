# SPDX-License-Identifier: MPL-2.0
"""The agent's word to a unit's ExecReload that this reload is its own: checked a moment ago, and verified by itself.

A voucher is used up by the reload it is for and runs out by itself, so one that a killed agent left behind can at
most make one `systemctl reload` within seconds a bare signal, which is what it is without the agent.
"""

from __future__ import annotations

import time
from pathlib import Path

from kea_agent.daemons import Daemon

DIRECTORY = Path("/run/kea-agent/vouchers")
_VALID_SECONDS = 10


def write(daemon: Daemon, directory: Path = DIRECTORY) -> None:
    """Vouch for the daemon's next reload; the file has the second since boot until which that holds. Raises OSError."""
    directory.mkdir(exist_ok=True)
    (directory / daemon.binary).write_text(f"{int(time.clock_gettime(time.CLOCK_BOOTTIME)) + _VALID_SECONDS}\n")


def withdraw(daemon: Daemon, directory: Path = DIRECTORY) -> None:
    """The reload is over; a voucher that was not used is void."""
    (directory / daemon.binary).unlink(missing_ok=True)
