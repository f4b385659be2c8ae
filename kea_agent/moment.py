# SPDX-License-Identifier: MPL-2.0
"""What stands in the way of a reload of this candidate now: the obstacles of `gate`, each where it applies."""

from __future__ import annotations

from typing import Any

from kea_agent import gate
from kea_agent.candidate import Candidate
from kea_agent.gate import Obstacle
from kea_agent.settings import GateSettings


def obstacle(candidate: Candidate, settings: GateSettings, busy: float, *, is_forced: bool) -> Obstacle | None:
    """The first obstacle to a reload that takes `busy` seconds; whoever forces it has thought of HA, silence and links."""
    found = gate.unit_obstacle(candidate.unit) or candidate.obstacle
    if found is None and candidate.running:
        found = gate.lease_cleanup_obstacle(candidate.running.status)
    if found is None and not is_forced and not is_deaf(candidate):
        status = candidate.running.status if candidate.running else {}
        found = partner_obstacle(status, settings) or gate.silence_obstacle(busy, settings.longest_silence_seconds)
    if found is None and not is_forced:
        found = gate.link_obstacle(_interfaces_at_stake(candidate))
    return found


def partner_obstacle(status: dict[str, Any], settings: GateSettings) -> Obstacle | None:
    """Whether the HA partner, as this server has it in its `status-get`, could not take over while the server is away."""
    return gate.ha_obstacle(status) if settings.ha == "hold" else None


def is_deaf(candidate: Candidate) -> bool:
    """A server with its port closed serves nobody: a reload can only help, whatever the partner does."""
    return candidate.endpoints.is_closed(candidate.endpoints.sockets(candidate.unit.main_pid))


def _interfaces_at_stake(candidate: Candidate) -> list[str]:
    """Those that the file wants and the server has open now; all of them where it has none, and hears nobody."""
    sockets = candidate.endpoints.sockets(candidate.unit.main_pid)
    wanted_now = {spelled.partition("/")[0] for spelled in candidate.endpoints.interfaces}
    names = sorted(wanted_now - {"*"} | (sockets.packet if "*" in wanted_now else set()))
    if is_deaf(candidate):
        return names
    if candidate.endpoints.raw:
        return [name for name in names if name in sockets.packet]
    # A DHCPv6 server has each interface's own address; which interfaces UDP sockets of DHCPv4 are for is not seen.
    port, own = candidate.endpoints.port, sockets.link_local
    opened = {host for host, number in sockets.udp if number == port}
    # One that is down has no address any more, and its socket is one that no other interface explains.
    has_orphan = any(host.startswith("fe80:") for host in opened - set(own.values()))
    return [name for name in names if own.get(name) in opened or (has_orphan and name not in own)]
