# SPDX-License-Identifier: MPL-2.0
"""Address pools and prefix delegation pools. Measured with `-t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from kea_agent.rules.base import ONLY_DHCP6, Problem, Severity, rule
from kea_agent.rules.model import Config, Hosts, Pool, Range, Subnet, address, integer, is_odd, prefix, spelled
from kea_agent.rules.reserved import count, reserved_addresses, reserved_prefixes
from kea_agent.rules.words import quoted


@rule(
    "pool-bad",
    Severity.ERROR,
    says="A pool is neither a prefix nor a first and a last address; Kea refuses the file.",
    do='Write it as "192.0.2.10 - 192.0.2.99" or "192.0.2.64/26".',
)
def _bad(config: Config) -> Iterator[Problem]:
    for pool in (pool for _, pools in config.pools for pool in pools):
        written = pool.node.text("pool")
        if written is not None and pool.range is None and not is_odd(written):
            yield Problem(pool.node.at("pool"), f"{quoted(written)} is no pool of IPv{config.family} addresses")


@rule(
    "pool-host-bits",
    Severity.ERROR,
    says="A pool written as a prefix has bits set beyond its length; Kea 2.3.5 and later refuse the file.",
    do="Write the prefix with its first address, or the pool as first and last address.",
    since=(2, 3, 5),
)
def _host_bits(config: Config) -> Iterator[Problem]:
    for key, listed in (("pool", config.pools), ("prefix", config.pd_pools)):
        for pool in (pool for _, pools in listed for pool in pools):
            if pool.range and pool.range.has_host_bits:
                right = f"{spelled(pool.range.first, config.family)}/{pool.range.length}"
                yield Problem(
                    pool.node.at(key), f"{quoted(pool.node.text(key))} has host bits set: the prefix is {right}"
                )


@rule(
    "pool-outside-subnet",
    Severity.ERROR,
    says="A pool is not inside its subnet; Kea refuses the file.",
    do="Mend the pool or the prefix of the subnet.",
)
def _outside(config: Config) -> Iterator[Problem]:
    for subnet, pools in config.pools:
        for pool in pools:
            if pool.range and subnet.prefix and not subnet.prefix.holds(pool.range):
                written, where = quoted(pool.node.text("pool")), quoted(subnet.node.text("subnet"))
                yield Problem(pool.node.at("pool"), f"pool {written} is not inside its subnet {where}")


@rule(
    "pool-overlap",
    Severity.ERROR,
    says="Two pools of a subnet share addresses; Kea refuses the file.",
    do="Make the pools disjoint.",
)
def _overlap(config: Config) -> Iterator[Problem]:
    for subnet in config.subnets:
        pools = _pools_of(subnet, config)
        pools.sort(key=lambda each: each[0])
        for (before, other, other_key), (found, pool, key) in pairwise(pools):
            if before.overlaps(found):
                message = f"{key} {quoted(pool.node.text(key))} overlaps with {quoted(other.node.text(other_key))}"
                yield Problem(pool.node.at(key), message)


def _pools_of(subnet: Subnet, config: Config) -> list[tuple[Range, Pool, str]]:
    return [
        (pool.range, pool, key)
        for key, listed in (("pool", config.pools_by_path), ("prefix", config.pd_pools_by_path))
        for pool in listed.get(subnet.node.path, ())
        if pool.range
    ]


@rule(
    "pd-pool-bad",
    Severity.ERROR,
    says="A prefix delegation pool is no IPv6 prefix, or delegates prefixes larger than itself; Kea refuses the file.",
    do="Let delegated-len be at least prefix-len, and both be between 1 and 128.",
    daemons=ONLY_DHCP6,
)
def _pd_bad(config: Config) -> Iterator[Problem]:
    for pool in (pool for _, pools in config.pd_pools for pool in pools):
        yield from _pd_problems(pool)


def _pd_problems(pool: Pool) -> Iterator[Problem]:
    written, length = pool.node.text("prefix"), integer(pool.node.map, "prefix-len")
    if written is not None and address(written, 6) is None and not is_odd(written):
        yield Problem(pool.node.at("prefix"), f"{quoted(written)} is no IPv6 address")
    if length == 0:
        yield Problem(pool.node.at("prefix-len"), "prefix-len 0 is not between 1 and 128")
    if length and 0 < length <= 128 and pool.delegated is not None and 0 <= pool.delegated < length:
        message = f"delegated-len {pool.delegated} is less than prefix-len {length}"
        yield Problem(pool.node.at("delegated-len"), message)
    if pool.delegated is not None and pool.delegated > 128:
        yield Problem(pool.node.at("delegated-len"), f"delegated-len {pool.delegated} is above 128", Severity.WARNING)


@rule(
    "pool-exhausted-by-reservations",
    Severity.WARNING,
    says="Every address of a pool is reserved: a client without a reservation gets none from it.",
    do="Make the pool larger, or reserve addresses outside of it.",
)
def _exhausted(config: Config) -> Iterator[Problem]:
    taken = {hosts.owner.path: hosts for hosts in config.hosts if hosts.subnet}
    for subnet, pools in config.pools:
        hosts = taken.get(subnet.node.path)
        if hosts is None:
            continue
        numbers = sorted({number for number, _ in reserved_addresses(hosts, config.family)})
        for pool in pools:
            if pool.range and count(numbers, pool.range) >= pool.range.size:
                message = f"all {pool.range.size} addresses of pool {quoted(pool.node.text('pool'))} are reserved"
                yield Problem(pool.node.at("pool"), message)


@rule(
    "pd-pool-exhausted-by-reservations",
    Severity.WARNING,
    says="Every prefix of a prefix delegation pool is reserved: a client without a reservation gets none from it.",
    do="Make the pool larger, or reserve prefixes outside of it.",
    daemons=ONLY_DHCP6,
)
def _pd_exhausted(config: Config) -> Iterator[Problem]:
    taken = {hosts.owner.path: hosts for hosts in config.hosts if hosts.subnet}
    for subnet, pools in config.pd_pools:
        hosts = taken.get(subnet.node.path)
        found = _reserved_by_length(hosts) if hosts else {}
        for pool in pools if found else ():
            if not pool.range or pool.delegated is None or not 0 <= pool.delegated - (pool.range.length or 0) < 64:
                continue
            there = 1 << (pool.delegated - (pool.range.length or 0))
            if count(found.get(pool.delegated, []), pool.range) >= there:
                yield Problem(
                    pool.node.at("prefix"), f"all {there} prefixes of {quoted(pool.node.text('prefix'))} are reserved"
                )


def _reserved_by_length(hosts: Hosts) -> dict[int, list[int]]:
    """The first addresses of the reserved prefixes, each once and in order, by length."""
    read = (prefix(written, 6) for written, _ in reserved_prefixes(hosts))
    found: defaultdict[int, set[int]] = defaultdict(set)
    for each in read:
        if each and each.length is not None:
            found[each.length].add(each.first)
    return {length: sorted(numbers) for length, numbers in found.items()}
