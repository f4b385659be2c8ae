# SPDX-License-Identifier: MPL-2.0
"""Kea's grammar as a table, and the rules that ask it."""

from __future__ import annotations

import os
from typing import Any

import keagrammar
import pytest

from kea_agent import lint
from kea_agent.daemons import BY_NAME, DAEMONS
from kea_agent.rules import grammar, parse_version

RULES = ("keyword-unknown", "keyword-missing", "value-type", "value-unknown")


def said(tree: dict[str, Any], daemon: str = "dhcp4", version: str | None = None) -> list[str]:
    setup = lint.Setup(parse_version(version) if version else None)
    found = lint.problems_of(daemon, {BY_NAME[daemon].root_key: tree}, setup)
    return [f"{rule.id}: {problem.message}" for rule, problem in found if rule.id in RULES]


def test_the_table_is_what_keas_source_says() -> None:
    source = os.environ.get("KEA_AGENT_KEA_SOURCE")
    if not source:
        pytest.skip("did not run: $KEA_AGENT_KEA_SOURCE names no clone of Kea's repository")
    path = os.path.join(os.path.dirname(grammar.__file__), "grammar.table")
    with open(path, encoding="ascii") as file:
        assert file.read() == keagrammar.table(source)


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda daemon: daemon.name)
@pytest.mark.parametrize("version", [None, *grammar.RELEASES, (2, 3), (3, 1), (9, 9)])
def test_every_map_that_is_named_is_there(daemon: Any, version: grammar.Release | None) -> None:
    shapes = grammar.shapes(daemon.name, version)
    inside = [want.item or want for shape in shapes.values() for want in shape.keys.values()]
    assert {want.map for want in inside if want.map} | {grammar.root(daemon.name)} == set(shapes)
    assert all(shape.needs <= {*shape.keys, "*"} for shape in shapes.values())


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"valid-lifetime": "1"}, 'value-type: "valid-lifetime" has to be an integer, and is a string'),
        ({"valid-lifetime": True}, 'value-type: "valid-lifetime" has to be an integer, and is true or false'),
        ({"valid-lifetime": 1.0}, 'value-type: "valid-lifetime" has to be an integer, and is a number with a point'),
        ({"t1-percent": 1}, 'value-type: "t1-percent" has to be a number with a point, and is an integer'),
        ({"server-tag": None}, 'value-type: "server-tag" has to be a string, and is null'),
        ({"subnet4": {}}, 'value-type: "subnet4" has to be a list, and is a map'),
        ({"subnet4": [[]]}, 'value-type: an entry of "subnet4" has to be a map, and is a list'),
        (
            {"interfaces-config": {"interfaces": ["a", 1]}},
            'value-type: an entry of "interfaces" has to be a string, and is an integer',
        ),
        (
            {"interfaces-config": {"outbound-interface": "eth0"}},
            'value-unknown: "outbound-interface" has to be "same-as-inbound", "use-routing", and is "eth0"',
        ),
        ({"subnet4": [{"id": 1}]}, 'keyword-missing: an entry of "subnet4" has no "subnet"'),
        ({"loggers": []}, 'keyword-missing: "loggers" is empty, and must not be'),
        ({"sanity-checks": {}}, 'keyword-missing: "sanity-checks" is empty, and must not be'),
        ({}, 'keyword-missing: "Dhcp4" is empty, and must not be'),
        ({"option-datum": []}, 'keyword-unknown: "option-datum" is no keyword of Kea: did you mean "option-data"?'),
        ({"lease-time": 1}, 'keyword-unknown: "lease-time" is no keyword of Kea: did you mean "valid-lifetime"?'),
        (
            {"subnet4": [{"subnet": "x", "pool": "y"}]},
            'keyword-unknown: "pool" is no keyword of Kea here: did you mean "pools"?',
        ),
        ({"hw-address": "x"}, 'keyword-unknown: "hw-address" is no keyword of Kea here, but in "reservations"'),
        ({"zzz": 1}, 'keyword-unknown: "zzz" is no keyword of Kea'),
    ],
)
def test_what_is_wrong(tree: dict[str, Any], expected: str) -> None:
    assert said(tree) == [expected]


@pytest.mark.parametrize(
    "tree",
    [
        {"interfaces-config": {"dhcp-socket-type": "UDP"}},
        {"dhcp-queue-control": {"enable-queue": True, "anything": {"goes": [None]}}},
        {"hooks-libraries": [{"library": "x", "parameters": {"valid-lifetime": "1"}}]},
        {"subnet4": [], "user-context": {"pool": 1}, "option-data": [{}]},
    ],
)
def test_what_is_right(tree: dict[str, Any]) -> None:
    assert said(tree) == []


def test_each_fault_is_told_once_and_nothing_inside_of_it() -> None:
    tree = {"subnet4": {"id": "x"}, "relay": {"nonsense": 1}, "reservations": [{"mac": 1}, {"ip-address": 1}]}
    assert [each.partition(":")[0] for each in said(tree)] == [
        "keyword-unknown", "keyword-unknown", "value-type", "value-type",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "version", "is_right"),
    [
        ({"client-classes": []}, "2.6.3", False),
        ({"client-classes": []}, "3.3.0", True),
        ({"client-classes": []}, None, True),
        ({"lease-database": {"type": "sqlite"}}, "2.6.3", False),
        ({"lease-database": {"type": "sqlite"}}, "3.0.4", True),
        ({"subnet4": [{"subnet": "x", "client-classes": ["a"]}]}, "2.6.3", False),
        ({"subnet4": [{"subnet": "x", "client-classes": ["a"]}]}, "2.7.0", True),
        ({"lease-database": {"type": "mysql", "ssl-mode": "require"}}, "3.0.4", False),
        ({"lease-database": {"type": "mysql", "ssl-mode": "require"}}, "3.2.0", True),
    ],
)
def test_releases_differ(tree: dict[str, Any], version: str | None, is_right: bool) -> None:
    assert (said(tree, version=version) == []) == is_right
