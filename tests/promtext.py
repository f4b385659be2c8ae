# SPDX-License-Identifier: MPL-2.0
"""The rules, the dashboards and the documented metrics, as tests read them: YAML and Markdown by their fixed forms."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOP = Path(__file__).parents[1]
RULES = TOP / "packaging/prometheus/kea-agent.rules.yml"
RULE_TESTS = sorted((TOP / "packaging/prometheus/tests").glob("*.yml"))
DASHBOARDS = TOP / "packaging/grafana"
PAGE = TOP / "docs/usage/metrics.md"
RUNBOOKS = TOP / "docs/usage/runbooks.md"

_RULE = re.compile(r"^      - (alert|record): (\S+)\n(.*?)(?=^      - |^  - |\Z)", re.MULTILINE | re.DOTALL)
_EXPR = re.compile(r"^        expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """`name` of an alert or of a recorded series; `text` is all of it."""

    kind: str
    name: str
    expr: str
    text: str

    def field(self, key: str) -> str:
        """A label or an annotation."""
        found = re.search(rf'^          {key}: "?(.*?)"?$', self.text, re.MULTILINE)
        return found[1] if found else ""


@dataclass(frozen=True)
class Query:
    """A query of a panel, as it stands in the dashboard."""

    dashboard: str
    panel: str
    expr: str

    def filled(self, window: str = "1m", **variables: str) -> str:
        """With the variables chosen, `.*` (All) where nothing is given."""
        expr = self.expr.replace("$__rate_interval", window)
        return re.sub(r"\$(\w+)", lambda name: variables.get(name[1], ".*"), expr)


def rules(kind: str) -> list[Rule]:
    """All rules of a kind, in their order."""
    return [_rule(*found) for found in _RULE.findall(RULES.read_text()) if found[0] == kind]


def _rule(kind: str, name: str, text: str) -> Rule:
    found = _EXPR.search(text)
    assert found, f"{name} has no expr"
    return Rule(kind, name, found[1] or found[2], text)


def queries() -> list[Query]:
    """Every query of every dashboard."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}
    return [
        Query(name, panel["title"], target["expr"])
        for name, dashboard in found.items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


@cache
def documented() -> dict[str, set[str]]:
    """The families of docs/usage/metrics.md with their labels; a histogram by the names of its series."""
    rows = re.findall(r"^\| `(kea_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    found = {}
    for name, kind, labels in rows:
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + suffix] = {*re.findall(r"`(\w+)`", labels), "job", "instance", "le", "subnet_name"}
    return found


def used(expr: str) -> set[str]:
    """The metrics in an expression, those of recording rules too."""
    return set(re.findall(r"\b(?:\w+:)?kea_\w+(?::\w+)*", re.sub(r'"[^"]*"', "", expr)))


def used_labels(expr: str) -> set[str]:
    """The labels that are matched or grouped by."""
    groups = re.findall(r"\b(?:by|on|without|ignoring|group_left) \(([^)]*)\)", expr)
    return {*re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expr), *(w for g in groups for w in re.findall(r"\w+", g))}
