# SPDX-License-Identifier: MPL-2.0
"""Options: names that are defined nowhere, and data that is not what the option holds. Measured with `-t` of 2.2.0 to 3.0.4.

How Kea reads them: src/lib/dhcpsrv/parsers/option_data_parser.cc and src/lib/dhcp/option_definition.cc, 2.2.0 to 3.3.0.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.keywords import severity
from kea_agent.rules.model import Config, Node, address, integer, is_odd
from kea_agent.rules.service import levels
from kea_agent.rules.words import quoted, quoted_data

_NUMBERS = {
    "uint8": range(2**8),
    "uint16": range(2**16),
    "uint32": range(2**32),
    "int32": range(-(2**31), 2**31),
    "boolean": range(2),
}
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
# Kea tries this when it is not decimal.
_HEXADECIMAL = re.compile(r"[+-]?(?:0[xX])?[0-9a-fA-F]{1,40}")


class Standard(NamedTuple):
    """A standard option: what its values are; `is_list`: there may be several, else Kea looks at the first only."""

    name: str
    type: str
    is_list: bool


@cache
def standard(family: int) -> Mapping[str | int, Standard]:
    """The standard options of all versions, by name and by code; one whose type changed has none."""
    found: dict[str | int, Standard] = {}
    for line in Path(__file__).with_name("options.table").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{family} "):
            _, code, name, kind = line.split()
            each = Standard(name, "" if name in found else kind.removesuffix("[]"), kind.endswith("[]"))
            found |= {name: each, int(code): each}
    return found


def _options(config: Config) -> list[Node]:
    """Those of the server's own space, at every level; looked for once."""
    own = f"dhcp{config.family}"
    if "options" not in config.read:
        listed = (option for owner in _owners(config) for option in owner.nodes("option-data"))
        config.read["options"] = [option for option in listed if option.map.get("space", own) == own]
    found: list[Node] = config.read["options"]
    return found


def _owners(config: Config) -> Iterator[Node]:
    yield from levels(config)
    yield from config.root.nodes("client-classes")
    for listed in (config.pools, config.pd_pools):
        yield from (pool.node for _, pools in listed for pool in pools)
    for hosts in config.hosts:
        yield from (Node(hosts.path(index), host) for index, host in hosts.maps if "option-data" in host)


def _own(config: Config) -> set[str | int]:
    """Names and codes of the options that the file itself defines."""
    definitions = chain(
        config.root.nodes("option-def"),
        *(each.nodes("option-def") for each in config.root.nodes("client-classes")),
    )
    found = [each.map.get(key) for each in definitions for key in ("name", "code")]
    return {each for each in found if type(each) in (str, int)}  # type: ignore[misc]


@rule(
    "option-unknown",
    Severity.ERROR,
    says="An option has a name that is defined nowhere, or neither a name nor a code; Kea refuses the file.",
    do='Mend the name, or define the option in "option-def".',
)
def _unknown(config: Config) -> Iterator[Problem]:
    # Definitions may come from a configuration backend, too.
    if config.root.map.get("config-control"):
        return
    known, own = standard(config.family), _own(config)
    for option in _options(config):
        name = option.text("name")
        if name is not None and "code" not in option.map and name not in known and name not in own:
            message = f"there is no option {quoted(name)}{_hint(name, config.family)}"
            yield Problem(option.at("name"), message, severity(config))
        elif "name" not in option.map and "code" not in option.map:
            yield Problem(option.path, "the option has neither a name nor a code")


def _hint(name: str, family: int) -> str:
    other = {4: 6, 6: 4}[family]
    if name in standard(other):
        return f" in DHCPv{family}: it is one of DHCPv{other}"
    near = difflib.get_close_matches(name, [each for each in standard(family) if isinstance(each, str)], 1)
    return f": did you mean {quoted(near[0])}?" if near else ""


def _texts(config: Config) -> Iterator[tuple[Node, Standard]]:
    """Standard options with their data as text; those that the file defines anew are left out."""
    known, own = standard(config.family), _own(config)
    for option in _options(config):
        found = known.get(option.text("name") or integer(option.map, "code") or "")
        if found and option.map.get("csv-format", True) is True and not own & {found.name, option.map.get("code")}:
            yield option, found


def _values(option: Node, found: Standard) -> list[str]:
    parts = (option.text("data") or "").split(",")
    return parts if found.is_list else parts[:1]


@rule(
    "option-address-bad",
    Severity.ERROR,
    says="The data of an option that holds addresses has something else; Kea refuses the file.",
    do="Separate addresses by commas; names are not looked up.",
)
def _address_bad(config: Config) -> Iterator[Problem]:
    for option, found in _texts(config):
        for part in _values(option, found) if found.type == f"ipv{config.family}_address" else ():
            written = part.strip(" \t")
            # A DHCPv4 server takes IPv6 addresses here, too (measured).
            is_address = address(written, config.family) is not None or address(written, 6) is not None
            if written and not is_odd(part) and not is_address:
                yield Problem(option.at("data"), f"{quoted_data(written)} in {found.name} is no address")


@rule(
    "option-number-bad",
    Severity.ERROR,
    says="The data of an option that holds numbers, or true or false, has something else; Kea refuses the file.",
    do="Write the number alone, without a unit and within its range.",
)
def _number_bad(config: Config) -> Iterator[Problem]:
    for option, found in _texts(config):
        span = _NUMBERS.get(found.type)
        for part in _values(option, found) if span else ():
            written = part.strip(" \t")
            if span and written and written.isprintable() and not _is_number(written, found.type, span):
                allowed = "true or false" if found.type == "boolean" else f"between {span[0]} and {span[-1]}"
                yield Problem(option.at("data"), f"{quoted_data(written)} in {found.name} is not {allowed}")


def _is_number(written: str, kind: str, span: range) -> bool:
    if _DECIMAL.fullmatch(written):
        return int(written) in span
    if kind == "boolean":
        return written.lower() in ("true", "false")
    return _HEXADECIMAL.fullmatch(written) is not None and int(written, 16) in span


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
