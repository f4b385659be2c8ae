# SPDX-License-Identifier: MPL-2.0
"""What the words DAEMON and FILE stand for on the command line."""

from __future__ import annotations

import os
from pathlib import Path

from kea_agent import keaconf, settings, units
from kea_agent.daemons import BY_NAME, DAEMONS, Daemon
from kea_agent.errors import AgentError, BusError, ConfigError
from kea_agent.settings import Settings

SETTINGS = Path("/etc/kea-agent")


def owner(path: str) -> Daemon:
    """Whose file it is, by its top-level key, else by its name, else by what a broken one mentions; raises AgentError."""
    for daemon in DAEMONS:
        try:
            keaconf.read(path, daemon.root_key)
        except ConfigError:
            continue
        return daemon
    for daemon in DAEMONS:
        if daemon.binary in Path(path).name:
            return daemon
    mentioned = [daemon for daemon in DAEMONS if f'"{daemon.root_key}"'.encode() in _text(path)]
    if len(mentioned) == 1:
        return mentioned[0]
    raise AgentError(_unowned(path))


def _unowned(path: str) -> str:
    if not os.path.lexists(path) and "/" not in path:
        return f"{path}: no such file, and no daemon of that name: {', '.join(BY_NAME)}"
    try:
        keaconf.read(path, DAEMONS[0].root_key)
    except ConfigError as error:
        if error.line is None:  # it cannot be read at all
            return str(error)
    return f"{path}: cannot tell which daemon it is for; its top-level key should say"


def _text(path: str) -> bytes:
    """The beginning of a regular file; nothing of all else."""
    try:
        if not Path(path).is_file():
            return b""
        with Path(path).open("rb") as file:
            return file.read(1 << 20)
    except (OSError, ValueError):
        return b""


def own_settings(directory: Path) -> Settings:
    """The agent's, where there are some that this user may read; else the defaults. Raises SettingsError."""
    is_closed = directory.exists() and not os.access(directory, os.R_OK | os.X_OK)
    return Settings() if is_closed else settings.load(directory)


def file_of(daemon: Daemon, unit: units.Unit | None, found: Settings) -> str:
    """The file that the agent looks after for the daemon."""
    return units.config_file(daemon, unit, found.daemon[daemon.name].config_file)


def installed(found: Settings) -> list[str]:
    """The daemons whose files are there, or may be: in a directory that this user may not enter."""
    return [daemon.name for daemon in DAEMONS if _may_exist(file_of(daemon, None, found))]


def _may_exist(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def unit_of(daemon: Daemon, found: Settings) -> units.Unit | None:
    """The daemon's unit, None where there is none or no D-Bus."""
    from kea_agent.bus import Bus  # noqa: PLC0415 - D-Bus is not there where files are checked

    try:
        bus = Bus()
        unit = units.discover(bus, daemon, found.daemon[daemon.name].unit)
        bus.close()
    except BusError:
        return None
    return unit
