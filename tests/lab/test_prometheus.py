# SPDX-License-Identifier: MPL-2.0
"""A real Prometheus beside a real pair: every alert, every query of the dashboards, and the pages with old names,
while all is well, after the primary was killed, and when it is back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from labs import UpLab
from load import load, measured
from old_dashboards import old_dashboards
from pairlabs import grouped_pair
from pairs import Pair, edit, settings
from prometheus import JOBS, Prometheus, Series, prometheus
from promtext import queries, rules
from saving import CONFIG6

EVERYWHERE = '[web]\nlisten = ["0.0.0.0:9673"]\n'
MORE_4 = """"shared-networks": [ { "name": "campus", "subnet4": [
    { "id": 21, "subnet": "10.21.0.0/16", "pools": [ { "pool": "10.21.1.0/24" }, { "pool": "10.21.7.0/24" } ] } ] } ],
    "valid-lifetime"
"""
MORE_6 = '"pd-pools": [ { "prefix": "2001:db8:100::", "prefix-len": 40, "delegated-len": 56 } ], "interface":'

# What a Kea that is well, or one of this version, has nothing to say to.
EMPTY_WHEN_WELL = {
    ("kea-agent", "Parts of a scrape that are missing"),
    ("kea-ha", "Clock skew"),  # told from Kea 2.7.2 on
    ("kea-subnet", "Time left"),  # only while it grows
    ("kea-subnet", "Clients that got no lease"),  # not before the first of them
    ("kea-agent", "Outcomes"),  # not before the next of them
}
# One query of a panel with several; the others of the panel must find something.
EMPTY_QUERIES = {"kea_subnet_registered_addresses"}  # from Kea 3.1 on
# Kea tells of these once there was one.
EMPTY_SELECTORS = re.compile(r"kea_dhcp([46]_allocations_failed|6_reservation_conflicts)_total")

PRIMARY = {"instance": "node1", "daemon": "dhcp4"}
STANDBY = {"instance": "node2", "daemon": "dhcp4"}


@pytest.fixture
def pair(up: UpLab, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A pair with a shared network and prefixes to delegate; nobody else wants it afterwards."""
    lab = up(**request.param)
    try:
        pair = Pair(lab)
        for host in pair.hosts:
            extend(host)
        pair.wait_normal()
        yield pair
    finally:
        lab.down()


def extend(host: AgentHost) -> None:
    """While the servers are off: two files that change at once are another test's."""
    units = [host.node.unit("dhcp4"), host.node.unit("dhcp6")]
    host.node.systemctl("stop", *units)
    for path, found, text in ((CONFIG, '"valid-lifetime"', MORE_4), (CONFIG6, '"interface":', MORE_6)):
        before = host.node.read(path)
        assert found in before
        host.node.replace(path, before.replace(found, text.strip(), 1))
    host.node.systemctl("start", *units)


@contextmanager
def killed(host: AgentHost) -> Iterator[None]:
    """The server's process killed, and everybody kept from starting it again until the block ends."""
    unit = host.node.unit("dhcp4")
    host.node.systemctl("mask", "--runtime", unit)
    host.node.systemctl("kill", "--kill-whom=main", "--signal=KILL", unit)
    try:
        yield
    finally:
        host.node.systemctl("unmask", "--runtime", unit)
        host.node.systemctl("start", unit)


def alerts(prom: Prometheus) -> dict[str, list[Series]]:
    """What the expression of each alert finds, without waiting for its `for`; those that find nothing left out."""
    found = rules("alert")
    answers = prom.query_all([rule.expr for rule in found])
    return {rule.name: answer for rule, answer in zip(found, answers, strict=True) if answer}


def who(found: list[Series]) -> set[tuple[str, str]]:
    """Instance and daemon of each."""
    return {(each.labels.get("instance", ""), each.labels.get("daemon", "")) for each in found}


def state(prom: Prometheus, daemon: str = "dhcp4") -> dict[str, str]:
    """By host, the HA state as the overview shows it."""
    return {
        each.labels["instance"]: each.labels["state"] for each in prom.query(f'kea_ha_state{{daemon="{daemon}"}} == 1')
    }


def dashboards(prom: Prometheus) -> dict[tuple[str, str], list[list[Series]]]:
    """What the queries of each panel find."""
    listed = queries()
    answers = prom.query_all([query.filled(window="30s") for query in listed])
    found: dict[tuple[str, str], list[list[Series]]] = {}
    for query, answer in zip(listed, answers, strict=True):
        if not any(name in query.expr for name in EMPTY_QUERIES):
            found.setdefault((query.dashboard, query.panel), []).append(answer)
    return found


def assert_dashboards_are_filled(prom: Prometheus) -> dict[tuple[str, str], list[list[Series]]]:
    found = dashboards(prom)
    empty = {panel for panel, answers in found.items() if not all(answers)}
    assert empty - EMPTY_WHEN_WELL == set()
    return found


def assert_old_dashboards_are_filled(prom: Prometheus) -> None:
    """Each selector finds something of both hosts."""
    for dashboard in old_dashboards():
        job = next(name for name, path in JOBS.items() if path == dashboard.path)
        exprs = [re.sub(r"^(\w+)(?:\{(.*)\})?$", rf'\1{{job="{job}",\2}}', each) for each in dashboard.selectors]
        found = prom.query_all(exprs)
        missing = [
            expr
            for expr, answer in zip(exprs, found, strict=True)
            if {each.labels["instance"] for each in answer} != {"node1", "node2"} and not EMPTY_SELECTORS.match(expr)
        ]
        assert missing == [], dashboard.name


@pytest.mark.parametrize("pair", [grouped_pair("trixie")], indirect=True)
def test_a_failover_as_prometheus_sees_it(pair: Pair, tmp_path: Path) -> None:
    primary, standby = pair.hosts
    began = time.monotonic()
    with settings(*pair.hosts, text=EVERYWHERE), load(pair.lab, rate=20), prometheus(pair.lab, tmp_path) as prom:
        a_file_is_saved(prom, standby)
        all_is_well(prom)
        with killed(primary):
            the_primary_is_gone(prom)
        the_primary_is_back(prom)
        much_goes_wrong(prom, primary, standby)
        assert_every_rule_is_evaluated(prom)
    seconds = time.monotonic() - began
    measured(f"trixie hot-standby: a failover and the return of the primary under Prometheus's eyes: {seconds:.0f} s")


def a_file_is_saved(prom: Prometheus, host: AgentHost) -> None:
    """For the metrics that there are after a reload."""
    prom.wait("count(kea_up == 1) == 8")
    edit(host)
    outcome = 'increase(kea_agent_outcomes_total{instance="node2", daemon="dhcp4", outcome="applied"}[10m]) > 0'
    print(f"a reload is seen after {prom.wait(outcome):.1f} s")
    outcomes = next(query for query in queries() if query.panel == "Outcomes")
    found = {each.labels["outcome"] for each in prom.query(outcomes.filled()) if each.has(**STANDBY)}
    # It waits first where a busy partner was late with its heartbeat.
    assert {"applied"} <= found <= {"applied", "deferred", "unchanged"}


def all_is_well(prom: Prometheus) -> None:
    normal = 'count(kea_ha_state{state="hot-standby"} == 1) == 4 and count(kea_ha_partner_state{state="hot-standby"} == 1) == 4'
    prom.wait(normal)
    assert_only_the_files_differ(prom)
    assert state(prom) == state(prom, "dhcp6") == {"node1": "hot-standby", "node2": "hot-standby"}
    shown = assert_dashboards_are_filled(prom)
    assert len(who(shown["kea-overview", "Daemons that answer"][0])) == 8
    assert {each.value for each in shown["kea-overview", "The server runs the file on disk"][0]} == {1}
    prom.wait('rate(kea_messages_sent_total{instance="node1", daemon="dhcp4", message="ack"}[10s]) > 10 < 30')
    networks = shown["kea-overview", "Shared networks"][0]
    assert who(networks) == {("node1", "dhcp4"), ("node2", "dhcp4")}
    assert {each.labels["shared_network"] for each in networks} == {"campus"}
    assert_old_dashboards_are_filled(prom)


def assert_only_the_files_differ(prom: Prometheus) -> None:
    """The standby has got a file that the primary has not."""
    found = alerts(prom)
    assert set(found) == {"KeaHAConfigDiffers"}
    assert {each.labels["daemon"] for each in found["KeaHAConfigDiffers"]} == {"dhcp4"}


def the_primary_is_gone(prom: Prometheus) -> None:
    took = prom.wait('kea_ha_state{instance="node2", daemon="dhcp4", state="partner-down"} == 1')
    print(f"partner-down is seen after {took:.1f} s")
    found = alerts(prom)
    assert set(found) == {"KeaDaemonDown", "KeaHAPartnerDown"}
    assert who(found["KeaDaemonDown"]) == {("node1", "dhcp4")}
    assert who(found["KeaHAPartnerDown"]) == {("node2", "dhcp4")}
    assert state(prom) == {"node2": "partner-down"}
    shown = assert_dashboards_are_filled(prom)
    assert who([each for each in shown["kea-overview", "Daemons that answer"][0] if each.value == 0]) == {
        ("node1", "dhcp4")
    }
    partners = [each for each in shown["kea-ha", "The partner"][0] if each.has(**STANDBY)]
    assert [each.labels["state"] for each in partners] == ["unavailable"]
    assert (
        prom.query('max_over_time(kea_ha_communication_interrupted{instance="node2", daemon="dhcp4"}[10m])')[0].value
        == 1
    )
    served = prom.query('kea_ha_scope_served{instance="node2", daemon="dhcp4"} == 1')
    assert {each.labels["scope"] for each in served} == {"server1"}
    prom.wait('rate(kea_messages_sent_total{instance="node2", daemon="dhcp4", message="ack"}[5s]) > 5')
    failed = prom.query('kea_unit_state{instance="node1", daemon="dhcp4", state="failed"}')
    assert [each.value for each in failed] == [1]
    # What the dead one had is gone and not frozen, on the old pages too.
    assert prom.query('{job=~"kea-exporter|stork", instance="node1", __name__=~"kea_dhcp4_.*"}') == []
    assert prom.query('{job="stork", instance="node1", __name__=~"kea_dhcp6_.*"}') != []


def the_primary_is_back(prom: Prometheus) -> None:
    normal = 'count(kea_ha_state{daemon="dhcp4", state="hot-standby"} == 1) == 2'
    took = prom.wait(normal)
    print(f"both are hot-standby again after {took:.1f} s")
    prom.wait('count(kea_ha_partner_state{daemon="dhcp4", state="hot-standby"} == 1) == 2')
    prom.wait('rate(kea_messages_sent_total{instance="node1", daemon="dhcp4", message="ack"}[5s]) > 5')
    prom.wait("count(kea_agent_config_in_sync == 1) == 8")
    assert_only_the_files_differ(prom)
    passed = prom.query(
        'max_over_time(kea_ha_state{instance="node1", daemon="dhcp4", state=~"waiting|syncing|ready"}[10m]) == 1'
    )
    assert passed, "no transition was seen"
    assert prom.query('changes(kea_start_time_seconds{instance="node1", daemon="dhcp4"}[10m])')[0].value >= 1
    assert_dashboards_are_filled(prom)
    assert_old_dashboards_are_filled(prom)


def much_goes_wrong(prom: Prometheus, primary: AgentHost, standby: AgentHost) -> None:
    """Five mishaps at once, each of another daemon or kind, and every alert but theirs stays silent."""
    standby.node.systemctl("stop", standby.node.unit("ddns"))
    standby.node.systemctl("kill", "--kill-whom=main", "--signal=KILL", standby.node.unit("ctrl-agent"))
    assert standby.node.control("dhcp6", "dhcp-disable")["result"] == 0
    standby.node.replace(CONFIG6, standby.node.read(CONFIG6).replace("valid-lifetime", "valid-lifetme"))
    primary.node.systemctl("stop", "kea-agent")
    expected = {
        "KeaDaemonStopped": {("node2", "ddns")},
        "KeaRestarted": {("node2", "ctrl-agent")},
        "KeaServiceDisabled": {("node2", "dhcp6")},
        "KeaConfigInvalid": {("node2", "dhcp6")},
        "KeaAgentSilent": {("node1", "")},
    }
    found: dict[str, set[tuple[str, str]]] = {}
    for _ in wait_for(every=0.5):
        found = {name: who(answer) for name, answer in alerts(prom).items()}
        if found == expected:
            break
    primary.node.systemctl("start", "kea-agent")
    assert found == expected


def assert_every_rule_is_evaluated(prom: Prometheus) -> None:
    """None of them failed, not even once in between; and the recorded ones that have data are there."""
    groups = prom.ask(("/api/v1/rules", {}))[0]["data"]["groups"]
    evaluated = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(evaluated) == {rule.name for kind in ("alert", "record") for rule in rules(kind)}
    assert set(evaluated.values()) == {"ok"}
    failures = prom.query("sum(prometheus_rule_evaluation_failures_total)")
    assert [each.value for each in failures] == [0]
    for rule in rules("record"):
        # The pair has no shared network with prefixes; and what is left depends on what is growing.
        if "time_left" not in rule.name and not re.match("shared_network:kea_.*prefix", rule.name):
            assert prom.query(rule.name), rule.name
