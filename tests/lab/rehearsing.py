# SPDX-License-Identifier: MPL-2.0
"""A rehearsal as the agent has one done: asked for by Kea's user, on a host that serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from agenthost import AgentHost
from labkit.host import PATIENCE, wait_for
from labkit.keaconfigs import FILES
from labkit.nodes import Node
from labkit.spec import DAEMONS, Daemon

AS_KEA: Final = ["setpriv", "--reuid=_kea", "--regid=_kea", "--init-groups", "--"]
PATHS: Final[Mapping[Daemon, str]] = {daemon: f"/etc/kea/{name}" for daemon, name in FILES.items()}
CANDIDATE: Final = "/srv/lab-candidate.conf"
ASK: Final = """
import dataclasses, json, sys
from kea_agent import keaconf, rehearsal
from kea_agent.daemons import BY_NAME
daemon = BY_NAME[sys.argv[1]]
document = keaconf.read(sys.argv[2], daemon.root_key)
print(json.dumps(dataclasses.asdict(rehearsal.rehearse(daemon, document, timeout=float(sys.argv[3])))))
"""
# Everything by which a rehearsal could show on the host: processes, network, mounts, files, sockets, and systemd's units.
STATE: Final = (
    "ps -eo pid,user,args --no-headers | grep -v -E 'ps -eo|grep|sh -c|systemd|polkitd|\\[' | grep -E 'kea|rehears' || true; "
    "ip -o link; ip -o address; ip netns; cut -d' ' -f4- /proc/self/mountinfo; "
    "find /run/kea /var/lib/kea /var/log/kea /run/lock /tmp /var/tmp /dev/shm /etc/kea "
    "-type d -printf '%p %i %m %u %g\\n' -o -printf '%p %i %m %u %g %s %T@\\n' | sort; "
    "lsns --noheadings --output NS,TYPE | sort; "
    "systemctl list-units --all --no-legend --plain 'kea-agent-rehearse@*' || true"
)


def rehearse(node: Node, daemon: Daemon, file: str | None = None, seconds: float = 60) -> dict[str, Any]:
    """What a rehearsal of a file says; the daemon's own file where none is named."""
    words = ["python3", "-I", "-c", ASK, daemon, file or PATHS[daemon], str(seconds)]
    found: dict[str, Any] = json.loads(node.run([*AS_KEA, *words], timeout=120).stdout)
    print(f"{node.spec.suite} {daemon}: {found['standing']}: {found['reason']} ({found['seconds']:.2f} s)")
    return found


def rehearse_text(node: Node, daemon: Daemon, text: str, seconds: float = 60) -> dict[str, Any]:
    """What a rehearsal of a text says."""
    node.run(["sh", "-c", f"umask 022; cat > {CANDIDATE}"], stdin=text)
    try:
        return rehearse(node, daemon, CANDIDATE, seconds)
    finally:
        node.run(["rm", CANDIDATE])


def live(host: AgentHost) -> dict[str, Any]:
    """What a rehearsal could do to the servers: their processes, what they run, and what the host has."""
    pids = {
        daemon: host.node.systemctl("show", "--property=MainPID,NRestarts", host.node.unit(daemon))
        for daemon in DAEMONS
    }
    config = {daemon: host.node.control(daemon, "config-get")["arguments"] for daemon in ("dhcp4", "dhcp6", "ddns")}
    return {"pids": pids, "config": config, "state": state(host.node)}


def state(node: Node) -> list[str]:
    """What of the host a rehearsal could change."""
    return node.run(["sh", "-c", STATE]).stdout.splitlines()


def remains(before: list[str], now: list[str]) -> list[str]:
    """What is there now and was not, or was and is not; but for the lease file, which its server writes."""
    changed = sorted(set(before) ^ set(now))
    return [line for line in changed if not line.startswith("/var/lib/kea/kea-leases4.csv ")]


def assert_left_alone(host: AgentHost, before: dict[str, Any], seconds: float = PATIENCE) -> None:
    """Whatever a rehearsal needed is gone by then: it may show neither on the servers nor on the host."""
    for _ in wait_for(seconds, every=0.2):
        if live(host) == before:
            return
    now = live(host)
    for key, was in before.items():
        assert now[key] == was, key
