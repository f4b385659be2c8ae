# SPDX-License-Identifier: MPL-2.0
"""Dashboards as data, and as the JSON that Grafana (9 and later) imports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


@dataclass(frozen=True)
class Query:
    """What is asked, and how its series are called."""

    expr: str
    legend: str = "{{instance}} {{daemon}}"


@dataclass(frozen=True)
class Panel:
    """`kind` is Grafana's name of the panel; `meaning` stands behind the i; `states` colours 0 red and 1 green."""

    title: str
    meaning: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    states: bool = False
    stack: bool = False
    least: float | None = 0
    most: float | None = None


@dataclass(frozen=True)
class Row:
    """Panels under a heading, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top: the values of `label` in what `of` selects."""

    name: str
    of: str
    label: str
    multiple: bool = True


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; `uid` stays, so that links to it do."""

    uid: str
    title: str
    meaning: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]


def text(dashboard: Dashboard) -> str:
    """The file to import."""
    return json.dumps(_document(dashboard), indent=2, ensure_ascii=False) + "\n"


def _document(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": f"{dashboard.meaning} SPDX-License-Identifier: MPL-2.0",
        "tags": ["kea"],
        "schemaVersion": 37,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Kea", "tags": ["kea"], "asDropdown": True, "keepTime": True,
                   "includeVars": True, "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}],
        "annotations": {"list": []},
        "templating": {"list": [_source(), *map(_variable, dashboard.variables)]},
        "panels": list(_panels(dashboard.rows)),
    }  # fmt: skip


def _source() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "hide": 0}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.of}, {variable.label})"
    every = {"includeAll": True, "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.name,
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "A"},
        "refresh": 2,
        "sort": 3,
        "multi": variable.multiple,
        **(every if variable.multiple else {"includeAll": False}),
    }


def _panels(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in rows:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}}  # fmt: skip
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield _panel(panel, number, left, top)
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": SOURCE,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "targets": [_target(panel, query, letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    now = panel.kind in {"stat", "table", "bargauge"}
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": now,
        "range": not now,
        **({"format": "table"} if panel.kind == "table" else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": panel.unit}
    found |= {key: bound for key, bound in (("min", panel.least), ("max", panel.most)) if bound is not None}
    if panel.states:
        found["mappings"] = [{"type": "value", "options": {"0": {"text": "no", "color": "red", "index": 0},
                                                           "1": {"text": "yes", "color": "green", "index": 1}}}]  # fmt: skip
        found["color"] = {"mode": "thresholds"}
        found["thresholds"] = {"mode": "absolute", "steps": [{"color": "red"}, {"color": "green", "value": 1}]}
    if panel.kind == "timeseries":
        found["custom"] = {"fillOpacity": 20 if panel.stack else 0, "showPoints": "never",
                           "stacking": {"mode": "normal" if panel.stack else "none"}}  # fmt: skip
    return found


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if panel.kind == "stat":
        return {"textMode": "value_and_name", "colorMode": "background", "graphMode": "none", "orientation": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "values": False}}  # fmt: skip
    if panel.kind == "bargauge":
        return {"orientation": "horizontal", "displayMode": "gradient",
                "reduceOptions": {"calcs": ["lastNotNull"], "values": False}}  # fmt: skip
    return {}
