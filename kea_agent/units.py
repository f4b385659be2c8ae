# SPDX-License-Identifier: MPL-2.0
"""Which systemd unit runs each Kea daemon, how it runs it, and what it is doing now."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kea_agent.daemons import Daemon, option
from kea_agent.errors import NoReloadError
from kea_agent.reading import read_regular

_MOST_BYTES = 1 << 20  # of an environment file; the kernel takes no more for a program
_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\})")


class SystemBus(Protocol):
    """What this module needs of bus.Bus; tests bring their own."""

    def load_unit(self, name: str) -> str: ...
    def get(self, path: str, interface: str, name: str, signature: str) -> Any: ...
    def reload_unit(self, name: str) -> str: ...
    def kill_main(self, name: str, signal_number: int) -> None: ...


@dataclass(frozen=True)
class Unit:
    """A unit as systemd has it at one moment; the states are systemd's own words. `main_pid` 0: nothing runs."""

    name: str
    path: str
    load_state: str
    active_state: str
    sub_state: str
    main_pid: int
    can_reload: bool
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    # systemd's word for how it ended last: `success`, `exit-code`, `signal`, `start-limit-hit` (257 and before keep the
    # word of the failure before that), ...
    result: str = ""
    unit_file_state: str = ""
    user: str = ""
    started_at: float = 0.0  # Unix time of the last start of its main process

    @property
    def config_file(self) -> str | None:
        """The file that ExecStart names with -c."""
        return option(self.argv, "-c")

    @property
    def is_running(self) -> bool:
        """Whether there is a main process to speak to."""
        return self.main_pid > 0 and self.active_state in ("active", "reloading")

    @property
    def has_failed(self) -> bool:
        """Whether it is down against its will; systemd may be about to start it again."""
        is_down = self.active_state == "failed" or self.sub_state.startswith("auto-restart")
        return is_down and self.load_state == "loaded"

    @property
    def state(self) -> str:
        """One phrase for people, e.g. `active (running)` or `masked`."""
        return f"{self.active_state} ({self.sub_state})" if self.load_state == "loaded" else self.load_state


def config_file(daemon: Daemon, unit: Unit | None, configured: str | None) -> str:
    """The file that matters: the configured one, else what the unit says, else where Kea's packages have it."""
    return configured or (unit and unit.config_file) or daemon.config_path


def discover(bus: SystemBus, daemon: Daemon, configured: str | None = None) -> Unit | None:
    """The unit that runs the daemon: the configured one, else the first known name that exists (masked counts)."""
    for name in (configured,) if configured else daemon.unit_names:
        unit = read(bus, bus.load_unit(name))
        if unit.load_state != "not-found":
            return unit
    return None


def read(bus: SystemBus, path: str) -> Unit:
    """Read the unit behind an object path; a unit that is gone has load_state `not-found`."""
    load_state = bus.get(path, "Unit", "LoadState", "s")
    is_loaded = load_state == "loaded"
    environment = _environment(bus, path) if is_loaded else {}
    return Unit(
        name=bus.get(path, "Unit", "Id", "s"),
        path=path,
        load_state=load_state,
        active_state=bus.get(path, "Unit", "ActiveState", "s"),
        sub_state=bus.get(path, "Unit", "SubState", "s"),
        main_pid=bus.get(path, "Service", "MainPID", "u"),
        can_reload=bool(bus.get(path, "Unit", "CanReload", "b")),
        argv=_argv(bus, path, environment) if is_loaded else (),
        environment=environment,
        result=bus.get(path, "Service", "Result", "s"),
        unit_file_state=bus.get(path, "Unit", "UnitFileState", "s"),
        user=bus.get(path, "Service", "User", "s"),
        started_at=bus.get(path, "Service", "ExecMainStartTimestamp", "t") / 1e6,
    )


def signal_reload(bus: SystemBus, unit: Unit) -> str | None:
    """Have systemd reload the unit; returns the job's path, or None where the main process was signalled instead.

    Raises BusError when systemd refuses.
    """
    if unit.can_reload:
        with contextlib.suppress(NoReloadError):
            return bus.reload_unit(unit.name)
    bus.kill_main(unit.name, signal.SIGHUP)
    return None


def _argv(bus: SystemBus, path: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    commands = bus.get(path, "Service", "ExecStart", "a(sasbttttuii)")
    if not commands:
        return ()
    # The file that is executed, then its words: with `@` in the unit the first word is only a name. systemd takes no
    # variable for the file, whose value may be from a file of somebody else.
    program, words = commands[0][0], commands[0][1][1:]
    return (str(program), *(part for word in words for part in _expand(str(word), environment)))


def _expand(word: str, environment: Mapping[str, str]) -> list[str]:
    """systemd.service(5): `$VAR` as a word of its own is split, `${VAR}` is replaced in place, `$$` is a dollar."""
    if re.fullmatch(r"\$\w+", word):
        return environment.get(word[1:], "").split()
    return [_REFERENCE.sub(lambda match: environment.get(match[1], "") if match[1] else "$", word)]


def _environment(bus: SystemBus, path: str) -> dict[str, str]:
    assignments = [str(line) for line in bus.get(path, "Service", "Environment", "as")]
    for file, _ in bus.get(path, "Service", "EnvironmentFiles", "a(sb)"):
        assignments += _environment_file(Path(file))
    pairs = (line.partition("=") for line in assignments if "=" in line)
    return {name: value for name, _, value in pairs}


def _environment_file(path: Path) -> list[str]:
    # Root names it, and may have put it where Kea's user may put a FIFO in its place.
    try:
        lines = read_regular(path, _MOST_BYTES).decode(errors="surrogateescape").splitlines()
    except OSError:
        return []
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith(("#", ";")))
    return [f"{name.strip()}={_unquoted(value)}" for name, _, value in pairs]


def _unquoted(value: str) -> str:
    # Unlike a shell's, an unquoted value goes to the end of the line (systemd.exec(5)).
    try:
        return " ".join(shlex.split(value))
    except ValueError:
        return value.strip()
