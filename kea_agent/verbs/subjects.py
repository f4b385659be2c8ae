# SPDX-License-Identifier: MPL-2.0
"""What the words DAEMON and FILE stand for on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kea_agent import keaconf
from kea_agent.daemons import DAEMONS, Daemon
from kea_agent.errors import AgentError, BusError, ConfigError

if TYPE_CHECKING:
    from kea_agent import units


def owner(path: str) -> Daemon:
    """Whose file it is, by its top-level key, else by its name; raises AgentError."""
    for daemon in DAEMONS:
        try:
            keaconf.read(path, daemon.root_key)
        except ConfigError:
            continue
        return daemon
    for daemon in DAEMONS:
        if daemon.binary in Path(path).name:
            return daemon
    raise AgentError(f"{path}: cannot tell which daemon it is for; its top-level key should say")


def unit_of(daemon: Daemon) -> units.Unit | None:
    """The daemon's unit, None where there is none or no D-Bus."""
    from kea_agent import units  # noqa: PLC0415 - D-Bus is not there where files are checked
    from kea_agent.bus import Bus  # noqa: PLC0415

    try:
        bus = Bus()
        unit = units.discover(bus, daemon)
        bus.close()
    except BusError:
        return None
    return unit
