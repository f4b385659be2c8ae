# SPDX-License-Identifier: MPL-2.0
"""What a lab is asked to be: the words of ``lab up``, and the names that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args

Suite = Literal["bookworm", "trixie", "sid"]
Naming = Literal["debian", "isc", "fedora"]
HaMode = Literal["none", "hot-standby", "load-balancing"]
Daemon = Literal["dhcp4", "dhcp6", "ddns", "ctrl-agent"]

SUITES: Final[tuple[Suite, ...]] = get_args(Suite)
NAMINGS: Final[tuple[Naming, ...]] = get_args(Naming)
HA_MODES: Final[tuple[HaMode, ...]] = get_args(HaMode)
DAEMONS: Final[tuple[Daemon, ...]] = get_args(Daemon)

UNITS: Final[Mapping[Naming, Mapping[Daemon, str]]] = MappingProxyType(
    {
        "debian": {
            "dhcp4": "kea-dhcp4-server.service",
            "dhcp6": "kea-dhcp6-server.service",
            "ddns": "kea-dhcp-ddns-server.service",
            "ctrl-agent": "kea-ctrl-agent.service",
        },
        "isc": {
            "dhcp4": "isc-kea-dhcp4-server.service",
            "dhcp6": "isc-kea-dhcp6-server.service",
            "ddns": "isc-kea-dhcp-ddns-server.service",
            "ctrl-agent": "isc-kea-ctrl-agent.service",
        },
        "fedora": {
            "dhcp4": "kea-dhcp4.service",
            "dhcp6": "kea-dhcp6.service",
            "ddns": "kea-dhcp-ddns.service",
            "ctrl-agent": "kea-ctrl-agent.service",
        },
    }
)


class LabError(Exception):
    """Something about the lab went wrong; its text is meant for the person who asked."""


class UsageError(LabError):
    """The words do not make a lab."""


@dataclass(frozen=True, slots=True)
class LabSpec:
    """The words of one ``lab up``. Two labs with equal specs are the same lab."""

    name: str = "lab"
    suite: Suite = "trixie"
    nodes: int = 1
    units: Naming = "debian"
    ha: HaMode = "none"
    heartbeat_ms: int = 1000
    deb: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later, and less clearly."""
        check_name(self.name)
        if self.nodes not in (1, 2):
            raise UsageError(f"a lab has 1 or 2 nodes, not {self.nodes}")
        if self.ha != "none" and self.nodes != 2:
            raise UsageError(f"--ha {self.ha} needs --nodes 2")
        if self.heartbeat_ms < 100:
            raise UsageError("--heartbeat is in milliseconds, 100 or more")

    @property
    def unit_names(self) -> Mapping[Daemon, str]:
        """The systemd unit of each daemon in this lab."""
        return UNITS[self.units]

    def as_words(self) -> dict[str, object]:
        """The spec in a form that JSON keeps, to compare with what runs."""
        return {**asdict(self), "deb": str(self.deb) if self.deb else None}


def check_name(name: str) -> str:
    """A lab's name becomes part of paths, machine names and a network namespace."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
        raise UsageError(f"{name!r} is no lab name: a-z, 0-9 and '-', at most 32")
    return name
