# SPDX-License-Identifier: MPL-2.0
"""A scrape of real Kea servers: which families each version has, that the values are Kea's, and bad moments."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from agenthost import CONFIG, AgentHost
from labkit import DAEMONS
from labkit.host import wait_for
from labs import SUITES, UpLab
from pairlabs import borrowed, grouped_pair
from pairs import Pair
from saving import CONFIG6, agent_life, assert_in_sync, main_pid, on_every_suite, settings
from timing import BEST_OF, UNREHEARSED, quickest_pass

SCRAPES = "/tmp/scrapes"
CURL = "curl --silent --fail --max-time 30 http://127.0.0.1:9673/metrics"
GOLDEN = Path(__file__).parent / "golden"
EVERY_PAIR = [grouped_pair(suite) for suite in SUITES]
_SAMPLE = re.compile(r"^(kea_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)

MORE_4 = """
        "shared-networks": [
            { "name": "campus", "subnet4": [ { "id": 21, "subnet": "10.21.0.0/16", "user-context": { "name": "hall" },
                                               "pools": [ { "pool": "10.21.1.0 - 10.21.1.255" } ] } ] }
        ],
        "valid-lifetime"
"""
MORE_6 = '"pd-pools": [ { "prefix": "2001:db8:100::", "prefix-len": 40, "delegated-len": 56 } ], "interface"'


@pytest.fixture
def pair(up: UpLab, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with borrowed(up(**request.param)) as pair:
        yield pair


@pytest.fixture
def rich(host: AgentHost, good: str) -> Iterator[AgentHost]:
    """A host with a shared network and a prefix pool."""
    six = host.node.read(CONFIG6)
    for daemon, path, text in (
        ("dhcp4", CONFIG, good.replace('"valid-lifetime"', MORE_4.strip(), 1)),
        ("dhcp6", CONFIG6, six.replace('"interface"', MORE_6, 1) if '"interface":' in six else six),
    ):
        before = host.outcomes(daemon)  # type: ignore[arg-type]
        host.node.replace(path, text)
        host.wait_for("applied", before, daemon)  # type: ignore[arg-type]
    yield host
    host.node.replace(CONFIG6, six)
    host.node.run(["kea-agent", "reload", "dhcp6"])


def shape(text: str) -> set[str]:
    """Every family of Kea, its HA and its units with the labels that its series have."""
    families: dict[str, set[str]] = {}
    for name, labels, _ in _SAMPLE.findall(text):
        if not name.startswith("kea_agent_"):
            families.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return {f"{name} {' '.join(sorted(labels))}" for name, labels in families.items()}


def compare(name: str, text: str) -> None:
    """The golden file has a line a family; KEA_AGENT_GOLDEN=1 writes it anew."""
    path, found = GOLDEN / name, "\n".join(sorted(shape(text))) + "\n"
    if os.environ.get("KEA_AGENT_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


def lint(text: str) -> None:
    """Prometheus's own linter has nothing to say."""
    promtool = shutil.which("promtool")
    assert promtool, "apt-get install prometheus"
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def sample(text: str, name: str, **labels: str) -> float:
    """The one sample of a family with these labels, whatever others it has."""
    found = [
        float(value)
        for each, told, value in _SAMPLE.findall(text)
        if each == name and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', told)).items()
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


@on_every_suite
def test_the_families_of_each_version(rich: AgentHost) -> None:
    text = rich.fresh_metrics()
    version = rich.node.control("dhcp4", "version-get")["text"]
    assert sample(text, "kea_info", daemon="dhcp4", version=version) == 1
    lint(text)
    compare(f"host-{version}.txt", text)
    assert {name for name in DAEMONS if sample(text, "kea_up", daemon=name) == 1} == set(DAEMONS)
    assert sample(text, "kea_unknown_statistics", daemon="dhcp4") == 0
    assert sample(text, "kea_unknown_statistics", daemon="dhcp6") == 0
    assert sample(text, "kea_unknown_statistics", daemon="ddns") == 0
    hall = {"subnet": "10.21.0.0/16", "shared_network": "campus", "subnet_name": "hall", "subnet_id": "21"}
    assert sample(text, "kea_subnet_addresses", **hall) == 256
    assert sample(text, "kea_subnet_prefixes", daemon="dhcp6", subnet_id="1") == 1 << 16


@on_every_suite
def test_values_are_kea_s_own(host: AgentHost, good: str) -> None:
    statistics = host.node.control("dhcp4", "statistic-get-all")["arguments"]
    text = host.fresh_metrics()
    total = statistics["subnet[1].total-addresses"][0][0]
    assert sample(text, "kea_subnet_addresses", daemon="dhcp4", subnet_id="1") == total
    unit, pid = host.node.unit("dhcp4"), host.status()["main_pid"]
    assert sample(text, "kea_unit_state", daemon="dhcp4", unit=unit, state="active") == 1
    assert sample(text, "kea_unit_tasks", daemon="dhcp4") >= 1
    assert sample(text, "kea_unit_memory_bytes", daemon="dhcp4") > 1 << 20
    assert sample(text, "kea_unit_state", daemon="kea-agent", state="active") == 1
    now = time.time()
    started = sample(text, "kea_unit_start_time_seconds", daemon="dhcp4")
    assert abs(started - sample(text, "kea_start_time_seconds", daemon="dhcp4")) < 5
    assert started < sample(text, "kea_config_commit_time_seconds", daemon="dhcp4") + 5 < now + 10
    assert pid


@on_every_suite
def test_a_pool_of_64_bits(host: AgentHost, good: str) -> None:
    six = host.node.read(CONFIG6)
    before = host.outcomes("dhcp6")
    pool = '"subnet6": [ { "id": 9, "subnet": "2001:db8:9::/48", "pools": [ { "pool": "2001:db8:9::/64" } ] },'
    host.node.replace(CONFIG6, re.sub(r'"subnet6": \[', pool, six, count=1))
    host.wait_for("applied", before, "dhcp6")
    text = host.fresh_metrics()
    host.node.replace(CONFIG6, six)
    host.wait_for("applied", before + type(before)(applied=1), "dhcp6")
    assert sample(text, "kea_subnet_addresses", daemon="dhcp6", subnet_id="9") == 2.0**64


@contextmanager
def stopped(host: AgentHost, *daemons: str) -> Iterator[None]:
    units = [host.node.unit(daemon) for daemon in daemons]  # type: ignore[arg-type]
    for unit in units:
        host.node.systemctl("kill", "--signal=STOP", "--kill-who=main", unit)
    try:
        yield
    finally:
        for unit in units:
            host.node.systemctl("kill", "--signal=CONT", "--kill-who=main", unit)


def scrape_seconds(host: AgentHost) -> tuple[float, str]:
    """One scrape as curl times it, for which Kea is asked: after the last one it is left alone for a while."""
    script = f"{CURL} --write-out '%{{time_total}}' --output /tmp/scrape"
    for _ in wait_for(every=0.1):
        began = time.time()
        seconds = float(host.node.run(["sh", "-c", script]).stdout)
        text = host.node.read("/tmp/scrape")
        if sample_of_agent(text, "kea_agent_asked_timestamp_seconds") >= began:
            return seconds, text
    raise AssertionError("Kea is asked no more")


def sample_of_agent(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


@on_every_suite
def test_servers_that_hang_cost_a_scrape_its_timeout_and_nothing_else(host: AgentHost, good: str) -> None:
    settings(host, "[web]\nscrape_timeout_seconds = 1\n")
    with stopped(host, *DAEMONS):
        seconds, text = min(scrape_seconds(host) for _ in range(BEST_OF))
        print(f"all hang: {seconds:.2f} s")
        assert 0.9 < seconds < 1.8
        assert {sample(text, "kea_up", daemon=name) for name in DAEMONS} == {0}
        assert sample(text, "kea_agent_collector_success", daemon="dhcp4", collector="status") == 0
    settings(host, f"[web]\nscrape_timeout_seconds = 25\n{UNREHEARSED}")
    alone = quickest_pass(host)
    with stopped(host, "dhcp6", "ddns", "ctrl-agent"), a_scrape(host) as scrape:
        beside = quickest_pass(host)
        assert scrape.poll() is None, "the scrape did not hang while the passes went on"
    print(f"a pass: {alone:.2f} s, beside a scrape that hangs {beside:.2f} s")
    assert beside < alone + 0.5
    assert_in_sync(host)


def a_scrape(host: AgentHost) -> AbstractContextManager[Popen[str]]:
    """One that takes as long as it takes."""
    return running(host, *CURL.split(), "--output", "/dev/null")


def scraping(host: AgentHost) -> AbstractContextManager[Popen[str]]:
    """One scrape after the other, each with a line in SCRAPES when it is answered."""
    curl = f"{CURL} --output /dev/null --write-out '%{{http_code}}\\n'"
    return running(host, "sh", "-c", f"rm -f {SCRAPES}; while :; do {curl} >> {SCRAPES}; done")


@contextmanager
def running(host: AgentHost, *command: str) -> Iterator[Popen[str]]:
    """A command beside the test, for as long as the block takes."""
    with host.node.start(command) as process:
        time.sleep(0.3)
        try:
            yield process
        finally:
            process.kill()


def crowd(host: AgentHost, good: str, count: int) -> None:
    """So many subnets more, from id 10 on, and the server runs them."""
    listed = ",".join(
        json.dumps({"id": 10 + number, "subnet": f"{prefix}.0/24", "pools": [{"pool": f"{prefix}.0/25"}]})
        for number in range(count)
        for prefix in (f"{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}",)
    )
    run(host, good.replace('"subnet4": [', f'"subnet4": [ {listed},', 1))


def run(host: AgentHost, text: str) -> None:
    """Have the server run a configuration; the agent's word is enough here."""
    before = host.status()["last"]["at"]
    host.node.replace(CONFIG, text)
    for _ in wait_for(300, every=0.2):
        if (last := host.status()["last"])["at"] > before:
            assert last["outcome"] == "applied", last
            return
    raise AssertionError("not applied")


@pytest.fixture
def roomy(host: AgentHost, good: str) -> Iterator[str]:
    """The configuration to put a crowd into, without rehearsals, which would take a minute; afterwards a server that never saw one."""
    settings(host, UNREHEARSED)
    yield good
    run(host, good)
    # Once a server has had so many, it is larger and slower.
    host.node.systemctl("restart", host.node.unit("dhcp4"))
    pid = main_pid(host, host.node.unit("dhcp4"))
    for _ in wait_for(every=0.2):
        if (status := host.status())["main_pid"] == pid and status["config_in_sync"]:
            return
    raise AssertionError(f"not in sync after a restart: {status}")


def subnet_series(text: str) -> dict[str, str]:
    """The series of DHCPv4 subnets, with their values."""
    return dict(re.findall(r'^(kea_subnet_\w+\{daemon="dhcp4",[^}]*\}) (\S+)$', text, re.MULTILINE))


@on_every_suite
def test_lease_numbers_are_the_same_without_the_rest(host: AgentHost, roomy: str) -> None:
    crowd(host, roomy, 4000)
    for last, state in ((1, 0), (2, 0), (3, 1)):
        lease = {"ip-address": f"20.0.0.{last}", "hw-address": f"02:00:00:00:00:0{last}", "state": state}
        host.node.control("dhcp4", "lease4-add", {"subnet-id": 10, **lease})
    whole = host.fresh_metrics()
    assert sample(whole, "kea_agent_statistics_complete", daemon="dhcp4") == 1
    settings(host, "[web]\nscrape_timeout_seconds = 0.3\n")
    for _ in wait_for(every=0.5):
        chief = host.fresh_metrics()
        if sample(chief, "kea_agent_collector_success", daemon="dhcp4", collector="statistics") == 1:
            break
    assert sample(chief, "kea_agent_statistics_complete", daemon="dhcp4") == 0
    lint(chief)
    of_leases = subnet_series(chief)
    assert len(of_leases) == 4 * 4001
    assert of_leases.items() <= subnet_series(whole).items()
    of = {"daemon": "dhcp4", "subnet_id": "10"}
    assert sample(chief, "kea_subnet_assigned_addresses", **of) == 3
    assert sample(chief, "kea_subnet_declined_addresses", **of) == 1
    assert not re.search(r'^kea_pool_\w+\{daemon="dhcp4"', chief, re.MULTILINE)
    host.node.control("dhcp4", "lease4-wipe", {"subnet-id": 10})
    own = re.compile(r'^(kea_(?!agent|subnet|pool)\w+_total\{daemon="dhcp4".*\}) ', re.MULTILINE)
    assert set(own.findall(chief)) == set(own.findall(whole))


@on_every_suite
def test_65_000_subnets_within_the_default_timeout(host: AgentHost, roomy: str) -> None:
    # For the pass: Kea takes seconds to tell such a configuration. It is not the scrape's time.
    settings(host, "[control]\ntimeout_seconds = 60\n")
    crowd(host, roomy, 65_000)
    scrapes = scrapes_until_told(host)
    took = sorted(seconds for seconds, _ in scrapes)
    assert took[len(took) // 2] < 6.5  # one may have had to wait for the machine
    text = scrapes[-1][1]
    assert [sample(each, "kea_up", daemon="dhcp4") for _, each in scrapes[-2:]] == [1, 1]
    assert sample(text, "kea_agent_statistics_complete", daemon="dhcp4") == 0
    assert sample(text, "kea_agent_statistics_complete", daemon="dhcp6") == 1
    assert len(re.findall(r'^kea_subnet_addresses\{daemon="dhcp4",', text, re.MULTILINE)) == 65_001
    assert sample(text, "kea_subnet_addresses", daemon="dhcp4", subnet_id="65009") == 128
    assert sample(text, "kea_packets_received_total", daemon="dhcp4") >= 0
    assert "load libdhcp_stat_cmds.so" not in host.journal()


def scrapes_until_told(host: AgentHost) -> list[tuple[float, str]]:
    """Scrapes until two in a row have statistics: Kea goes on for a while with an answer that was not waited for."""
    told, scrapes = 'kea_agent_collector_success{collector="statistics",daemon="dhcp4"} 1', []
    for _ in wait_for():
        scrapes.append(scrape_seconds(host))
        print(f"65,000 subnets: {scrapes[-1][0]:.2f} s, statistics {told in scrapes[-1][1]}")
        if len(scrapes) > 1 and all(told in text for _, text in scrapes[-2:]):
            return scrapes
    raise AssertionError("no statistics")


# How long the agent's loop takes to say a word, in seconds, over and over for as many seconds as are asked for.
LAG = """
import json, socket, sys, time
lags, until = [], time.monotonic() + float(sys.argv[1])
while (began := time.monotonic()) < until:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect("/run/kea-agent/agent.sock")
        channel.sendall(b'{"verb": "nothing"}\\n')
        while channel.recv(65536):
            pass
    lags.append(time.monotonic() - began)
    time.sleep(0.002)
print(json.dumps(sorted(lags)))
"""
# When systemd last heard from the agent's watchdog, in microseconds, likewise.
PINGS = """
import json, subprocess, sys, time
seen, until = set(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    command = ["systemctl", "show", "--property=WatchdogTimestampMonotonic", "--value", "kea-agent"]
    seen.add(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    time.sleep(0.2)
print(json.dumps(sorted(seen)))
"""


def in_node(host: AgentHost, seconds: float, *scripts: str) -> list[list[float]]:
    """What scripts print after so many seconds, all at the same time."""
    with ExitStack() as stack:
        words = [["python3", "-c", script, str(seconds)] for script in scripts]
        processes = [stack.enter_context(running(host, *each)) for each in words]
        return [json.loads(process.communicate(timeout=60)[0]) for process in processes]


@contextmanager
def impatient(host: AgentHost) -> Iterator[None]:
    """systemd wants to hear from the agent every 2 s, so the agent speaks every second."""
    drop_in = "/run/systemd/system/kea-agent.service.d/99-test.conf"
    host.node.run(["mkdir", "-p", drop_in.rpartition("/")[0]])
    host.node.replace(drop_in, "[Service]\nWatchdogSec=2\n")
    restart_agent(host)
    try:
        yield
    finally:
        host.node.run(["rm", drop_in])
        restart_agent(host)


def restart_agent(host: AgentHost) -> None:
    """Systemd reads the unit's files again, and a new agent has looked at every daemon."""
    host.node.systemctl("daemon-reload")
    host.node.systemctl("restart", "kea-agent")
    for _ in wait_for(every=0.2):
        if all(host.status(name)["last"] for name in DAEMONS):
            return
    raise AssertionError("the agent did not look at every daemon")


def assert_attentive(host: AgentHost, what: str) -> None:
    """Beside scrapes the loop goes on at once, and the watchdog hears from it every second."""
    life = agent_life(host)
    with scraping(host):
        lags, pings = in_node(host, 8, LAG, PINGS)
        scrapes = host.node.read(SCRAPES).split()
    gaps = [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(pings)]
    print(f"{what}: {len(scrapes)} scrapes; loop lag p50 {lags[len(lags) // 2] * 1e3:.1f} ms,"
          f" max {lags[-1] * 1e3:.0f} ms; watchdog after at most {max(gaps):.2f} s")  # fmt: skip
    assert set(scrapes) == {"200"}
    assert lags[-1] < 0.5
    assert len(gaps) >= 5
    assert max(gaps) < 1.5
    assert agent_life(host) == life


@on_every_suite
def test_a_scrape_delays_neither_the_watchdog_nor_the_loop(host: AgentHost, roomy: str) -> None:
    crowd(host, roomy, 10_000)
    with impatient(host):
        assert_attentive(host, "10,000 subnets")
        with stopped(host, *DAEMONS):
            assert_attentive(host, "all hang")


@on_every_suite
def test_a_scrape_of_10_000_subnets_does_not_delay_a_pass_of_another_daemon(host: AgentHost, roomy: str) -> None:
    crowd(host, roomy, 10_000)
    alone = quickest_pass(host, "dhcp6")
    with scraping(host):
        beside = quickest_pass(host, "dhcp6")
    print(f"a pass of dhcp6: {alone:.2f} s, beside scrapes of 10,000 subnets {beside:.2f} s")
    assert beside < alone + 0.5


@on_every_suite
def test_a_server_that_is_restarted_meanwhile(host: AgentHost, good: str) -> None:
    unit = host.node.unit("dhcp4")
    for _ in range(2):
        with host.node.start(["systemctl", "restart", unit]) as restart:
            while restart.poll() is None:
                seconds, text = scrape_seconds(host)
                assert seconds < 6
                lint(text)
    for _ in wait_for(every=0.1):
        if re.search(r'^kea_up\{daemon="dhcp4"\} 1', host.fresh_metrics(), re.MULTILINE):
            return
    raise AssertionError("not up after a restart")


@pytest.mark.parametrize("pair", EVERY_PAIR, indirect=True)
def test_a_pair_from_both_sides(pair: Pair) -> None:
    texts = [host.fresh_metrics() for host in pair.hosts]
    version = pair.hosts[0].node.control("dhcp4", "version-get")["text"]
    compare(f"pair-{version}.txt", texts[0])
    for text, role, partner in zip(texts, ("primary", "standby"), ("standby", "primary"), strict=True):
        lint(text)
        for daemon in ("dhcp4", "dhcp6"):
            of = {"daemon": daemon, "relationship": "1"}
            assert sample(text, "kea_ha_info", **of, mode="hot-standby", role=role, partner_role=partner) == 1
            assert sample(text, "kea_ha_state", **of, state="hot-standby") == 1
            assert sample(text, "kea_ha_partner_state", **of, state="hot-standby") == 1
            assert sample(text, "kea_ha_partner_in_touch", **of) == 1
            assert sample(text, "kea_ha_communication_interrupted", **of) == 0
            assert sample(text, "kea_ha_partner_contact_age_seconds", **of) < 10
            assert sample(text, "kea_ha_unsent_updates_total", **of) >= 0
            assert sample(text, "kea_agent_collector_success", daemon=daemon, collector="ha") == 1
    assert sample(texts[0], "kea_ha_scope_served", daemon="dhcp4", scope="server1") == 1
