# SPDX-License-Identifier: MPL-2.0
"""start, stop, reload and version: on a server's unit where there is one, else on its process as the script does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kea_agent.errors import AgentError, BusError
from kea_agent.keactrl import processes, say
from kea_agent.keactrl.arguments import Arguments
from kea_agent.keactrl.errors import FailedError
from kea_agent.keactrl.servers import NETCONF, Installation, Server
from kea_agent.keactrl.sources import Source
from kea_agent.keactrl.systemd import Units
from kea_agent.keactrl.words import split
from kea_agent.plain import printable

if TYPE_CHECKING:
    from kea_agent.units import Unit

T = TypeVar("T")


class Commands:
    """One command on the servers it is for, in the script's order; each method returns whether all of it worked."""

    def __init__(
        self, arguments: Arguments, kea: Installation, source: Source, units: Units, environ: Mapping[str, str]
    ) -> None:
        self._arguments = arguments
        self._kea = kea
        self._source = source
        self._units = units
        self._environ = environ

    def start(self) -> bool:
        """Start what is enabled and does not run."""
        general = general_options(self._arguments, self._source)
        return self._each(lambda server: self._start_words(server, general), self._start)

    def stop(self) -> bool:
        """Stop what runs."""
        return self._each(self._source.binary, self._stop)

    def reload(self) -> bool:
        """Have what runs take its file again, and say whether it does."""
        return self._each(self._source.binary, self._reload)

    def version(self) -> bool:
        """The installed version of each daemon."""
        say.line(f"keactrl: {self._kea.version}")
        return self._each(self._source.binary, lambda server, binary: _version(server, binary, self._environ))

    def _each(self, prepare: Callable[[Server], T], act: Callable[[Server, T], None]) -> bool:
        worked = True
        for server in self._kea.servers:
            if self._arguments.includes(server.name):
                worked &= self._worked(prepare, act, server)
            else:
                # The script expands the variables of every server, whichever the command is for.
                with suppress(BusError):
                    prepare(server)
        return worked

    def _worked(self, prepare: Callable[[Server], T], act: Callable[[Server, T], None], server: Server) -> bool:
        try:
            act(server, prepare(server))
        except (FailedError, AgentError) as error:
            return self._failed(str(error))
        except OSError as error:
            return self._failed(f"{error.filename or server.binary}: {os.strerror(error.errno or 0).lower()}")
        return True

    def _failed(self, why: str) -> bool:
        say.error(f"{self._arguments.command.capitalize()} failed, {printable(why)}")
        return False

    def _start_words(self, server: Server, general: str) -> list[str]:
        binary, config_file = self._source.binary(server), self._source.config_file(server)
        return split(f"{binary} -c {config_file} {merged(self._source.options(server), general)}")

    def _start(self, server: Server, words: list[str]) -> None:
        if not self._source.is_enabled(server):
            if not self._arguments.is_all:
                say.aside(f"{server.name} is not enabled, so it is not started")
            return
        unit, pid = self._running(server)
        if pid:
            file = self._source.pid_file(server)
            say.info(f"{Path(words[0]).name} appears to be running, see: PID {pid}, PID file: {file}.")
            return
        say.info(f"Starting {self._source.shown(' '.join(words))}")
        if unit:
            self._start_unit(unit, words)
        else:
            processes.start([processes.program(words[0], self._environ), *words[1:]], self._environ)

    def _start_unit(self, unit: Unit, words: list[str]) -> None:
        if surplus := [word for word in words if word not in unit.argv]:
            say.aside(f"{unit.name} says how its daemon is started: {' '.join(surplus)} is not used")
        self._units.actions.start(unit)

    def _stop(self, server: Server, binary: str) -> None:
        name = Path(binary).name
        unit, pid = self._running(server)
        if not pid:
            say.info(f"{name} isn't running.")
            return
        say.info(f"Stopping {name}...")
        if unit and unit.main_pid == pid:
            self._units.actions.stop(unit)
        else:
            processes.send(pid, name, signal.SIGTERM, lambda: self._source.pid(server) == pid)

    def _reload(self, server: Server, binary: str) -> None:
        name = Path(binary).name
        if server is NETCONF:
            if not self._arguments.is_all:
                say.warning("netconf does not support reload")
            return
        unit, pid = self._running(server)
        if not pid:
            say.info(f"{name} isn't running.")
            return
        say.info(f"Reloading {name}...")
        if unit and unit.main_pid == pid and server.daemon:
            self._units.actions.reload(unit, server.daemon)
        else:
            processes.reload(pid, binary, self._environ, lambda: self._source.pid(server) == pid)

    def _running(self, server: Server) -> tuple[Unit | None, int]:
        unit = self._source.unit(server)
        if unit and unit.main_pid:
            return unit, unit.main_pid
        try:
            return unit, self._source.pid(server)
        except PermissionError:
            # Where there is a unit, its word is enough.
            if unit is None:
                raise
            return unit, 0


def general_options(arguments: Arguments, source: Source) -> str:
    """The options for every server: those of the command line, with -d first where keactrl.conf asks to be verbose."""
    options = arguments.options
    return f"-d {options}".strip() if source.is_verbose() and "-d" not in split(options) else options.strip()


def merged(own: str, general: str) -> str:
    """The general options, then a server's own that are not among them (3.3.0 and later)."""
    return " ".join([general, *(word for word in split(own) if word not in split(general))])


def _version(server: Server, binary: str, environ: Mapping[str, str]) -> None:
    say.line(f"{server.binary}: {_version_of(binary, environ)}")


def _version_of(binary: str, environ: Mapping[str, str]) -> str:
    if not os.path.exists(binary):
        return f"unknown, {binary} missing"
    program = processes.program(binary, environ)
    try:
        return subprocess.run([program, "-v"], stdout=subprocess.PIPE, check=True, text=True).stdout.rstrip("\n")
    except (OSError, subprocess.CalledProcessError):
        say.error(f"Error checking version of binary file: {binary}")
        return ""
