# SPDX-License-Identifier: MPL-2.0
"""A scrape of real Kea servers: which families each version has, that the values are Kea's, and bad moments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agenthost import CONFIG, AgentHost
from labkit import DAEMONS
from labkit.host import wait_for
from labs import SUITES, UpLab
from pairlabs import borrowed, grouped_pair
from pairs import Pair
from saving import CONFIG6, assert_in_sync, edited, on_every_suite, settings

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
    text = rich.metrics()
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
    text = host.metrics()
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
    text = host.metrics()
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
    """One scrape as curl times it."""
    script = "curl --silent --fail --max-time 30 --write-out '%{time_total}' --output /tmp/scrape http://127.0.0.1:9673/metrics"
    seconds = float(host.node.run(["sh", "-c", script]).stdout)
    return seconds, host.node.read("/tmp/scrape")


@on_every_suite
def test_servers_that_hang_cost_a_scrape_its_timeout_and_nothing_else(host: AgentHost, good: str) -> None:
    settings(host, "[web]\nscrape_timeout_seconds = 2\n")
    with stopped(host, *DAEMONS):
        seconds, text = scrape_seconds(host)
        print(f"all hang: {seconds:.2f} s")
        assert 1.5 < seconds < 2.8
        assert {sample(text, "kea_up", daemon=name) for name in DAEMONS} == {0}
        assert sample(text, "kea_agent_collector_success", daemon="dhcp4", collector="status") == 0
    with stopped(host, "dhcp6", "ddns", "ctrl-agent"):
        before, (edit, _) = host.status()["last"]["at"], edited(good)
        with scraping(host):
            began = time.monotonic()
            host.node.replace(CONFIG, edit)
            for _ in wait_for(30, every=0.02):
                if host.status()["last"]["at"] > before:
                    break
            took = time.monotonic() - began
    print(f"a pass beside scrapes that hang: {took:.2f} s")
    assert host.status()["last"]["outcome"] == "applied"
    assert took < 3
    assert_in_sync(host)


@contextmanager
def scraping(host: AgentHost) -> Iterator[None]:
    """One scrape after the other."""
    script = "while :; do curl --silent --max-time 30 --output /dev/null http://127.0.0.1:9673/metrics; done"
    with host.node.start(["sh", "-c", script]) as scraper:
        time.sleep(0.3)
        try:
            yield
        finally:
            scraper.kill()


@on_every_suite
def test_a_server_that_is_restarted_meanwhile(host: AgentHost, good: str) -> None:
    unit = host.node.unit("dhcp4")
    for _ in range(2):
        with host.node.start(["systemctl", "restart", unit]) as restart:
            while restart.poll() is None:
                seconds, text = scrape_seconds(host)
                assert seconds < 6
                lint(text)
    for _ in wait_for(30, every=0.1):
        if re.search(r'^kea_up\{daemon="dhcp4"\} 1', host.metrics(), re.MULTILINE):
            return
    raise AssertionError("not up after a restart")


@pytest.mark.parametrize("pair", EVERY_PAIR, indirect=True)
def test_a_pair_from_both_sides(pair: Pair) -> None:
    texts = [host.metrics() for host in pair.hosts]
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
