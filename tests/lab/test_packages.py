# SPDX-License-Identifier: MPL-2.0
"""The Debian package's whole life on one host: it comes, is upgraded, downgraded, removed, put back and purged.

Kea has ISC's unit names here (test_install.py has Debian's), the configuration is changed on the way, and at the end Kea
itself goes and the agent comes to a host without it. None of it may end one of Kea's processes, and after purge the host is as it was.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from labkit import DAEMONS
from labkit.host import wait_for
from labkit.lab import newest_deb
from labkit.nodes import Node
from labs import SUITES, UpLab

AGENT = "kea-agent.service"
SOCKET = "kea-agent-rehearse.socket"
APT = [
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    "--yes",
    "--quiet",
    "--no-install-recommends",
    "--allow-downgrades",
]
DPKG = ["--option", "Dpkg::Options::=--force-confdef", "--option", "Dpkg::Options::=--force-confold"]
FALLBACK = "kea-agent-fallback@dhcp4.service"
FILE = "/etc/kea/kea-dhcp4.conf"
CONFIG = "/etc/kea-agent/kea-agent.toml"
OWN = "[web]\nlisten = []\n"
# Where apt, dpkg and systemd keep books on whatever happens, and what runs writes.
ELSEWHERE = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/kea", "/var/lib/systemd", "/var/log", "/var/tmp")  # fmt: skip
BEFORE, NOW = "/var/tmp/kea-agent_before.deb", "/var/tmp/kea-agent_now.deb"


def on(*suites: str) -> pytest.MarkDecorator:
    """On these suites; what is on the same one shares its lab."""
    group = (pytest.param(each, marks=pytest.mark.xdist_group(f"package-{each}")) for each in suites)
    return pytest.mark.parametrize("suite", list(group))


def older(deb: Path, work: Path) -> Path:
    """The package as a version before: another number, and another default in the configuration file."""
    subprocess.run(["dpkg-deb", "--raw-extract", deb, work / "tree"], check=True)
    control, config = work / "tree/DEBIAN/control", work / f"tree{CONFIG}"
    control.write_text(control.read_text().replace("Version: ", "Version: 0~", 1))
    config.write_text(config.read_text() + "# of the version before\n")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", work / "tree", work / "old.deb"], check=True, capture_output=True
    )
    return work / "old.deb"


@pytest.fixture
def node(up: UpLab, suite: str, tmp_path: Path) -> Node:
    """A host with Kea and without the agent, and both versions of the package to install."""
    deb = newest_deb()
    assert deb, "no package in dist/: make deb"
    lab = up(suite=suite, units="isc", deb=None)
    [node] = lab.nodes
    for source, name in ((deb, NOW), (older(deb, tmp_path), BEFORE)):
        shutil.copy(source, f"/proc/{node.leader()}/root{name}")
    return node


def apt(node: Node, *words: str) -> str:
    """Run apt-get; configuration files that were changed are kept."""
    done = node.run([*APT, *DPKG, *words], timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def kea(node: Node) -> list[str]:
    """Process, restarts and drop-ins of each of Kea's units; all are running, and nothing waits for a daemon-reload."""
    names = "Id,MainPID,NRestarts,ActiveEnterTimestampMonotonic,NeedDaemonReload"
    found = node.systemctl("show", f"--property={names}", *(node.unit(daemon) for daemon in DAEMONS)).split()
    assert "MainPID=0" not in found
    assert "NeedDaemonReload=yes" not in found
    return found


def dropped_in(node: Node) -> set[bool]:
    """Whether systemd has our drop-in on each of Kea's units."""
    shown = (node.systemctl("show", "--property=DropInPaths", node.unit(daemon)) for daemon in DAEMONS)
    return {"10-kea-agent.conf" in each for each in shown}


def files(node: Node) -> set[str]:
    """Every file of the host with owner and mode, and what of ours is where only names can tell."""
    pruned = " -o ".join(f"-path {each}" for each in ELSEWHERE)
    looked = f"find / \\( {pruned} \\) -prune -o ! -name '*.pyc' -printf '%p %M %u:%g %l\\n'"
    return set(node.run(["sh", "-c", f"{looked}; find /run /var/lib/systemd -name '*kea-agent*'"]).stdout.splitlines())


def states(node: Node) -> list[str]:
    """What systemd says of the agent and of the socket for rehearsals."""
    return node.systemctl("show", "--property=ActiveState,UnitFileState", "--value", AGENT, SOCKET).split()


@on(*SUITES)
def test_it_comes_changes_and_goes_and_kea_serves_on(node: Node) -> None:
    empty, serving = files(node), kea(node)
    running = ["active", "enabled", "active", "enabled"]

    apt(node, "install", BEFORE)
    assert (states(node), dropped_in(node), kea(node)) == (running, {True}, serving)
    node.write(CONFIG, OWN)
    apt(node, "install", NOW)
    assert (states(node), dropped_in(node), kea(node), node.read(CONFIG)) == (running, {True}, serving, OWN)
    apt(node, "install", BEFORE)
    assert (states(node), dropped_in(node), kea(node), node.read(CONFIG)) == (running, {True}, serving, OWN)
    apt(node, "remove", "kea-agent")
    assert (dropped_in(node), kea(node), node.read(CONFIG)) == ({False}, serving, OWN)
    apt(node, "install", NOW)
    assert (states(node), dropped_in(node), kea(node), node.read(CONFIG)) == (running, {True}, serving, OWN)
    node.systemctl("disable", "--now", AGENT)
    apt(node, "install", "--reinstall", NOW)
    assert states(node)[:2] == ["inactive", "disabled"], "who turned it off finds it off after an upgrade"

    apt(node, "purge", "kea-agent")
    assert (dropped_in(node), kea(node)) == ({False}, serving)
    assert sorted(files(node) ^ empty) == []


def swapped_in(node: Node) -> str:
    """The agent has the fallback serve, because the file of Kea's own unit is broken; its main process."""
    node.replace(FILE, "{ nonsense\n")
    node.systemctl("restart", node.unit("dhcp4"), check=False)
    wait_active(node, FALLBACK)
    return main_pid(node, FALLBACK)


def main_pid(node: Node, unit: str) -> str:
    """The main process of a unit, 0 where it has none."""
    return node.systemctl("show", "--property=MainPID", "--value", unit)


def wait_active(node: Node, unit: str) -> None:
    """Wait until a unit runs, and DHCPv4 is served."""
    for _ in wait_for(60, every=0.2):
        if node.systemctl("is-active", unit, check=False) == "active" and is_served(node):
            return
    raise AssertionError("\n".join([*node.journal(unit, 30), *node.journal(AGENT, 30)]))


def is_served(node: Node) -> bool:
    """Whether somebody answers for DHCPv4."""
    try:
        return bool(node.control("dhcp4", "status-get")["result"] == 0)
    except (OSError, ValueError):
        return False


def left_in_run(node: Node) -> list[str]:
    """What of ours is where systemd looks for units, and which links in there lead nowhere."""
    ours = "find /run/systemd/system /usr/lib/systemd /etc/systemd -name '*kea-agent*' ! -name '*.service.wants'"
    return node.run(["sh", "-c", f"{ours} -path '/run/*'; {ours} -xtype l"]).stdout.split()


@on(*SUITES)
def test_what_the_fallback_serves_goes_on_being_served(node: Node) -> None:
    unit, good = node.unit("dhcp4"), node.read(FILE)
    goes_on = f"kea-agent: dhcp4 is served by {FALLBACK} on its last known good configuration, and goes on being served"
    apt(node, "install", NOW)
    node.run(["kea-agent", "reload", "--again", "dhcp4"])

    serving = swapped_in(node)
    assert goes_on in apt(node, "remove", "kea-agent")
    wait_active(node, FALLBACK)
    assert main_pid(node, FALLBACK) == serving
    apt(node, "install", NOW)
    assert (main_pid(node, FALLBACK), left_in_run(node)) == (serving, [])
    # The agent knows it for what it is, and gives the place back when the file is mended.
    node.replace(FILE, good)
    wait_active(node, unit)
    assert main_pid(node, FALLBACK) == "0"

    serving = swapped_in(node)
    assert goes_on in apt(node, "purge", "kea-agent")
    assert main_pid(node, FALLBACK) == serving
    # What apt said to do.
    node.replace(FILE, good)
    node.systemctl("start", unit)
    wait_active(node, unit)
    node.systemctl("daemon-reload")
    assert (main_pid(node, FALLBACK), left_in_run(node)) == ("0", [])


@on("trixie")
def test_a_fallback_that_dies_without_its_package_leaves_the_place_to_keas_own_unit(node: Node) -> None:
    unit, good = node.unit("dhcp4"), node.read(FILE)
    apt(node, "install", NOW)
    node.run(["kea-agent", "reload", "--again", "dhcp4"])
    serving = swapped_in(node)
    apt(node, "purge", "kea-agent")
    node.replace(FILE, good)
    # The tests before have started it more often than systemd allows within ten seconds.
    node.systemctl("reset-failed", unit)
    node.run(["kill", "-KILL", serving])
    wait_active(node, unit)
    assert left_in_run(node) == []


# Kea's package leaves its overrides of owners behind, and dpkg does nothing while the user is away.
WITHOUT_KEA = r"""
systemctl stop "isc-kea-*"
apt-get --yes --quiet purge $(dpkg-query --show --showformat '${Package} ' 'kea-*')
rm -f /usr/lib/systemd/system/isc-kea-* /etc/systemd/system/kea-* /etc/systemd/system/*/isc-kea-*
find /etc/systemd/system -type d -empty -delete
systemctl daemon-reload
sed -i /_kea/d /var/lib/dpkg/statoverride
userdel _kea
rm -rf /run/systemd/system/kea-agent-fallback@*
systemctl daemon-reload
"""
FROM_ELSEWHERE = """
userdel _kea
groupadd --gid 4711 elsewhere
useradd --uid 4242 --gid elsewhere --home-dir /nonexistent _kea
"""


@on(*SUITES)
def test_it_waits_for_kea_as_a_user_of_its_own_or_from_elsewhere(node: Node) -> None:
    node.run(["sh", "-c", WITHOUT_KEA], timeout=120)
    empty = files(node)
    assert node.run(["id", "_kea"], check=False).returncode != 0
    apt(node, "install", NOW)
    assert_waits_for_kea(node)
    assert re.fullmatch(r"_kea:\S+:Kea DHCP:/var/lib/kea:\S+/nologin\n", node.run(["getent", "passwd", "_kea"]).stdout)
    apt(node, "purge", "kea-agent")
    assert sorted(files(node) ^ empty) == []

    node.run(["sh", "-c", FROM_ELSEWHERE])
    empty = files(node)
    apt(node, "install", NOW)
    assert_waits_for_kea(node)
    assert node.run(["id", "--user", "_kea"]).stdout == "4242\n"
    groups = re.search(r"^Groups:(.*)$", node.read(f"/proc/{main_pid(node, AGENT)}/status"), re.MULTILINE)
    assert groups
    # Without it the agent could not ask for a rehearsal.
    assert node.run(["getent", "group", "_kea"]).stdout.split(":")[2] in groups[1].split()
    apt(node, "purge", "kea-agent")
    assert sorted(files(node) ^ empty) == []


def assert_waits_for_kea(node: Node) -> None:
    """The agent runs, as Kea's user, and there is no Kea."""
    assert states(node) == ["active", "enabled", "active", "enabled"]
    assert node.run(["ps", "-o", "user=", "-p", main_pid(node, AGENT)]).stdout == "_kea\n"
    status = node.run(["kea-agent", "status"]).stdout
    assert all(f"{daemon}: no unit of {daemon} is installed" in status for daemon in DAEMONS)
