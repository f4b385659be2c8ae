# SPDX-License-Identifier: MPL-2.0
"""What is done to a host with the agent on it, and what must then be true of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import PATIENCE, wait_for
from labkit.nodes import Node
from labkit.spec import DAEMONS, Daemon
from labs import EVERY_SUITE

CONFIG6 = "/etc/kea/kea-dhcp6.conf"
DROP_IN = "/etc/kea-agent/kea-agent.d/99-test.toml"
INCLUDED = "/etc/kea/test.inc"
LIFETIME = re.compile(r'("valid-lifetime":\s*)\d+,')
on_every_suite = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)
NEW_LIFETIMES = count(10_000)  # values that no configuration here has had


def shell(node: Node, script: str) -> None:
    """Run a script with the names of the files; everything it prints of interest is in the files."""
    node.run(["sh", "-c", f"set -e; CONFIG={CONFIG} INCLUDED={INCLUDED}; {script}"])


def assert_in_sync(host: AgentHost) -> None:
    """The agent says that the server is proven to run its file."""
    status = host.status()
    assert (status["config_valid"], status["config_in_sync"]) == (True, True), status


def edited(text: str) -> tuple[str, int]:
    """The configuration with a lifetime that it never had, and that lifetime."""
    lifetime = next(NEW_LIFETIMES)
    return LIFETIME.sub(rf"\g<1>{lifetime},", text, count=1), lifetime


def good_edit(host: AgentHost, good: str) -> None:
    """A good file is one verified reload, as ever."""
    before, reloads = host.outcomes(), host.reloads()
    text, lifetime = edited(good)
    shell(host.node, "rm -rf $CONFIG")
    host.node.replace(CONFIG, text)
    host.wait_for("applied", before)
    assert host.lifetime() == lifetime
    assert host.reloads() == reloads + 1
    assert_in_sync(host)
    assert host.status()["reload_successful"]


def others_go_on(host: AgentHost) -> None:
    """Whatever dhcp4 is going through, a good edit of dhcp6 is applied."""
    before = host.outcomes("dhcp6")
    text, lifetime = edited(host.node.read(CONFIG6))
    host.node.replace(CONFIG6, text)
    host.wait_for("applied", before, "dhcp6")
    running = host.node.control("dhcp6", "config-get")["arguments"]["Dhcp6"]["valid-lifetime"]
    assert running == lifetime


def main_pid(host: AgentHost, unit: str) -> int:
    """The process that systemd has for a unit."""
    return int(host.node.systemctl("show", "--property=MainPID", "--value", unit))


def agent_life(host: AgentHost) -> str:
    """The agent's process, and how often systemd had to start it again."""
    return host.node.systemctl("show", "--property=ActiveState,MainPID,NRestarts", "kea-agent")


@contextmanager
def untouched(host: AgentHost) -> Iterator[None]:
    """Kea's process, configuration and log say that nothing was done to it, and the agent is the same one too."""
    unit = host.node.unit("dhcp4")
    config = host.node.control("dhcp4", "config-get")["arguments"]
    before = main_pid(host, unit), host.reloads(), agent_life(host)
    yield
    assert (main_pid(host, unit), host.reloads(), agent_life(host)) == before
    assert "ActiveState=active" in before[2]
    assert host.node.control("dhcp4", "config-get")["arguments"] == config


@contextmanager
def told(host: AgentHost, words: str, unit: str = "kea-agent") -> Iterator[None]:
    """What happens meanwhile makes a unit write these words to the journal."""
    known = len(host.journal(unit))
    yield
    host.wait_logged(words, unit, known)


def outcome_of(host: AgentHost, outcome: str, do: Callable[[], object], *, says: str, seconds: float = PATIENCE) -> str:
    """What was done to the file ends in exactly this outcome; `says` (a regular expression) is in the reason."""
    before, known = host.outcomes(), len(host.journal())
    do()
    reason = host.wait_for(outcome, before, seconds=seconds)
    print(f"{outcome}: {reason}")
    assert re.search(says, reason), reason
    assert host.outcomes() - before == Counter({outcome: 1})
    host.wait_logged(reason, known=known)
    return reason


def rejected(host: AgentHost, do: Callable[[], object], *, says: str, seconds: float = PATIENCE) -> None:
    """Refused before Kea was touched, and everything says so."""
    with untouched(host):
        reason = outcome_of(host, "rejected", do, says=says, seconds=seconds)
        assert reason.endswith("the server was not touched and goes on with what it runs")
        assert (host.status()["config_valid"], host.status()["config_in_sync"]) == (False, False)
        assert host.metric("kea_agent_config_valid") == 0
        assert host.metric("kea_agent_config_in_sync") == 0
        others_go_on(host)
        assert host.status()["last"]["reason"] == reason


def settings(host: AgentHost, toml: str | None) -> None:
    """Have the agent run with these settings besides its own, and wait until it has looked at everything again."""
    before = {daemon: _looked_at(host, daemon) for daemon in DAEMONS}
    if toml is not None:
        host.node.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
        host.node.replace(DROP_IN, toml)
    host.node.systemctl("reload", "kea-agent")
    for _ in wait_for(every=0.1):
        if all(_looked_at(host, daemon) > before[daemon] for daemon in DAEMONS):
            return
    raise AssertionError("the agent did not look at everything again")


def _looked_at(host: AgentHost, daemon: Daemon) -> float:
    """When it last did; a verdict that is the same again is not counted, but it has its time; a new agent has not looked yet."""
    last = host.status(daemon)["last"]
    return float(last["at"]) if last else 0.0
