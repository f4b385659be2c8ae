# SPDX-License-Identifier: MPL-2.0
"""keactrl on daemons that it starts itself, case by case as Kea's own test of the script has it.

The names of the tests are those of src/bin/keactrl/tests/keactrl_tests.sh.in.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from agenthost import AgentHost
from byhand import BINARIES, CONF, ENVIRONMENT, FILES, HERE, ByHand, keactrl
from labkit import DAEMONS
from labkit.host import wait_for
from labs import EVERY_SUITE

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)

TITLES = {"dhcp4": "DHCPv4 server", "dhcp6": "DHCPv6 server", "dhcp_ddns": "DHCP DDNS", "ctrl_agent": "Control Agent"}
# What a server logs when it has its configuration, and when it ends; dhcp_ddns and ctrl_agent say the same.
READY = {"dhcp4": "DHCP4_CONFIG_COMPLETE", "dhcp6": "DHCP6_CONFIG_COMPLETE", "dhcp_ddns": "DCTL_CONFIG_COMPLETE"}
ENDED = {"dhcp4": "DHCP4_SHUTDOWN", "dhcp6": "DHCP6_SHUTDOWN"}
DEBUG = ("DHCP4_START_INFO", "DHCP6_START_INFO", "DCTL_STANDALONE")


@pytest.fixture(name="kea")
def _kea(host: AgentHost, good: str) -> Iterator[ByHand]:
    """The units are stopped meanwhile and run again afterwards."""
    units = [host.node.unit(daemon) for daemon in DAEMONS]
    host.node.systemctl("stop", *units)
    kea = ByHand(host)
    kea.remove()
    yield kea
    kea.remove()
    host.node.systemctl("reset-failed", *units, check=False)
    host.node.systemctl("start", *units)
    for _ in wait_for(every=0.2):
        if host.node.run(["kea-agent", "reload"], check=False).returncode == 0:
            return


def status(*active: str) -> list[str]:
    """What keactrl status says first."""
    return [f"{title}: {'active' if server in active else 'inactive'}" for server, title in TITLES.items()]


def settled(kea: ByHand, *servers: str) -> dict[str, int]:
    """A server may end right after it said that it is ready: look again."""
    kea.wait_for_servers(*servers)
    for _ in wait_for(2, every=0.5):
        assert set(kea.pids()) == set(servers), kea.log()
    return kea.pids()


def start(kea: ByHand, *servers: str, options: str = "", words: tuple[str, ...] = ()) -> None:
    """Start, and exactly these are started, in the script's order; the others are not mentioned."""
    done = kea("start", *words)
    assert (done.code, done.lines) == (0, [starting(server, options) for server in servers])


def starting(server: str, options: str = "") -> str:
    return f"INFO/keactrl: Starting /usr/sbin/{BINARIES[server]} -c {FILES[server]}{options}"


def wait_until_all_are_ready(kea: ByHand) -> None:
    kea.wait_for("DHCP6_CONFIG_COMPLETE")
    kea.wait_for("DHCP4_CONFIG_COMPLETE")
    kea.wait_for("DCTL_CONFIG_COMPLETE", 2)
    kea.wait_for("DHCP_DDNS_STARTED")
    kea.wait_for("CTRL_AGENT_STARTED")


def stop_all(kea: ByHand) -> None:
    done = kea("stop")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [f"INFO/keactrl: Stopping {binary}..." for binary in BINARIES.values()]
    kea.wait_for("DHCP6_SHUTDOWN")
    kea.wait_for("DHCP4_SHUTDOWN")
    kea.wait_for("DCTL_SHUTDOWN", 2)
    kea.wait_for_servers()


def test_status_empty_config(kea: ByHand) -> None:
    kea.node.run(["mkdir", "-p", HERE])
    kea.node.write(CONF, "hello=world\n")
    done = kea("status")
    assert (done.code, done.out) == (1, "ERROR/keactrl: dhcp4_srv parameter not specified\n")


@pytest.mark.parametrize("environment", [{}, ENVIRONMENT], ids=["KEA_PIDFILE_DIR unset", "KEA_PIDFILE_DIR"])
def test_status(kea: ByHand, environment: dict[str, str]) -> None:
    kea.write(*FILES)
    done = keactrl(kea.host, "status", "-c", CONF, environment=environment)
    files = [f"Kea {name} configuration file" for name in ("DHCPv4", "DHCPv6", "DHCP DDNS", "Control Agent")]
    told = [f"{name}: {path}" for name, path in zip(files, FILES.values(), strict=True)]
    assert done.code == 0
    assert done.lines == [*status(), *told, f"keactrl configuration file: {CONF}"]


def test_version_command(kea: ByHand) -> None:
    kea.write(*FILES)
    version = kea.node.run(["kea-dhcp4", "-v"]).stdout.strip()
    done = kea("version")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [f"{name}: {version}" for name in ("keactrl", *BINARIES.values())]


def test_start_all_servers_no_verbose(kea: ByHand) -> None:
    kea.write(*FILES)
    start(kea, *FILES, words=("-s", "all"))
    wait_until_all_are_ready(kea)
    assert {message: kea.count(message) for message in DEBUG} == dict.fromkeys(DEBUG, 0)
    settled(kea, *FILES)
    stop_all(kea)


def test_start_all_servers_verbose(kea: ByHand) -> None:
    kea.write(*FILES, verbose=True)
    start(kea, *FILES, options=" -d")
    wait_until_all_are_ready(kea)
    expected = {"DHCP4_START_INFO": 1, "DHCP6_START_INFO": 1, "DCTL_STANDALONE": 2}
    assert {message: kea.count(message) for message in DEBUG} == expected
    settled(kea, *FILES)
    stop_all(kea)


@pytest.mark.parametrize("server", ["dhcp4", "dhcp6"])
def test_start_one_server(kea: ByHand, server: str) -> None:
    """start_v4_server_test and start_v6_server_test."""
    kea.write(server)
    start(kea, server)
    kea.wait_for(READY[server])
    settled(kea, server)
    done = kea("status")
    assert (done.code, done.lines[:4]) == (0, status(server))
    done = kea("stop")
    assert done.code == 0
    assert f"INFO/keactrl: Stopping {BINARIES[server]}..." in done.lines
    assert sum(line.endswith(" isn't running.") for line in done.lines) == len(FILES) - 1
    kea.wait_for(ENDED[server])
    kea.wait_for_servers()
    assert {message: kea.count(message) for message in READY.values() if message != READY[server]} == dict.fromkeys(
        set(READY.values()) - {READY[server]}, 0
    )


@pytest.mark.parametrize("control", [False, True], ids=["no control socket", "control socket"])
@pytest.mark.parametrize("server", ["dhcp4", "dhcp6"])
def test_late_start(kea: ByHand, server: str, control: bool) -> None:
    """late_start_v4_server_test and late_start_v6_server_test, whose servers have no control socket to ask."""
    other = {"dhcp4": "dhcp6", "dhcp6": "dhcp4"}[server]
    kea.write(server, control=control)
    start(kea, server)
    kea.wait_for(READY[server])
    pid = settled(kea, server)[server]
    assert_reloaded(kea, server, proven=control)
    kea.wait_for(READY[server], 2)
    kea.write(*FILES, control=control)
    assert_rest_is_started(kea, server, pid)
    kea.wait_for(READY[other])
    kea.wait_for("DCTL_CONFIG_COMPLETE", 2)
    assert settled(kea, *FILES)[server] == pid
    assert_reloaded(kea, *FILES, proven=control)
    kea.wait_for(READY[server], 3)
    kea.wait_for(READY[other], 2)
    kea.wait_for("DCTL_CONFIG_COMPLETE", 4)
    assert settled(kea, *FILES)[server] == pid
    stop_all(kea)


def assert_reloaded(kea: ByHand, *servers: str, proven: bool) -> None:
    """All that run are reloaded; of a DHCP server with neither control socket nor port it is said that nothing proves it."""
    done = kea("reload")
    told = {server: "Reloading {}..." if server in servers else "{} isn't running." for server in FILES}
    assert done.lines == [f"INFO/keactrl: {words.format(BINARIES[server])}" for server, words in told.items()]
    unproven = [] if proven else [server for server in servers if server in ("dhcp4", "dhcp6")]
    said = "was told to reload; with neither control socket nor port nothing proves that it did"
    warnings = [f"WARNING/keactrl: {FILES[server]}: {BINARIES[server]} {said}" for server in unproven]
    assert (done.code, done.err.splitlines()) == (0, warnings)


def assert_rest_is_started(kea: ByHand, running: str, pid: int) -> None:
    done = kea("start")
    file = f"{HERE}/{FILES[running].rpartition('/')[2].removesuffix('.json')}.{BINARIES[running]}.pid"
    told = f"INFO/keactrl: {BINARIES[running]} appears to be running, see: PID {pid}, PID file: {file}."
    assert done.lines == [told if server == running else starting(server) for server in FILES]
    assert done.code == 0


def test_stop_selected_server(kea: ByHand) -> None:
    kea.write(*FILES)
    start(kea, *FILES)
    wait_until_all_are_ready(kea)
    left = settled(kea, *FILES)
    for server in list(left):
        done = kea("stop", "-s", server)
        assert (done.code, done.out) == (0, f"INFO/keactrl: Stopping {BINARIES[server]}...\n")
        del left[server]
        assert kea.wait_for_servers(*left) == left
    assert [kea.count(message) for message in ("DHCP4_SHUTDOWN", "DHCP6_SHUTDOWN", "DCTL_SHUTDOWN")] == [1, 1, 2]


def test_status_no_config(kea: ByHand) -> None:
    kea.write(*FILES)
    kea.node.run(["rm", *FILES.values()])
    done = kea("status")
    assert (done.code, done.lines[:4]) == (1, status())
    assert done.lines[-1] == f"ERROR/keactrl: Configuration file for Kea does not exist: {FILES['dhcp4']}."


def test_server_options(kea: ByHand) -> None:
    """Since Kea 3.3.0, which no suite has: before that `--` is no option, and the variables mean nothing."""
    kea.write("dhcp4", dhcp4_cli_options="-X")
    refused = kea("start", "--", "-X")
    assert (refused.code, refused.lines[0]) == (1, "ERROR/keactrl: invalid option: --")
    start(kea, "dhcp4")
    kea.wait_for(READY["dhcp4"])


# Not in Kea's own test: a reload with an answer.


def test_a_broken_file_is_not_loaded(kea: ByHand) -> None:
    kea.write("dhcp4")
    start(kea, "dhcp4")
    kea.wait_for(READY["dhcp4"])
    before = kea.pids()
    kea.node.write(FILES["dhcp4"], kea.node.read(FILES["dhcp4"]).replace("4000", '"soon"'))
    for words, code in (((), 1), (("--compat-exit",), 0)):
        done = kea("reload", "-s", "dhcp4", *words)
        assert (done.code, done.lines[0]) == (code, "INFO/keactrl: Reloading kea-dhcp4...")
        assert done.lines[1].startswith("ERROR/keactrl: Reload failed, ")
        assert f"{FILES['dhcp4']}:" in done.lines[1]
        assert len(done.lines) == 2
    assert kea.pids() == before
    assert kea.count("DHCP4_DYNAMIC_RECONFIGURATION") == 0


def test_a_unit_beside_it_is_left_alone(kea: ByHand) -> None:
    """keactrl.conf is about daemons of its own: systemd's dhcp6 is not its."""
    kea.write("dhcp4")
    unit = kea.node.unit("dhcp6")
    kea.node.systemctl("start", unit)
    start(kea, "dhcp4")
    kea.wait_for(READY["dhcp4"])
    assert kea("status").lines[:4] == status("dhcp4")
    assert kea("stop").code == 0
    kea.wait_for_servers()
    assert kea.node.systemctl("is-active", unit) == "active"
