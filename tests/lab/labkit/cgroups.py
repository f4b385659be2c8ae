# SPDX-License-Identifier: MPL-2.0
"""Control groups: one for each node, so that nodes do not see each other's and a lab dies as a whole.

Two nspawn containers that are started from one cgroup would share the cgroup "payload", and with it every
unit's cgroup: stopping a service on one node would kill it on the other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from . import host
from .spec import LabError

KILL_SECONDS = 10.0


def top() -> Path:
    """Where the machine has its unified hierarchy, alone or beside the old ones."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(point)
    raise LabError("no cgroup2 hierarchy is mounted on this machine")


def of_lab(name: str) -> Path:
    """The cgroup of a lab."""
    return top() / "kea-agent-lab" / name


def create(group: Path) -> Path:
    """Make a cgroup, with the controllers that the machine can give to it."""
    group.mkdir(parents=True, exist_ok=True)
    for parent in reversed(group.relative_to(top()).parents):
        _pass_on_controllers(top() / parent)
    return group


def _pass_on_controllers(group: Path) -> None:
    for controller in (group / "cgroup.controllers").read_text().split():
        with suppress(OSError):  # a controller that is in use elsewhere: the nodes do without
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def enter_and_exec(group: Path, *argv: str | Path) -> list[str]:
    """The command line that moves itself into a cgroup, then becomes the command."""
    return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(group), *map(str, argv)]


def pids(group: Path) -> list[int]:
    """The processes in a cgroup itself; none where it does not exist."""
    try:
        return [int(word) for word in (group / "cgroup.procs").read_text().split()]
    except OSError:  # gone, or going: reading then says "no such device"
        return []


def below(group: Path) -> list[Path]:
    """A cgroup and all below it, leaves first. os.walk, unlike rglob, bears that they vanish meanwhile."""
    return [Path(directory) for directory, _, _ in os.walk(group, topdown=False)]


def destroy(group: Path) -> None:
    """Kill everything in a cgroup and below it, at once, and remove it."""
    if not group.is_dir():
        return
    (group / "cgroup.kill").write_text("1")
    for left in host.wait_for(KILL_SECONDS, every=0.02):
        if "populated 0" in (group / "cgroup.events").read_text():
            break
        if not left:
            raise LabError(
                f"processes in {group} cannot be killed: {[pid for child in below(group) for pid in pids(child)]}"
            )
    _remove(group)


def _remove(group: Path) -> None:
    """Cgroups go from the leaves up; the parent that all labs share goes with the last of them."""
    for directory in (*below(group), group.parent):
        with suppress(OSError):
            directory.rmdir()
