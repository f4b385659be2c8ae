# SPDX-License-Identifier: MPL-2.0
"""What is offered to clients: interfaces, lifetimes and classes. Measured with `-t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise

from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.model import Config, Node, address, integer, is_odd, strings
from kea_agent.rules.words import quoted

_BUILT_IN = re.compile(
    r"(?:ALL|KNOWN|UNKNOWN|DROP|SKIP_DDNS|BOOTP|(?:VENDOR_CLASS|AFTER|HA|EXTERNAL|SPAWN)_.*)", re.DOTALL
)


@rule(
    "interfaces-none",
    Severity.WARNING,
    says="The server is told of no interface to listen on: it hears nobody.",
    do='Name the interfaces in "interfaces-config".',
)
def _no_interfaces(config: Config) -> Iterator[Problem]:
    section = config.root.node("interfaces-config")
    if section is None and "interfaces-config" not in config.root.map:
        yield Problem(config.root.path, 'there is no "interfaces-config"')
    elif section and not section.map.get("interfaces"):
        yield Problem(section.path, "there is no interface in the list")


@rule(
    "interface-twice",
    Severity.ERROR,
    says="An interface stands in the list twice; Kea refuses the file.",
    do="Take one of the two out.",
)
def _interface_twice(config: Config) -> Iterator[Problem]:
    section = config.root.node("interfaces-config")
    listed = section.map.get("interfaces") if section else None
    seen: set[str] = set()
    for index, name in enumerate(listed if type(listed) is list else ()):
        if type(name) is not str:
            continue
        if name in seen and section:
            yield Problem(section.at("interfaces", index), f"{quoted(name)} is in the list already")
        seen.add(name)


@rule(
    "interface-address-bad",
    Severity.ERROR,
    says="What follows an interface and a slash is not an address to listen on; Kea refuses the file.",
    do='Write "eth0", or "eth0/192.0.2.1" with one of the addresses that the interface has.',
)
def _interface_address(config: Config) -> Iterator[Problem]:
    section = config.root.node("interfaces-config")
    listed = section.map.get("interfaces") if section else None
    for index, written in enumerate(listed if type(listed) is list else ()):
        name, slash, where = written.partition("/") if type(written) is str else ("", "", "")
        if not section or not slash or is_odd(where):
            continue
        place = section.at("interfaces", index)
        if name.strip() in ("", "*"):
            yield Problem(place, f"{quoted(written)} has an address and not one interface")
        elif address(where.strip(" \t"), config.family) is None:
            yield Problem(place, f"{quoted(where)} is no IPv{config.family} address")


def levels(config: Config) -> Iterator[Node]:
    """The server, its networks and its subnets: what has lifetimes and options."""
    yield config.root
    yield from config.networks
    yield from (subnet.node for subnet in config.subnets)


@rule(
    "lifetimes-disordered",
    Severity.ERROR,
    says="The least, usual and greatest lifetime are not in this order; Kea refuses the file.",
    do="Let min-valid-lifetime <= valid-lifetime <= max-valid-lifetime (and so for preferred-lifetime).",
)
def _lifetimes(config: Config) -> Iterator[Problem]:
    for level in chain(levels(config), config.root.nodes("client-classes")):
        for key in ("valid-lifetime", "preferred-lifetime"):
            numbers = [(name, integer(level.map, name)) for name in (f"min-{key}", key, f"max-{key}")]
            # -1 is for ever.
            there = [(name, number % 2**32) for name, number in numbers if number is not None and -1 <= number < 2**32]
            for (low, least), (high, most) in pairwise(there):
                if least > most:
                    yield Problem(level.at(low), f"{low} {least} is more than {high} {most}")


@rule(
    "timers-disordered",
    Severity.WARNING,
    says="The renewal timers are not in order, so that Kea does not send all of them.",
    do="Let renew-timer < rebind-timer < valid-lifetime.",
)
def _timers(config: Config) -> Iterator[Problem]:
    for level in levels(config):
        renew, rebind = integer(level.map, "renew-timer"), integer(level.map, "rebind-timer")
        valid = integer(level.map, "valid-lifetime")
        if renew is not None and rebind is not None and renew >= rebind:
            yield Problem(level.at("renew-timer"), f"renew-timer {renew} is not less than rebind-timer {rebind}")
        if rebind is not None and valid is not None and rebind >= valid:
            yield Problem(level.at("rebind-timer"), f"rebind-timer {rebind} is not less than valid-lifetime {valid}")


@rule(
    "class-duplicate",
    Severity.ERROR,
    says="Two client classes have the same name; Kea refuses the file.",
    do="Give each its own name.",
)
def _class_duplicate(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for each in config.root.nodes("client-classes"):
        name = each.text("name")
        if name and name in seen:
            yield Problem(each.at("name"), f"there is already a class {quoted(name)}")
        seen.add(name or "")


@rule(
    "class-undefined",
    Severity.WARNING,
    says="A network, subnet or pool is for a client class that is not defined: no client is ever in it.",
    do='Define it in "client-classes", or mend the name. Where a hook adds it, turn this rule off.',
)
def _class_undefined(config: Config) -> Iterator[Problem]:
    known = {each.text("name") for each in config.root.nodes("client-classes")}
    known |= {name for hosts in config.hosts for _, host in hosts.maps for name in strings(host.get("client-classes"))}
    for place in _restricted(config):
        name = place.text("client-class")
        if name and name not in known and not _BUILT_IN.fullmatch(name):
            yield Problem(place.at("client-class"), f"there is no class {quoted(name)}")
        for index, each in enumerate(strings(place.map.get("client-classes"))):
            if each not in known and not _BUILT_IN.fullmatch(each):
                yield Problem(place.at("client-classes", index), f"there is no class {quoted(each)}")


def _restricted(config: Config) -> Iterator[Node]:
    if config.has_unseen_hosts:
        return
    yield from config.networks
    yield from (subnet.node for subnet in config.subnets)
    for listed in (config.pools, config.pd_pools):
        yield from (pool.node for _, pools in listed for pool in pools)
