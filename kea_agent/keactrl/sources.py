# SPDX-License-Identifier: MPL-2.0
"""Where keactrl's answers come from: keactrl.conf as for the script, or, on packaged Kea, systemd's units.

A variable is looked up when the script would, so that one that is missing ends the command at the same place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from kea_agent import proc
from kea_agent.daemons import option
from kea_agent.keactrl import processes
from kea_agent.keactrl.servers import Installation, Server
from kea_agent.keactrl.systemd import AgentView, Units
from kea_agent.keactrl.words import split
from kea_agent.plain import printable

if TYPE_CHECKING:
    from kea_agent.keactrl.conf import Conf
    from kea_agent.units import Unit

_DISABLED = ("disabled", "masked", "masked-runtime", "bad", "")


class Source(Protocol):
    """What the commands ask. Raises MissingVariableError (keactrl.conf), BusError (units)."""

    @property
    def conf_path(self) -> str | None: ...
    def binary(self, server: Server) -> str: ...
    def config_file(self, server: Server) -> str: ...
    def shown(self, text: str) -> str: ...
    def options(self, server: Server) -> str: ...
    def is_enabled(self, server: Server) -> bool: ...
    def is_verbose(self) -> bool: ...
    def is_installed(self, server: Server) -> bool: ...
    def unit(self, server: Server) -> Unit | None: ...
    def pid(self, server: Server) -> int: ...
    def pid_file(self, server: Server) -> str: ...


class ConfSource:
    """keactrl.conf answers; a unit counts for a server only if it runs the same binary on the same file."""

    def __init__(self, conf: Conf, kea: Installation, units: Units, environ: Mapping[str, str]) -> None:
        self._conf = conf
        self._kea = kea
        self._units = units
        self._directory = processes.pid_directory(conf["prefix"], environ)

    @property
    def conf_path(self) -> str:
        return self._conf.path

    def binary(self, server: Server) -> str:
        return self._conf[server.binary_variable]

    def config_file(self, server: Server) -> str:
        return self._conf[server.config_variable]

    def shown(self, text: str) -> str:
        """As it is, as the script has it: whoever may write a keactrl.conf that is believed needs no tricks."""
        return text

    def options(self, server: Server) -> str:
        return self._conf.get(server.options_variable) if self._kea.has_server_options else ""

    def is_enabled(self, server: Server) -> bool:
        # The script's shell splits the value and prints its words without the blanks.
        return "".join(split(self._conf.get(server.name))).lower() == "yes"

    def is_verbose(self) -> bool:
        return self._conf["kea_verbose"] == "yes"

    def is_installed(self, server: Server) -> bool:
        return True

    def unit(self, server: Server) -> Unit | None:
        unit = self._units.of(server)
        wanted = (self.binary(server), self.config_file(server))
        return unit if unit and unit.argv and _same((unit.argv[0], unit.config_file or ""), wanted) else None

    def pid_file(self, server: Server) -> str:
        return processes.pid_file(self._directory, self.config_file(server), os.path.basename(self.binary(server)))

    def pid(self, server: Server) -> int:
        """A server whose binary is not named is not running, says the script."""
        binary = self._conf.get(server.binary_variable)
        return processes.running(self.pid_file(server), binary) if os.path.basename(binary) else 0


class UnitSource:
    """The packaged case: systemd's units and the agent's word, D-Bus only for what they do not say."""

    conf_path = None

    def __init__(self, kea: Installation, units: Units, view: AgentView, environ: Mapping[str, str]) -> None:
        self._kea = kea
        self._units = units
        self._view = view
        self._directory = processes.pid_directory("/usr", environ)

    def binary(self, server: Server) -> str:
        return self._kea.binary(server.binary) or f"/usr/sbin/{server.binary}"

    def config_file(self, server: Server) -> str:
        """What the daemon that runs was started with, else what the agent or systemd says it will be."""
        running = option(proc.command_line(self._units.pid_in_cgroup(server)), "-c")
        return running or self._view.config_file(server) or self._config_file_of_unit(server)

    def shown(self, text: str) -> str:
        """A process may call its file anything."""
        return printable(text)

    def _config_file_of_unit(self, server: Server) -> str:
        unit = self.unit(server)
        return (unit and unit.config_file) or server.config_path

    def options(self, server: Server) -> str:
        """What the unit's ExecStart has behind the file."""
        unit = self.unit(server)
        words = list(unit.argv[1:]) if unit else []
        return " ".join(words[words.index("-c") + 2 :]) if "-c" in words else " ".join(words)

    def is_enabled(self, server: Server) -> bool:
        """What `systemctl is-enabled` says of the unit."""
        return self._units.file_state(server) not in _DISABLED

    def is_verbose(self) -> bool:
        return False

    def is_installed(self, server: Server) -> bool:
        return self._kea.binary(server.binary) is not None

    def unit(self, server: Server) -> Unit | None:
        return self._units.of(server)

    def pid_file(self, server: Server) -> str:
        return processes.pid_file(self._directory, self.config_file(server), server.binary)

    def pid(self, server: Server) -> int:
        return self._units.pid_in_cgroup(server) or processes.running(self.pid_file(server), self.binary(server))


def _same(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return all(os.path.realpath(a) == os.path.realpath(b) for a, b in zip(one, other, strict=True))
