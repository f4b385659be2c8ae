# SPDX-License-Identifier: MPL-2.0
"""Is a lab ready: not "did systemd start it", but "does it serve"."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import host
from .keaconfigs import API_PASSWORD
from .nodes import Node
from .spec import DAEMONS, Daemon

AGENT_UNIT: Final = "kea-agent.service"
AGENT_STATUS: Final = "/run/kea-agent/status.json"

# The kernel's table of UDP sockets, and the server's port in its spelling.
PORTS: Final[Mapping[Daemon, tuple[str, int]]] = {"dhcp4": ("udp", 67), "dhcp6": ("udp6", 547)}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a lab is not ready; `final` when waiting longer will not help."""

    node: str
    unit: str
    reason: str
    final: bool = False

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.node} {self.unit}: {self.reason}"


def look(node: Node, *, with_agent: bool) -> list[Problem]:
    """Everything about a node that is not ready now."""
    if node.leader() is None:
        return [Problem(node.name, "boot", "the node does not run")]
    units = list(node.spec.unit_names.values()) + ([AGENT_UNIT] if with_agent else [])
    problems = _systemd(node, units)
    if not problems:
        problems = [problem for daemon in DAEMONS for problem in _daemon(node, daemon)]
    if not problems and with_agent:
        problems = _agent(node)
    return problems


def wait(nodes: Sequence[Node], seconds: float, *, with_agent: bool) -> list[Problem]:
    """Wait until nothing is wrong; what still is, in the end."""
    problems: list[Problem] = []
    for _ in host.wait_for(seconds, every=0.2):
        problems = [problem for node in nodes for problem in look(node, with_agent=with_agent)]
        if not problems or any(problem.final for problem in problems):
            break
    return problems


def high_availability(node: Node, daemon: Daemon) -> str:
    """The HA state of a daemon in its own words, empty where it has no HA."""
    try:
        return _ha_state(node.control(daemon, "status-get"))
    except (OSError, ValueError):
        return "no answer"


def _systemd(node: Node, units: Sequence[str]) -> list[Problem]:
    """What systemd itself says, about itself and about the units."""
    script = 'systemctl is-system-running; systemctl show --property=Id,LoadState,ActiveState,Result "$@"'
    answer = node.run(["sh", "-c", script, "sh", *units], check=False).stdout
    state, _, shown = answer.partition("\n")
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n")]
    problems = [problem for block in blocks for problem in _unit(node, block)]
    if state == "degraded":
        failed = node.systemctl("list-units", "--state=failed", "--plain", "--no-legend")
        others = {line.split()[0] for line in failed.splitlines()} - {problem.unit for problem in problems}
        problems += [Problem(node.name, unit, "failed", final=True) for unit in sorted(others)]
    elif state != "running":
        problems.append(Problem(node.name, "systemd", state or "does not answer yet"))
    return problems


def _unit(node: Node, shown: Mapping[str, str]) -> list[Problem]:
    state = shown.get("ActiveState", "unknown")
    if state == "active":
        return []
    missing = shown.get("LoadState") == "not-found"
    reason = "no such unit" if missing else f"{state} ({shown.get('Result', 'no result')})"
    return [Problem(node.name, shown.get("Id", "units"), reason, final=state == "failed")]


def _agent(node: Node) -> list[Problem]:
    """It has looked at every daemon: what a test does then is not mixed up with what it does at its start."""
    try:
        daemons = json.loads(Path(f"/proc/{node.leader()}/root{AGENT_STATUS}").read_text())["daemons"]
    except (OSError, ValueError, LookupError) as error:
        return [Problem(node.name, AGENT_UNIT, f"it does not tell its status: {error}")]
    unseen = [name for name, status in daemons.items() if status.get("unit") and not status.get("last")]
    return [Problem(node.name, AGENT_UNIT, f"it has not looked at {', '.join(unseen)} yet")] if unseen else []


def _daemon(node: Node, daemon: Daemon) -> list[Problem]:
    """A daemon is ready when it answers, its port is open, and its HA is in the state of its mode."""
    try:
        reason = _control_agent(node) if daemon == "ctrl-agent" else _server(node, daemon)
    except (OSError, ValueError) as error:
        reason = f"its control socket does not answer: {error}"
    return [Problem(node.name, node.unit(daemon), reason)] if reason else []


def _server(node: Node, daemon: Daemon) -> str:
    answer = node.control(daemon, "status-get")
    if answer.get("result") != 0:
        return f"status-get: {answer.get('text')}"
    if daemon in PORTS and not _port_open(node, *PORTS[daemon]):
        return f"UDP port {PORTS[daemon][1]} is not open"
    sockets = answer["arguments"].get("sockets", {}).get("status", "ready")
    if sockets != "ready":
        return f"its DHCP sockets are {sockets}"
    state = _ha_state(answer)
    wanted = node.spec.ha if daemon in PORTS and node.spec.ha != "none" else ""
    return (
        ""
        if state.startswith(wanted) and _partner_seen(answer, wanted)
        else f"HA is {state or 'missing'}, not {wanted}"
    )


def _ha_state(answer: Mapping[str, Any]) -> str:
    for relation in answer.get("arguments", {}).get("high-availability", []):
        local = relation["ha-servers"]["local"]
        return f"{local['state']} ({local['role']})"
    return ""


def _partner_seen(answer: Mapping[str, Any], wanted: str) -> bool:
    """Both must be back to normal, and each must know it of the other."""
    relations = answer["arguments"].get("high-availability", [])
    return all(relation["ha-servers"]["remote"]["last-state"] == wanted for relation in relations)


def _control_agent(node: Node) -> str:
    """Through the control agent to a server, so that both are seen to work."""
    request = json.dumps({"command": "version-get", "service": ["dhcp4"]})
    curl = ["curl", "--silent", "--show-error", "--max-time", "3", "--user", f"kea-api:{API_PASSWORD}"]
    done = node.run([*curl, "--json", request, "http://127.0.0.1:8000/"], check=False)
    if done.returncode != 0:
        return f"HTTP: {done.stderr.strip()}"
    answer = json.loads(done.stdout)
    return "" if isinstance(answer, list) and answer[0].get("result") == 0 else f"answers {done.stdout.strip()[:200]}"


def _port_open(node: Node, table: str, port: int) -> bool:
    lines = Path(f"/proc/{node.leader()}/net/{table}").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)
