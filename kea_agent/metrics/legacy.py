# SPDX-License-Identifier: MPL-2.0
"""A scrape under the names that other exporters gave, so that dashboards made for those go on working.

Made out of the text of one collection, only when somebody asks; /metrics does not know of it. As there, everything is
called a gauge, even what ends in `_total`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kea_agent.metrics.collection import Scrape

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# As `exposition.Writer` writes: the daemon, the family's own label if it has one, and the labels of the place.
_LINE = re.compile(
    r'^(\w+)\{daemon="([^"]+)"(?:,(?:message|reason|cause|place)="([^"]*)")?,?(.*)\} (\S+)$', re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Old:
    """What a statistic was called: `name` without `kea_dhcp4_`, and a label of its own such as `operation="ack"`."""

    name: str
    label: str = ""


# By our family, and after a slash the value of its own label.
Table = Mapping[str, Old]
# The labels of a subnet or pool, escaped as they stand in a sample, to the old ones; None: such a place had no series.
Place = Callable[[str, Old, Mapping[str, str]], str | None]


@dataclass(frozen=True)
class Layout:
    """Another exporter's page: the old names by daemon, and how it told places apart."""

    tables: Mapping[str, Table]
    place: Place


def _operations(family: str, words: str, name: str, prefix: str = "") -> dict[str, Old]:
    return {f"{family}/{prefix}{word}": Old(name, f'operation="{word}"') for word in words.split()}


def _common(sent: str, received: str) -> dict[str, Old]:
    return {
        **_operations("kea_messages_sent_total", sent, "packets_sent_total"),
        **_operations("kea_messages_received_total", received, "packets_received_total"),
        **_operations("kea_packets_dropped_by_reason_total", "parse-failed", "packets_received_total"),
        "kea_packets_dropped_total": Old("packets_received_total", 'operation="drop"'),
    }


# Packets have the same names with both.
PACKETS: Mapping[str, Table] = {
    "dhcp4": _common("ack nak offer", "discover offer request ack nak release decline inform unknown"),
    "dhcp6": {
        **_common("advertise reply", "solicit advertise request reply renew rebind release decline infrequest unknown"),
        **_operations("kea_messages_sent_total", "response", "packets_sent_dhcp4_total", "dhcpv4-"),
        **_operations("kea_messages_received_total", "query response", "packets_received_dhcp4_total", "dhcpv4-"),
    },
}


def page(scrape: Scrape, layout: Layout) -> bytes:
    """Everything of the scrape that has an old name."""
    families: dict[str, list[str]] = {}
    origins: dict[str, str] = {}
    for line in _LINE.finditer(scrape.text.decode(errors="replace")):
        ours, daemon, value, place, number = line.groups()
        old = layout.tables.get(daemon, {}).get(f"{ours}/{value}" if value else ours)
        labels = _labels(layout, daemon, old, place) if old else None
        if old and labels is not None:
            name = f"kea_{daemon}_{old.name}"
            origins.setdefault(name, ours)
            families.setdefault(name, []).append(f"{name}{labels} {number}\n")
    return "".join(family(name, f"What {origins[name]} has on /metrics.", lines) for name, lines in families.items()).encode()  # fmt: skip


def family(name: str, meaning: str, lines: list[str]) -> str:
    """A family with its heading."""
    return f"# HELP {name} {meaning}\n# TYPE {name} gauge\n{''.join(lines)}"


def _labels(layout: Layout, daemon: str, old: Old, place: str) -> str | None:
    listed = [old.label] if old.label else []
    if place:
        told = layout.place(daemon, old, dict(_LABEL.findall(place)))
        if told is None:
            return None
        listed.append(told)
    return f"{{{','.join(listed)}}}" if listed else ""
