# SPDX-License-Identifier: MPL-2.0
"""Dynamic DNS, on both ends. Measured with `kea-dhcp-ddns -t` of 2.2.0, 2.6.3 and 3.0.4."""

from __future__ import annotations

from collections.abc import Iterator

from kea_agent.rules.base import ONLY_DDNS, Problem, Severity, rule
from kea_agent.rules.model import Config, Node
from kea_agent.rules.words import quoted


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
