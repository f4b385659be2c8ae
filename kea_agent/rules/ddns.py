# SPDX-License-Identifier: MPL-2.0
"""Dynamic DNS, on both ends. Measured with `kea-dhcp-ddns -t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kea_agent.rules.base import ONLY_DDNS, Problem, Severity, rule
from kea_agent.rules.model import Config, Node, address, integer, is_odd
from kea_agent.rules.words import quoted

_ALGORITHMS = frozenset(f"HMAC-{name}" for name in ("MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"))


def _domains(config: Config) -> Iterator[tuple[str, Node]]:
    for key in ("forward-ddns", "reverse-ddns"):
        section = config.root.node(key)
        for domain in section.nodes("ddns-domains") if section else ():
            yield key, domain


@rule(
    "ddns-key-unknown",
    Severity.ERROR,
    says="A domain names a TSIG key that there is not; Kea refuses the file.",
    do='Add the key to "tsig-keys", or mend the name.',
    daemons=ONLY_DDNS,
)
def _key_unknown(config: Config) -> Iterator[Problem]:
    known = {key.text("name") for key in config.root.nodes("tsig-keys")}
    for _, domain in _domains(config):
        for place in (domain, *domain.nodes("dns-servers")):
            name = place.text("key-name")
            if name and name not in known:
                yield Problem(place.at("key-name"), f"there is no TSIG key {quoted(name)}")


@rule(
    "ddns-key-duplicate",
    Severity.ERROR,
    says="Two TSIG keys have the same name; Kea refuses the file.",
    do="Give each its own name.",
    daemons=ONLY_DDNS,
)
def _key_duplicate(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for key in config.root.nodes("tsig-keys"):
        name = key.text("name")
        if name and name in seen:
            yield Problem(key.at("name"), f"there is already a TSIG key {quoted(name)}")
        seen.add(name or "")


@rule(
    "ddns-algorithm-unknown",
    Severity.ERROR,
    says="A TSIG key has an algorithm that Kea does not know; it refuses the file.",
    do="Use HMAC-MD5, HMAC-SHA1, HMAC-SHA224, HMAC-SHA256, HMAC-SHA384 or HMAC-SHA512, as the DNS server does.",
    daemons=ONLY_DDNS,
)
def _algorithm(config: Config) -> Iterator[Problem]:
    for key in config.root.nodes("tsig-keys"):
        name = key.text("algorithm")
        if name and name.upper() not in _ALGORITHMS:
            yield Problem(key.at("algorithm"), f"there is no algorithm {quoted(name)}")


@rule(
    "ddns-value-bad",
    Severity.ERROR,
    says="A number is out of its range, or a name or secret is empty; Kea refuses the file.",
    do="Ports are 1 to 65535, dns-server-timeout is at least 1 (milliseconds), digest-bits 0 or a multiple of 8.",
    daemons=ONLY_DDNS,
)
def _value(config: Config) -> Iterator[Problem]:
    domains = [domain for _, domain in _domains(config)]
    for place in (config.root, *(server for domain in domains for server in domain.nodes("dns-servers"))):
        yield from _number(place, "port", lambda port: 0 < port < 65536)
    yield from _number(config.root, "dns-server-timeout", lambda timeout: timeout > 0)
    for key in config.root.nodes("tsig-keys"):
        yield from _number(key, "digest-bits", lambda bits: bits >= 0 and bits % 8 == 0)
    for place in (*domains, *config.root.nodes("tsig-keys")):
        for word in ("name", "algorithm", "secret", "secret-file"):
            if place.map.get(word) == "":
                yield Problem(place.at(word), f"{quoted(word)} is empty")


def _number(place: Node, key: str, is_good: Callable[[int], bool]) -> Iterator[Problem]:
    number = integer(place.map, key)
    if number is not None and not is_good(number):
        yield Problem(place.at(key), f"{quoted(key)} cannot be {number}")


@rule(
    "ddns-server-bad",
    Severity.ERROR,
    says="A DNS server is not given by its address; Kea refuses the file.",
    do='Write "ip-address" with an address; names are not looked up.',
    daemons=ONLY_DDNS,
)
def _server(config: Config) -> Iterator[Problem]:
    for _, domain in _domains(config):
        for server in domain.nodes("dns-servers"):
            written = server.text("ip-address")
            if server.text("hostname"):
                yield Problem(server.at("hostname"), "a DNS server by its name, which Kea does not look up")
            elif not written:
                yield Problem(server.path, "the DNS server has no ip-address")
            elif not is_odd(written) and address(written, 4) is None and address(written, 6) is None:
                yield Problem(server.at("ip-address"), f"{quoted(written)} is no address")


@rule(
    "ddns-domain-duplicate",
    Severity.ERROR,
    says="A domain stands in the list twice; Kea refuses the file.",
    do="Make one entry of them.",
    daemons=ONLY_DDNS,
)
def _domain_duplicate(config: Config) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for key, domain in _domains(config):
        name = domain.text("name")
        if name and (key, name) in seen:
            yield Problem(domain.at("name"), f"there is already a domain {quoted(name)}")
        seen.add((key, name or ""))


@rule(
    "ddns-listens-beyond-host",
    Severity.WARNING,
    says="kea-dhcp-ddns believes every request that reaches it, and listens beyond this host.",
    do='Set "ip-address": "127.0.0.1" where the DHCP servers are on the same host.',
    daemons=ONLY_DDNS,
)
def _beyond_host(config: Config) -> Iterator[Problem]:
    where = config.root.text("ip-address")
    if where is not None and where != "::1" and not where.startswith("127."):
        yield Problem(config.root.at("ip-address"), f"{quoted(where)} can be reached from elsewhere")


@rule(
    "ddns-secret-in-file",
    Severity.INFO,
    says="A TSIG secret stands in the configuration itself; Kea 3.1 and later refuse that without -X.",
    do='Put it into a file of its own and name that as "secret-file" (Kea 2.6 and later).',
    daemons=ONLY_DDNS,
)
def _secret(config: Config) -> Iterator[Problem]:
    for key in config.root.nodes("tsig-keys"):
        if key.text("secret"):
            yield Problem(key.at("secret"), f"the secret of key {quoted(key.text('name'))} is in the file")


@rule(
    "ddns-updates-not-sent",
    Severity.WARNING,
    says="DNS updates are asked for and the connection to kea-dhcp-ddns is off: none is sent.",
    do='Set "enable-updates": true in "dhcp-ddns", or take "ddns-send-updates" out.',
)
def _not_sent(config: Config) -> Iterator[Problem]:
    connection = config.root.node("dhcp-ddns")
    if connection and connection.map.get("enable-updates") is True:
        return
    levels = [config.root, *config.networks, *(subnet.node for subnet in config.subnets)]
    for level in levels:
        if level.map.get("ddns-send-updates") is True:
            yield Problem(level.at("ddns-send-updates"), '"enable-updates" in "dhcp-ddns" is not true')
