# SPDX-License-Identifier: MPL-2.0
"""What root's commands believe of Kea's user: it forges whatever it can write, and nothing of it runs or ends a thing.

The traps are programs that say as whom they were run, and a unit that is none of Kea's.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from agenthost import AgentHost
from byhand import BINARIES, Done, keactrl
from fallbacks import Stage, staged
from labkit import DAEMONS, Lab
from labkit.host import wait_for
from labkit.nodes import Node
from labs import EVERY_SUITE, UpLab
from rehearsing import AS_KEA

HERE = "/var/lib/kea/lab-traps"
CONF = "/etc/kea/keactrl.conf"
STATUS = "/run/kea-agent/status.json"
FOREIGN = "lab-foreign.service"
COMMANDS = ("status", "version", "reload", "stop", "start")
NOBODY_IS_SERVED = {
    "interfaces-config": {"interfaces": []},
    "lease-database": {"type": "memfile", "persist": False},
}
UNTRUSTED = "is not used, systemd's units are: it says what is run here, and of "


@dataclass(frozen=True)
class Traps:
    """A host with Kea's user at work on it; `lab` is torn down by nobody here."""

    host: AgentHost

    @property
    def node(self) -> Node:
        return self.host.node

    def as_kea(self, script: str) -> str:
        """A script as Kea's user."""
        return self.node.run([*AS_KEA, "sh", "-euc", script]).stdout

    def sprung(self) -> list[str]:
        """As whom the traps were run."""
        return self.node.run(["sh", "-c", f"cat {HERE}/ran-as-* 2>/dev/null || true"]).stdout.split()

    def is_foreign_up(self) -> bool:
        return self.node.systemctl("is-active", FOREIGN, check=False) == "active"


@pytest.fixture(name="traps")
def _traps(host: AgentHost, good: str) -> Iterator[Traps]:
    node = host.node
    node.write(f"/run/systemd/system/{FOREIGN}", "[Service]\nExecStart=sleep infinity\nExecReload=true\n")
    node.systemctl("daemon-reload")
    node.systemctl("start", FOREIGN)
    traps = Traps(host)
    trap = '#!/bin/sh\necho "$(id -u)" >>"${0%/*}/ran-as-$(id -u)"\n'
    traps.as_kea(f"mkdir {HERE}")
    node.run(["install", "-o", "_kea", "-g", "_kea", "-m", "0755", "/dev/stdin", f"{HERE}/kea-dhcp4"], stdin=trap)
    yield traps
    # With the PID of one that lives, Kea would say that it runs already.
    trash = f"{HERE} {CONF} {STATUS} /run/kea/*.kea-dhcp4.pid"
    node.run(["sh", "-c", f"pkill --signal KILL --full --uid _kea {HERE}; rm -rf {trash}"], check=False)
    node.systemctl("stop", FOREIGN)
    node.run(["rm", f"/run/systemd/system/{FOREIGN}"])
    node.systemctl("daemon-reload")
    units = [node.unit(daemon) for daemon in DAEMONS]
    node.systemctl("reset-failed", "kea-agent", *units, check=False)
    node.systemctl("start", *units)
    node.systemctl("restart", "kea-agent")
    for _ in wait_for(every=0.2):
        if node.run(["kea-agent", "reload"], check=False).returncode == 0:
            return


@contextmanager
def running(node: Node, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in the node, as long as it is wanted."""
    with node.start(words) as process:
        try:
            yield process
        finally:
            process.kill()


every_suite = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


def conf() -> str:
    """Every daemon is a trap."""
    lines = ["prefix=/usr", "kea_verbose=no"]
    for server, binary in BINARIES.items():
        lines += [f"{server}=yes", f"{server}_srv={HERE}/kea-dhcp4"]
        lines += [f"{binary.replace('-', '_')}_config_file=/etc/kea/{binary}.conf"]
    return "".join(f"{line}\n" for line in lines)


@every_suite
@pytest.mark.parametrize("owner", ["_kea", "root"])
def test_a_keactrl_conf_where_keas_user_may_write(traps: Traps, owner: str) -> None:
    """Neither its own, nor one that root put into its directory: it could have put another there."""
    traps.node.write(CONF, conf())
    traps.node.run(["chown", owner, CONF])
    is_keas = traps.node.run(["stat", "--format=%U", "/etc/kea"]).stdout.strip() == "_kea"
    if owner == "root" and not is_keas:
        traps.node.run(["chmod", "g+w", CONF])
    before = traps.node.systemctl("show", "--property=MainPID", "--value", traps.node.unit("dhcp4"))
    for command in COMMANDS:
        done = keactrl(traps.host, command)
        assert done.code == 0, done
        assert f"WARNING/keactrl: {CONF} {UNTRUSTED}{'/etc/kea:' if is_keas else CONF}" in done.err
        assert "name it with -c" in done.err
        if command == "status":
            assert done.lines[0] == "DHCPv4 server: active"
            assert done.lines[-1] == "keactrl configuration file: none, systemd's units are used"
    assert traps.node.systemctl("show", "--property=MainPID", "--value", traps.node.unit("dhcp4")) != before
    for command in COMMANDS:
        done = keactrl(traps.host, command, "-c", CONF)
        assert (done.code, done.err) == (1, "")
        assert done.out.startswith(f"ERROR/keactrl: {CONF}: not believed: ")
        assert done.out.endswith("nothing was done\n")
    assert traps.sprung() == []


@every_suite
def test_a_keactrl_conf_that_only_root_may_write_works(traps: Traps) -> None:
    """The way out that is told."""
    path = "/etc/kea-agent/keactrl.conf"
    traps.node.write(path, conf().replace(f"{HERE}/kea-dhcp4", "/usr/sbin/kea-dhcp4"))
    done = keactrl(traps.host, "version", "-c", path, "-s", "dhcp4")
    traps.node.run(["rm", path])
    assert (done.code, done.err) == (0, "")


@every_suite
def test_a_unit_that_is_named_in_the_status(traps: Traps) -> None:
    """Whoever may write status.json names a unit that is not Kea's for every daemon."""
    document = json.loads(traps.node.read(STATUS))
    for daemon in document["daemons"].values():
        daemon |= {"unit": FOREIGN, "config_file": f"{HERE}/x\x1b[2J -c {HERE}"}
    # Kea's own are away: nothing else is found first.
    traps.node.systemctl("stop", "kea-agent", *(traps.node.unit(daemon) for daemon in DAEMONS))
    traps.node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "/run/kea-agent"])
    traps.node.write("/tmp/lab-status.json", json.dumps(document))
    traps.node.run(["chmod", "0644", "/tmp/lab-status.json"])
    traps.as_kea(f"cat /tmp/lab-status.json >{STATUS}")
    for command in ("stop", "reload", "status", "version"):
        done = keactrl(traps.host, command)
        assert "\x1b" not in done.out + done.err
        assert "Traceback" not in done.err
        assert FOREIGN not in done.out
    said = traps.node.run(["kea-agent", "status", "--json"], check=False)
    assert FOREIGN not in json.dumps(json.loads(said.stdout)["live"])
    assert traps.is_foreign_up()
    assert traps.sprung() == []


@every_suite
def test_a_status_that_never_ends_or_says_nonsense(traps: Traps) -> None:
    """Each command has an end, and no traceback."""
    traps.node.systemctl("stop", "kea-agent")
    traps.node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "/run/kea-agent"])
    nonsense = '{"daemons": [], "generated_at": 1e300, "pid": true}'
    for put in (f"mkfifo {STATUS}", f"ln -s /dev/zero {STATUS}", f"echo '{nonsense}' >{STATUS}"):
        traps.as_kea(put)
        for words in (["keactrl", "status"], ["kea-agent", "status"], ["kea-agent", "history"], ["kea-agent", "diff"]):
            done = traps.node.run(["timeout", "120", *words], check=False)
            assert done.returncode != 124, (put, words)
            assert "Traceback" not in done.stderr
            if words == ["kea-agent", "status"]:
                assert done.stderr.startswith(f"kea-agent: read '{STATUS}': not a ")
        traps.as_kea(f"rm {STATUS}")


@every_suite
def test_a_pid_file_of_a_process_with_a_hostile_first_word(traps: Traps) -> None:
    """It calls itself kea-dhcp4, and a trap its program."""
    node = traps.node
    node.systemctl("stop", "kea-agent", node.unit("dhcp4"))
    node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "-m", "0750", "/run/kea"])
    pid_file = "/run/kea/kea-dhcp4.kea-dhcp4.pid"
    disguise = (
        "import os, time; open('/proc/self/comm', 'w').write('kea-dhcp4'); "
        f"open('{pid_file}', 'w').write(str(os.getpid())); time.sleep(3600)"
    )
    script = f'bash -c \'exec -a {HERE}/kea-dhcp4 python3 -c "$1" -c /etc/kea/kea-dhcp4.conf\' sh "$1"'
    with running(node, [*AS_KEA, "sh", "-c", f"{script} >/dev/null 2>&1 & wait", "sh", disguise]):
        for _ in wait_for(every=0.1):
            if pid := node.run(["cat", pid_file], check=False).stdout.strip():
                break
        assert node.run(["cat", f"/proc/{pid}/comm"]).stdout == "kea-dhcp4\n"
        assert node.run(["cat", f"/proc/{pid}/cmdline"]).stdout.startswith(f"{HERE}/kea-dhcp4\0")
        for command in ("reload", "stop", "status"):
            done = keactrl(traps.host, command, "-s", "dhcp4")
            assert f"{pid_file} is not believed: process {pid} is not one that could have written it" in done.err
            assert _dhcp4_is_down(done, command), done
        assert node.run(["test", "-d", f"/proc/{pid}"], check=False).returncode == 0
    assert traps.sprung() == []


def _dhcp4_is_down(done: Done, command: str) -> bool:
    expected = "DHCPv4 server: inactive" if command == "status" else "INFO/keactrl: kea-dhcp4 isn't running."
    return done.lines[0] == expected


@every_suite
def test_a_pid_file_that_names_roots_process(traps: Traps) -> None:
    """A Kea that root runs by hand, for another network, is not ended for a PID file that Kea's user wrote."""
    node = traps.node
    node.systemctl("stop", "kea-agent", node.unit("dhcp4"))
    node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "-m", "0750", "/run/kea"])
    node.write("/root/lab-other.conf", json.dumps({"Dhcp4": NOBODY_IS_SERVED}))
    environment = "KEA_PIDFILE_DIR=/root KEA_LOCKFILE_DIR=none KEA_LOGGER_DESTINATION=/root/lab-other.log"
    own = "/root/lab-other.kea-dhcp4.pid"
    with running(node, ["sh", "-c", f"exec env {environment} kea-dhcp4 -c /root/lab-other.conf >/dev/null 2>&1"]):
        for _ in wait_for(every=0.1):
            if pid := node.run(["cat", own], check=False).stdout.strip():
                break
        traps.as_kea(f"echo {pid} >/run/kea/kea-dhcp4.kea-dhcp4.pid")
        for command in ("stop", "reload"):
            done = keactrl(traps.host, command, "-s", "dhcp4")
            assert done.lines == ["INFO/keactrl: kea-dhcp4 isn't running."]
        assert node.run(["test", "-d", f"/proc/{pid}"], check=False).returncode == 0
        node.run(["sh", "-c", f"kill $(cat {own}); rm -f /root/lab-other.*"])


@every_suite
def test_a_daemon_of_keas_user_is_reloaded_and_stopped(traps: Traps) -> None:
    """Started by hand as Kea's user, found by the PID file that it wrote, checked as that user, and proven."""
    node = traps.node
    node.systemctl("stop", "kea-agent", node.unit("dhcp4"))
    node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "-m", "0750", "/run/kea"])
    socket = {"control-socket": {"socket-type": "unix", "socket-name": "/run/kea/lab-by-hand"}}
    node.write("/tmp/lab-kea.json", json.dumps({"Dhcp4": {**NOBODY_IS_SERVED, **socket}}))
    node.run(["chmod", "0644", "/tmp/lab-kea.json"])
    traps.as_kea(f"cat /tmp/lab-kea.json >{HERE}/kea-dhcp4.conf")
    words = f"exec env KEA_LOCKFILE_DIR=none kea-dhcp4 -c {HERE}/kea-dhcp4.conf >{HERE}/log 2>&1"
    with running(node, [*AS_KEA, "sh", "-c", words]) as process:
        for _ in wait_for(every=0.1):
            if keactrl(traps.host, "status").lines[0] == "DHCPv4 server: active":
                break
        done = keactrl(traps.host, "reload", "-s", "dhcp4")
        assert (done.code, done.lines) == (0, ["INFO/keactrl: Reloading kea-dhcp4..."]), traps.as_kea(f"cat {HERE}/log")
        traps.as_kea(f"""printf '{{ "Dhcp4": {{ "valid-lifetime": "soon" }} }}' >{HERE}/kea-dhcp4.conf""")
        done = keactrl(traps.host, "reload", "-s", "dhcp4")
        assert (done.code, done.lines[1].partition(":")[0]) == (1, "ERROR/keactrl")
        assert f"still serving the old file: {HERE}/kea-dhcp4.conf:1" in done.out
        assert keactrl(traps.host, "stop", "-s", "dhcp4").lines == ["INFO/keactrl: Stopping kea-dhcp4..."]
        assert process.wait(60) is not None


@pytest.fixture(name="stage")
def _stage(up: UpLab, request: pytest.FixtureRequest) -> Iterator[Stage]:
    lab: Lab = up(**request.param)
    with staged(lab) as stages:
        yield stages[0]


@pytest.fixture(name="waiting")
def _waiting(stage: Stage) -> Iterator[dict[str, str]]:
    """The jobs of units of somebody else, one at work and one waiting for it, by unit."""
    units = {
        "lab-slow.service": "[Service]\nType=oneshot\nExecStart=sleep infinity\nTimeoutStartSec=infinity\n",
        "lab-waiting.service": "[Unit]\nAfter=lab-slow.service\n[Service]\nExecStart=sleep infinity\n",
    }
    for name, text in units.items():
        stage.node.write(f"/run/systemd/system/{name}", text)
    stage.node.systemctl("daemon-reload")
    stage.node.systemctl("start", "--no-block", *units)
    found = jobs(stage)
    yield {name: found[name] for name in units}
    stage.node.systemctl("stop", *units)
    stage.node.run(["rm", *(f"/run/systemd/system/{name}" for name in units)])
    stage.node.systemctl("daemon-reload")


@pytest.mark.parametrize("stage", EVERY_SUITE, indirect=True)
def test_jobs_of_others_survive_what_the_agent_does(stage: Stage, waiting: dict[str, str]) -> None:
    """A server that cannot start its file is served by the fallback, and comes back, while others wait for their turn."""
    stage.node.systemctl("start", "kea-agent")
    stage.node.write("/etc/kea/kea-dhcp4.conf", "{ nonsense\n")
    stage.node.systemctl("restart", stage.own(), check=False)
    stage.wait_up(stage.fallback())
    stage.wait_served("dhcp4")
    assert {name: jobs(stage).get(name) for name in waiting} == waiting
    stage.mend_file("dhcp4")
    stage.wait_up(stage.own())
    stage.wait_served("dhcp4")
    assert {name: jobs(stage).get(name) for name in waiting} == waiting


@pytest.mark.parametrize("stage", EVERY_SUITE, indirect=True)
def test_what_polkit_is_not_told(stage: Stage, waiting: dict[str, str]) -> None:
    """docs/usage/rights.md says what the mode of a job is worth to Kea's user: jobs, and nothing that runs."""
    before = stage.main_pid(stage.own("ddns"))
    manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
    done = stage.as_kea("busctl", "call", *manager, "RestartUnit", "ss", stage.own(), "flush")
    assert done.returncode == 0
    stage.wait_served("dhcp4")
    assert jobs(stage).keys().isdisjoint(waiting)
    assert stage.main_pid(stage.own("ddns")) == before


def jobs(stage: Stage) -> dict[str, str]:
    """The numbers of systemd's queued jobs, by unit."""
    lines = stage.node.systemctl("list-jobs", "--no-legend").splitlines()
    return {words[1]: words[0] for words in map(str.split, lines)}
