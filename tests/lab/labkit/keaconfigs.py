# SPDX-License-Identifier: MPL-2.0
"""Kea's configuration of a node: one set of files that Kea 2.2.0, 2.6.3 and 3.0.4 read alike."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Final

from .spec import Daemon, LabError, LabSpec

TEMPLATES: Final = Path(__file__).with_name("templates")
API_PASSWORD: Final = "lab"

FILES: Final[Mapping[Daemon, str]] = MappingProxyType(
    {
        "dhcp4": "kea-dhcp4.conf",
        "dhcp6": "kea-dhcp6.conf",
        "ddns": "kea-dhcp-ddns.conf",
        "ctrl-agent": "kea-ctrl-agent.conf",
    }
)

# Neither is the control agent's port: Kea refuses to share it.
HA_PORTS: Final[Mapping[Daemon, int]] = MappingProxyType({"dhcp4": 8010, "dhcp6": 8011})

# Two halves of each range: load-balancing gives one to each server, the other modes use both.
POOLS: Final[Mapping[Daemon, tuple[str, str]]] = MappingProxyType(
    {
        "dhcp4": ("198.18.16.0 - 198.18.127.255", "198.18.128.0 - 198.18.254.255"),
        "dhcp6": ("2001:db8:18::1:0:0/96", "2001:db8:18::2:0:0/96"),
    }
)

SECOND_ROLES: Final = MappingProxyType({"hot-standby": "standby", "load-balancing": "secondary"})


def render(spec: LabSpec, number: int, hooks: str) -> dict[str, str]:
    """The files of node `number`: name in /etc/kea, and text."""
    return {file: _render_one(spec, number, hooks, daemon, file) for daemon, file in FILES.items()}


def find_hooks(root: Path) -> str:
    """Where this Debian has Kea's hook libraries, as the node sees it."""
    found = next(root.glob("usr/lib/*/kea/hooks/libdhcp_ha.so"), None)
    if found is None:
        raise LabError(f"{root} has no Kea hook libraries")
    return f"/{found.parent.relative_to(root)}"


def write(root: Path, files: Mapping[str, str]) -> None:
    """Put the files into a root that has not booted; owners and modes are those of Debian's packages."""
    directory = root / "etc/kea"
    for name, text in files.items():
        (directory / name).write_text(text)
    password = directory / "kea-api-password"
    password.touch(mode=0o640)
    password.write_text(API_PASSWORD)
    _give_to_kea_group(root, password)


def _render_one(spec: LabSpec, number: int, hooks: str, daemon: Daemon, file: str) -> str:
    ha = "" if spec.ha == "none" or daemon not in HA_PORTS else _high_availability(spec, number, hooks, daemon)
    pools = "" if daemon not in POOLS else ",\n".join(_pools(spec, POOLS[daemon]))
    return Template((TEMPLATES / file).read_text()).substitute(
        node=f"node{number}", lab=spec.name, hooks=hooks, ha=ha, pools=pools
    )


def _pools(spec: LabSpec, ranges: Iterable[str]) -> list[str]:
    """A pool of load-balancing belongs to a server: the HA hook puts each client into that server's class."""
    pools = []
    for number, addresses in enumerate(ranges, start=1):
        owner = f', "client-class": "HA_server{number}"' if spec.ha == "load-balancing" else ""
        pools.append(f'                    {{ "pool": "{addresses}"{owner} }}')
    return pools


def _high_availability(spec: LabSpec, number: int, hooks: str, daemon: Daemon) -> str:
    """The partner is given up after six heartbeats, Kea's own proportion, but not during a short pause of the machine."""
    text = Template((TEMPLATES / "ha.conf").read_text()).substitute(
        hooks=hooks,
        server=f"server{number}",
        mode=spec.ha,
        heartbeat=spec.heartbeat_ms,
        response=max(6 * spec.heartbeat_ms, 6000),
        port=HA_PORTS[daemon],
        second_role=SECOND_ROLES[spec.ha],
    )
    return text.rstrip("\n")


def _give_to_kea_group(root: Path, path: Path) -> None:
    """The group's number is the image's, not this machine's."""
    for line in (root / "etc/group").read_text().splitlines():
        name, _, number, _ = line.split(":")
        if name == "_kea":
            os.chown(path, 0, int(number))
