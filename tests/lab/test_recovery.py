# SPDX-License-Identifier: MPL-2.0
"""A server that was hurt, or does not start, serves again: on the last known good configuration, told as what it is.

The checks that would have seen these files coming are switched off here, because others like them may not be seen.
"""

from __future__ import annotations

import re
import time

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
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
)

pytestmark = on_every_suite

BLIND = '[check]\nrules = "tell"\nrehearsal = "off"\n'
FALLBACK = "kea-agent-fallback@dhcp4"
AWAY_DATABASE = '"hosts-database": { "type": "mysql", "name": "kea", "user": "kea", "host": "127.0.0.1", "port": 3 }'
HARM: dict[str, tuple[str, str, str]] = {
    "hosts database away": ('"valid-lifetime"', f'{AWAY_DATABASE}, "valid-lifetime"', "Unable to open database"),
    "lease file not to be had": ("/var/lib/kea/kea-leases4.csv", "/nonexistent/kea-leases4.csv", "/nonexistent"),
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


def wait_until_on(host: AgentHost, *, fallback: bool, seconds: float = 20) -> None:
    """Wait until the agent says who serves."""
    for _ in wait_for(seconds, every=0.1):
        if host.status()["on_fallback"] is fallback and (host.status()["config_in_sync"] or fallback):
            return
    raise AssertionError(f"{host.status()}\n" + "\n".join(host.node.journal("kea-agent", 15)))


@pytest.mark.parametrize("case", HARM)
def test_a_reload_that_deafens_the_server_is_undone(host: AgentHost, case: str, good: str) -> None:
    """systemd says `active` all the while, and the process stays."""
    settings(host, BLIND)
    unit, agent = host.node.unit("dhcp4"), agent_life(host)
    pid, lifetime = main_pid(host, unit), host.lifetime()
    bad = harmful(edited(good)[0], case)
    began = time.time()
    reason = outcome_of(
        host, "recovered", lambda: host.node.replace(CONFIG, bad), says="lost its sockets|does not serve"
    )
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
    leases = "/var/lib/kea/kea-leases4.csv"
    host.node.run(["chown", "root:root", leases])
    host.node.run(["chmod", "600", leases])
    try:
        host.node.systemctl("restart", unit, check=False)
        for _ in wait_for(20, every=0.2):
            if host.status()["last"]["outcome"] == "broken":
                break
        reason = host.status()["last"]["reason"]
        print(reason)
        assert state(host, FALLBACK) != "active"
        assert leases in reason, reason
    finally:
        host.node.run(["chown", "_kea:_kea", leases])
        host.node.run(["chmod", "640", leases])
    until_served(host, 30)
    wait_until_on(host, fallback=False, seconds=60)
    assert serves(host)


@pytest.mark.parametrize("delay", [1.0, 2.5])
def test_an_agent_that_is_killed_on_the_way_back_gets_there_all_the_same(
    host: AgentHost, delay: float, good: str
) -> None:
    settings(host, BLIND)
    host.node.replace(CONFIG, harmful(edited(good)[0]))
    time.sleep(delay)
    host.node.systemctl("reset-failed", "kea-agent", check=False)
    host.node.systemctl("kill", "--signal=KILL", "kea-agent")
    for _ in wait_for(20, every=0.1):
        if host.node.run(["kea-agent", "status"], check=False).returncode == 4 and serves(host):
            break
    assert serves(host), "\n".join(host.node.journal("kea-agent", 30))
    good_edit(host, good)
