# SPDX-License-Identifier: MPL-2.0
"""The pages with other exporters' names: every name and label, the values of /metrics, and odd places."""

from __future__ import annotations

import http.client
import re

import pytest
from old_dashboards import OldDashboard, old_dashboards

from kea_agent import web
from kea_agent.metrics import Scrape, legacy_pages, subnets
from kea_agent.metrics.exposition import Writer, document
from kea_agent.metrics.statistics import ENTRIES, Scope

EVIL = 'a "b"\\\n c\u2028'
SPELLED = EVIL.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
SUBNETS = {
    "1": 'subnet="10.1.0.0/16",subnet_id="1",subnet_name="subnet=\\"x\\","',
    "2": f'shared_network="{SPELLED}",subnet="10.2.0.0/16",subnet_id="2"',
}
HEADS = {Scope.SERVER: ("",), Scope.SUBNET: ("subnet[1].", "subnet[2].", "subnet[9]."),
         Scope.POOL: ("subnet[1].pool[0].", "subnet[1].pool[1].", "subnet[1].pool[7]."),
         Scope.PD_POOL: ("subnet[1].pd-pool[3].",), Scope.KEY: ("key[k.].",)}  # fmt: skip
# Statistics that only the other server has.
OTHERS = {
    "dhcp4": r"pkt6-|v6-|.*-(nas|pds)$",
    "dhcp6": r"pkt4-|v4-|(total|assigned|cumulative-assigned)-addresses$",
    "ddns": "pkt|v4-|v6-",
}
POOLS = {"1": ("10.1.0.1-10.1.0.9", "10.1.8.0/24"), "2": ()}
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABELS = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')


def scrape() -> Scrape:
    """Everything that both servers and the DDNS daemon could tell, each with a value of its own."""
    drafts = []
    for daemon, others in OTHERS.items():
        writer = Writer(daemon, SUBNETS)
        writer.begin()
        names = [head + leaf for scope, leaf in ENTRIES for head in HEADS[scope] if not re.match(others, leaf)]
        writer.write([(name, str(number)) for number, name in enumerate(names, 1)])
        drafts.append(writer.end())
        drafts.append(writer.end())
    return Scrape({"dhcp4": True, "dhcp6": False}, (), document(drafts), {"dhcp4": POOLS, "dhcp6": POOLS})


def page(path: str, of: Scrape | None = None) -> str:
    made = of or scrape()
    body, kind = legacy_pages(lambda: made, iter([10.0, 15.5]).__next__)[path]()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    found = [_SAMPLE.fullmatch(line) for line in text.split("\n") if line and not line.startswith("#")]
    assert all(found)
    return [(m[1], {k: v for k, _, v in _LABELS.findall(m[2] or "")}, float(m[3])) for m in found if m]


def selected(text: str, selector: str) -> list[tuple[dict[str, str], float]]:
    """What Prometheus would find."""
    name, _, matchers = selector.partition("{")
    wanted = [
        (label, re.compile(value if how == "=~" else re.escape(value)))
        for label, how, value in _LABELS.findall(matchers)
    ]
    return [
        (labels, value)
        for each, labels, value in samples(text)
        if each == name and all(pattern.fullmatch(labels.get(label, "")) for label, pattern in wanted)
    ]


@pytest.mark.parametrize("dashboard", old_dashboards(), ids=lambda each: each.name)
def test_every_selector_of_the_old_dashboards_finds_something(dashboard: OldDashboard) -> None:
    text = page(dashboard.path)
    assert [selector for selector in dashboard.selectors if not selected(text, selector)] == []


@pytest.mark.parametrize("path", ["/metrics/kea-exporter", "/metrics/stork"])
def test_no_series_is_there_twice_and_every_family_is_one_block(path: str) -> None:
    text = page(path)
    keys = [(name, tuple(sorted(labels.items()))) for name, labels, _ in samples(text)]
    assert len(set(keys)) == len(keys)
    headings = re.findall(r"^# TYPE (\w+) gauge$", text, re.MULTILINE)
    assert list(dict.fromkeys(name for name, _, _ in samples(text))) == headings


def test_the_names_are_those_of_kea_exporter() -> None:
    found = {name: sorted(labels) for name, labels, _ in samples(page("/metrics/kea-exporter"))}
    wanted = {name: {label for label, _, _ in _LABELS.findall(matchers)}
              for name, _, matchers in (s.partition("{") for d in old_dashboards() if d.name == "grafana-12688" for s in d.selectors)}  # fmt: skip
    assert found == {name: sorted(labels) for name, labels in wanted.items()}


def test_stork_has_the_80_names_of_its_agent() -> None:
    names = {name for name, _, _ in samples(page("/metrics/stork"))}
    assert len(names) == 80
    assert "kea_dhcp6_cumulutive_registered_total" in names
    assert len({name for name in names if name.startswith("storkagent_")}) == 4


def test_values_and_labels_of_kea_exporter() -> None:
    text, made = page("/metrics/kea-exporter"), scrape().text.decode()
    ours = re.search(r'^kea_pool_addresses\{daemon="dhcp4",.*pool_id="1"\} (\d+)$', made, re.MULTILINE)
    assert ours
    assert selected(text, 'kea_dhcp4_addresses_total{subnet="10.1.0.0/16", subnet_id="1", pool="10.1.8.0/24"}') == [
        ({"subnet": "10.1.0.0/16", "subnet_id": "1", "pool": "10.1.8.0/24"}, float(ours[1]))
    ]
    assert {labels["pool"] for labels, _ in selected(text, "kea_dhcp4_addresses_total")} == {"", *POOLS["1"]}
    assert selected(text, 'kea_dhcp4_addresses_total{subnet_id="9"}') == []


def test_values_and_labels_of_stork() -> None:
    text = page("/metrics/stork")
    labels, _ = selected(text, 'kea_dhcp4_addresses_total{subnet_id="2"}')[0]
    assert labels == {"subnet": "10.2.0.0/16", "subnet_id": "2", "prefix": "10.2.0.0/16", "shared_network": SPELLED}
    unknown, _ = selected(text, 'kea_dhcp4_addresses_total{subnet_id="9"}')[0]
    assert unknown == {"subnet": "9", "subnet_id": "9", "prefix": "", "shared_network": ""}
    assert [labels["pool_id"] for labels, _ in selected(text, "kea_dhcp6_pool_pd_total")] == ["3"]
    assert selected(text, "storkagent_promkeaexporter_uptime_seconds") == [({}, 5.5)]
    assert selected(text, "storkagent_monitor_monitored_kea_daemons_total") == [({}, 2)]
    assert selected(text, "storkagent_promkeaexporter_monitored_dhcp4_daemons_total") == [({}, 1)]
    assert selected(text, "storkagent_promkeaexporter_monitored_dhcp6_daemons_total") == [({}, 0)]


def test_a_daemon_that_does_not_answer_has_no_series() -> None:
    nothing = Scrape({"dhcp4": False})
    assert page("/metrics/kea-exporter", nothing) == ""
    assert "kea_dhcp" not in page("/metrics/stork", nothing).replace("monitored_kea_daemons", "")


def test_the_listener_has_the_pages() -> None:
    site = web.Site(render=lambda: (b"", ""), statuses=list, ready=lambda: True, environ={}, more=legacy_pages(scrape))
    site.open(["127.0.0.1:0"])
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(site.addresses[0].rpartition(":")[2]), timeout=5)
        for path in ("/metrics/kea-exporter", "/metrics/stork"):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, b"kea_dhcp4_addresses_total" in answer.read()) == (200, True)
        connection.request("GET", "/metrics/others")
        assert connection.getresponse().status == 404
        connection.close()
    finally:
        site.stop()


def test_pools_are_told_apart_as_the_configuration_has_them() -> None:
    four = {"id": 1, "pools": [{"pool": "10.1.0.1-10.1.0.9"}, {"pool": "10.1.8.0/24"}]}
    configuration = {"Dhcp4": {"subnet4": [four, {"id": "odd"}], "shared-networks": [{"subnet4": [{"id": 2}]}]}}
    assert subnets.pools("dhcp4", configuration) == POOLS
    assert subnets.pools("dhcp6", configuration) == {}
