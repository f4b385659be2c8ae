# SPDX-License-Identifier: MPL-2.0
"""Subnets and shared networks: prefixes and ids. Measured with `kea-dhcp4 -t` and `kea-dhcp6 -t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.model import Config, Range, Subnet, integer, is_odd, spelled
from kea_agent.rules.words import quoted

_LARGEST_ID = 4294967294
_LARGEST_STATISTIC = 2**63 - 1


@rule(
    "subnet-prefix-bad",
    Severity.ERROR,
    says="The prefix of a subnet is not an address and a length; Kea refuses the file.",
    do='Write it as "192.0.2.0/24" or "2001:db8:1::/64".',
)
def _prefix_bad(config: Config) -> Iterator[Problem]:
    for subnet in config.subnets:
        written = subnet.node.text("subnet")
        if written is not None and subnet.prefix is None and not is_odd(written):
            yield Problem(subnet.node.at("subnet"), f"{quoted(written)} is no IPv{config.family} prefix")


@rule(
    "subnet-host-bits",
    Severity.WARNING,
    says="The prefix of a subnet has bits set beyond its length; tools that compare prefixes see another subnet.",
    do="Write the prefix with its first address.",
)
def _host_bits(config: Config) -> Iterator[Problem]:
    for subnet in config.subnets:
        found = subnet.prefix
        if found and found.has_host_bits:
            right = f"{spelled(found.first, config.family)}/{found.length}"
            written = quoted(subnet.node.text("subnet"))
            yield Problem(subnet.node.at("subnet"), f"{written} has host bits set: the subnet is {right}")


@rule(
    "subnet-duplicate",
    Severity.ERROR,
    says="Two subnets have the same prefix; Kea refuses the file.",
    do="Make one subnet of them, or mend the prefix.",
)
def _duplicate(config: Config) -> Iterator[Problem]:
    seen: set[tuple[int, int | None]] = set()
    for subnet in config.subnets:
        if subnet.prefix is None:
            continue
        # Kea compares what is written: with other host bits it is another subnet to it.
        key = (subnet.prefix.address, subnet.prefix.length)
        if key in seen:
            yield Problem(subnet.node.at("subnet"), f"there is already a subnet {quoted(subnet.node.text('subnet'))}")
        seen.add(key)


@rule(
    "subnet-overlap",
    Severity.WARNING,
    says="Two subnets share addresses; which one a client gets depends on the way its packet came.",
    do="Make the prefixes disjoint.",
)
def _overlap(config: Config) -> Iterator[Problem]:
    known = [(subnet.prefix, subnet) for subnet in config.subnets if subnet.prefix]
    around: list[tuple[Range, Subnet]] = []
    # Prefixes nest or are disjoint: the wider ones come first, and those that have ended are dropped.
    for found, subnet in sorted(known, key=lambda each: (each[0].first, -each[0].last)):
        while around and around[-1][0].last < found.first:
            around.pop()
        if around and around[-1][0] != found:
            other = quoted(around[-1][1].node.text("subnet"))
            yield Problem(subnet.node.at("subnet"), f"{quoted(subnet.node.text('subnet'))} overlaps with {other}")
        around.append((found, subnet))


@rule(
    "subnet-id-missing",
    Severity.ERROR,
    says="A subnet has no id, or 0; Kea 2.6 and later refuse the file.",
    do="Give every subnet an id that it keeps for ever: leases are stored under it.",
    since=(2, 6, 0),
)
def _id_missing(config: Config) -> Iterator[Problem]:
    for subnet in config.subnets:
        if subnet.node.map.get("id", 0) == 0:
            yield Problem(subnet.node.path, f"subnet {quoted(subnet.node.text('subnet'))} has no id")


@rule(
    "subnet-id-implicit",
    Severity.WARNING,
    says="A subnet has no id, so Kea counts: adding or removing one before it gives its leases to another subnet.",
    do="Give every subnet the id that it has now (config-get shows it).",
    before=(2, 6, 0),
)
def _id_implicit(config: Config) -> Iterable[Problem]:
    # Where the version is unknown, subnet-id-missing speaks.
    return _id_missing(config) if config.version else ()


@rule(
    "subnet-id-range",
    Severity.ERROR,
    says="The id of a subnet is not between 1 and 4294967294; Kea refuses the file.",
    do="Choose a smaller id.",
)
def _id_range(config: Config) -> Iterator[Problem]:
    for subnet in config.subnets:
        number = integer(subnet.node.map, "id")
        if number is not None and not 0 <= number <= _LARGEST_ID:
            yield Problem(subnet.node.at("id"), f"{number} is not between 1 and {_LARGEST_ID}")


@rule(
    "subnet-id-duplicate",
    Severity.ERROR,
    says="Two subnets have the same id; Kea refuses the file.",
    do="Give the newer of them an id that was never used.",
)
def _id_duplicate(config: Config) -> Iterator[Problem]:
    first: dict[int, Subnet] = {}
    for subnet in config.subnets:
        number = integer(subnet.node.map, "id")
        if not number:
            continue
        if number in first:
            other = quoted(first[number].node.text("subnet"))
            yield Problem(subnet.node.at("id"), f"id {number} is the id of subnet {other} already")
        first.setdefault(number, subnet)


@rule(
    "subnet-id-changed",
    Severity.ERROR,
    says="A subnet has another id than before: its leases stay under the old id and are lost to it.",
    do="Give it the id that it had; where the change is meant, clear its leases first.",
)
def _id_changed(config: Config) -> Iterator[Problem]:
    """Only with the configuration before this one: `kea-agent check --previous FILE`."""
    if config.previous is None:
        return
    before = Config(config.daemon, str(config.root.path[0]), config.previous)
    was = {subnet.prefix: integer(subnet.node.map, "id") for subnet in before.subnets if subnet.prefix}
    for subnet in config.subnets:
        number, old = integer(subnet.node.map, "id"), was.get(subnet.prefix) if subnet.prefix else None
        if old and number and number != old:
            written = quoted(subnet.node.text("subnet"))
            yield Problem(subnet.node.at("id"), f"subnet {written} had id {old} and now has {number}")


@rule(
    "subnet-empty",
    Severity.WARNING,
    says="A subnet has no pool and no reservation: nobody gets an address from it.",
    do="Add a pool or reservations, or take the subnet out.",
)
def _empty(config: Config) -> Iterator[Problem]:
    if config.has_unseen_hosts or config.root.map.get("reservations"):
        return
    for subnet in config.subnets:
        if not any(subnet.node.map.get(key) for key in ("pools", "pd-pools", "reservations")):
            yield Problem(
                subnet.node.path, f"subnet {quoted(subnet.node.text('subnet'))} has no pool and no reservation"
            )


@rule(
    "shared-network-dispensable",
    Severity.INFO,
    says="A shared network has less than two subnets, and so shares nothing.",
    do="Put its subnet at the top level, unless more are to come.",
)
def _dispensable(config: Config) -> Iterator[Problem]:
    for network in config.networks:
        listed = network.map.get(f"subnet{config.family}", [])
        if type(listed) is list and len(listed) < 2:
            yield Problem(network.path, f"shared network {quoted(network.text('name'))} has {len(listed)} subnet(s)")


@rule(
    "shared-network-duplicate",
    Severity.ERROR,
    says="Two shared networks have the same name; Kea refuses the file.",
    do="Give each its own name.",
)
def _network_duplicate(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for network in config.networks:
        name = network.text("name")
        if name and name in seen:
            yield Problem(network.at("name"), f"there is already a shared network {quoted(name)}")
        seen.add(name or "")


@rule(
    "statistics-overflow",
    Severity.WARNING,
    says="Before Kea 2.5.3 the statistics of a subnet with 2^63 addresses or more are wrong (negative or stuck).",
    do="Use a smaller pool, or Kea 2.6 or later.",
    daemons=("dhcp6",),
    before=(2, 5, 3),
)
def _statistics_overflow(config: Config) -> Iterator[Problem]:
    for subnet, pools in config.pools:
        if sum(pool.range.size for pool in pools if pool.range) > _LARGEST_STATISTIC:
            yield Problem(subnet.node.at("pools"), "the pools have more addresses than Kea before 2.5.3 can count")
