# SPDX-License-Identifier: MPL-2.0
"""The changes from one configuration to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kea_agent.diff import running
from kea_agent.diff.forms import normal
from kea_agent.diff.identity import has_members, label, members, option_codes

Tree = dict[str, Any]

# What the two hosts of a pair have each for itself: which one it is, its interfaces and addresses, its certificate.
HOST_LOCAL = frozenset((
    "this-server-name", "interfaces-config", "interface", "server-id", "server-tag", "socket-address", "http-host",
    "cert-file", "key-file",
))  # fmt: skip
_MISSING: Any = object()


class Kind(StrEnum):
    """What happened to a thing or a value."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class Change:
    """One difference. `path`: the keys and the names of things on the way; `before` and `after` are as in config-get."""

    path: tuple[str, ...]
    kind: Kind
    before: Any = None
    after: Any = None


def changes(before: Tree, after: Tree, *, before_runs: bool = False, after_runs: bool = False) -> list[Change]:
    """What differs in meaning between the inside of two configurations (of `Dhcp4` and so on).

    `before_runs`, `after_runs`: that side is a config-get, with everything in it that Kea adds by itself; with both it
    is compared as it is.
    """
    old, new = normal(before), normal(after)
    codes = option_codes(old, new)
    _number(old, new)
    if before_runs and not after_runs:
        old, new = running.said(old, new), running.wanted(new, old)
    if after_runs and not before_runs:
        new, old = running.said(new, old), running.wanted(old, new)
    return list(_maps(_flat(old), _flat(new), (), codes))


def without_host_local(tree: Any) -> Any:
    """The configuration without what each host of a pair has for itself."""
    if isinstance(tree, list):
        return [without_host_local(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: without_host_local(value) for key, value in tree.items() if key not in HOST_LOCAL}


def _flat(tree: Tree) -> Tree:
    """Every subnet in one list, with the name of its shared network: one that moves is the same subnet still."""
    key = next((key for key in ("subnet4", "subnet6") if key in tree or _networks(tree)), None)
    if key is None:
        return tree
    key = "subnet6" if any("subnet6" in network for network in _networks(tree)) else key
    inside = [
        {**subnet, "shared-network": network.get("name")}
        for network in _networks(tree)
        for subnet in _items(network.get(key))
        if isinstance(subnet, dict)
    ]
    networks = [{name: value for name, value in network.items() if name != key} for network in _networks(tree)]
    return tree | {key: [*_items(tree.get(key)), *inside], "shared-networks": networks}


def _networks(tree: Tree) -> list[Tree]:
    found = tree.get("shared-networks")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _number(old: Tree, new: Tree) -> None:
    """A subnet without an id (Kea before 3.0 numbers it by itself) has that of the same prefix on the other side."""
    for one, other in ((old, new), (new, old)):
        ids = {str(subnet.get("subnet")): subnet["id"] for subnet in _subnets(other) if subnet.get("id")}
        for subnet in _subnets(one):
            if not subnet.get("id") and (known := ids.get(str(subnet.get("subnet")))):
                subnet["id"] = known


def _subnets(tree: Tree) -> list[Tree]:
    lists = (place.get(key) for place in (tree, *_networks(tree)) for key in ("subnet4", "subnet6"))
    return [item for found in lists if isinstance(found, list) for item in found if isinstance(item, dict)]


def _maps(old: Tree, new: Tree, path: tuple[str, ...], codes: dict[tuple[str, str], str]) -> Iterator[Change]:
    for key in dict.fromkeys([*old, *new]):
        yield from _values(key, old.get(key, _MISSING), new.get(key, _MISSING), (*path, key), codes)


def _values(key: str, old: Any, new: Any, path: tuple[str, ...], codes: dict[tuple[str, str], str]) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _maps(old, new, path, codes)
    elif _is_list(old) and _is_list(new) and has_members(key, _items(old) + _items(new)):
        yield from _lists(key, _items(old), _items(new), path, codes)
    elif old is _MISSING:
        yield Change(path, Kind.ADDED, after=new)
    elif new is _MISSING:
        yield Change(path, Kind.REMOVED, before=old)
    elif not _is_same(old, new):
        yield Change(path, Kind.CHANGED, old, new)


def _is_list(value: Any) -> bool:
    return value is _MISSING or isinstance(value, list)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _lists(
    key: str, old: list[Any], new: list[Any], path: tuple[str, ...], codes: dict[tuple[str, str], str]
) -> Iterator[Change]:
    before, after = members(key, old, codes), members(key, new, codes)
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name, _MISSING), after.get(name, _MISSING)
        place = label(key, name, one if other is _MISSING else other)
        yield from _values("", one, other, (*path[:-1], place), codes)


def _is_same(old: Any, new: Any) -> bool:
    # In Python, True equals 1.
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)
