# SPDX-License-Identifier: MPL-2.0
"""The Kea daemons as data: what differs between them stands here and nowhere else.

Unit names in the order in which they are looked for: ISC's deb packages, Debian and Ubuntu, Fedora/EL and
ISC's rpm packages. Only one of them exists on a host; the others may be aliases of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple


class Daemon(NamedTuple):
    """One Kea daemon. `udp_port` and `tcp_port` are what it listens on when its configuration says nothing."""

    name: str
    root_key: str
    binary: str
    unit_names: tuple[str, ...]
    config_path: str
    udp_port: int | None = None
    tcp_port: int | None = None


def _units(stem: str) -> tuple[str, ...]:
    return (f"isc-kea-{stem}-server.service", f"kea-{stem}-server.service", f"kea-{stem}.service")


DHCP4 = Daemon("dhcp4", "Dhcp4", "kea-dhcp4", _units("dhcp4"), "/etc/kea/kea-dhcp4.conf", udp_port=67)
DHCP6 = Daemon("dhcp6", "Dhcp6", "kea-dhcp6", _units("dhcp6"), "/etc/kea/kea-dhcp6.conf", udp_port=547)
DDNS = Daemon("ddns", "DhcpDdns", "kea-dhcp-ddns", _units("dhcp-ddns"), "/etc/kea/kea-dhcp-ddns.conf", udp_port=53001)
CTRL_AGENT = Daemon(
    "ctrl-agent",
    "Control-agent",
    "kea-ctrl-agent",
    ("isc-kea-ctrl-agent.service", "kea-ctrl-agent.service"),
    "/etc/kea/kea-ctrl-agent.conf",
    tcp_port=8000,
)

DAEMONS = (DHCP4, DHCP6, DDNS, CTRL_AGENT)
BY_NAME = {daemon.name: daemon for daemon in DAEMONS}


def option(argv: Sequence[str], flag: str) -> str | None:
    """The value of a getopt-style option with one letter (`-c FILE` or `-cFILE`); the last one wins."""
    found = None
    for word, following in zip_longest(argv, argv[1:]):
        if word == flag:
            found = following
        elif word.startswith(flag):
            found = word.removeprefix(flag)
    return found
