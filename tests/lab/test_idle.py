# SPDX-License-Identifier: MPL-2.0
"""What the agent costs while nothing happens, and whether it holds on to more with every change."""

from __future__ import annotations

import json
import time

import pytest
from agenthost import STATUS, AgentHost
from agentproc import AgentProcess, Usage
from labkit import DAEMONS
from labkit.host import wait_for
from labkit.nodes import Node

QUIET_SECONDS = 65  # longer than the slowest of the agent's clocks, the poll
ROUNDS, WARM_UP = 50, 10  # each is four passes
# The heaps of Python and of glibc's threads settle over some hundred passes (measured: 1 to 2 MiB from pass 40 to 200,
# 1 MiB from 400 to 960). A leak of one message of D-Bus a call would be some 100 KiB a pass.
MOST_GROWTH_KIB = 4096

# An edit of dhcp4 and, at the same time, a forced reload of the other three: each round is four verified reloads.
CHANGES = """
import json, re, sys, time
from kea_agent import local
CONFIG, STATUS = "/etc/kea/kea-dhcp4.conf", "/run/kea-agent/status.json"
for lifetime in range(int(sys.argv[1]), int(sys.argv[2])):
    with open(CONFIG) as stream:
        text = re.sub(r'("valid-lifetime": )\\d+', rf"\\g<1>{lifetime}", stream.read())
    with open(CONFIG, "w") as stream:
        stream.write(text)
    closed = time.time()
    asked = {"verb": "reload", "daemons": ["dhcp6", "ddns", "ctrl-agent"], "force": True}
    outcomes = {name: done["outcome"] for name, done in local.ask(asked, timeout=120)["results"].items()}
    while (last := json.load(open(STATUS))["daemons"]["dhcp4"]["last"])["at"] < closed:
        if time.time() > closed + 120:
            sys.exit("no pass in 120 s")
        time.sleep(0.02)
    outcomes["dhcp4"] = last["outcome"]
    if set(outcomes.values()) != {"applied"}:
        sys.exit(f"{lifetime}: {outcomes}: {last}")
"""

# In a group of their own: they take minutes, and another worker can have the other tests of this suite meanwhile.
TRIXIE = pytest.param({"suite": "trixie"}, marks=pytest.mark.xdist_group("idle"), id="trixie")
pytestmark = pytest.mark.parametrize("host", [TRIXIE], indirect=True)


def kea_journals(node: Node) -> str:
    """Every line that Kea's daemons have written."""
    return "\n".join(line for daemon in DAEMONS for line in node.journal(node.unit(daemon), 100000))


def kea_pids(node: Node) -> str:
    """Main processes of Kea's units."""
    return node.systemctl("show", "--property=MainPID", *(node.unit(daemon) for daemon in DAEMONS))


def wait_until_quiet(node: Node) -> None:
    """Wait until the agent has looked at everything and has gone back to sleep."""
    for _ in wait_for(every=0.2):
        if '"last": null' not in node.read(STATUS):
            break
    process = AgentProcess.of(node)
    for _ in wait_for(every=0.1):
        before = process.switches()
        time.sleep(3)
        if process.switches() == before:
            return
    raise AssertionError("the agent never sleeps for 3 s")


def test_an_idle_agent_sleeps_and_leaves_kea_alone(host: AgentHost) -> None:
    node = host.node
    wait_until_quiet(node)
    journals, pids, passes = kea_journals(node), kea_pids(node), passed(node)
    process = AgentProcess.of(node)
    idle = process.idle(QUIET_SECONDS)
    print(f"awake in {idle.awake} of {idle.seconds} s, switches by thread: {sorted(idle.switches.values())}")
    # Pings and polls, and nothing between them: a loop that turns once in five seconds would show.
    assert 2 <= idle.awake <= idle.awake_bound
    assert idle.switches.total() <= idle.switches_bound
    # A poll that finds the same bytes asks nobody anything.
    assert (kea_journals(node), kea_pids(node), passed(node)) == (journals, pids, passes)
    assert process == AgentProcess.of(node)


def passed(node: Node) -> dict[str, float]:
    """When each daemon's last pass was."""
    daemons = json.loads(node.read(STATUS))["daemons"]
    return {name: daemon["last"]["at"] for name, daemon in daemons.items()}


def test_nothing_grows_with_changes(host: AgentHost) -> None:
    node = host.node
    wait_until_quiet(node)
    process, pids = AgentProcess.of(node), kea_pids(node)
    text = node.read("/etc/kea/kea-dhcp4.conf")
    usages = [change(node, process, 5000, 5000 + WARM_UP), change(node, process, 5000 + WARM_UP, 5000 + ROUNDS)]
    first, last = usages
    print(f"after {4 * WARM_UP} passes: {first}, after {4 * ROUNDS}: {last}; RSS {last.rss - first.rss:+d} KiB")
    assert last.descriptors == first.descriptors
    assert last.threads <= first.threads + 1
    assert last.rss - first.rss <= MOST_GROWTH_KIB
    assert (kea_pids(node), process) == (pids, AgentProcess.of(node))
    node.replace("/etc/kea/kea-dhcp4.conf", text)


def change(node: Node, process: AgentProcess, first: int, end: int) -> Usage:
    """Make the changes and say what the agent holds after them."""
    done = node.run(["python3", "-", str(first), str(end)], stdin=CHANGES, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    time.sleep(1)
    return process.usage()
