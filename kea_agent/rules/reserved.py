# SPDX-License-Identifier: MPL-2.0
"""What is reserved, and for whom: how Kea reads identifiers (host_reservation_parser.cc, util/str.cc, 2.2.0 to 3.3.0)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kea_agent.keaconf_places import Path
from kea_agent.rules.model import Hosts, Range, address, text

IDENTIFIERS = {
    4: ("hw-address", "duid", "circuit-id", "client-id", "flex-id"),
    6: ("hw-address", "duid", "flex-id"),
}
LONGEST_HW_ADDRESS = 20

# What fits no packet is no client's, whatever it is.
_LONGEST = 4 * 65535

_USUAL = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2})*")
_APART = re.compile(r"[0-9a-f]{1,2}(?::[0-9a-f]{1,2})*|[0-9a-f]{1,2}(?: [0-9a-f]{1,2})*")
_PLAIN = re.compile(r"(?:0x)?([0-9a-f]++)")


def identifier(written: str) -> str | None:
    """An identifier as hexadecimal digits whatever way it is written, None if Kea cannot read it."""
    if len(written) > _LONGEST:
        return written.encode("utf-8", "surrogateescape").hex()
    lower = written.lower()
    if _USUAL.fullmatch(lower):
        return lower.replace(":", "")
    if len(bare := written.strip()) > 2 and bare[0] == bare[-1] == "'":
        return bare[1:-1].encode("utf-8", "surrogateescape").hex()
    if _APART.fullmatch(lower):
        return "".join(part.zfill(2) for part in re.split("[: ]", lower))
    plain = _PLAIN.fullmatch(lower) if not written.startswith("0X") else None
    return plain[1].zfill(len(plain[1]) + len(plain[1]) % 2) if plain else None


class Identity(NamedTuple):
    """Which host has an identifier: its kind, as it is written, and as digits if Kea can read it."""

    at: int
    kind: str
    written: str
    digits: str | None


def identities(hosts: Hosts, family: int) -> list[Identity]:
    """The identifiers of all hosts; read once."""
    if "identities" not in hosts.read:
        hosts.read["identities"] = [
            Identity(index, kind, value, identifier(value))
            for index, host in hosts.maps
            for kind in IDENTIFIERS[family]
            if type(value := host.get(kind)) is str
        ]
    found: list[Identity] = hosts.read["identities"]
    return found


def reserved_addresses(hosts: Hosts, family: int) -> list[tuple[int, Path]]:
    """The addresses of all hosts, and where each is; read once."""
    if "addresses" not in hosts.read:
        hosts.read["addresses"] = list(_addresses(hosts, family))
    found: list[tuple[int, Path]] = hosts.read["addresses"]
    return found


def _addresses(hosts: Hosts, family: int) -> Iterator[tuple[int, Path]]:
    for index, host in hosts.maps:
        if family == 4:
            number = address(text(host, "ip-address"), 4)
            if number is not None:
                yield number, (index, "ip-address")
            continue
        for place, written in _numbered(host.get("ip-addresses")):
            number = address(written, 6)
            if number is not None:
                yield number, (index, "ip-addresses", place)


def reserved_prefixes(hosts: Hosts) -> Iterator[tuple[str, Path]]:
    """The delegated prefixes of all hosts as they are written, and where each is."""
    for index, host in hosts.maps:
        for place, written in _numbered(host.get("prefixes")):
            yield written, (index, "prefixes", place)


def count(numbers: Sequence[int], span: Range) -> int:
    """How many of some numbers, which are in order, are in a range."""
    return bisect_right(numbers, span.last) - bisect_left(numbers, span.first)


def _numbered(value: object) -> Iterator[tuple[int, str]]:
    if type(value) is list:
        yield from ((place, item) for place, item in enumerate(value) if type(item) is str)
