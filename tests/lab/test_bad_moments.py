# SPDX-License-Identifier: MPL-2.0
"""Everything that can be wrong with the moment and not with the file: daemons, systemd, D-Bus, people, the agent itself.

The agent says what holds it up, goes on with the other daemons, and gets to "the server runs the file" by itself as soon
as that is possible.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from agenthost import CONFIG, STATUS, AgentHost
from labkit.host import PATIENCE, wait_for
from labkit.spec import DAEMONS
from labs import EVERY_SUITE
from saving import (
    DROP_IN,
    agent_life,
    assert_in_sync,
    edited,
    good_edit,
    main_pid,
    on_every_suite,
    others_go_on,
    outcome_of,
    rejected,
    settings,
    told,
    untouched,
)

SINCE_PATHS_ARE_FIXED = EVERY_SUITE[1:]  # Kea 2.6.3 and later refuse paths outside their directories
AGENT_DROP_IN = "/run/systemd/system/kea-agent.service.d/99-test.conf"
AWAY = "/root/away"
METRICS_PORT = 9673
KILLS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
_RELOADS = re.compile(r"DYNAMIC_RECONFIGURATION initiate|CFG_FILE_RELOAD_SIGNAL_RECVD")


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that has no outcome to wait for."""
    for _ in wait_for(seconds, every=0.1):
        if condition():
            return
    raise AssertionError(f"not in {seconds:g} s: {what}")


def save(host: AgentHost, text: str) -> int:
    """Save a good edit; returns the lifetime that tells whether it runs."""
    text, lifetime = edited(text)
    host.node.replace(CONFIG, text)
    return lifetime


def agent_unit(host: AgentHost, verb: str) -> None:
    """Start, stop or restart the agent; these tests do so more often than systemd's limit allows a failing unit."""
    host.node.systemctl("reset-failed", "kea-agent", check=False)
    host.node.systemctl(verb, "kea-agent")


def show(host: AgentHost, prop: str, unit: str = "kea-agent") -> str:
    """One property of a unit."""
    return host.node.systemctl("show", f"--property={prop}", "--value", unit)


def reloads_of_all(host: AgentHost) -> dict[str, int]:
    """How often each daemon says that it was asked to reload."""
    return {daemon: len(_RELOADS.findall(host.journal(host.node.unit(daemon)))) for daemon in DAEMONS}


def is_in_sync(host: AgentHost) -> bool:
    """The agent says so; one that has just been started has not said anything yet."""
    document = json.loads(host.node.run(["cat", STATUS], check=False).stdout or "{}")
    return bool(document and document["daemons"]["dhcp4"]["config_in_sync"])


def is_settled(host: AgentHost) -> bool:
    """The agent runs, says that dhcp4 is in sync, and it is this process that says so."""
    if host.node.run(["kea-agent", "reload"], check=False).returncode != 0:
        return False
    return all(host.status(daemon)["config_in_sync"] for daemon in DAEMONS)


# Units that are not there.


@pytest.fixture
def units_back(host: AgentHost, good: str) -> Iterator[None]:
    """Whatever was done to Kea's units is undone; before the configuration is, which takes a server."""
    yield
    units = [host.node.unit(daemon) for daemon in DAEMONS]
    bring_back(host)
    host.node.systemctl("unmask", *units)
    host.node.systemctl("reset-failed", *units)
    host.node.systemctl("start", *units)
    agent_unit(host, "restart")


def remove(host: AgentHost, units: Sequence[str]) -> None:
    """What purging the packages does to systemd; the configuration files stay."""
    host.node.systemctl("stop", *units)
    script = f"""set -e; mkdir -p {AWAY}; for unit; do
        for file in /usr/lib/systemd/system/$unit /lib/systemd/system/$unit /etc/init.d/${{unit%.service}}; do
            if [ -f $file ]; then echo $file >> {AWAY}/list; mv $file {AWAY}; fi
        done
    done; systemctl daemon-reload"""
    host.node.run(["sh", "-c", script, "sh", *units])


def bring_back(host: AgentHost) -> None:
    """What installing the packages again does."""
    script = f"""set -e; [ -d {AWAY} ] || exit 0
        while read -r file; do mv {AWAY}/${{file##*/}} $file; done < {AWAY}/list; rm -r {AWAY}; systemctl daemon-reload"""
    host.node.run(["sh", "-c", script])


@on_every_suite
@pytest.mark.usefixtures("units_back")
def test_without_any_kea_the_agent_waits_for_one(host: AgentHost, good: str) -> None:
    units = [host.node.unit(daemon) for daemon in DAEMONS]
    settings(host, "[watch]\npoll_seconds = 1\n")
    remove(host, units)
    agent_unit(host, "restart")
    until(lambda: "no Kea daemon is installed" in show(host, "StatusText"), "the agent says that there is no Kea")
    assert show(host, "ActiveState") == "active"
    status = host.node.run(["kea-agent", "status"], check=False)
    print(status.stdout, status.returncode)
    assert "dhcp4: no unit of dhcp4 is installed" in status.stdout
    assert status.returncode == 0
    lifetime, agent = save(host, good), agent_life(host)
    bring_back(host)
    host.node.systemctl("start", *units)
    until(lambda: is_in_sync(host), "the agent has noticed that there is a Kea")
    assert host.lifetime() == lifetime
    assert agent_life(host) == agent
    assert "no Kea daemon" not in show(host, "StatusText")
    good_edit(host, good)


@on_every_suite
@pytest.mark.usefixtures("units_back")
def test_one_daemon_alone_is_looked_after(host: AgentHost, good: str) -> None:
    remove(host, [host.node.unit(daemon) for daemon in DAEMONS if daemon != "dhcp4"])
    agent_unit(host, "restart")
    until(lambda: is_in_sync(host), "dhcp4 is in sync")
    good_edit(host, good)
    assert show(host, "StatusText") == "dhcp4 applied"
    status = host.node.run(["kea-agent", "status"], check=False)
    print(status.stdout)
    assert status.returncode == 0
    for daemon in ("dhcp6", "ddns", "ctrl-agent"):
        assert f"{daemon}: no unit of {daemon} is installed" in status.stdout
        assert host.status(daemon)["unit"] is None


@on_every_suite
@pytest.mark.usefixtures("units_back")
def test_a_masked_unit_is_left_alone(host: AgentHost, good: str) -> None:
    unit, reloads = host.node.unit("dhcp4"), host.reloads()
    stop(host)
    host.node.systemctl("mask", unit)
    outcome_of(host, "deferred", lambda: save(host, good), says=f"^{unit} is masked")
    assert_status(host, "does not run: masked", code=0)
    others_go_on(host)
    assert main_pid(host, unit) == 0
    assert (host.status()["config_in_sync"], host.status()["unit_state"]) == (False, "masked")
    host.node.systemctl("unmask", unit)
    started_is_in_sync(host, reloads)
    good_edit(host, good)


@on_every_suite
@pytest.mark.usefixtures("units_back")
def test_a_stopped_unit_stays_stopped_and_its_file_is_checked(host: AgentHost, good: str) -> None:
    unit, reloads = host.node.unit("dhcp4"), host.reloads()
    stop(host)
    says = rf"^{unit} is inactive \(dead\); the file will be read when it starts"
    outcome_of(host, "deferred", lambda: save(host, good), says=says)
    assert (host.status()["config_valid"], host.status()["config_in_sync"]) == (True, False)
    assert_status(host, "does not run: stopped", code=3)
    bad = good.replace('"renew-timer": 900', '"renew-timer": "soon"')
    outcome_of(host, "rejected", lambda: host.node.replace(CONFIG, bad), says=rf"^{CONFIG}:\d+[.:]\d+: .*integer")
    outcome_of(host, "deferred", lambda: save(host, good), says=says)
    others_go_on(host)
    assert main_pid(host, unit) == 0
    started_is_in_sync(host, reloads)
    good_edit(host, good)


def assert_status(host: AgentHost, says: str, code: int) -> None:
    """What `kea-agent status` says of the server, and exits with."""
    done = host.node.run(["kea-agent", "status"], check=False)
    assert f"  server     {says}\n" in done.stdout, done.stdout
    assert done.returncode == code


def stop(host: AgentHost) -> None:
    """The operator stops dhcp4, and the agent has taken note of it."""
    host.node.systemctl("stop", host.node.unit("dhcp4"))
    assert host.node.run(["kea-agent", "reload", "dhcp4"], check=False).returncode == 3


def started_is_in_sync(host: AgentHost, reloads: int) -> None:
    """The operator starts dhcp4; that is a load of the file and needs no reload."""
    before = host.outcomes()
    host.node.systemctl("start", host.node.unit("dhcp4"))
    print(host.wait_for("unchanged", before))
    assert_in_sync(host)
    assert (host.outcomes()["applied"], host.reloads()) == (before["applied"], reloads)


# Kea at a bad moment.


@on_every_suite
def test_a_hung_server_is_not_reloaded_until_it_answers_again(host: AgentHost, good: str) -> None:
    settings(
        host,
        "[control]\ntimeout_seconds = 0.5\n[gate]\nretry_seconds = 0.5\n[web]\nscrape_timeout_seconds = 0.2\n",
    )
    unit, reloads, agent = host.node.unit("dhcp4"), host.reloads(), agent_life(host)
    pid = main_pid(host, unit)
    before = host.outcomes()
    host.node.systemctl("kill", "--signal=STOP", "--kill-who=main", unit)
    try:
        lifetime = save(host, good)
        reason = host.wait_for("deferred", before)
        others_go_on(host)
        assert (host.status()["config_valid"], host.status()["config_in_sync"]) == (True, False)
        assert host.status()["retry_at"] is not None
        assert host.reloads() == reloads
    finally:
        host.node.systemctl("kill", "--signal=CONT", "--kill-who=main", unit)
    print(reason)
    assert re.search(rf"no answer on \S+ within 0.5 s: not reloading a server that may hang \(process {pid}\)", reason)
    host.wait_logged(reason)
    host.wait_for("applied", before)
    assert host.lifetime() == lifetime
    assert (main_pid(host, unit), host.reloads(), agent_life(host)) == (pid, reloads + 1, agent)
    good_edit(host, good)


@pytest.mark.parametrize("host", SINCE_PATHS_ARE_FIXED, indirect=True)
def test_a_rule_keeps_a_file_from_the_server_that_would_deafen_it(host: AgentHost, good: str) -> None:
    new = "/nonexistent/kea-leases4.csv"
    says = rf'^{CONFIG}:\d+:\d+: "{new}" is not in /\S+ \[lease-file-directory\];'
    bad = good.replace("/var/lib/kea/kea-leases4.csv", new, 1)
    rejected(host, lambda: host.node.replace(CONFIG, bad), says=says)
    assert is_listening(host)
    good_edit(host, good)


def is_listening(host: AgentHost) -> bool:
    """Whether anybody has the DHCPv4 server's port."""
    return bool(host.node.run(["ss", "-Hlun", "sport = :67"]).stdout)


@pytest.mark.parametrize("host", SINCE_PATHS_ARE_FIXED, indirect=True)
def test_what_kea_refuses_at_the_reload_is_failed_and_the_old_one_serves(host: AgentHost, good: str) -> None:
    settings(host, '[check]\nrehearsal = "off"\n')
    unit, agent, lifetime = host.node.unit("dhcp4"), agent_life(host), host.lifetime()
    pid = main_pid(host, unit)
    bad = good.replace('"output": "stdout"', '"output": "/nonexistent/kea.log"')
    reason = outcome_of(host, "failed", lambda: host.node.replace(CONFIG, bad), says="still serves the old one")
    assert re.search("kea said: DHCP4_CONFIG_LOAD_FAIL .*'/nonexistent'", reason), reason
    assert (host.status()["config_in_sync"], host.status()["reload_successful"]) == (False, False)
    assert (host.lifetime(), main_pid(host, unit), agent_life(host)) == (lifetime, pid, agent)
    assert is_listening(host)
    others_go_on(host)
    good_edit(host, good)


@on_every_suite
def test_a_file_that_would_silence_the_server_for_long_waits_for_a_person(host: AgentHost, good: str) -> None:
    settings(host, "[gate]\nlongest_silence_seconds = 0.05\n")
    subnets = (f'{{ "id": {100 + n}, "subnet": "100.{n // 256}.{n % 256}.0/24" }},' for n in range(4000))
    text, lifetime = edited(good.replace('"subnet4": [', f'"subnet4": [ {"".join(subnets)}', 1))
    with untouched(host):
        says = r"Kea was busy for \d\S* s with loading it in the rehearsal, .* without an answer"
        outcome_of(host, "deferred", lambda: host.node.replace(CONFIG, text), says=says)
        assert host.status()["config_valid"]
    host.node.run(["kea-agent", "reload", "--force", "dhcp4"])
    assert host.lifetime() == lifetime
    assert_in_sync(host)


# D-Bus.

BUS: dict[str, list[str]] = {
    "restarted": ["systemctl", "restart", "dbus.service"],
    "killed": ["systemctl", "kill", "--signal=KILL", "dbus.service"],
}


@on_every_suite
@pytest.mark.parametrize("case", BUS)
def test_a_bus_that_went_away_is_found_again(host: AgentHost, case: str, good: str) -> None:
    reconnects = bus_reconnects(host)
    with untouched(host), told(host, "connecting again, Kea is not affected"):
        host.node.run(BUS[case])
        until(lambda: bus_reconnects(host) > reconnects, "the agent has connected again")
        until(lambda: host.node.run(["busctl", "status"], check=False).returncode == 0, "the bus is back")
        others_go_on(host)
    good_edit(host, good)


def bus_reconnects(host: AgentHost) -> int:
    """How often the agent had to connect to D-Bus again."""
    found = re.search(r"^kea_agent_dbus_reconnects_total (\S+)$", host.metrics(), re.MULTILINE)
    assert found
    return int(float(found[1]))


# The agent at a bad moment.


@pytest.fixture
def restarted_at_once(host: AgentHost) -> Iterator[None]:
    """systemd starts the agent again without a pause, however often."""
    text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=20ms\n"
    host.node.run(["mkdir", "-p", AGENT_DROP_IN.rpartition("/")[0]])
    host.node.write(AGENT_DROP_IN, text)
    host.node.systemctl("daemon-reload")
    yield
    host.node.run(["rm", AGENT_DROP_IN])
    host.node.systemctl("daemon-reload")


@on_every_suite
@pytest.mark.usefixtures("restarted_at_once")
def test_an_agent_killed_at_any_time_leaves_nothing_half_done(host: AgentHost, good: str) -> None:
    unit = host.node.unit("dhcp4")
    pid, reloads, lifetimes = main_pid(host, unit), host.reloads(), {host.lifetime()}
    for delay in KILLS:
        lifetimes.add(lifetime := save(host, good))
        time.sleep(delay)  # the moment is the point
        agent = main_pid(host, "kea-agent")
        host.node.systemctl("kill", "--signal=KILL", "kea-agent")
        assert host.lifetime() in lifetimes
        assert is_listening(host)
        until(lambda agent=agent: main_pid(host, "kea-agent") not in (0, agent), "systemd has started the agent")  # type: ignore[misc]
        until(lambda: show(host, "ActiveState") == "active", "the agent is ready")
    until(lambda: is_settled(host), "in sync")
    assert host.lifetime() == lifetime
    assert main_pid(host, unit) == pid
    assert host.reloads() - reloads <= 2 * len(KILLS)
    print(f"{len(KILLS)} edits and kills, {host.reloads() - reloads} reloads")
    good_edit(host, good)


@on_every_suite
def test_an_agent_restarted_with_nothing_changed_reloads_nothing(host: AgentHost, good: str) -> None:
    before = reloads_of_all(host)
    agent_unit(host, "restart")
    until(lambda: host.outcomes()["unchanged"] > 0, "the agent has looked")
    until(lambda: is_settled(host), "everything is in sync")
    assert reloads_of_all(host) == before
    assert all(set(+host.outcomes(daemon)) == {"unchanged"} for daemon in DAEMONS)
    good_edit(host, good)


@on_every_suite
def test_a_file_saved_while_the_agent_was_down_is_applied_when_it_starts(host: AgentHost, good: str) -> None:
    reloads = host.reloads()
    agent_unit(host, "stop")
    lifetime = save(host, good)
    agent_unit(host, "start")
    until(lambda: host.lifetime() == lifetime, "the file is applied")
    until(lambda: host.outcomes()["applied"] == 1, "the agent says so")
    assert_in_sync(host)
    assert host.reloads() == reloads + 1
    good_edit(host, good)


@on_every_suite
def test_a_daemon_restarted_with_the_new_file_is_not_reloaded_as_well(host: AgentHost, good: str) -> None:
    """As people do who do not trust anybody: save, and restart at once."""
    unit, agent = host.node.unit("dhcp4"), agent_life(host)
    before, pid = host.outcomes(), main_pid(host, unit)
    text, lifetime = edited(good)
    host.node.write("/root/new.conf", text)
    host.node.run(["sh", "-c", f"mv /root/new.conf {CONFIG}; systemctl restart {unit}"])
    host.wait_for("unchanged", before)
    until(lambda: is_in_sync(host), "in sync")
    new_pid = main_pid(host, unit)
    assert new_pid not in (0, pid)
    assert host.lifetime() == lifetime
    said = host.node.run(["journalctl", "--no-pager", f"_PID={new_pid}"]).stdout
    assert "DYNAMIC_RECONFIGURATION" not in said
    passes = host.outcomes() - before
    print(passes, host.status()["last"]["reason"])
    assert not passes.keys() & {"rejected", "failed", "broken"}
    assert agent_life(host) == agent
    good_edit(host, good)


# The agent's settings.


def assert_settings_hold(host: AgentHost, good: str) -> None:
    """The agent is where it was, and does its work."""
    assert str(METRICS_PORT) in host.node.run(["ss", "-Hltn"]).stdout
    good_edit(host, good)


@on_every_suite
def test_bad_settings_fail_the_reload_and_the_old_ones_hold(host: AgentHost, good: str) -> None:
    problem = f"{DROP_IN}: watch.poll_seconds: "
    host.node.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
    host.node.replace(DROP_IN, '[watch]\npoll_seconds = "often"\n[web]\nlisten = ["127.0.0.1:9999"]\n')
    with untouched(host), told(host, problem):
        assert host.node.run(["systemctl", "reload", "kea-agent"], check=False).returncode != 0
    assert show(host, "ActiveState") == "active"
    with untouched(host), told(host, f"settings not reloaded, the old ones hold: {problem}"):
        host.node.systemctl("kill", "--signal=HUP", "--kill-who=main", "kea-agent")
        words = "settings not reloaded, the old ones hold"
        until(lambda: words in show(host, "StatusText"), "the status says so")
    print(show(host, "StatusText"))
    others_go_on(host)
    assert_settings_hold(host, good)
    host.node.run(["rm", DROP_IN])
    host.node.systemctl("reload", "kea-agent")
    until(lambda: words not in show(host, "StatusText"), "the status is well again")


@on_every_suite
def test_good_settings_are_taken_without_a_restart(host: AgentHost, good: str) -> None:
    with untouched(host):
        host.node.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
        host.node.replace(DROP_IN, '[watch]\npoll_seconds = 1\n[web]\nlisten = ["127.0.0.1:9674", "[::1]:9674"]\n')
        with told(host, "settings read again"):
            host.node.systemctl("reload", "kea-agent")
        for url in ("http://127.0.0.1:9674/-/healthy", "http://[::1]:9674/metrics"):
            until(lambda url=url: is_served(host, url), url)  # type: ignore[misc]
        assert not is_served(host, f"http://127.0.0.1:{METRICS_PORT}/-/healthy")
    settings_back(host)
    good_edit(host, good)


def settings_back(host: AgentHost) -> None:
    """The port is where the other tests look for it."""
    host.node.run(["rm", DROP_IN])
    host.node.systemctl("reload", "kea-agent")
    until(lambda: is_served(host, f"http://127.0.0.1:{METRICS_PORT}/-/healthy"), "the old port")


def is_served(host: AgentHost, url: str) -> bool:
    """Whether a page is there."""
    return host.node.run(["curl", "--silent", "--fail", "--max-time", "5", url], check=False).returncode == 0


@on_every_suite
def test_a_taken_port_costs_the_metrics_and_nothing_else(host: AgentHost, good: str) -> None:
    agent_unit(host, "stop")
    server = ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(METRICS_PORT)]
    host.node.run(["systemd-run", "--quiet", "--unit=thief", *server])
    try:
        until(lambda: is_served(host, f"http://127.0.0.1:{METRICS_PORT}/"), "the port is taken")
        with told(host, f"listen on 127.0.0.1:{METRICS_PORT}: Address already in use; no metrics and no status page"):
            agent_unit(host, "start")
        lifetime = save(host, good)
        until(lambda: host.lifetime() == lifetime, "a good edit is applied")
        until(lambda: is_in_sync(host), "the agent says so")
    finally:
        host.node.systemctl("stop", "thief")
    with untouched(host):
        host.node.systemctl("reload", "kea-agent")
        until(lambda: is_served(host, f"http://127.0.0.1:{METRICS_PORT}/metrics"), "the metrics are back")
    good_edit(host, good)


# People who reload by themselves.


@on_every_suite
def test_a_person_reloads_a_good_file(host: AgentHost, good: str) -> None:
    unit, agent, before = host.node.unit("dhcp4"), agent_life(host), host.outcomes()
    pid, reloads = main_pid(host, unit), host.reloads()
    text, lifetime = edited(good)
    host.node.write("/root/new.conf", text)
    done = host.node.run(["sh", "-c", f"mv /root/new.conf {CONFIG}; systemctl reload {unit}"], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.lifetime() == lifetime
    until(lambda: is_settled(host), "in sync")
    passes = host.outcomes() - before
    print(passes, host.reloads() - reloads, "reloads")
    assert not passes.keys() & {"rejected", "failed", "broken"}
    assert (main_pid(host, unit), agent_life(host)) == (pid, agent)
    good_edit(host, good)


@on_every_suite
def test_a_person_reloads_a_broken_file(host: AgentHost, good: str) -> None:
    unit = host.node.unit("dhcp4")
    bad = good.replace('"renew-timer": 900', '"renew-timer": "soon"')
    host.node.write("/root/new.conf", bad)
    known = len(host.journal(unit))
    with untouched(host):
        done = host.node.run(["sh", "-c", f"mv /root/new.conf {CONFIG}; systemctl reload {unit}"], check=False)
        assert done.returncode != 0
        said = host.journal(unit)[known:]
        print(said)
        assert re.search(rf"not reloaded, still serving the old file: {CONFIG}:\d+[.:]\d+: .*integer", said), said
        until(lambda: host.status()["config_valid"] is False, "the agent says the same")
        others_go_on(host)
    good_edit(host, good)
