# SPDX-License-Identifier: MPL-2.0
"""What a daemon writes and what it reads, from its configuration and environment; no file is looked at here.

Facts: src/lib/util/filesystem.cc and the hooks' parameters, Kea 2.2 to 3.3; where Kea looks by default, its
build (meson.build) as packaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Variable, and the directory of the packages where it is not set. `none` is a value of the second.
_DIRECTORIES = {
    "KEA_PIDFILE_DIR": "/run/kea",
    "KEA_LOCKFILE_DIR": "/run/kea",
    "KEA_CONTROL_SOCKET_DIR": "/run/kea",
    "KEA_LOG_FILE_DIR": "/var/log/kea",
    "KEA_LEGAL_LOG_DIR": "/var/log/kea",
    "KEA_DHCP_DATA_DIR": "/var/lib/kea",
}
_DEFAULT_LEASES = ("kea-leases4.csv", "kea-leases6.csv")
# Of loggers, control sockets, and of hooks: a file each. Then those whose value is a directory.
_FILE_KEYS = {"output", "socket-name", "session-history-filename"}
_DIRECTORY_KEYS = {"path", "data-directory"}


@dataclass(frozen=True)
class Plan:
    """Absolute paths: `directories` in which something is written, `targets` the files that are, and all else that is
    `named` in the configuration and may be read."""

    directories: tuple[str, ...]
    targets: frozenset[str]
    named: tuple[str, ...]


def plan(root: Mapping[str, Any], environment: Mapping[str, str], directories: Sequence[str]) -> Plan:
    """For the map under the root key; `directories` are those that the unit has."""
    own = {name: environment.get(name, default) for name, default in _DIRECTORIES.items()}
    data = _text(root, "data-directory") or own["KEA_DHCP_DATA_DIR"]
    targets = {path for path in _targets(root, data) if _is_absolute(path)}
    found = [*directories, *own.values(), data, *_under(root, _DIRECTORY_KEYS), *map(os.path.dirname, targets)]
    absolute = dict.fromkeys(os.path.normpath(path) for path in found if _is_absolute(path))
    return Plan(tuple(sorted(absolute)), frozenset(targets), tuple(dict.fromkeys(_paths(root))))


def is_target(path: str, targets: frozenset[str]) -> bool:
    """Whether the daemon writes this file: one of the targets, or one that belongs to one (`leases.csv.2`)."""
    return any(path == target or path.startswith(f"{target}.") for target in targets)


def _targets(root: Mapping[str, Any], data: str) -> Iterator[str]:
    yield from (os.path.join(data, name) for name in _DEFAULT_LEASES)
    leases = root.get("lease-database")
    if isinstance(leases, dict) and leases.get("type") == "memfile" and _text(leases, "name"):
        yield os.path.join(data, leases["name"])
    yield from _under(root, _FILE_KEYS)


def _under(tree: object, keys: set[str]) -> Iterator[str]:
    """The strings under certain keys, wherever they stand."""
    if isinstance(tree, dict):
        yield from (value for key, value in tree.items() if key in keys and isinstance(value, str))
    for value in _children(tree):
        yield from _under(value, keys)


def _paths(tree: object) -> Iterator[str]:
    if isinstance(tree, str) and _is_absolute(tree):
        yield os.path.normpath(tree)
    for value in _children(tree):
        yield from _paths(value)


def _children(tree: object) -> Iterator[object]:
    if isinstance(tree, dict):
        yield from tree.values()
    elif isinstance(tree, list):
        yield from tree


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and "\0" not in path and len(path) < 4096


def _text(section: Mapping[str, Any], key: str) -> str | None:
    value = section.get(key)
    return value if isinstance(value, str) and value else None
