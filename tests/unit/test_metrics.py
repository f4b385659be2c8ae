# SPDX-License-Identifier: MPL-2.0
"""One whole scrape against a golden file, and the rules that Prometheus has for one."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import prometheus_client
import pytest

from kea_agent.metrics import AgentMetrics, Scrape, WatchCounters, own, passes
from kea_agent.metrics.collection import DEFINITIONS, UP
from kea_agent.metrics.exposition import Writer, document
from kea_agent.metrics.families import Definition, Sample
from kea_agent.metrics.passes import STAGE_BUCKETS
from kea_agent.metrics.statistics import ENTRIES, FAMILIES, Family, Scope
from kea_agent.outcome import DaemonStatus, Outcome, Pass, Stage, Step
from kea_agent.rehearsal import Standing

TOP = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden/metrics.txt"
PAGE = TOP / "docs/usage/metrics.md"
DESCRIBED: list[Definition | Family] = [*DEFINITIONS, *FAMILIES]
DAEMONS = ("dhcp4", "dhcp6", "ddns", "ctrl-agent")


def metrics(
    statuses: Iterable[DaemonStatus] = (), up: Mapping[str, bool] | None = None, scrape: Scrape | None = None
) -> AgentMetrics:
    return AgentMetrics(
        version="1.2.3",
        daemons=DAEMONS,
        statuses=lambda: statuses,
        watch=lambda: WatchCounters(watches=7, events=120, overflows=1, bus_reconnects=2),
        kea=lambda: (
            scrape or Scrape(up or {}, [Sample(UP, (name,), float(is_up)) for name, is_up in (up or {}).items()])
        ),
    )


def busy() -> AgentMetrics:
    """The agent of the golden scrape: one daemon with a story, one that is wrong, one of which nothing is known."""
    four = DaemonStatus(
        "dhcp4", "kea-dhcp4-server.service", config_valid=True, config_in_sync=True, reload_successful=True,
        reloaded_at=1767323045.25, warnings=("a.conf:1:1: x", "a.conf:2:1: y"), last_good_at=1767323045.5,
    )  # fmt: skip
    six = DaemonStatus(
        "dhcp6", "kea-dhcp6-server.service", config_valid=False, config_in_sync=False, reload_successful=False,
        warnings=("a.conf:1:1: x",), on_fallback=True,
    )  # fmt: skip
    agent = metrics([four, six, DaemonStatus("ddns")], {"dhcp4": True, "dhcp6": False})
    spent = {Stage.SETTLE: 0.02, Stage.READ: 0.001, Stage.CHECK: 0.3, Stage.RELOAD: 1.5, Stage.VERIFY: 75.0}
    agent.observe("dhcp4", Pass(Outcome.APPLIED, "reloaded", 1767323045.25, spent, rehearsal="passed"))
    agent.observe("dhcp4", Pass(Outcome.UNCHANGED, "same", 1767323046.0, {Stage.SETTLE: 0.03, Stage.READ: 0.002}))
    steps = ((Step.CONFIG_SET, False), (Step.FALLBACK, True))
    agent.observe("dhcp6", Pass(Outcome.RECOVERED, "hurt", 1767323046.5, {}, "not rehearsed: no room", steps))
    agent.observe("dhcp6", Pass(Outcome.REJECTED, "line 3", 1767323047.0, {Stage.SETTLE: 0.5}))
    return agent


def full() -> AgentMetrics:
    """An agent with every family that there is."""
    samples = [
        Sample(definition, tuple(f"a {label}" for label in definition.labels), 1.5) for definition in DEFINITIONS
    ]
    writer = Writer("dhcp6", {"7": 'subnet="2001:db8::/64",subnet_id="7",shared_network="campus"'})
    heads = {Scope.SERVER: "", Scope.SUBNET: "subnet[7].", Scope.POOL: "subnet[7].pool[1].",
             Scope.PD_POOL: "subnet[7].pd-pool[1].", Scope.KEY: "key[k.]."}  # fmt: skip
    one_each = {entry.family.name: (heads[scope] + name, "5") for (scope, name), entry in ENTRIES.items()}
    writer.write(one_each.values())
    return metrics(scrape=Scrape({"dhcp6": True}, samples, document([writer.end()])))


def value(agent: AgentMetrics, name: str, **labels: str) -> float | None:
    return agent.registry.get_sample_value(name, labels)


def test_one_whole_scrape() -> None:
    text, kind = busy().render()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert text.decode() == GOLDEN.read_text()


@pytest.mark.parametrize("agent", [busy, full])
def test_prometheus_own_linter(agent: Callable[[], AgentMetrics]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian: prometheus) is not installed: not run")
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, input=agent().render()[0], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_scrape_is_one_document_in_which_every_family_is_one_block() -> None:
    headings = re.findall(r"^# TYPE (\w+)", full().render()[0].decode(), re.MULTILINE)
    assert len(set(headings)) == len(headings)
    assert {family.name for family in FAMILIES} | {definition.name for definition in DEFINITIONS} <= set(headings)


def test_every_family_has_a_type_and_a_sentence() -> None:
    families = list(busy().registry.collect())
    assert {family.type for family in families} == {"gauge", "counter", "histogram"}
    assert all(family.documentation.endswith(".") for family in families)


def test_no_created_series() -> None:
    assert b"_created" not in busy().render()[0]


def test_what_is_not_known_has_no_series() -> None:
    agent = metrics([DaemonStatus("dhcp4")])
    assert value(agent, "kea_agent_config_valid", daemon="dhcp4") is None
    assert value(agent, "kea_agent_config_last_reload_success_timestamp_seconds", daemon="dhcp4") is None
    assert value(agent, "kea_up", daemon="dhcp4") is None


def test_no_is_not_unknown() -> None:
    agent = metrics([DaemonStatus("dhcp4", config_valid=False)], {"dhcp4": False})
    assert value(agent, "kea_agent_config_valid", daemon="dhcp4") == 0
    assert value(agent, "kea_up", daemon="dhcp4") == 0


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_counted_from_zero(daemon: str, outcome: Outcome) -> None:
    agent = metrics()
    assert value(agent, "kea_agent_outcomes_total", daemon=daemon, outcome=outcome) == 0
    agent.observe(daemon, Pass(outcome, "", 0.0))
    assert value(agent, "kea_agent_outcomes_total", daemon=daemon, outcome=outcome) == 1


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("standing", list(Standing))
def test_every_result_of_a_rehearsal_is_counted_from_zero(daemon: str, standing: Standing) -> None:
    agent, result = metrics(), standing.value.replace(" ", "-")
    assert value(agent, "kea_agent_rehearsals_total", daemon=daemon, result=result) == 0
    for word in (standing.value, f"{standing.value}: why: not", None):
        agent.observe(daemon, Pass(Outcome.APPLIED, "", 0.0, rehearsal=word))
    assert value(agent, "kea_agent_rehearsals_total", daemon=daemon, result=result) == 2


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize(("worked", "result"), [(True, "worked"), (False, "failed")])
def test_every_step_of_a_recovery_is_counted_from_zero(step: Step, worked: bool, result: str) -> None:
    agent = metrics()
    assert value(agent, "kea_agent_recoveries_total", daemon="dhcp6", step=step, result=result) == 0
    agent.observe("dhcp6", Pass(Outcome.BROKEN, "", 0.0, steps=((step, worked), (step, worked))))
    assert value(agent, "kea_agent_recoveries_total", daemon="dhcp6", step=step, result=result) == 2


def test_a_daemon_that_is_not_installed_has_no_fallback() -> None:
    agent = metrics([DaemonStatus("dhcp4"), DaemonStatus("dhcp6", "kea-dhcp6-server.service")])
    assert value(agent, "kea_agent_fallback_active", daemon="dhcp4") is None
    assert value(agent, "kea_agent_fallback_active", daemon="dhcp6") == 0


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (60.0, "60.0"), (61.0, "+Inf")]
)
def test_a_stage_falls_into_the_buckets_from_its_own_upwards(seconds: float, bound: str) -> None:
    agent = metrics()
    agent.observe("ddns", Pass(Outcome.APPLIED, "", 0.0, {Stage.CHECK: seconds}))
    bounds = [*map(str, STAGE_BUCKETS), "+Inf"]
    found = [
        value(agent, "kea_agent_stage_duration_seconds_bucket", daemon="ddns", stage="check", le=each)
        for each in bounds
    ]
    assert found == [float(index >= bounds.index(bound)) for index in range(len(bounds))]
    assert value(agent, "kea_agent_stage_duration_seconds_sum", daemon="ddns", stage="check") == seconds


def test_the_states_are_read_at_each_scrape() -> None:
    statuses = [DaemonStatus("dhcp4", config_in_sync=False)]
    agent = metrics(statuses)
    assert value(agent, "kea_agent_config_in_sync", daemon="dhcp4") == 0
    statuses[:] = [DaemonStatus("dhcp4", config_in_sync=True)]
    assert value(agent, "kea_agent_config_in_sync", daemon="dhcp4") == 1
    statuses.clear()
    assert value(agent, "kea_agent_config_in_sync", daemon="dhcp4") is None


def test_nothing_is_put_into_the_default_registry() -> None:
    before = prometheus_client.generate_latest()
    assert b"kea_" not in before
    busy()
    assert b"kea_" not in prometheus_client.generate_latest()


def test_counting_and_scraping_at_once_loses_nothing() -> None:
    agent = metrics()
    threads = [threading.Thread(target=_count, args=(agent,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        agent.render()
    assert value(agent, "kea_agent_outcomes_total", daemon="dhcp4", outcome="applied") == 2000
    assert value(agent, "kea_agent_stage_duration_seconds_count", daemon="dhcp4", stage="gate") == 2000


def _count(agent: AgentMetrics) -> None:
    for _ in range(500):
        agent.observe("dhcp4", Pass(Outcome.APPLIED, "", 0.0, {Stage.GATE: 0.1}))


def test_the_page_lists_every_family_with_its_type_labels_and_meaning() -> None:
    rows = re.findall(r"^\| `(kea_\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    documented = {name: (kind, sorted(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}
    assert len(documented) == len(rows)
    described = [*own.DEFINITIONS, *passes.DEFINITIONS, *DESCRIBED]
    known = {each.name: (each.kind, sorted(each.labels), each.help) for each in described}
    stages = passes.PassCounts([]).stages()
    assert documented == known | {stages.name: (stages.type, ["daemon", "stage"], stages.documentation)}


def test_a_scrape_has_the_labels_of_the_page() -> None:
    text = full().render()[0].decode()
    for each in DESCRIBED:
        line = next(line for line in text.splitlines() if line.startswith(f"{each.name}{{"))
        assert sorted(re.findall(r'(\w+)="', line)) == sorted(each.labels)
