# SPDX-License-Identifier: MPL-2.0
"""Is this the moment? A right file is held back while a reload would hurt; each obstacle goes away by itself.

Ordering the two hosts of a pair and taking over for the partner come later and find their place here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kea_agent import ha, proc
from kea_agent.reading import read_regular
from kea_agent.units import Unit

_PAUSE = 0.02
NET = Path("/sys/class/net")


@dataclass(frozen=True)
class Obstacle:
    """Why not now. `retry`: time alone may lift it, so look again; else the unit's next change does."""

    reason: str
    retry: bool = True


def unit_obstacle(unit: Unit) -> Obstacle | None:
    """A unit that is not running has nothing to reload: its next start reads the file by itself."""
    if unit.is_running:
        return None
    if unit.load_state == "masked":
        return Obstacle(f"{unit.name} is masked", retry=False)
    return Obstacle(f"{unit.name} is {unit.state}; the file will be read when it starts", retry=False)


def starting_obstacle(pid: int, timeout: float, pause: Callable[[float], object]) -> Obstacle | None:
    """Wait (seconds) until the daemon handles SIGHUP: one that arrives before that kills it."""
    waited = 0.0
    while not proc.catches_sighup(pid):
        if not proc.is_alive(pid):
            return Obstacle(f"process {pid} is gone")
        if waited >= timeout:
            return Obstacle(f"process {pid} has not finished starting after {timeout:g} s")
        pause(_PAUSE)
        waited += _PAUSE
    return None


def lease_cleanup_obstacle(status: dict[str, Any]) -> Obstacle | None:
    """Kea 3.1.2 and later refuse a reload while kea-lfc runs; those are the versions that tell their lease file."""
    lease_file = status.get("csv-lease-file")
    pid = _read_pid(Path(f"{lease_file}.pid")) if isinstance(lease_file, str) else None
    if pid and proc.command_name(pid).startswith("kea-lfc"):
        return Obstacle(f"lease-file cleanup is running (kea-lfc, process {pid}) and Kea takes no new file meanwhile")
    return None


def ha_obstacle(status: dict[str, Any]) -> Obstacle | None:
    """Reloading this server is safe only while its partner could take over."""
    reason = ha.obstacle(ha.relationships(status))
    return Obstacle(f"{reason}, so a reload could leave nobody serving") if reason else None


def link_obstacle(interfaces: Iterable[str], net: Path = NET) -> Obstacle | None:
    """Kea opens no socket on an interface that is not running and does not look again: a reload would deafen it there."""
    down = [name for name in interfaces if _is_down(net / name / "operstate")]
    return Obstacle(f"no link on {', '.join(down)}, so a reload would close its sockets for good") if down else None


def silence_obstacle(cpu_seconds: float, longest: float) -> Obstacle | None:
    """Kea answers nobody while it loads a file: what that took in the rehearsal, beside the longest that is allowed (0: any)."""
    if not longest or cpu_seconds <= longest:
        return None
    reason = (
        f"Kea was busy for {cpu_seconds:.2g} s with loading it in the rehearsal, so a reload would leave clients "
        f"without an answer for about as long (gate.longest_silence_seconds = {longest:g})"
    )
    return Obstacle(reason, retry=False)


def _is_down(operstate: Path) -> bool:
    """What the kernel calls running (IFF_RUNNING) is `up`, or `unknown` where there is no carrier to speak of."""
    try:
        return operstate.read_text().strip() not in ("up", "unknown")
    except OSError:
        return False


def _read_pid(path: Path) -> int | None:
    try:
        return int(read_regular(path, 32))
    except (OSError, ValueError):
        return None
