# SPDX-License-Identifier: MPL-2.0
"""The package comes, goes and comes back while Kea serves; who may do what; and what systemd is told and does.

Nothing of this may end or restart one of Kea's processes, so every test here compares them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agenthost import STATUS, AgentHost
from labkit import DAEMONS
from labkit.boot import DEB_IN_NODE
from labkit.host import wait_for
from labkit.nodes import Node
from labs import EVERY_SUITE

AGENT = "kea-agent.service"
APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet", "--no-install-recommends"]
PATHS = ("/etc/kea-agent", "/var/lib/kea-agent", "/run/kea-agent")
DROP_IN = "/run/systemd/system/kea-agent.service.d/99-lab.conf"
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
KEA = ["setpriv", "--reuid=_kea", "--regid=_kea", "--clear-groups", "--"]
FOREIGN = "lab-foreign.service"
AUTOPKGTEST = Path(__file__).parents[2] / "debian/tests/save-a-file"
# What systemd-analyze gives a unit: 0 is shut, 10 is open. The most that each of ours may have on any suite.
MOST_EXPOSED = {
    AGENT: 1.5,
    "kea-agent-unconfirmed.service": 2.4,
    "kea-agent-fallback@ddns.service": 2.4,
    # Root, that it may build a sandbox; the sandbox itself is not in this figure.
    "kea-agent-rehearse@1.service": 5.2,
    "kea-agent-fallback-directory@kea.service": 1.0,
    # What it becomes is Kea, which starts kea-lfc: no filter and no NoNewPrivileges=.
    "kea-agent-fallback@dhcp4.service": 6.2,
}
_UNIT_PROPERTIES = [
    f"--property={name}" for name in ("CanReload", "DropInPaths", "ExecReload", "NeedDaemonReload", "Restart")
]

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


@pytest.fixture(autouse=True)
def _kea_is_untouched(host: AgentHost) -> Iterator[None]:
    """Whatever a test does to the agent, Kea's processes are the same after it, and the agent is there again."""
    before = kea_pids(host.node)
    yield
    assert kea_pids(host.node) == before
    wait_until_looked_at(host.node)


def show(node: Node, unit: str, name: str) -> str:
    """One property of a unit."""
    return node.systemctl("show", f"--property={name}", "--value", unit)


def kea_pids(node: Node) -> list[str]:
    """Main process and number of restarts of each of Kea's units."""
    units = [node.unit(daemon) for daemon in DAEMONS]
    found = node.systemctl("show", "--property=Id,MainPID,NRestarts,ActiveEnterTimestampMonotonic", *units).split()
    assert "MainPID=0" not in found, found
    return found


def wait_until_looked_at(node: Node) -> None:
    """Wait until the agent has looked at every daemon."""
    for _ in wait_for(every=0.2):
        text = node.run(["cat", STATUS], check=False).stdout
        if text and '"last": null' not in text:
            return
    raise AssertionError(f"the agent has not looked at everything: {text}\n" + "\n".join(node.journal(AGENT)))


def kea_has_drop_in(node: Node) -> bool:
    """Whether systemd has our drop-in in effect on every Kea unit; asserts that it is on all of them or on none."""
    told = [node.systemctl("show", *_UNIT_PROPERTIES, node.unit(daemon)) for daemon in DAEMONS]
    assert all("NeedDaemonReload=no" in each for each in told), told
    ours = ["10-kea-agent.conf" in each for each in told]
    assert ours == ["libexec/kea-agent/unit-reload" in each for each in told]
    assert len(set(ours)) == 1, told
    if ours[0]:
        assert all("CanReload=yes" in each and "Restart=on-failure" in each for each in told), told
    # Debian's control agent has an ExecReload of its own, the others have none.
    return "CanReload=yes" in told[0]


def dangling(node: Node, name: str) -> str:
    """Symlinks of ours that lead nowhere."""
    places = ["/etc/systemd", "/usr/lib/systemd", "/run/systemd/system"]
    return node.run(["find", *places, "-name", name, "-xtype", "l"], check=False).stdout


def test_the_package_comes_and_goes_and_kea_serves_on(host: AgentHost) -> None:
    node = host.node
    before = kea_pids(node)
    assert kea_has_drop_in(node)
    node.run([*APT, "remove", "kea-agent"])
    assert not kea_has_drop_in(node)
    # That it is wanted at boot is remembered until purge, as for every Debian package.
    assert (show(node, AGENT, "LoadState"), dangling(node, "10-kea-agent.conf")) == ("not-found", "")
    assert kea_pids(node) == before
    node.run([*APT, "install", f"/{DEB_IN_NODE}"])
    assert kea_has_drop_in(node)
    node.run([*APT, "purge", "kea-agent"])
    assert not kea_has_drop_in(node)
    left = [path for path in PATHS if node.run(["test", "-e", path], check=False).returncode == 0]
    links = dangling(node, "*kea-agent*")
    node.run([*APT, "install", f"/{DEB_IN_NODE}"])
    assert kea_has_drop_in(node)
    assert (show(node, AGENT, "ActiveState"), show(node, AGENT, "UnitFileState")) == ("active", "enabled")
    assert kea_pids(node) == before
    assert (left, links) == ([], ""), "left after purge"


def test_an_upgrade_restarts_the_agent_alone(host: AgentHost) -> None:
    main = show(host.node, AGENT, "MainPID")
    host.node.run([*APT, "install", "--reinstall", f"/{DEB_IN_NODE}"])
    wait_until_looked_at(host.node)
    assert show(host.node, AGENT, "MainPID") not in ("0", main)
    assert show(host.node, AGENT, "NRestarts") == "0"


def test_modes_and_owners(host: AgentHost) -> None:
    paths = [
        "/run/kea-agent",
        STATUS,
        "/run/kea-agent/agent.sock",
        "/var/lib/kea-agent",
        "/etc/kea-agent/kea-agent.toml",
    ]
    told = host.node.run(["stat", "--format=%n %A %U:%G", *paths]).stdout.splitlines()
    assert told == [
        "/run/kea-agent drwxr-xr-x _kea:_kea",
        f"{STATUS} -rw-r--r-- _kea:_kea",
        "/run/kea-agent/agent.sock srw------- _kea:_kea",
        "/var/lib/kea-agent drwxr-x--- _kea:_kea",
        "/etc/kea-agent/kea-agent.toml -rw-r--r-- root:root",
    ]
    assert host.node.run(["ps", "-o", "user=", "-p", show(host.node, AGENT, "MainPID")]).stdout.strip() == "_kea"


def test_others_may_look_and_not_touch(host: AgentHost) -> None:
    asked = host.node.run([*NOBODY, "kea-agent", "reload", "dhcp4"], check=False)
    assert (asked.returncode, asked.stdout) == (3, "")
    assert re.fullmatch(r"kea-agent: \S*/agent\.sock: only root and .*; try sudo\n", asked.stderr), asked.stderr
    looked = host.node.run([*NOBODY, "kea-agent", "status"], check=False)
    assert (looked.returncode, looked.stderr) == (0, "")
    assert all(daemon in looked.stdout for daemon in DAEMONS)
    assert "Traceback" not in asked.stderr


OTHER_VERBS = {
    "check": 1,  # what cannot be read is no good file
    "diff": 3,
    "history": 3,
    "rollback dhcp4": 3,
    "apply /etc/hostname": 3,
    "confirm": 3,
    "check dhcp5": 3,
}


def test_every_verb_says_what_others_may_not(host: AgentHost) -> None:
    for words, code in OTHER_VERBS.items():
        done = host.node.run([*NOBODY, "kea-agent", *words.split()], check=False)
        said = done.stdout + done.stderr
        assert (done.returncode, "Traceback" in said) == (code, False), f"{words}: {said}"
        # The last is Kea 3.0's own word.
        reason = "(?i)try sudo|permission denied|no daemon of that name|cannot open '/etc/kea"
        assert re.search(reason, said), f"{words}: {said}"


def as_kea(node: Node, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as the user that the agent runs as."""
    return node.run([*KEA, *words], check=False)


def test_polkit_lets_the_agent_do_its_work_and_no_more(host: AgentHost) -> None:
    node, kea = host.node, host.node.unit("ddns")
    node.write(f"/run/systemd/system/{FOREIGN}", "[Service]\nExecStart=sleep infinity\nExecReload=true\n")
    node.systemctl("daemon-reload")
    node.systemctl("start", FOREIGN)
    refused = {
        words: as_kea(node, *words.split())
        for words in (
            f"systemctl --no-ask-password restart {FOREIGN}",
            f"systemctl --no-ask-password reload {FOREIGN}",
            f"systemctl --no-ask-password kill {FOREIGN}",
            f"systemctl --no-ask-password restart {AGENT}",
            f"systemctl --no-ask-password mask --runtime {kea}",
            f"systemctl --no-ask-password set-property --runtime {kea} CPUWeight=1",
            "systemctl --no-ask-password daemon-reload",
            "systemd-run --no-ask-password --unit=isc-kea-dhcp6-server.service id",
        )
    }
    assert {words: done.returncode for words, done in refused.items() if done.returncode == 0} == {}
    assert all(re.search("denied|authentication|not permitted", done.stderr) for done in refused.values()), refused
    assert as_kea(node, "systemctl", "--no-ask-password", "reload", kea).returncode == 0
    node.systemctl("stop", FOREIGN)
    node.run(["rm", f"/run/systemd/system/{FOREIGN}"])
    node.systemctl("daemon-reload")


def test_systemd_is_told_how_the_daemons_are(host: AgentHost) -> None:
    text = show(host.node, AGENT, "StatusText")
    assert all(re.search(rf"\b{daemon} (unchanged|applied)\b", text) for daemon in DAEMONS), text


def test_a_hanging_agent_is_replaced(host: AgentHost) -> None:
    node = host.node
    node.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
    node.write(DROP_IN, "[Service]\nWatchdogSec=3\nRestartSec=100ms\n")
    node.systemctl("daemon-reload")
    node.systemctl("restart", AGENT)
    wait_until_looked_at(node)
    hanging = show(node, AGENT, "MainPID")
    node.run(["kill", "-STOP", hanging])
    for _ in wait_for(every=0.2):
        if show(node, AGENT, "NRestarts") != "0" and show(node, AGENT, "ActiveState") == "active":
            break
    assert show(node, AGENT, "MainPID") not in ("0", hanging)
    host.wait_logged("Watchdog timeout")
    node.run(["rm", DROP_IN])
    node.systemctl("daemon-reload")
    node.systemctl("restart", AGENT)


def test_the_packages_own_test(host: AgentHost) -> None:
    done = host.node.run(["sh"], stdin=AUTOPKGTEST.read_text(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def exposure(node: Node, unit: str) -> float:
    """How open systemd says that a unit is."""
    told = node.run(["systemd-analyze", "security", "--no-pager", unit], check=False).stdout.splitlines()[-1]
    print(f"{node.spec.suite}: {told}")
    found = re.search(r": (\d+\.\d+) ", told)
    assert found, told
    return float(found[1])


def test_the_units_are_as_shut_as_ever(host: AgentHost) -> None:
    found = {unit: exposure(host.node, unit) for unit in MOST_EXPOSED}
    assert {unit: score for unit, score in found.items() if score > MOST_EXPOSED[unit]} == {}
    assert found[AGENT] < exposure(host.node, host.node.unit("dhcp4")) / 4


BOUNDED = (
    AGENT,
    "kea-agent-unconfirmed.service",
    "kea-agent-rehearse@1.service",
    "system-kea_agent_rehearse.slice",
    "kea-agent-fallback-directory@kea.service",
)


def test_what_a_unit_of_ours_may_take_has_a_bound(host: AgentHost) -> None:
    """All but the fallback, which is Kea: it may have what Kea's own unit may have. The agent goes before Kea does."""
    node = host.node
    for unit in BOUNDED:
        assert show(node, unit, "MemoryMax") not in ("", "infinity"), unit
        assert int(show(node, unit, "TasksMax")) <= 1024, unit
    assert int(show(node, AGENT, "OOMScoreAdjust")) > int(show(node, node.unit("dhcp4"), "OOMScoreAdjust") or 0)
    assert show(node, "kea-agent-fallback@dhcp4.service", "OOMScoreAdjust") == "0"
