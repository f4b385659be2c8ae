# SPDX-License-Identifier: MPL-2.0
"""Two hosts that are an HA pair, as a test sees and edits them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from agenthost import CONFIG, AgentHost
from labkit import Lab
from labkit.host import PATIENCE, wait_for

DROP_IN = "/etc/kea-agent/kea-agent.d/test.toml"
LIFETIME = re.compile(r'("valid-lifetime":\s*)\S+,')
_lifetimes = count(5000)


@dataclass(frozen=True)
class Pair:
    """`hosts` are primary first."""

    lab: Lab

    @property
    def hosts(self) -> tuple[AgentHost, AgentHost]:
        """The primary, and its partner."""
        first, second = self.lab.nodes
        return AgentHost(first), AgentHost(second)

    def wait_normal(self, seconds: float = PATIENCE) -> None:
        """Wait until both serve, both are in their normal state and each knows it of the other."""
        self.lab.wait_ready(seconds)


def relationship(host: AgentHost) -> dict[str, Any]:
    """The HA relationship as this host's kea-dhcp4 sees it: `local` and `remote`."""
    status = host.node.control("dhcp4", "status-get")["arguments"]
    found: dict[str, Any] = status["high-availability"][0]["ha-servers"]
    return found


def wait_for_partner(host: AgentHost, *states: str, seconds: float = PATIENCE) -> None:
    """Wait until this host's Kea knows its partner to be in one of the states."""
    for _ in wait_for(seconds):
        if (seen := relationship(host)["remote"]["last-state"]) in states:
            return
    raise AssertionError(
        f"{host.node.name} believes its partner to be {seen}, not {' or '.join(states)}, after {seconds} s"
    )


def edit(host: AgentHost) -> int:
    """Save a good change as editors do; the valid-lifetime that is in it."""
    lifetime = next(_lifetimes)
    host.node.replace(CONFIG, LIFETIME.sub(rf"\g<1>{lifetime},", host.node.read(CONFIG), count=1))
    return lifetime


def dhcp4(host: AgentHost, verb: str) -> None:
    """Start or stop the host's kea-dhcp4."""
    host.node.systemctl(verb, host.node.unit("dhcp4"))


def wait_in_sync(host: AgentHost, seconds: float = PATIENCE) -> None:
    """Have the agent look at the file as it is now until the server is proven to run it; then nothing is under way.

    Its status alone does not tell: it speaks of the file before, until the agent has seen the new one through.
    """
    for _ in wait_for(seconds, every=0.5):
        done = host.node.run(["kea-agent", "reload", "dhcp4"], check=False, timeout=150)
        if done.returncode == 0 and host.status()["config_in_sync"]:
            return
    raise AssertionError(f"{host.node.name} is not in sync: {done.stdout}{done.stderr}{host.status()}")


@contextmanager
def settings(*hosts: AgentHost, text: str) -> Iterator[None]:
    """The agents with other settings for a while."""
    for host in hosts:
        host.node.run(["install", "-d", DROP_IN.rpartition("/")[0]])
        host.node.write(DROP_IN, text)
        host.node.systemctl("reload", "kea-agent")
    try:
        yield
    finally:
        for host in hosts:
            host.node.run(["rm", "-f", DROP_IN])
            host.node.systemctl("reload", "kea-agent")
