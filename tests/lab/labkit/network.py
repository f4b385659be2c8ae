# SPDX-License-Identifier: MPL-2.0
"""A lab's network: a namespace with a bridge, reachable from nowhere else."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import host

BRIDGE = "lab0"
BRIDGE_ADDRESSES = ("198.18.0.1/16", "2001:db8:18::1/64")


def address4(number: int) -> str:
    """The IPv4 address of a node."""
    return f"198.18.0.{10 + number}"


def address6(number: int) -> str:
    """The IPv6 address of a node."""
    return f"2001:db8:18::{10 + number}"


@dataclass(frozen=True, slots=True)
class Network:
    """The network namespace of one lab."""

    lab: str

    @property
    def namespace(self) -> str:
        """Its name, as ``ip netns`` shows it."""
        return f"kea-agent-lab-{self.lab}"

    @property
    def exists(self) -> bool:
        """Is there such a namespace."""
        return self._path.exists()

    @property
    def _path(self) -> Path:
        return Path("/run/netns") / self.namespace

    def create(self) -> None:
        """Make the namespace and the bridge, ready to forward from the first packet on."""
        host.run("ip", "netns", "add", self.namespace)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for address in BRIDGE_ADDRESSES:
            self._ip("address", "add", address, "dev", BRIDGE, *(["nodad"] if ":" in address else []))
        self._ip("link", "set", BRIDGE, "up")

    def enter(self, *argv: str | Path) -> list[str]:
        """The command line that runs a command in the namespace.

        Not by ``ip netns exec``: that mounts a /sys without cgroups, and nspawn needs them.
        """
        return ["nsenter", f"--net={self._path}", "--", *map(str, argv)]

    def plug(self, index: int, *, connected: bool) -> None:
        """Pull a node's cable out of the bridge's port with this interface index, or put it back."""
        for port in self._ports(index):
            self._ip("link", "set", port, "up" if connected else "down")

    def remove(self, index: int) -> None:
        """Remove a dead node's port now: the kernel would, some time later, and a new one has the same name."""
        for port in self._ports(index):
            host.run("ip", "-n", self.namespace, "link", "delete", port, check=False)

    def destroy(self) -> None:
        """Remove the namespace, and end what still runs in it."""
        if not self.exists:
            return
        for pid in host.run("ip", "netns", "pids", self.namespace, check=False).stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        host.run("ip", "netns", "delete", self.namespace)

    def _ports(self, index: int) -> list[str]:
        """The name of the bridge's port with this index, if there is one; nspawn shortens long names, so look."""
        links = json.loads(self._ip("-json", "link", "show", "master", BRIDGE))
        return [str(link["ifname"]) for link in links if link.get("ifindex") == index]

    def _ip(self, *words: str) -> str:
        return host.run("ip", "-n", self.namespace, *words).stdout
