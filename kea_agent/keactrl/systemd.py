# SPDX-License-Identifier: MPL-2.0
"""What keactrl knows of systemd and the agent: cheaply from the kernel and the agent's status, else over D-Bus."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kea_agent import proc
from kea_agent.errors import BusError, SettingsError
from kea_agent.keactrl import say
from kea_agent.keactrl.servers import Server
from kea_agent.plain import is_plain
from kea_agent.reading import read_regular

if TYPE_CHECKING:
    from kea_agent.bus import Bus
    from kea_agent.keactrl.unit_actions import UnitActions
    from kea_agent.settings import Settings
    from kea_agent.units import Unit

STATUS_FILE = "/run/kea-agent/status.json"
BOOTED = "/run/systemd/system"
_MOST_BYTES = 1 << 24
_SLICES = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice", "/sys/fs/cgroup/unified/system.slice")


def is_booted() -> bool:
    """Whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir(BOOTED)


class AgentView:
    """What the running agent has written down; empty without one."""

    def __init__(self, path: str = STATUS_FILE) -> None:
        self._path = path

    @cached_property
    def document(self) -> dict[str, Any]:
        """status.json, or nothing."""
        import json  # noqa: PLC0415 - `status` does without when all is well

        try:
            found = json.loads(self._text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and is_plain(found) else {}

    def mentions(self, words: Iterable[str]) -> bool:
        """Whether any of the words is in it: a look that costs nothing."""
        return any(f'"{word}"'.encode() in self._text for word in words)

    @cached_property
    def _text(self) -> bytes:
        try:
            return read_regular(self._path, _MOST_BYTES)
        except OSError:
            return b""

    def of(self, server: Server) -> dict[str, Any]:
        """What it says of one daemon."""
        daemons = self.document.get("daemons")
        found = daemons.get(server.daemon.name) if server.daemon and isinstance(daemons, dict) else None
        return found if isinstance(found, dict) else {}

    def config_file(self, server: Server) -> str | None:
        """The daemon's configuration file, where there is a unit of it: for words on it, and nothing else."""
        found = self.of(server)
        file = found.get("config_file")
        return file if found.get("unit") and isinstance(file, str) and file.isprintable() and file else None


class Units:
    """The units of the servers; the bus is connected to when somebody asks for more than the kernel says.

    A unit that has none of the packages' names is the one that the agent's settings name: they are root's, and what
    the agent writes down is not. Raises BusError when systemd runs this host and D-Bus does not answer.
    """

    @cached_property
    def bus(self) -> Bus:
        """The connection."""
        from kea_agent.bus import Bus  # noqa: PLC0415 - `status` does without

        try:
            return Bus()
        except BusError as error:
            raise BusError(f"{error}; nothing was done, systemctl may still work as root") from error

    @cached_property
    def actions(self) -> UnitActions:
        """What can be done to units."""
        # A daemon built from source runs where there is no systemd, nor pystemd, and is started and stopped there.
        from kea_agent.keactrl.unit_actions import UnitActions  # noqa: PLC0415

        return UnitActions(self.bus)

    @cached_property
    def _settings(self) -> Settings:
        from kea_agent.settings import Settings  # noqa: PLC0415 - `status` does without
        from kea_agent.verbs.subjects import SETTINGS, own_settings  # noqa: PLC0415

        try:
            return own_settings(SETTINGS)
        except SettingsError as error:
            why = "; ".join(str(error).splitlines())
            say.aside(f"the agent's settings are not used, so units have the names of Kea's packages here: {why}")
            return Settings()

    def of(self, server: Server) -> Unit | None:
        """The unit as it is now; None where there is none, or no systemd."""
        from kea_agent import units  # noqa: PLC0415 - `status` does without

        if server.daemon is None or not is_booted():
            return None
        unit = units.discover(self.bus, server.daemon, self._settings.daemon[server.daemon.name].unit)
        return unit if unit and unit.load_state in ("loaded", "masked") else None

    def file_state(self, server: Server) -> str:
        """What `systemctl is-enabled` would say, empty where there is no unit."""
        unit = self.of(server)
        return str(self.bus.get(unit.path, "Unit", "UnitFileState", "s")) if unit else ""

    def pid_in_cgroup(self, server: Server) -> int:
        """The daemon's process in the control group of its unit, 0 where there is none: readable by everybody."""
        names = server.daemon.unit_names if server.daemon else ()
        for file in (f"{base}/{name}/cgroup.procs" for base in _SLICES for name in names):
            for pid in _pids(file):
                if proc.command_name(pid) == server.binary[:15]:
                    return pid
        return 0


def _pids(file: str) -> list[int]:
    try:
        with open(file) as lines:
            return [int(line) for line in lines]
    except (OSError, ValueError):
        return []
