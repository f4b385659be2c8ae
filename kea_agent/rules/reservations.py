# SPDX-License-Identifier: MPL-2.0
"""Host reservations. Measured with `-t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kea_agent.keaconf_places import Path
from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.model import Config, Hosts, address, is_odd, prefix, spelled, strings, text
from kea_agent.rules.reserved import (
    IDENTIFIERS,
    LONGEST_HW_ADDRESS,
    count,
    identities,
    reserved_addresses,
    reserved_prefixes,
)
from kea_agent.rules.words import listed, quoted

# config_defaults: Kea's simple_parser4.cc and simple_parser6.cc
_SEARCHED = {4: {"hw-address", "duid", "circuit-id", "client-id"}, 6: {"hw-address", "duid"}}


@rule(
    "reservation-identifier-bad",
    Severity.ERROR,
    says="The hardware address or another identifier of a reservation cannot be read; Kea refuses the file.",
    do='Write it as "00:0c:01:02:03:04", as hexadecimal digits, or (not for hardware) as "\'text\'".',
)
def _identifier_bad(config: Config) -> Iterator[Problem]:
    for hosts in config.hosts:
        for index, kind, written, digits in identities(hosts, config.family):
            if problem := _identifier_problem(kind, written, digits):
                yield Problem(hosts.path(index, kind), problem)


def _identifier_problem(kind: str, written: str, digits: str | None) -> str | None:
    if digits is None:
        # What is written with quotes in odd places is Kea's own business.
        return f"{quoted(written)} is no {kind}" if "'" not in written.strip("'") else None
    if kind == "hw-address" and len(digits) > 2 * LONGEST_HW_ADDRESS:
        return f"{quoted(written)} is longer than {LONGEST_HW_ADDRESS} bytes"
    return None


@rule(
    "reservation-identifier-missing",
    Severity.ERROR,
    says="A reservation has no identifier, or more than one; Kea refuses the file.",
    do="Give it exactly one of the identifiers (hw-address, duid, client-id, circuit-id, flex-id).",
)
def _identifier_missing(config: Config) -> Iterator[Problem]:
    kinds = IDENTIFIERS[config.family]
    for hosts in config.hosts:
        for index, host in hosts.maps:
            there = [kind for kind in kinds if kind in host]
            if len(there) != 1:
                what = f"has {listed(there)} and may have one" if there else "has no identifier"
                yield Problem(hosts.path(index), f"the reservation {what}")


@rule(
    "reservation-identifier-duplicate",
    Severity.ERROR,
    says="Two reservations of a subnet are for the same client; Kea refuses the file.",
    do="Make one reservation of them, or mend the identifier.",
)
def _identifier_duplicate(config: Config) -> Iterator[Problem]:
    for hosts in config.hosts:
        seen: set[tuple[str, str]] = set()
        for index, kind, written, digits in identities(hosts, config.family):
            if digits and (kind, digits) in seen:
                yield Problem(hosts.path(index, kind), f"{kind} {quoted(written)} has a reservation here already")
            seen.add((kind, digits or ""))


@rule(
    "reservation-address-bad",
    Severity.ERROR,
    says="The address of a reservation cannot be one; Kea refuses the file.",
    do="Write one address of the subnet.",
)
def _address_bad(config: Config) -> Iterator[Problem]:
    for hosts in config.hosts:
        for index, host in hosts.maps:
            if config.family == 4:
                written = text(host, "ip-address")
                if written is not None and _is_no_address(written, 4):
                    yield Problem(hosts.path(index, "ip-address"), f"{quoted(written)} cannot be reserved")
                continue
            for place, each in enumerate(strings(host.get("ip-addresses"))):
                if _is_no_address(each, 6):
                    yield Problem(hosts.path(index, "ip-addresses", place), f"{quoted(each)} cannot be reserved")


def _is_no_address(written: str, family: int) -> bool:
    number = address(written, family)
    if number is None:
        return not is_odd(written) and " " not in written
    return family == 4 and number in (0, 2**32 - 1)


@rule(
    "reservation-address-duplicate",
    Severity.ERROR,
    says="An address or prefix is reserved twice in a subnet; Kea refuses the file.",
    do='Give each client its own, or set "ip-reservations-unique": false where they are never there at the same time.',
)
def _address_duplicate(config: Config) -> Iterator[Problem]:
    if config.root.map.get("ip-reservations-unique") is False:
        return
    for hosts in config.hosts:
        yield from _twice(hosts, reserved_addresses(hosts, config.family), config.family)
        if config.family == 6:
            read = ((prefix(written, 6), path) for written, path in reserved_prefixes(hosts))
            # Kea compares the address alone, whatever the length.
            yield from _twice(hosts, ((found.address, path) for found, path in read if found), 6)


def _twice(hosts: Hosts, places: Iterable[tuple[int, Path]], family: int) -> Iterator[Problem]:
    seen: set[int] = set()
    for number, path in places:
        if number in seen:
            message = f"{spelled(number, family)} is reserved for another client already"
            yield Problem(hosts.path(int(path[0]), *path[1:]), message)
        seen.add(number)


@rule(
    "reservation-outside-subnet",
    Severity.ERROR,
    says="A reserved address is not in the subnet of its reservation; Kea refuses the file.",
    do="Mend the address, or move the reservation to the subnet that it is for.",
)
def _outside_subnet(config: Config) -> Iterator[Problem]:
    for hosts in config.hosts:
        span = hosts.subnet.prefix if hosts.subnet else None
        if hosts.subnet is None or span is None:
            continue
        for number, path in reserved_addresses(hosts, config.family):
            if not span.first <= number <= span.last:
                where = quoted(hosts.subnet.node.text("subnet"))
                message = f"{spelled(number, config.family)} is not in subnet {where}"
                yield Problem(hosts.path(int(path[0]), *path[1:]), message)


@rule(
    "reservations-out-of-pool",
    Severity.INFO,
    says="All reserved addresses of a subnet are outside of its pools, and Kea looks reservations up for every address all the same.",
    do='Set "reservations-out-of-pool": true for the subnet: it is faster.',
)
def _out_of_pool(config: Config) -> Iterator[Problem]:
    for hosts in config.hosts:
        if hosts.subnet is None or config.flag("reservations-out-of-pool", False, hosts.owner, hosts.subnet.network):
            continue
        pools = [pool.range for pool in config.pools_by_path.get(hosts.owner.path, ()) if pool.range]
        numbers = sorted(number for number, _ in reserved_addresses(hosts, config.family))
        if pools and numbers and not any(count(numbers, pool) for pool in pools):
            yield Problem(hosts.owner.at("reservations"), "all reserved addresses are outside of the pools")


@rule(
    "reservations-ignored",
    Severity.WARNING,
    says="There are reservations at a level where Kea is told not to look for any.",
    do='Set "reservations-global": true for global ones, "reservations-in-subnet": true for those of a subnet.',
)
def _ignored(config: Config) -> Iterator[Problem]:
    for hosts in config.hosts:
        if hosts.subnet is None:
            if not _looks_for_global(config):
                yield Problem(hosts.owner.at("reservations"), 'nothing sets "reservations-global" to true')
        elif not config.flag("reservations-in-subnet", True, hosts.owner, hosts.subnet.network):
            yield Problem(hosts.owner.at("reservations"), '"reservations-in-subnet" is false here')


def _looks_for_global(config: Config) -> bool:
    """Also by the keyword of Kea 2.2 and 2.4, and where the lookup comes before the subnet is known."""
    levels = [config.root, *config.networks, *(subnet.node for subnet in config.subnets)]
    keys = ("reservations-global", "reservation-mode", "early-global-reservations-lookup")
    return any(level.map.get(key) for level in levels for key in keys)


@rule(
    "reservation-identifier-unsearched",
    Severity.WARNING,
    says="Kea is not told to look for reservations by this kind of identifier, so the client never gets its own.",
    do='Add the kind to "host-reservation-identifiers".',
)
def _unsearched(config: Config) -> Iterator[Problem]:
    told = config.root.map.get("host-reservation-identifiers")
    searched = set(strings(told)) if type(told) is list else _SEARCHED[config.family]
    unsearched = [kind for kind in IDENTIFIERS[config.family] if kind not in searched and "auto" not in searched]
    for hosts in config.hosts if unsearched else ():
        for index, host in hosts.maps:
            for kind in unsearched:
                if kind in host:
                    yield Problem(hosts.path(index, kind), f"Kea does not look for reservations by {kind}")
