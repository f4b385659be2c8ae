# SPDX-License-Identifier: MPL-2.0
"""How a Kea daemon really stands, asked of the kernel and of itself, whoever started it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from labkit import Daemon, Node
from labkit.host import wait_for
from labkit.keaconfigs import API_PASSWORD

BINARIES: Final[Mapping[Daemon, str]] = {
    "dhcp4": "kea-dhcp4",
    "dhcp6": "kea-dhcp6",
    "ddns": "kea-dhcp-ddns",
    "ctrl-agent": "kea-ctrl-agent",
}
PORTS: Final[Mapping[Daemon, tuple[str, int]]] = {
    "dhcp4": ("udp", 67),
    "dhcp6": ("udp", 547),
    "ddns": ("udp", 53001),
    "ctrl-agent": ("tcp", 8000),
}
_NAME_LETTERS: Final = 15  # of a process, that the kernel keeps


@dataclass(frozen=True)
class Standing:
    """A daemon at one moment. `unit` is systemd's word; `edit` the number in the user context of what runs, 0 for none.

    A daemon that does not answer commands `hangs` when it takes them. `hears_partner`: its HA listener is open; nothing
    else in the lab has a DHCP server listen on TCP.
    """

    unit: str
    is_alive: bool
    is_listening: bool
    answers: bool = False
    hangs: bool = False
    edit: int = 0
    has_ha: bool = False
    hears_partner: bool = False

    @property
    def serves(self) -> bool:
        """Whether clients and commands get to it."""
        return self.is_alive and self.is_listening and self.answers

    def words(self, *, edit: int, wants_ha: bool) -> str:
        """What is wrong in a few words, or which file a sound server runs."""
        if not self.is_alive or self.hangs:
            return "hangs" if self.is_alive else "dead"
        lacks = {
            "deaf": not self.is_listening,
            "no control socket": not self.answers,
            "no HA": wants_ha and self.answers and not self.has_ha,
            "no HA listener": wants_ha and self.has_ha and not self.hears_partner,
        }
        wrong = ", ".join(word for word, is_so in lacks.items() if is_so)
        return wrong or ("fine" if self.edit == edit else "old file kept")


def look(node: Node, daemon: Daemon) -> Standing:
    """The daemon as it is now."""
    binary = BINARIES[daemon]
    script = 'systemctl is-active "$1"; pgrep --count --full "^/usr/sbin/$2 "; ss -Hlnutp'
    told = node.run(["sh", "-c", script, "sh", node.unit(daemon), binary], check=False).stdout
    unit, count, *sockets = told.splitlines()
    open_ports = {_port(socket) for socket in sockets if f'("{binary[:_NAME_LETTERS]}"' in socket}
    seen = Standing(unit, count != "0", PORTS[daemon] in open_ports)
    try:
        config, status = (ask(node, daemon, command)["arguments"] for command in ("config-get", "status-get"))
    except (OSError, ValueError, LookupError) as error:
        return replace(seen, hangs=isinstance(error, TimeoutError))
    return replace(
        seen,
        answers=True,
        edit=_root(config).get("user-context", {}).get("edit", 0),
        has_ha=bool(status.get("high-availability")),
        hears_partner=any(transport == "tcp" for transport, _ in open_ports),
    )


def _port(socket: str) -> tuple[str, int]:
    """Out of a line of `ss`: Netid State Recv-Q Send-Q Local-Address:Port ..."""
    transport, _, _, _, local, *_ = socket.split()
    return transport, int(local.rpartition(":")[2])


def _root(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The daemon's map; later Keas have the hash beside it."""
    root: Mapping[str, Any] = next(value for value in arguments.values() if isinstance(value, dict))
    return root


def ask(node: Node, daemon: Daemon, command: str) -> dict[str, Any]:
    """What a daemon answers; raises OSError, ValueError or LookupError where it does not."""
    if daemon != "ctrl-agent":
        return node.control(daemon, command)
    curl = ["curl", "--silent", "--max-time", "3", "--user", f"kea-api:{API_PASSWORD}"]
    request = json.dumps({"command": command})
    answer: dict[str, Any] = json.loads(
        node.run([*curl, "--json", request, "http://127.0.0.1:8000/"], check=False).stdout
    )[0]
    return answer


def settled(node: Node, daemon: Daemon, *, seconds: float, quiet: float = 1.5) -> Standing:
    """What becomes of a daemon that was told to read a file: how it stands when that has not changed for `quiet` seconds.

    A daemon that is still at it does not answer commands, and has up to `seconds`.
    """
    standing, since = look(node, daemon), time.monotonic()
    for _ in wait_for(seconds, every=0.1):
        now = look(node, daemon)
        if now != standing:
            standing, since = now, time.monotonic()
        if not standing.hangs and time.monotonic() - since >= quiet:
            break
    return standing
