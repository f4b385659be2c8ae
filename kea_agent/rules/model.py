# SPDX-License-Identifier: MPL-2.0
"""A configuration as the rules look at it: any JSON tree in, typed pieces with their paths out.

What has the wrong type is left out: that is Kea's to say (its parser does, for all versions). Addresses are numbers here.
How Kea reads them: src/lib/dhcpsrv/parsers/dhcp_parsers.cc and src/lib/asiolink/io_address.cc, 2.2.0 to 3.3.0.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from kea_agent.keaconf_places import Path
from kea_agent.vocabulary import FREE

Map = Mapping[str, Any]

_CONTAINERS = (dict, list)
_BITS = {4: 32, 6: 128}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_BLANK = re.compile(r"[ \t]+")
_LENGTH = re.compile(r"\+?[0-9]{1,6}", re.ASCII)
# What inet_pton refuses and Kea may read, or the other way round: rules say nothing about it.
_ODD = re.compile(r"[^0-9A-Za-z:./-]")


class Node(NamedTuple):
    """A map and the way to it."""

    path: Path
    map: Map

    def nodes(self, key: str) -> Iterator[Node]:
        """The maps in the list under a key."""
        listed = self.map.get(key)
        for index, item in enumerate(listed if type(listed) is list else ()):
            if type(item) is dict:
                yield Node((*self.path, key, index), item)

    def node(self, key: str) -> Node | None:
        """The map under a key."""
        value = self.map.get(key)
        return Node((*self.path, key), value) if type(value) is dict else None

    def text(self, key: str) -> str | None:
        """The string under a key."""
        return text(self.map, key)

    def at(self, *steps: str | int) -> Path:
        """The way to something below."""
        return (*self.path, *steps)


class Range(NamedTuple):
    """Addresses from `first` to `last`; `length` where it was written as a prefix, `address` the one written there."""

    first: int
    last: int
    length: int | None = None
    address: int = 0

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def has_host_bits(self) -> bool:
        return self.length is not None and self.address != self.first

    def holds(self, other: Range) -> bool:
        return self.first <= other.first and other.last <= self.last

    def overlaps(self, other: Range) -> bool:
        return self.first <= other.last and other.first <= self.last


class Subnet(NamedTuple):
    """A subnet, its shared network if it is in one, and its prefix if it can be read."""

    node: Node
    network: Node | None
    prefix: Range | None


class Pool(NamedTuple):
    """An address pool or (with `delegated`, its delegated length) a prefix delegation pool."""

    node: Node
    range: Range | None
    delegated: int | None = None


class Hosts(NamedTuple):
    """The reservations of one subnet, or the global ones (`subnet` None), by their index. `read`: rules.reserved's."""

    owner: Node
    subnet: Subnet | None
    maps: list[tuple[int, Map]]
    read: dict[str, Any]

    def path(self, index: int, *steps: str | int) -> Path:
        return self.owner.at("reservations", index, *steps)


class Config:
    """One daemon's configuration. `version` None: any Kea from 2.2 on; `previous`: the tree before this one, if known.

    `environment` and `argv` are those of the daemon's unit, None and empty where the host is not known.
    """

    def __init__(
        self,
        daemon: str,
        root_key: str,
        tree: Map,
        *,
        version: tuple[int, int, int] | None = None,
        previous: Map | None = None,
        environment: Mapping[str, str] | None = None,
        argv: Sequence[str] = (),
    ) -> None:
        self.daemon = daemon
        self.version = version
        self.family = {"dhcp4": 4, "dhcp6": 6}.get(daemon, 0)
        root = tree.get(root_key)
        self.root = Node((root_key,), root if type(root) is dict else {})
        self.previous = previous
        self.environment = environment
        # What was found once and is asked for by several rules.
        self.read: dict[str, Any] = {}
        self._by_stem: dict[str, Node | None] = {}
        # -X (3.0 and later): Kea does not enforce its own security rules.
        self.is_unconfined = "-X" in argv

    @cached_property
    def networks(self) -> list[Node]:
        return list(self.root.nodes("shared-networks"))

    @cached_property
    def subnets(self) -> list[Subnet]:
        key = f"subnet{self.family}"
        owners = [(self.root, None), *((network, network) for network in self.networks)]
        return [
            Subnet(node, network, prefix(text(node.map, "subnet"), self.family))
            for owner, network in owners
            for node in owner.nodes(key)
        ]

    @cached_property
    def pools(self) -> list[tuple[Subnet, list[Pool]]]:
        """The address pools of each subnet that has some."""
        listed = ((subnet, [self._pool(node) for node in subnet.node.nodes("pools")]) for subnet in self.subnets)
        return [(subnet, pools) for subnet, pools in listed if pools]

    @cached_property
    def pd_pools(self) -> list[tuple[Subnet, list[Pool]]]:
        """The prefix delegation pools of each subnet that has some."""
        listed = ((subnet, [_pd_pool(node) for node in subnet.node.nodes("pd-pools")]) for subnet in self.subnets)
        return [(subnet, pools) for subnet, pools in listed if pools]

    @cached_property
    def pools_by_path(self) -> dict[Path, list[Pool]]:
        return {subnet.node.path: pools for subnet, pools in self.pools}

    @cached_property
    def pd_pools_by_path(self) -> dict[Path, list[Pool]]:
        return {subnet.node.path: pools for subnet, pools in self.pd_pools}

    @cached_property
    def hosts(self) -> list[Hosts]:
        """Everybody who has reservations in the file."""
        owners: list[tuple[Node, Subnet | None]] = [(self.root, None), *((each.node, each) for each in self.subnets)]
        found = (Hosts(node, subnet, _indexed(node.map.get("reservations")), {}) for node, subnet in owners)
        return [hosts for hosts in found if hosts.maps]

    @cached_property
    def hooks(self) -> list[Node]:
        return list(self.root.nodes("hooks-libraries"))

    @cached_property
    def keywords(self) -> frozenset[str]:
        """Every key that has to be a keyword, wherever it stands."""
        found: set[str] = set()
        waiting: list[Any] = [self.root.map]
        while waiting:
            node = waiting.pop()
            if type(node) is list:
                waiting += node
            elif type(node) is dict:
                found.update(node)
                waiting += [item for key, item in node.items() if type(item) in _CONTAINERS and key not in FREE]
        return frozenset(found)

    def hook(self, stem: str) -> Node | None:
        """The hook library whose file name starts with `libdhcp_STEM.`; looked for once."""
        if stem not in self._by_stem:
            named = f"/libdhcp_{stem}."
            self._by_stem[stem] = next((hook for hook in self.hooks if named in f"/{hook.text('library') or ''}"), None)
        return self._by_stem[stem]

    @cached_property
    def relationships(self) -> list[Node]:
        """The High Availability relationships, where the hook is loaded."""
        hook = self.hook("ha")
        parameters = hook.node("parameters") if hook else None
        return list(parameters.nodes("high-availability")) if parameters else []

    @cached_property
    def databases(self) -> list[Node]:
        """Where leases and reservations are, other than in the file."""
        singles = [self.root.node(key) for key in ("lease-database", "hosts-database")]
        return [*(node for node in singles if node), *self.root.nodes("hosts-databases")]

    @property
    def has_unseen_hosts(self) -> bool:
        """Whether there may be reservations, or subnets, that are not in the file."""
        keys = ("hosts-database", "hosts-databases", "config-control")
        return any(self.root.map.get(key) for key in keys) or self.hook("radius") is not None

    def flag(self, key: str, default: bool, *owners: Node | None) -> bool:
        """A boolean by the nearest of its owners that has it (nearest first), at last the global one."""
        for owner in (*owners, self.root):
            value = owner.map.get(key) if owner else None
            if type(value) is bool:
                return value
        return default

    def _pool(self, node: Node) -> Pool:
        return Pool(node, pool_range(node.text("pool"), self.family))


def text(owner: Map, key: str) -> str | None:
    """The string under a key."""
    value = owner.get(key)
    return value if type(value) is str else None


def integer(owner: Map, key: str) -> int | None:
    """The integer under a key; true and false are none."""
    value = owner.get(key)
    return value if type(value) is int else None


def strings(value: object) -> list[str]:
    """The strings in a list."""
    return [item for item in value if type(item) is str] if type(value) is list else []


def address(written: str | None, family: int) -> int | None:
    """An address as a number, None if it is not one of this family."""
    if written is None:
        return None
    try:
        return int.from_bytes(socket.inet_pton(_FAMILY[family], written), "big")
    except (OSError, ValueError):
        return None


def spelled(number: int, family: int) -> str:
    """The address behind a number."""
    return socket.inet_ntop(_FAMILY[family], number.to_bytes(_BITS[family] // 8, "big"))


def prefix(written: str | None, family: int) -> Range | None:
    """`192.0.2.0/24` as a range, None if it is no prefix of this family."""
    if written is None:
        return None
    start, slash, length = _BLANK.sub("", written).partition("/")
    number = address(start, family)
    if number is None or not slash or not _LENGTH.fullmatch(length) or int(length) > _BITS[family]:
        return None
    return _range(number, int(length), family)


def pool_range(written: str | None, family: int) -> Range | None:
    """A pool, as a prefix or as `first - last`; None if it is neither."""
    if written is None:
        return None
    if "/" in written:
        found = prefix(written, family)
        return found if found and found.length else None
    first, _, last = _BLANK.sub("", written).partition("-")
    low, high = address(first, family), address(last, family)
    return Range(low, high) if low is not None and high is not None and low <= high else None


def is_odd(written: str) -> bool:
    """Whether an address is written with signs that only Kea knows what to make of (zones, controls)."""
    return bool(_ODD.search(_BLANK.sub("", written)))


def _range(number: int, length: int, family: int) -> Range:
    mask = (1 << (_BITS[family] - length)) - 1
    return Range(number & ~mask, number | mask, length, number)


def _pd_pool(node: Node) -> Pool:
    number, length = address(node.text("prefix"), 6), integer(node.map, "prefix-len")
    delegated = integer(node.map, "delegated-len")
    if number is None or length is None or not 0 < length <= 128:
        return Pool(node, None, delegated)
    return Pool(node, _range(number, length, 6), delegated)


def _indexed(value: object) -> list[tuple[int, Map]]:
    return [(index, item) for index, item in enumerate(value if type(value) is list else ()) if type(item) is dict]
