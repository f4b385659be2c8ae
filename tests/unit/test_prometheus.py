# SPDX-License-Identifier: MPL-2.0
"""Rules and dashboards: Prometheus's own checks and tests of the rules, and that all of them fit the documentation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from promtext import DASHBOARDS, RULE_TESTS, RULES, RUNBOOKS, TOP, Rule, documented, queries, rules, used, used_labels

ALERTS = rules("alert")
RECORDED = {rule.name for rule in rules("record")}
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL))


def promtool(*words: str | Path) -> None:
    """Run it; what it says is the failure."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool (Debian: prometheus) is not installed: not run")
    done = subprocess.run([found, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_own_tests_say(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_alert_fires_in_a_test_and_every_recorded_series_is_looked_at() -> None:
    tests = "".join(path.read_text() for path in RULE_TESTS)
    fired = set(re.findall(r"labels: '\{alertname=\"(\w+)\"", tests))
    assert {rule.name for rule in ALERTS} - fired == set()
    everywhere = tests + "".join(rule.expr for rule in ALERTS)
    assert {name for name in RECORDED if name not in everywhere and not name.startswith("pool:")} == set()


def test_there_are_rules() -> None:
    assert len(ALERTS) > 25
    assert len({rule.name for rule in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_an_alert_says_what_where_and_what_to_do(rule: Rule) -> None:
    assert rule.field("severity") in {"critical", "warning", "info"}
    assert rule.field("description")
    assert rule.field("runbook_url") == f"docs/usage/runbooks.md#{rule.name.lower()}"
    if rule.name != "KeaAgentAbsent":  # nobody is there to be named
        assert "{{ $labels.instance }}" in rule.field("summary")
        assert "{{ $labels.daemon }}" in rule.field("summary") or "kea-agent" in rule.field("summary")


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_an_alert_has_a_runbook(rule: Rule) -> None:
    section = SECTIONS[rule.name]
    assert re.findall(r"^- \*\*(\w+)\*\*", section, re.MULTILINE) == ["Means", "Works", "Do", "Expected"]


def test_there_is_no_runbook_without_an_alert() -> None:
    assert set(SECTIONS) == {rule.name for rule in ALERTS}


def test_the_page_and_the_package_have_them() -> None:
    page = (RUNBOOKS.parent / "monitoring.md").read_text()
    assert f"\n{len(ALERTS)} alerts" in page
    assert set(re.findall(r"`(kea-\w+\.json)`", page)) >= {path.name for path in DASHBOARDS.glob("*.json")}
    installed = (TOP / "packaging/install-files").read_text()
    assert f"{RULES.relative_to(TOP)} /usr/share/kea-agent/prometheus/{RULES.name}\n" in installed
    assert f"{DASHBOARDS.relative_to(TOP)}/*.json" in installed


def test_runbooks_link_to_sections_that_exist() -> None:
    anchors = {name.lower() for name in SECTIONS}
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOKS.read_text())) <= anchors
    for page, anchor in re.findall(r"\]\((\w+\.md)#([\w-]+)\)", RUNBOOKS.read_text()):
        assert f"\n## {anchor}\n" in (RUNBOOKS.parent / page).read_text()


@pytest.mark.parametrize(
    ("where", "expr"),
    [
        *((rule.name, rule.expr) for rule in [*ALERTS, *rules("record")]),
        *((f"{query.dashboard}: {query.panel}", query.expr) for query in queries()),
    ],
)
def test_every_metric_and_label_is_documented(where: str, expr: str) -> None:
    known = documented()
    names = used(expr)
    assert names, where
    assert {name for name in names if name not in known} <= RECORDED, where
    labels = {
        label for name in names for label in known.get(name, {"job", "instance", "daemon", "subnet", "shared_network"})
    }
    assert used_labels(expr) <= labels, where


def test_the_dashboards_are_what_the_generator_writes(tmp_path: Path) -> None:
    script = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import dashboards; dashboards.write(pathlib.Path(sys.argv[2]))"
    subprocess.run([sys.executable, "-B", "-c", script, DASHBOARDS, tmp_path], check=True)
    written = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    assert written == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert dashboard["uid"] == path.stem
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    spots = [
        (x, y)
        for p in panels
        for g in [p["gridPos"]]
        for x in range(g["x"], g["x"] + g["w"])
        for y in range(g["y"], g["y"] + g["h"])
    ]
    assert len(set(spots)) == len(spots), "panels lie on each other"
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    assert {"datasource", "instance", "daemon"} <= variables
    asked = "".join(target["expr"] for panel in panels for target in panel.get("targets", ()))
    assert set(re.findall(r"\$(\w+)", asked)) <= variables | {"__rate_interval"}


def test_the_runbook_of_the_dashboards_variables() -> None:
    """Each choice of a dashboard is made of a documented metric."""
    for path in DASHBOARDS.glob("*.json"):
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                assert used(variable["query"]["query"]) <= set(documented())
