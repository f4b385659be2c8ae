# SPDX-License-Identifier: MPL-2.0
"""How the real unit runs the daemon: everything that the rehearsed one gets too, and nothing more.

Read from systemd, drop-ins included, so nobody but root has a say in it.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kea_agent import units
from kea_agent.daemons import Daemon
from kea_agent.sandbox.request import NotRehearsedError

# The limits that are taken over, as prlimit(1) calls them; systemd says LimitNOFILE and so on.
LIMITS = {
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_STACK: "stack",
    resource.RLIMIT_AS: "as",
    resource.RLIMIT_DATA: "data",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_MEMLOCK: "memlock",
}
# systemd.exec(5): where the directories of a unit are, and what the daemon is told of them.
_DIRECTORIES = {
    "RuntimeDirectory": ("/run", "RUNTIME_DIRECTORY"),
    "StateDirectory": ("/var/lib", "STATE_DIRECTORY"),
    "CacheDirectory": ("/var/cache", "CACHE_DIRECTORY"),
    "LogsDirectory": ("/var/log", "LOGS_DIRECTORY"),
    "ConfigurationDirectory": ("/etc", "CONFIGURATION_DIRECTORY"),
}
_WANTED = {
    **dict.fromkeys(("User", "Group", "RootDirectory", "RootImage"), ("Service", "s")),
    "SupplementaryGroups": ("Service", "as"),
    "AmbientCapabilities": ("Service", "t"),
    "UMask": ("Service", "u"),
    **{f"Limit{name}{soft}": ("Service", "t") for name in map(str.upper, LIMITS.values()) for soft in ("", "Soft")},
    **dict.fromkeys(_DIRECTORIES, ("Service", "as")),
}
_NO_LIMIT = (1 << 64) - 1


class SystemBus(units.SystemBus, Protocol):
    """What this module needs of bus.Bus besides."""

    def properties(self, path: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Identity:
    """The daemon's process as the unit would start it; `capabilities` and `umask` as bits, limits as (soft, hard)."""

    unit: str
    config_file: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int
    umask: int
    limits: Mapping[int, tuple[int, int]]
    directories: tuple[str, ...]


def identity(bus: SystemBus, daemon: Daemon, unit_name: str | None, configured: str | None) -> Identity:
    """The daemon's own unit; raises NotRehearsedError where a rehearsal would say nothing, BusError."""
    unit = units.discover(bus, daemon, unit_name)
    if unit is None or unit.load_state != "loaded" or not unit.argv:
        name = unit.name if unit else unit_name or f"a unit of {daemon.binary}"
        raise NotRehearsedError(f"{name} cannot be started on this host ({unit.state if unit else 'not found'})")
    found = bus.properties(unit.path, _WANTED)
    if found.get("RootDirectory") or found.get("RootImage"):
        raise NotRehearsedError(f"{unit.name} has its own root directory, which a rehearsal cannot give it")
    account = _account(unit.name, str(found.get("User", "")))
    return Identity(
        unit=unit.name,
        config_file=units.config_file(daemon, unit, configured),
        argv=unit.argv,
        environment=_environment(unit, account, found),
        user=account.pw_name,
        uid=account.pw_uid,
        gid=_group(found.get("Group") or account.pw_gid),
        groups=_groups(account, found.get("SupplementaryGroups", [])),
        capabilities=int(found.get("AmbientCapabilities", 0)) | _file_capabilities(unit.argv[0]),
        umask=int(found.get("UMask", 0o022)),
        limits=_limits(found),
        directories=tuple(path for name in _DIRECTORIES if name != "ConfigurationDirectory" for path in _paths(found, name)),
    )  # fmt: skip


def _account(unit: str, user: str) -> pwd.struct_passwd:
    try:
        account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user or "root")
    except KeyError as error:
        raise NotRehearsedError(f"{unit} runs as {user}, which is no user of this host") from error
    if account.pw_uid == 0:
        raise NotRehearsedError(f"{unit} runs as root, and no rehearsal does: give it a user of its own (User=)")
    return account


def _group(name: str | int) -> int:
    try:
        return int(name) if str(name).isdecimal() else grp.getgrnam(str(name)).gr_gid
    except KeyError as error:
        raise NotRehearsedError(f"{name} is no group of this host") from error


def _groups(account: pwd.struct_passwd, supplementary: list[str]) -> tuple[int, ...]:
    # systemd gives the groups of the user database and its own.
    of_user = os.getgrouplist(account.pw_name, account.pw_gid)
    return tuple(sorted({*of_user, *(_group(name) for name in supplementary)}))


def _paths(found: Mapping[str, Any], name: str) -> list[str]:
    return [f"{_DIRECTORIES[name][0]}/{path}" for path in found.get(name, [])]


def _environment(unit: units.Unit, account: pwd.struct_passwd, found: Mapping[str, Any]) -> dict[str, str]:
    """What systemd would set, and over it what the unit does."""
    listed = {
        variable: ":".join(_paths(found, name)) for name, (_, variable) in _DIRECTORIES.items() if found.get(name)
    }
    own = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "USER": account.pw_name}
    return {**own, "LOGNAME": account.pw_name, "HOME": account.pw_dir, **listed, **unit.environment}


def _limits(found: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    return {
        number: (_limit(found[f"Limit{name.upper()}Soft"]), _limit(found[f"Limit{name.upper()}"]))
        for number, name in LIMITS.items()
        if f"Limit{name.upper()}" in found and f"Limit{name.upper()}Soft" in found
    }


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value == _NO_LIMIT else value


def _file_capabilities(binary: str) -> int:
    """What the program has by setcap(8): it could not be given to a process that may gain no privileges."""
    try:
        raw = os.getxattr(binary, "security.capability")
    except OSError:
        return 0
    # linux/capability.h, struct vfs_cap_data: magic, then permitted and inheritable, the low words first.
    words = struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
    return words[1] | (words[3] << 32 if len(words) > 3 else 0) if len(words) > 2 else 0
