# SPDX-License-Identifier: MPL-2.0
"""What is offered to clients: interfaces, lifetimes, options and classes. Measured with `-t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.model import Config, Node, address, integer, is_odd, strings
from kea_agent.rules.words import quoted

# Standard options that are nothing but addresses (std_option_defs.h): name and code.
_ADDRESS_OPTIONS: dict[int, dict[str | int, str]] = {
    4: {
        **dict.fromkeys((1, "subnet-mask"), "subnet-mask"),
        **dict.fromkeys((3, "routers"), "routers"),
        **dict.fromkeys((4, "time-servers"), "time-servers"),
        **dict.fromkeys((6, "domain-name-servers"), "domain-name-servers"),
        **dict.fromkeys((7, "log-servers"), "log-servers"),
        **dict.fromkeys((28, "broadcast-address"), "broadcast-address"),
        **dict.fromkeys((42, "ntp-servers"), "ntp-servers"),
        **dict.fromkeys((44, "netbios-name-servers"), "netbios-name-servers"),
    },
    6: {
        **dict.fromkeys((23, "dns-servers"), "dns-servers"),
        **dict.fromkeys((31, "sntp-servers"), "sntp-servers"),
    },
}
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


def _levels(config: Config) -> Iterator[Node]:
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
    for level in _levels(config):
        for key in ("valid-lifetime", "preferred-lifetime"):
            least, most = integer(level.map, f"min-{key}"), integer(level.map, f"max-{key}")
            usual = integer(level.map, key)
            if least is None or most is None or min(least, most, usual or 0) < 0:  # -1 is for ever
                continue
            if least > most:
                yield Problem(level.at(f"min-{key}"), f"min-{key} {least} is more than max-{key} {most}")
            elif usual is not None and not least <= usual <= most:
                yield Problem(level.at(key), f"{key} {usual} is not between {least} and {most}")


@rule(
    "timers-disordered",
    Severity.WARNING,
    says="The renewal timers are not in order, so that Kea does not send all of them.",
    do="Let renew-timer < rebind-timer < valid-lifetime.",
)
def _timers(config: Config) -> Iterator[Problem]:
    for level in _levels(config):
        renew, rebind = integer(level.map, "renew-timer"), integer(level.map, "rebind-timer")
        valid = integer(level.map, "valid-lifetime")
        if renew is not None and rebind is not None and renew >= rebind:
            yield Problem(level.at("renew-timer"), f"renew-timer {renew} is not less than rebind-timer {rebind}")
        if rebind is not None and valid is not None and rebind >= valid:
            yield Problem(level.at("rebind-timer"), f"rebind-timer {rebind} is not less than valid-lifetime {valid}")


@rule(
    "option-address-bad",
    Severity.ERROR,
    says="The data of an option that holds addresses has something else; Kea refuses the file.",
    do="Separate addresses by commas; names are not looked up.",
)
def _option_bad(config: Config) -> Iterator[Problem]:
    for option, name in _address_options(config):
        for part in (option.text("data") or "").split(","):
            written = part.strip(" \t")
            # A DHCPv4 server takes IPv6 addresses here, too (measured).
            is_address = address(written, config.family) is not None or address(written, 6) is not None
            if written and not is_odd(part) and not is_address:
                yield Problem(option.at("data"), f"{quoted(written)} in {name} is no address")


def _address_options(config: Config) -> Iterator[tuple[Node, str]]:
    """Options with addresses as text, at every level; those of one's own are left out."""
    known = _ADDRESS_OPTIONS[config.family]
    own = {definition.text("name") for definition in config.root.nodes("option-def")}
    for owner in _option_owners(config):
        for option in owner.nodes("option-data"):
            space = option.map.get("space", f"dhcp{config.family}")
            if space != f"dhcp{config.family}" or option.map.get("csv-format", True) is not True:
                continue
            name = known.get(option.text("name") or integer(option.map, "code") or "")
            if name and name not in own:
                yield option, name


def _option_owners(config: Config) -> Iterator[Node]:
    yield from _levels(config)
    yield from config.root.nodes("client-classes")
    for listed in (config.pools, config.pd_pools):
        yield from (pool.node for _, pools in listed for pool in pools)
    for hosts in config.hosts:
        yield from (Node(hosts.path(index), host) for index, host in hosts.maps if "option-data" in host)


@rule(
    "router-outside-subnet",
    Severity.INFO,
    says="The router that clients are told of is not in their subnet, and most clients cannot reach one that is not.",
    do="Check the address.",
    daemons=("dhcp4",),
)
def _router_outside(config: Config) -> Iterator[Problem]:
    for subnet in config.subnets:
        for option in subnet.node.nodes("option-data"):
            if option.map.get("name") != "routers" and option.map.get("code") != 3:
                continue
            numbers = [address(part.strip(" \t"), 4) for part in (option.text("data") or "").split(",")]
            span = subnet.prefix
            if span and numbers and not any(number and span.first <= number <= span.last for number in numbers):
                where = quoted(subnet.node.text("subnet"))
                yield Problem(option.at("data"), f"no router is in subnet {where}")


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
    reserved = {
        name for hosts in config.hosts for _, host in hosts.maps for name in strings(host.get("client-classes"))
    }
    for place in _restricted(config):
        name = place.text("client-class")
        if name and name not in known | reserved and not _BUILT_IN.fullmatch(name):
            yield Problem(place.at("client-class"), f"there is no class {quoted(name)}")
        for index, each in enumerate(strings(place.map.get("client-classes"))):
            if each not in known | reserved and not _BUILT_IN.fullmatch(each):
                yield Problem(place.at("client-classes", index), f"there is no class {quoted(each)}")


def _restricted(config: Config) -> Iterator[Node]:
    if config.has_unseen_hosts:
        return
    yield from config.networks
    yield from (subnet.node for subnet in config.subnets)
    for listed in (config.pools, config.pd_pools):
        yield from (pool.node for _, pools in listed for pool in pools)
