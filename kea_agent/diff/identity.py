# SPDX-License-Identifier: MPL-2.0
"""What makes two members of a list the same thing, whatever their order and whatever else about them changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Tree = dict[str, Any]
Named = Callable[[Tree], str]

_IDENTIFIERS = ("hw-address", "duid", "circuit-id", "client-id", "flex-id")


def _of(*keys: str) -> Named:
    """The values of the keys that are there, as one name."""

    def name(item: Tree) -> str:
        return " ".join(str(item[key]) for key in keys if item.get(key) not in (None, ""))

    return name


def _reservation(item: Tree) -> str:
    found = next((key for key in _IDENTIFIERS if item.get(key)), None)
    return f"{found} {item[found]}" if found else _of("ip-address", "ip-addresses", "hostname")(item)


def _library(item: Tree) -> str:
    return str(item.get("library", "")).rpartition("/")[2]


def _prefix_pool(item: Tree) -> str:
    return f"{item.get('prefix')}/{item.get('prefix-len')}"


def _relationship(item: Tree) -> str:
    """An HA relationship is known by its peers (hub and spoke has several)."""
    peers = item.get("peers")
    names = [str(peer.get("name")) for peer in peers if isinstance(peer, dict)] if isinstance(peers, list) else []
    return "+".join(sorted(names))


_MEMBERS: dict[str, Named] = {
    "pools": _of("pool"),
    "pd-pools": _prefix_pool,
    "reservations": _reservation,
    "option-def": lambda item: f"{_space(item)} {item.get('code')}".strip(),
    "client-classes": _of("name"),
    "shared-networks": _of("name"),
    "hooks-libraries": _library,
    "loggers": _of("name"),
    "output-options": _of("output"),
    "ddns-domains": _of("name", "key-name"),
    "dns-servers": _of("ip-address"),
    "tsig-keys": _of("name"),
    "control-sockets": _of("socket-type", "socket-name", "socket-address", "socket-port"),
    "lease-databases": _of("type", "host", "name"),
    "hosts-databases": _of("type", "host", "name"),
    "config-databases": _of("type", "host", "name"),
    "peers": _of("name"),
    "high-availability": _relationship,
    "clients": _of("user", "user-file"),
}
# Lists whose order says nothing.
_SETS = ("interfaces", "ip-addresses", "client-classes")


def has_members(key: str, items: list[Any]) -> bool:
    """Whether it is a list of things, and not one value in several parts whose order says something."""
    return key in _SETS or any(isinstance(item, dict) for item in items)


def members(key: str, items: list[Any], codes: dict[tuple[str, str], str]) -> dict[str, Any]:
    """The list as a map from name to member; without a better name a member is itself, or its place.

    `codes`: option space and name to code, as far as known.
    """
    named = _option_named(codes) if key == "option-data" else _subnet if key.startswith("subnet") else _MEMBERS.get(key)
    return dict(_distinct((_name(named, item, place), item) for place, item in enumerate(items)))


def label(key: str, name: str, item: Any) -> str:
    """The name with what a person knows the thing by."""
    known_by = {"option-data": "name", "subnet4": "subnet", "subnet6": "subnet"}.get(key)
    more = item.get(known_by) if isinstance(item, dict) and known_by else None
    return f"{key} {name} ({more})" if more and str(more) != name else f"{key} {name}"


def _subnet(item: Tree) -> str:
    """By id; one that Kea shall number is known by its prefix."""
    return f"id {item['id']}" if item.get("id") else str(item.get("subnet"))


def _name(named: Named | None, item: Any, place: int) -> str:
    if not isinstance(item, dict):
        return json.dumps(item, sort_keys=True)
    return (named and named(item)) or f"#{place + 1}"


def _distinct(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Two members with one name stay two."""
    seen: dict[str, int] = {}
    for name, item in pairs:
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} (number {seen[name]})"), item


def _option_named(codes: dict[tuple[str, str], str]) -> Named:
    def name(item: Tree) -> str:
        space, own = _space(item), str(item.get("name") or "")
        code = str(item.get("code") or codes.get((space, own)) or own)
        tags = item.get("client-classes")
        return " ".join(filter(None, (space, code, json.dumps(tags) if tags else "")))

    return name


def option_codes(*trees: Any) -> dict[tuple[str, str], str]:
    """Which name stands for which code, from every option that has both."""
    return {found[:2]: found[2] for tree in trees for found in _codes(tree)}


def _codes(node: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, dict):
        if node.get("name") and node.get("code") and ("data" in node or "space" in node):
            yield _space(node), str(node["name"]), str(node["code"])
        node = list(node.values())
    for item in node if isinstance(node, list) else ():
        yield from _codes(item)


def _space(option: Tree) -> str:
    """The option space; the server's own one may be left out."""
    space = str(option.get("space") or "")
    return "" if space in ("dhcp4", "dhcp6") else space
