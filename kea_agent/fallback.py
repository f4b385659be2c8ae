# SPDX-License-Identifier: MPL-2.0
"""Kea on its last known good configuration: what kea-agent-fallback@DAEMON.service runs.

    python3 -I -m kea_agent.fallback DAEMON

It starts as Kea's user in the unit's own view of the files, fills /etc/kea there, reports ready and becomes Kea, with
the words and the environment that Kea's own unit has; so the main process is Kea. Only in that view is the
configuration file the last known good one. What it refuses it says, and exits with 78 (EX_CONFIG in sysexits.h),
after which systemd starts Kea's own unit again: somebody may have been stopped for this.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kea_agent import settings, units
from kea_agent.bus import Bus
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.errors import BusError, SettingsError
from kea_agent.notify import Notifier
from kea_agent.plain import printable
from kea_agent.settings import DaemonSettings

REFUSED = 78
_PROGRAMS = "/usr/sbin:/usr/bin:/usr/local/sbin"


@dataclass(frozen=True)
class Places:
    """Where things are in the unit's view: `view` is what Kea reads, with the real one and the state in it.

    `state` is where people find the latter.
    """

    settings: Path = Path("/etc/kea-agent")
    state: Path = Path("/var/lib/kea-agent")
    view: Path = Path("/etc/kea")
    operator: str = ".operator"
    kept: str = ".last-known-good"


@dataclass(frozen=True)
class Launch:
    """What becomes of this process; `kept` is the last known good file, `config_file` the name it gets for Kea.

    `own_unit` is the one in whose place it serves.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    kept: Path
    config_file: Path
    own_unit: str


class RefusedError(Exception):
    """Kea is not started; the message says why."""


def main(words: Sequence[str]) -> int:
    """Become Kea; returns only when that is refused."""
    try:
        launch = plan(words, Places(), Bus)
        lay_out(launch, Places())
        Notifier().ready(
            f"{launch.config_file.name} as it was last known good; mend the file, then systemctl start {launch.own_unit}"
        )
        os.execve(launch.argv[0], launch.argv, {**os.environ, **launch.environment})  # noqa: S606 - root wrote the words
    except (RefusedError, OSError) as error:
        print(f"<3>not started on the last known good configuration: {printable(str(error))}", file=sys.stderr)
    return REFUSED


def plan(words: Sequence[str], places: Places, connect: Callable[[], Bus]) -> Launch:
    """What to start; raises RefusedError where that would harm or be in vain."""
    daemon = _daemon(words)
    wanted = _settings(daemon, places.settings)
    unit = _unit(daemon, wanted.unit, connect)
    if unit is not None:
        _require_same_user(unit)
    # Kea names its PID file after its configuration file.
    config_file = places.view / Path(units.config_file(daemon, unit, wanted.config_file)).name
    return Launch(
        argv=_argv(daemon, unit, config_file),
        environment=unit.environment if unit else {},
        kept=_kept(daemon, places),
        config_file=config_file,
        own_unit=unit.name if unit else f"{daemon.binary}'s unit",
    )


def lay_out(launch: Launch, places: Places) -> None:
    """Link the operator's files to where they were, and the last known good one to where Kea is to read it."""
    own = {launch.config_file.name, places.operator, places.kept}
    real = places.view / places.operator
    for name in os.listdir(real) if real.is_dir() else ():
        if name not in own:
            (places.view / name).symlink_to(f"{places.operator}/{name}")
    launch.config_file.symlink_to(launch.kept)


def _daemon(words: Sequence[str]) -> Daemon:
    if len(words) != 1 or words[0] not in BY_NAME:
        raise RefusedError(f"name one of {', '.join(BY_NAME)}, not {' '.join(words) or 'nothing'}")
    return BY_NAME[words[0]]


def _settings(daemon: Daemon, directory: Path) -> DaemonSettings:
    try:
        return settings.load(directory).daemon[daemon.name]
    except SettingsError as error:
        _warn(f"the agent's settings are wrong, the packages' names hold: {error}")
        return DaemonSettings()


def _unit(daemon: Daemon, configured: str | None, connect: Callable[[], Bus]) -> units.Unit | None:
    """Kea's own unit; None where there is none or systemd does not tell, and the packages' words have to do."""
    try:
        bus = connect()
        try:
            unit = units.discover(bus, daemon, configured)
        finally:
            bus.close()
    except BusError as error:
        _warn(f"{error}; {daemon.binary} starts as the packages have it")
        return None
    return unit if unit and unit.load_state == "loaded" else None


def _require_same_user(unit: units.Unit) -> None:
    """Files that another user makes (leases, sockets, PID files) would keep Kea's own unit from starting."""
    name = unit.user or "root"
    try:
        uid = int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise RefusedError(f"{unit.name} runs as {name}, whom this host does not know") from None
    if uid != os.getuid():
        raise RefusedError(f"{unit.name} runs as {name} and this would run as user {os.getuid()}, over its leases")


def _kept(daemon: Daemon, places: Places) -> Path:
    """The last known good file, as Kea will find it."""
    name = f"{daemon.name}/{Path(daemon.config_path).name}"
    kept = places.view / places.kept / name
    try:
        mode = kept.stat().st_mode
    except OSError as error:
        why = (error.strerror or "cannot be read").lower()
        raise RefusedError(f"{places.state / name}: {why}; nothing good is kept") from error
    if not stat.S_ISREG(mode) or not os.access(kept, os.R_OK):
        raise RefusedError(f"{places.state / name}: not a file that user {os.getuid()} may read")
    return kept


def _argv(daemon: Daemon, unit: units.Unit | None, config_file: Path) -> tuple[str, ...]:
    """The unit's words with another file, without what the unit starts Kea through."""
    words = unit.argv if unit else ()
    start = next((at for at, word in enumerate(words) if Path(word).name == daemon.binary), len(words))
    if start:
        _warn(f"{words[0]} is left out, {daemon.binary} is started directly")
    binary, *options = words[start:] or (daemon.binary,)
    program = binary if binary.startswith("/") else shutil.which(daemon.binary, path=_PROGRAMS)
    if program is None:
        raise RefusedError(f"{daemon.binary} is not installed in {_PROGRAMS}")
    return (program, *_without_file(options), "-c", str(config_file))


def _without_file(words: Sequence[str]) -> list[str]:
    """Everything but `-c FILE` and `-cFILE`."""
    kept = []
    rest = iter(words)
    for word in rest:
        if word == "-c":
            next(rest, None)
        elif not word.startswith("-c"):
            kept.append(word)
    return kept


def _warn(text: str) -> None:
    print(f"<4>{printable(' '.join(text.split()))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
