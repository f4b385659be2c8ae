# SPDX-License-Identifier: MPL-2.0
"""keactrl on packaged Kea: no keactrl.conf, daemons under systemd.

The cases of Kea's own test of the script (src/bin/keactrl/tests/keactrl_tests.sh.in) have their names; verbose servers
and a keactrl.conf are for test_keactrl_by_hand.py. Then what the script never had: an answer to a reload, and reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from agenthost import CONFIG, AgentHost
from byhand import BINARIES, Done, keactrl
from labkit import DAEMONS
from labkit.host import PATIENCE, wait_for
from labkit.spec import Daemon
from labs import EVERY_SUITE
from saving import edited, main_pid

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)

SERVERS: Mapping[str, Daemon] = {"dhcp4": "dhcp4", "dhcp6": "dhcp6", "dhcp_ddns": "ddns", "ctrl_agent": "ctrl-agent"}
FILES = {server: f"/etc/kea/{binary}.conf" for server, binary in BINARIES.items()}
TITLES = {"dhcp4": "DHCPv4 server", "dhcp6": "DHCPv6 server", "dhcp_ddns": "DHCP DDNS", "ctrl_agent": "Control Agent"}
READY = {
    "dhcp4": "DHCP4_CONFIG_COMPLETE",
    "dhcp6": "DHCP6_CONFIG_COMPLETE",
    "dhcp_ddns": "DCTL_CONFIG_COMPLETE",
    "ctrl_agent": "DCTL_CONFIG_COMPLETE",
}
ENDED = {
    "dhcp4": "DHCP4_SHUTDOWN",
    "dhcp6": "DHCP6_SHUTDOWN",
    "dhcp_ddns": "DCTL_SHUTDOWN",
    "ctrl_agent": "DCTL_SHUTDOWN",
}
DEBUG = ("DHCP4_START_INFO", "DHCP6_START_INFO", "DCTL_STANDALONE")
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
BUS = ("dbus.socket", "dbus.service")
AWAY = "/root/kea-away"


@pytest.fixture(name="kea")
def _kea(host: AgentHost, good: str) -> Iterator[AgentHost]:
    """Whatever became of the units, they are enabled and run afterwards, with the agent."""
    yield host
    host.node.run(["sh", "-c", f"[ ! -d {AWAY} ] || {{ mv {AWAY}/* /etc/kea && rmdir {AWAY}; }}"])
    host.node.systemctl("unmask", "--runtime", *BUS)
    host.node.systemctl("start", *BUS, check=False)
    # The agent sees what runs before the file is put back, and so that the file changes.
    host.node.systemctl("reset-failed", "kea-agent", check=False)
    host.node.systemctl("start", "kea-agent")
    host.node.run(["kea-agent", "reload", "dhcp4"], check=False)
    host.node.replace(CONFIG, good)
    units = [host.node.unit(daemon) for daemon in DAEMONS]
    host.node.systemctl("enable", *units)
    host.node.systemctl("reset-failed", *units, check=False)
    host.node.systemctl("start", *units)
    for _ in wait_for(every=0.2):
        if host.node.run(["kea-agent", "reload"], check=False).returncode == 0:
            return


def unit(host: AgentHost, server: str) -> str:
    return host.node.unit(SERVERS[server])


def running(host: AgentHost) -> dict[str, int]:
    """The servers whose units have a process."""
    pids = {server: main_pid(host, unit(host, server)) for server in SERVERS}
    return {server: pid for server, pid in pids.items() if pid}


def count(host: AgentHost, server: str, message: str) -> int:
    """How often the process that a unit has, or else had, logged a message."""
    invocation = host.node.systemctl("show", "--property=InvocationID", "--value", unit(host, server))
    words = ["journalctl", "--no-pager", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation}"]
    return len(re.findall(rf"\b{message}\b", host.node.run(words, check=False).stdout))


def wait_for_message(host: AgentHost, server: str, message: str, times: int = 1, seconds: float = PATIENCE) -> None:
    for _ in wait_for(seconds, every=0.1):
        if count(host, server, message) >= times:
            break
    assert count(host, server, message) == times, host.journal(unit(host, server))[-3000:]


def told(words: str, servers: Sequence[str] = tuple(BINARIES)) -> list[str]:
    """A line about each of these."""
    return [f"INFO/keactrl: {words.format(BINARIES[server])}" for server in servers]


def starting(server: str) -> str:
    return f"INFO/keactrl: Starting /usr/sbin/{BINARIES[server]} -c {FILES[server]}"


def assert_started(host: AgentHost, done: Done, servers: Sequence[str]) -> None:
    """In the script's order. Debian 12 has systemd start the last two with either DHCP server, before it is their turn."""
    assert done.code == 0
    pulled = ("dhcp_ddns", "ctrl_agent") if host.node.spec.suite == "bookworm" else ()
    for server in servers:
        running_already = f"INFO/keactrl: {BINARIES[server]} appears to be running"
        assert starting(server) in done.lines or (server in pulled and running_already in done.out)
    assert set(running(host)) >= set(servers)


def status(*active: str) -> list[str]:
    return [f"{title}: {'active' if server in active else 'inactive'}" for server, title in TITLES.items()]


def succeeds(done: Done, lines: list[str]) -> None:
    assert (done.code, done.lines) == (0, lines)


# Kea's own cases.


def test_version(host: AgentHost) -> None:
    """keactrl.version; the script of Kea 2.2 does not know -V."""
    version, extended = (host.node.run(["kea-dhcp4", word]).stdout.strip() for word in ("-v", "-V"))
    for word in ("-v", "--version"):
        succeeds(keactrl(host, word), [version])
    done = keactrl(host, "-V")
    if version.startswith("2.2."):
        assert (done.code, done.out) == (1, "ERROR/keactrl: invalid command: -V\n")
    else:
        succeeds(done, [f"{version} (tarball)"])
        assert done.lines[0] in extended


def test_status(kea: AgentHost) -> None:
    told = [f"Kea {name} configuration file: " for name in ("DHCPv4", "DHCPv6", "DHCP DDNS", "Control Agent")]
    files = [title + path for title, path in zip(told, FILES.values(), strict=True)]
    last = "keactrl configuration file: none, systemd's units are used"
    succeeds(keactrl(kea, "status"), [*status(*SERVERS), *files, last])
    kea.node.systemctl("stop", *(unit(kea, server) for server in SERVERS))
    succeeds(keactrl(kea, "status"), [*status(), *files, last])


def test_version_command(host: AgentHost) -> None:
    version = host.node.run(["kea-dhcp4", "-v"]).stdout.strip()
    succeeds(keactrl(host, "version"), [f"{name}: {version}" for name in ("keactrl", *BINARIES.values())])


def test_start_all_servers(kea: AgentHost) -> None:
    """start_all_servers_no_verbose_test."""
    succeeds(keactrl(kea, "stop"), told("Stopping {}..."))
    assert running(kea) == {}
    assert_started(kea, keactrl(kea, "start", "-s", "all"), list(SERVERS))
    for server, message in READY.items():
        wait_for_message(kea, server, message)
        assert [count(kea, server, each) for each in DEBUG] == [0, 0, 0]
    wait_for_message(kea, "dhcp_ddns", "DHCP_DDNS_STARTED")
    pids = running(kea)
    assert set(pids) == set(SERVERS)
    succeeds(keactrl(kea, "stop"), told("Stopping {}..."))
    assert running(kea) == {}
    for server, message in ENDED.items():
        wait_for_message(kea, server, message)


@pytest.mark.parametrize("server", ["dhcp4", "dhcp6"])
def test_start_one_server(kea: AgentHost, server: str) -> None:
    """start_v4_server_test and start_v6_server_test: what systemd has enabled is what keactrl.conf says `yes` to."""
    keactrl(kea, "stop")
    kea.node.systemctl("disable", *(unit(kea, other) for other in SERVERS if other != server))
    succeeds(keactrl(kea, "start"), [starting(server)])
    wait_for_message(kea, server, READY[server])
    assert set(running(kea)) == {server}
    done = keactrl(kea, "status")
    assert (done.code, done.lines[:4]) == (0, status(server))
    others = [other for other in SERVERS if other != server]
    done = keactrl(kea, "stop")
    assert (done.code, set(done.lines)) == (0, {*told("Stopping {}...", [server]), *told("{} isn't running.", others)})
    assert running(kea) == {}


@pytest.mark.parametrize("server", ["dhcp4", "dhcp6"])
def test_late_start(kea: AgentHost, server: str) -> None:
    """late_start_v4_server_test and late_start_v6_server_test."""
    others = [other for other in SERVERS if other != server]
    keactrl(kea, "stop")
    kea.node.systemctl("disable", *(unit(kea, other) for other in others))
    succeeds(keactrl(kea, "start"), [starting(server)])
    pid = running(kea)[server]
    done = keactrl(kea, "reload")
    assert (done.code, set(done.lines)) == (0, {*told("Reloading {}...", [server]), *told("{} isn't running.", others)})
    wait_for_message(kea, server, READY[server], 2)
    kea.node.systemctl("enable", *(unit(kea, other) for other in others))
    done = keactrl(kea, "start")
    assert_started(kea, done, others)
    binary = BINARIES[server]
    assert (
        f"INFO/keactrl: {binary} appears to be running, see: PID {pid}, PID file: /run/kea/{binary}.{binary}.pid."
        in done.lines
    )
    succeeds(keactrl(kea, "reload"), told("Reloading {}..."))
    for each, message in READY.items():
        wait_for_message(kea, each, message, 3 if each == server else 2)
    assert running(kea)[server] == pid
    succeeds(keactrl(kea, "stop"), told("Stopping {}..."))


def test_stop_selected_server(kea: AgentHost) -> None:
    left = running(kea)
    for server in SERVERS:
        succeeds(keactrl(kea, "stop", "-s", server), told("Stopping {}...", [server]))
        del left[server]
        assert running(kea) == left
        wait_for_message(kea, server, ENDED[server])


def test_status_no_config(kea: AgentHost) -> None:
    kea.node.systemctl("stop", "kea-agent", *(unit(kea, server) for server in SERVERS))
    kea.node.run(["sh", "-c", f"mkdir {AWAY} && mv /etc/kea/kea-*.conf {AWAY}"])
    done = keactrl(kea, "status")
    assert (done.code, done.lines[:4]) == (1, status())
    assert done.lines[-1] == f"ERROR/keactrl: Configuration file for Kea does not exist: {CONFIG}."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "missing command"),
        (("start", "-c"), "keactrl-config-file not specified"),
        (("start", "-s"), "servers not specified"),
        (("start", "--", "-X"), "invalid option: --"),
    ],
    ids=["error_reporting_test", "start.c", "start.s", "server_options"],
)
def test_error_reporting(host: AgentHost, words: tuple[str, ...], message: str) -> None:
    """Server options came with Kea 3.3.0, which no suite has."""
    done = keactrl(host, *words)
    assert (done.code, done.lines[0], done.err) == (1, f"ERROR/keactrl: {message}", "")
    assert done.lines[1].startswith("usage is keactrl command ")


# What the script never had.


@pytest.mark.parametrize("agent", ["start", "stop"])
def test_a_reload_is_proven(kea: AgentHost, good: str, agent: str) -> None:
    """With the agent and without; the server runs the file when keactrl comes back."""
    kea.node.systemctl(agent, "kea-agent")
    text, lifetime = edited(good)
    pid = running(kea)["dhcp4"]
    kea.node.replace(CONFIG, text)
    succeeds(keactrl(kea, "reload", "-s", "dhcp4"), ["INFO/keactrl: Reloading kea-dhcp4..."])
    assert kea.lifetime() == lifetime
    assert running(kea)["dhcp4"] == pid


@pytest.mark.parametrize("agent", ["start", "stop"])
def test_a_reload_of_a_broken_file(kea: AgentHost, good: str, agent: str) -> None:
    kea.node.systemctl(agent, "kea-agent")
    before = running(kea), kea.reloads(), kea.lifetime()
    kea.node.replace(CONFIG, broken(good))
    for words, code in (((), 1), (("--compat-exit",), 0)):
        done = keactrl(kea, "reload", "-s", "dhcp4", *words)
        assert (done.code, len(done.lines)) == (code, 2)
        assert done.lines[0] == "INFO/keactrl: Reloading kea-dhcp4..."
        assert re.match(rf"ERROR/keactrl: Reload failed, .*{CONFIG}:\d+[.:]\d+: .*integer", done.lines[1])
    assert (running(kea), kea.reloads(), kea.lifetime()) == before


def broken(good: str) -> str:
    return good.replace('"renew-timer": 900', '"renew-timer": "soon"')


def test_a_broken_file_does_not_start(kea: AgentHost, good: str) -> None:
    keactrl(kea, "stop", "-s", "dhcp4")
    kea.node.replace(CONFIG, broken(good))
    done = keactrl(kea, "start", "-s", "dhcp4")
    assert (done.code, done.lines[0]) == (1, starting("dhcp4"))
    assert re.match(rf"ERROR/keactrl: Start failed, {unit(kea, 'dhcp4')} .*{CONFIG}", done.lines[1])
    assert len(done.lines) == 2
    assert keactrl(kea, "status").lines[0] == "DHCPv4 server: inactive"


def test_others_may_look_and_not_touch(kea: AgentHost) -> None:
    pids = running(kea)
    done = keactrl(kea, "status", under=NOBODY)
    assert (done.code, done.lines[:4]) == (0, status(*SERVERS))
    assert keactrl(kea, "version", under=NOBODY).code == 0
    done = keactrl(kea, "stop", "-s", "dhcp4", under=NOBODY)
    assert (done.code, done.lines[0]) == (1, "INFO/keactrl: Stopping kea-dhcp4...")
    assert "user nobody lacks polkit's right org.freedesktop.systemd1.manage-units" in done.lines[1]
    assert f"for {unit(kea, 'dhcp4')}: do it as root" in done.lines[1]
    done = keactrl(kea, "reload", "-s", "dhcp4", under=NOBODY)
    assert (done.code, done.lines[0]) == (1, "INFO/keactrl: Reloading kea-dhcp4...")
    assert re.search("only root and .* may ask the agent", done.lines[1])
    assert running(kea) == pids
    assert "Traceback" not in done.err


def test_status_is_had_without_dbus_and_whatever_else_is_slow(kea: AgentHost) -> None:
    slow = {
        "pystemd",
        "prometheus_client",
        "xml",
        "lxml",
        "json",
        "subprocess",
        "socket",
        "dataclasses",
        "pathlib",
        "re",
    }
    done = kea.node.run(["python3", "-ISX", "importtime", "/usr/sbin/keactrl", "status"])
    assert done.stdout.splitlines()[0] == "DHCPv4 server: active"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kea_agent.keactrl.report" in imported
    # Before 3.13, typing itself imports re.
    assert imported & (slow - {"re"} if "typing" in imported else slow) == set()


def test_nobody_may_not_start(kea: AgentHost) -> None:
    keactrl(kea, "stop", "-s", "dhcp6")
    done = keactrl(kea, "start", "-s", "dhcp6", under=NOBODY)
    assert (done.code, done.lines[0]) == (1, starting("dhcp6"))
    assert "user nobody lacks polkit's right org.freedesktop.systemd1.manage-units" in done.lines[1]
    assert "dhcp6" not in running(kea)


def test_a_keactrl_conf_that_may_not_be_read(kea: AgentHost) -> None:
    conf = "/tmp/keactrl.conf"
    kea.node.write(conf, "dhcp4=yes\n")
    kea.node.run(["chmod", "0600", conf])
    done = keactrl(kea, "status", "-c", conf, under=NOBODY)
    kea.node.run(["rm", conf])
    assert (done.code, done.lines) == (1, [f"ERROR/keactrl: {conf}: cannot read it: permission denied"])


def test_without_dbus(kea: AgentHost) -> None:
    pids = running(kea)
    kea.node.systemctl("mask", "--runtime", "--now", *BUS)
    done = keactrl(kea, "status")
    assert (done.code, done.lines[:4]) == (0, status(*SERVERS))
    assert keactrl(kea, "version").code == 0
    for command in ("start", "stop", "reload"):
        done = keactrl(kea, command, "-s", "dhcp4")
        assert done.code == 1
        assert re.match(rf"ERROR/keactrl: {command.title()} failed, .*bus.*nothing was done", done.lines[-1])
        assert "Traceback" not in done.err
    assert running(kea) == pids


def test_without_the_agent(kea: AgentHost) -> None:
    kea.node.systemctl("stop", "kea-agent")
    assert keactrl(kea, "status").lines[:4] == status(*SERVERS)
    succeeds(keactrl(kea, "stop", "-s", "dhcp6"), told("Stopping {}...", ["dhcp6"]))
    assert "dhcp6" not in running(kea)
    succeeds(keactrl(kea, "start", "-s", "dhcp6"), [starting("dhcp6")])
    assert set(running(kea)) == set(SERVERS)
    assert facts(kea)["dhcp4"]["agent"] is None


def test_status_json(kea: AgentHost) -> None:
    found, pids = facts(kea), running(kea)
    assert json.loads(keactrl(kea, "status", "--json").out)["keactrl_config_file"] is None
    assert {server: each["pid"] for server, each in found.items()} == pids
    assert {server: each["config_file"] for server, each in found.items()} == FILES
    assert all(each["active"] is True for each in found.values())
    assert found["dhcp4"]["agent"]["config_in_sync"] is True
    keactrl(kea, "stop", "-s", "dhcp_ddns")
    stopped = facts(kea)["dhcp_ddns"]
    assert (stopped["active"], stopped["pid"]) == (False, None)


def facts(host: AgentHost) -> dict[str, dict[str, Any]]:
    done = keactrl(host, "status", "--json")
    assert (done.code, done.err) == (0, "")
    servers: dict[str, dict[str, Any]] = json.loads(done.out)["servers"]
    return servers


def test_kea_agent_keactrl_is_the_same(host: AgentHost) -> None:
    for words in (("status",), ("version", "-s", "dhcp4"), ("status", "-x"), ("bogus",)):
        done = host.node.run(["kea-agent", "keactrl", *words], check=False)
        other = keactrl(host, *words)
        assert (done.returncode, done.stdout, done.stderr) == (other.code, other.out, other.err)
