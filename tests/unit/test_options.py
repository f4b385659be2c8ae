# SPDX-License-Identifier: MPL-2.0
"""The standard options as a table, and the rules that ask it; with Kea in the lab's images, what they say beside what it says."""

from __future__ import annotations

import json
import os
from typing import Any

import keaoptions
import pytest
from kearoots import roots

from kea_agent import lint
from kea_agent.daemons import BY_NAME
from kea_agent.rules import options, parse_version
from kea_agent.rules.base import Severity

DATA = [
    "1",
    "-1",
    "256",
    "65536",
    "4294967296",
    "ff",
    "0x10",
    "abc",
    "TRUE",
    "1 2",
    "1,x",
    "192.0.2.1",
    "192.0.2.1,x",
    "x,1",
]


def said(option: dict[str, Any], daemon: str = "dhcp4", version: str | None = None, **more: Any) -> list[str]:
    tree = {BY_NAME[daemon].root_key: {"option-data": [option], **more}}
    found = lint.problems_of(daemon, tree, lint.Setup(parse_version(version) if version else None))
    return [f"{rule.id}: {problem.message}" for rule, problem in found if rule.id.startswith("option-")]


def test_the_table_is_what_keas_source_says() -> None:
    source = os.environ.get("KEA_AGENT_KEA_SOURCE")
    if not source:
        pytest.skip("did not run: $KEA_AGENT_KEA_SOURCE names no clone of Kea's repository")
    path = os.path.join(os.path.dirname(options.__file__), "options.table")
    with open(path, encoding="ascii") as file:
        assert file.read() == keaoptions.table(source)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"name": "router"}, 'option-unknown: there is no option "router": did you mean "routers"?'),
        ({"name": "dns-servers"}, 'option-unknown: there is no option "dns-servers" in DHCPv4: it is one of DHCPv6'),
        ({"data": "x"}, "option-unknown: the option has neither a name nor a code"),
        ({"name": "ntp-servers", "data": "pool.ntp.org"}, 'option-address-bad: "pool.ntp.org" in ntp-servers is no address'),
        ({"code": 26, "data": "1500 bytes"}, 'option-number-bad: "1500 bytes" in interface-mtu is not between 0 and 65535'),
        ({"name": "ip-forwarding", "data": "on"}, 'option-number-bad: "on" in ip-forwarding is not true or false'),
    ],
)  # fmt: skip
def test_what_is_wrong(option: dict[str, Any], expected: str) -> None:
    assert said(option) == [expected]


@pytest.mark.parametrize(
    ("option", "more"),
    [
        ({"name": "asset", "data": "x"}, {"option-def": [{"name": "asset", "code": 222, "type": "string"}]}),
        ({"name": "asset", "data": "x"}, {"client-classes": [{"name": "c", "option-def": [{"name": "asset", "code": 2}]}]}),
        ({"name": "asset", "data": "x"}, {"config-control": {"config-databases": [{"type": "mysql"}]}}),
        ({"name": "anything", "space": "vendor-4491", "data": "x"}, {}),
        ({"name": "routers", "data": "c0000201", "csv-format": False}, {}),
        ({"name": "interface-mtu", "data": "1500, x"}, {}),
        ({"name": "boot-size", "data": "x"}, {"option-def": [{"name": "boot-size", "code": 13, "type": "string"}]}),
        ({"code": 230, "data": "00"}, {}),
    ],
)  # fmt: skip
def test_what_is_right(option: dict[str, Any], more: dict[str, Any]) -> None:
    assert said(option, **more) == []


@pytest.mark.parametrize(
    ("daemon", "name"),
    [
        ("dhcp4", "default-ip-ttl"), ("dhcp4", "time-offset"), ("dhcp4", "path-mtu-plateau-table"), ("dhcp4", "ip-forwarding"),
        ("dhcp4", "subnet-mask"), ("dhcp4", "routers"), ("dhcp6", "preference"), ("dhcp6", "dns-servers"), ("dhcp6", "unicast"),
    ],
)  # fmt: skip
def test_kea_says_the_same(daemon: str, name: str) -> None:
    if not roots():
        pytest.skip("did not run: no Kea to compare with (no image of the lab, or not root)")
    kea = roots()[-1]
    root = BY_NAME[daemon].root_key
    for data in DATA:
        with kea.directory() as directory:
            file = directory / "kea.conf"
            file.write_text(json.dumps({root: {"option-data": [{"name": name, "data": data}]}}))
            is_taken = kea.ask(BY_NAME[daemon].binary, "-t", file).accepted
        assert (said({"name": name, "data": data}, daemon, kea.version) == []) == is_taken, data


@pytest.mark.parametrize(("version", "expected"), [("3.3", {None}), ("3.9", {Severity.WARNING})])
def test_a_newer_kea_may_have_new_options(version: str, expected: set[Severity | None]) -> None:
    tree = {"Dhcp4": {"option-data": [{"name": "of-tomorrow"}]}}
    found = lint.problems_of("dhcp4", tree, lint.Setup(parse_version(version)))
    assert {problem.severity for rule, problem in found if rule.id == "option-unknown"} == expected
