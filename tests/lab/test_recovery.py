# SPDX-License-Identifier: MPL-2.0
"""A server that was hurt, or does not start, serves again: on the last known good configuration, told as what it is.

The checks that would have seen these files coming are switched off here, because others like them may not be seen.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import PATIENCE, wait_for
from saving import (
    agent_life,
    assert_in_sync,
    edited,
    good_edit,
    main_pid,
    on_every_suite,
    others_go_on,
    outcome_of,
    settings,
    shell,
)

pytestmark = on_every_suite

BLIND = '[check]\nrules = "tell"\nrehearsal = "off"\n'
FALLBACK = "kea-agent-fallback@dhcp4"
# Seconds for which a server may serve that is said to be broken.
TAKEN_BACK = 5.0
AWAY_DATABASE = '"hosts-database": { "type": "mysql", "name": "kea", "user": "kea", "host": "127.0.0.1", "port": 3 }'
LEASES = "/var/lib/kea/kea-leases4.csv"
LOST = "lost its sockets: closed: 198.18.0.11:67, packet socket on host0"
HARM: dict[str, tuple[str, str, str]] = {
    "hosts database away": ('"valid-lifetime"', f'{AWAY_DATABASE}, "valid-lifetime"', "Unable to open database"),
    "lease file not to be had": (LEASES, "/nonexistent/kea-leases4.csv", "/nonexistent"),
}


def harmful(good: str, case: str = "lease file not to be had") -> str:
    """`kea-dhcp4 -t` accepts it; loading it closes the server's sockets, and starting with it fails."""
    old, new, _ = HARM[case]
    return good.replace(old, new, 1)


def serves(host: AgentHost) -> bool:
    """Whether somebody has the DHCPv4 server's port, and the server answers."""
    if not host.node.run(["ss", "-Hlun", "sport = :67"]).stdout:
        return False
    return int(host.node.control("dhcp4", "status-get")["result"]) == 0


def until_served(host: AgentHost, seconds: float) -> float:
    """Wait until it serves; how long that took."""
    began = time.monotonic()
    for _ in wait_for(seconds, every=0.05):
        if host.node.run(["ss", "-Hlun", "sport = :67"], check=False).stdout:
            return time.monotonic() - began
    told = "\n".join(host.node.journal("kea-agent", 15))
    raise AssertionError(f"not served in {seconds} s\n{told}")


def state(host: AgentHost, unit: str) -> str:
    """What systemd says of a unit."""
    return host.node.systemctl("is-active", unit, check=False)


def wait_until_on(host: AgentHost, *, fallback: bool) -> None:
    """Wait until the agent says who serves; before the unit does, its file is rehearsed."""
    for _ in wait_for(every=0.1):
        if host.status()["on_fallback"] is fallback and (host.status()["config_in_sync"] or fallback):
            return
    raise AssertionError(f"{host.status()}\n" + "\n".join(host.node.journal("kea-agent", 15)))


@contextmanager
def leases_out_of_reach(host: AgentHost) -> Iterator[None]:
    """Nobody can serve: Kea may not open its lease file."""
    shell(host.node, f"chown root:root {LEASES}; chmod 600 {LEASES}")
    try:
        yield
    finally:
        shell(host.node, f"chown _kea:_kea {LEASES}; chmod 640 {LEASES}")


@pytest.mark.parametrize("case", HARM)
def test_a_reload_that_deafens_the_server_is_undone(host: AgentHost, case: str, good: str) -> None:
    """systemd says `active` all the while, and the process stays."""
    settings(host, BLIND)
    unit, agent = host.node.unit("dhcp4"), agent_life(host)
    pid, lifetime = main_pid(host, unit), host.lifetime()
    bad = harmful(edited(good)[0], case)
    began = time.time()
    reason = outcome_of(host, "recovered", lambda: host.node.replace(CONFIG, bad), says=LOST)
    took = host.status()["last"]["at"] - began
    print(f"recovered after {took:.2f} s")
    assert took < 10
    assert re.search(rf"kea said: DHCP4_CONFIG_LOAD_FAIL .*{HARM[case][2]}", reason), reason
    assert "brought back on the last known good configuration" in reason
    assert host.status()["last"]["steps"] == [{"step": "config-set", "worked": True}]
    assert serves(host)
    assert (main_pid(host, unit), host.lifetime()) == (pid, lifetime)
    assert host.node.read(CONFIG) == bad, "the operator's file is the operator's"
    others_go_on(host)
    assert (host.status()["config_valid"], host.status()["config_in_sync"]) == (False, False)
    assert "recovered" in host.node.systemctl("show", "--property=StatusText", "--value", "kea-agent")
    assert host.node.run(["kea-agent", "status"], check=False).returncode == 4
    reloads = host.reloads()
    host.node.run(["kea-agent", "reload", "dhcp4"], check=False)
    assert "this very file" in host.status()["last"]["reason"]
    assert host.reloads() == reloads, "what hurt the server once is not tried again by itself"
    good_edit(host, good)
    assert (main_pid(host, unit), agent_life(host)) == (pid, agent)


@pytest.mark.parametrize("case", HARM)
def test_a_unit_that_cannot_start_with_its_file_is_replaced(host: AgentHost, case: str, good: str) -> None:
    unit = host.node.unit("dhcp4")
    lifetime = host.lifetime()
    host.node.systemctl("stop", "kea-agent")
    host.node.replace(CONFIG, harmful(edited(good)[0], case))
    host.node.systemctl("start", "kea-agent")
    host.node.systemctl("restart", unit, check=False)
    took = until_served(host, 10)
    print(f"served {took:.2f} s after the restart")
    wait_until_on(host, fallback=True)
    assert (state(host, FALLBACK), host.lifetime()) == ("active", lifetime)
    assert state(host, unit) != "active"
    said = host.node.run(["kea-agent", "status"], check=False)
    assert said.returncode == 4
    assert "the fallback unit serves the last known good" in " ".join(said.stdout.split()), said.stdout
    assert host.metric("kea_up") == 1
    text, lifetime = edited(good)
    host.node.replace(CONFIG, text)
    wait_until_on(host, fallback=False)
    assert (state(host, FALLBACK), state(host, unit), host.lifetime()) == ("inactive", "active", lifetime)
    assert_in_sync(host)


def test_a_host_that_boots_with_a_harmful_file_serves(host: AgentHost, good: str) -> None:
    host.node.systemctl("stop", "kea-agent")
    host.node.replace(CONFIG, harmful(good))
    host.node.run(["systemctl", "stop", host.node.unit("dhcp4")])
    host.node.run(["systemctl", "start", "--no-block", host.node.unit("dhcp4"), "kea-agent"])
    took = until_served(host, 15)
    print(f"served {took:.2f} s after the start")
    wait_until_on(host, fallback=True)
    host.node.replace(CONFIG, good)
    wait_until_on(host, fallback=False)


def test_what_a_person_stopped_stays_stopped(host: AgentHost, good: str) -> None:
    settings(host, BLIND)
    unit = host.node.unit("dhcp4")
    host.node.systemctl("stop", unit)
    host.node.replace(CONFIG, harmful(good))
    host.node.run(["kea-agent", "reload", "dhcp4"], check=False)
    host.node.systemctl("restart", "kea-agent")
    host.node.run(["kea-agent", "reload", "dhcp4"], check=False)
    assert (state(host, unit), state(host, FALLBACK)) == ("inactive", "inactive")
    host.node.systemctl("start", unit, check=False)
    until_served(host, 10)
    wait_until_on(host, fallback=True)
    host.node.systemctl("stop", FALLBACK)
    time.sleep(7)  # longer than systemd's and the agent's own pauses
    assert (state(host, unit), state(host, FALLBACK)) != ("active", "active")
    assert not host.node.run(["ss", "-Hlun", "sport = :67"]).stdout
    host.node.replace(CONFIG, good)
    host.node.systemctl("start", unit)
    wait_until_on(host, fallback=False)


def test_a_cause_that_is_not_the_file_is_said_and_waited_for(host: AgentHost, good: str) -> None:
    """The file is the last known good one; the server cannot write its leases."""
    unit = host.node.unit("dhcp4")
    with leases_out_of_reach(host):
        host.node.systemctl("restart", unit, check=False)
        for _ in wait_for(every=0.2):
            if host.status()["last"]["outcome"] == "broken":
                break
        reason = host.status()["last"]["reason"]
        print(reason)
        assert state(host, FALLBACK) != "active"
        assert LEASES in reason, reason
    until_served(host, PATIENCE)
    wait_until_on(host, fallback=False)
    assert serves(host)


def test_broken_is_taken_back_as_soon_as_somebody_serves(host: AgentHost, good: str) -> None:
    """No event tells the agent: a person mends the host and has the same process load the file once more."""
    settings(host, BLIND + "[gate]\nretry_seconds = 60\n")
    host.node.systemctl("mask", "--runtime", FALLBACK)
    try:
        with leases_out_of_reach(host):
            outcome_of(host, "broken", lambda: host.node.replace(CONFIG, edited(good)[0]), says=LOST)
    finally:
        host.node.systemctl("unmask", "--runtime", FALLBACK)
    assert host.node.control("dhcp4", "config-reload")["result"] == 0
    began = time.monotonic()
    for _ in wait_for(TAKEN_BACK, every=0.1):
        if host.status()["last"]["outcome"] != "broken":
            break
    print(f"taken back after {time.monotonic() - began:.1f} s")
    assert host.status()["last"]["outcome"] == "unchanged"
    assert_in_sync(host)


@contextmanager
def agent_killed_at(host: AgentHost, words: str) -> Iterator[None]:
    """The agent is killed the moment that these words (a regular expression) come into the journal; with none, afterwards."""
    life, kill = agent_life(host), "systemctl kill --signal=KILL kea-agent"
    host.node.systemctl("reset-failed", "kea-agent", check=False)
    if words:
        follow = f"journalctl --follow --no-tail --output=cat --since=@{time.time():.3f}"
        script = f"grep --max-count=1 --extended-regexp '{words}' <({follow}) && {kill}"
        host.node.run(["systemd-run", "--quiet", "--collect", "--unit=killer", "bash", "-c", script])
    yield
    if not words:
        host.node.run(kill.split())
    for _ in wait_for():
        if agent_life(host) != life:
            return
    raise AssertionError(f"not in the journal: {words}")


def wait_until_served_and_told(host: AgentHost, seconds: float = 20) -> None:
    """Wait until the server serves, and `kea-agent status` says that it is not with the file on the disk."""
    began = time.monotonic()
    for _ in wait_for(seconds, every=0.1):
        if host.node.run(["kea-agent", "status"], check=False).returncode == 4 and serves(host):
            print(f"served and told {time.monotonic() - began:.1f} s after the agent was killed")
            return
    raise AssertionError("\n".join(host.node.journal("kea-agent", 30)))


# What is in the journal when the agent, or Kea for it, has come so far; the first is before anything.
CONFIG_SET_STEPS = {
    "saved": "",
    "reloaded": "DHCP4_DYNAMIC_RECONFIGURATION initiate",
    "deaf": "DHCP4_CONFIG_LOAD_FAIL",
    "given the last known good": "COMMAND_RECEIVED .*config-set",
    "told": "dhcp4: recovered",
}
FALLBACK_STEPS = {
    "failed": "kea-dhcp4-server.service: Failed with result",
    "starting": "Starting kea-agent-fallback@dhcp4",
    "started": "Started kea-agent-fallback@dhcp4",
    "told": "dhcp4: recovered",
}


@pytest.mark.parametrize("step", CONFIG_SET_STEPS)
def test_an_agent_that_is_killed_on_the_way_back_gets_there_all_the_same(host: AgentHost, step: str, good: str) -> None:
    settings(host, BLIND)
    with agent_killed_at(host, CONFIG_SET_STEPS[step]):
        host.node.replace(CONFIG, harmful(edited(good)[0]))
    wait_until_served_and_told(host)
    good_edit(host, good)


@pytest.mark.parametrize("step", FALLBACK_STEPS)
def test_an_agent_that_is_killed_on_the_way_to_the_fallback_gets_there_all_the_same(
    host: AgentHost, step: str, good: str
) -> None:
    settings(host, BLIND)
    outcome_of(host, "recovered", lambda: host.node.replace(CONFIG, harmful(edited(good)[0])), says="config-set")
    with agent_killed_at(host, FALLBACK_STEPS[step]):
        host.node.systemctl("restart", host.node.unit("dhcp4"), check=False)
    wait_until_served_and_told(host)
    wait_until_on(host, fallback=True)
    host.node.replace(CONFIG, edited(good)[0])
    wait_until_on(host, fallback=False)
