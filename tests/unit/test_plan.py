# SPDX-License-Identifier: MPL-2.0
"""Which commands the statistics are asked for with, of a real socket that answers as Kea does."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeKea, Manner, saying, silent, truncated

from kea_agent.errors import ControlError
from kea_agent.metrics import plan as plans
from kea_agent.metrics.exposition import Writer, document
from kea_agent.metrics.line import Line
from kea_agent.metrics.plan import Extent, Plan
from kea_agent.metrics.subnets import has_hook

FOUR = ["subnet-id", "total-addresses", "cumulative-assigned-addresses", "assigned-addresses", "declined-addresses"]
MANY = 1_000_000


@pytest.fixture
def kea(tmp_path: Path) -> Iterator[FakeKea]:
    with FakeKea.unix(tmp_path / "kea4") as server:
        server.statistics = {"pkt4-received": 9, "reclaimed-leases": 3, "subnet[7].reclaimed-leases": 2}
        server.rows = [FOUR, [7, 256, 30, 20, 4]]
        yield server


def read(plan: Plan, kea: FakeKea, timeout: float = 2.0) -> list[str]:
    """What is told, a line a sample, without the daemon."""
    draft = plan.read(Line(kea.channel, timeout), Writer(plan.daemon, {}))
    text = document([draft]).decode().replace(f'{{daemon="{plan.daemon}"', "{").replace("{,", "{")
    return [line for line in text.splitlines() if not line.startswith("#")]


OF_SERVER = ["kea_packets_received_total{} 9", "kea_reclaimed_leases_total{} 3"]


def of_subnet(assigned: int) -> list[str]:
    return [
        'kea_subnet_addresses{subnet_id="7"} 256',
        f'kea_subnet_assigned_addresses{{subnet_id="7"}} {assigned}',
        'kea_subnet_address_assignments_total{subnet_id="7"} 30',
        'kea_subnet_declined_addresses{subnet_id="7"} 4',
    ]


def test_as_long_as_there_is_time_one_command_tells_everything(kea: FakeKea) -> None:
    plan = Plan("dhcp4", 1000, has_rows=True)
    assert read(plan, kea) == [*OF_SERVER, 'kea_subnet_reclaimed_leases_total{subnet_id="7"} 2']
    assert (plan.extent, kea.asked) == (Extent.ALL, ["statistic-get-all"])


def test_too_many_subnets_for_that(kea: FakeKea) -> None:
    kea.version = (3, 1, 2)
    plan = Plan("dhcp4", MANY, has_rows=True)
    for _ in range(2):
        assert read(plan, kea) == [*OF_SERVER, *of_subnet(20)]
    assert plan.extent is Extent.LEASES
    assert kea.asked == ["statistic-global-get-all", "stat-lease4-get"] * 2


def test_an_old_kea_is_asked_for_each_and_does_not_count_declined_leases(kea: FakeKea) -> None:
    plan = Plan("dhcp4", MANY, has_rows=True)
    assert read(plan, kea) == [*OF_SERVER, *of_subnet(24)]
    assert len(kea.asked) > 40
    assert {command for command in kea.asked if command != "statistic-get"} == {
        "statistic-global-get-all", "stat-lease4-get",
    }  # fmt: skip
    kea.asked.clear()
    assert read(plan, kea) == [*OF_SERVER, *of_subnet(24)]
    assert kea.asked == ["statistic-get", "statistic-get", "stat-lease4-get"]


def test_kea_2_2_has_a_name_of_its_own_and_totals_of_64_bits(kea: FakeKea) -> None:
    kea.rows = [
        ["subnet-id", "total-nas", "cumulative-assigned-nas", "assigned-nas", "declined-nas",
         "total-pds", "cumulative-assigned-pds", "assigned-pds"],
        [7, -1, 5, 3, 2, 65536, 1, 1],
    ]  # fmt: skip
    assert read(Plan("dhcp6", MANY, has_rows=True), kea)[-7:] == [
        f'kea_subnet_addresses{{subnet_id="7"}} {2**64 - 1}',
        'kea_subnet_assigned_addresses{subnet_id="7"} 5',
        'kea_subnet_address_assignments_total{subnet_id="7"} 5',
        'kea_subnet_declined_addresses{subnet_id="7"} 2',
        'kea_subnet_prefixes{subnet_id="7"} 65536',
        'kea_subnet_assigned_prefixes{subnet_id="7"} 1',
        'kea_subnet_prefix_assignments_total{subnet_id="7"} 1',
    ]


def test_without_the_hook_only_the_server_s_own(kea: FakeKea, caplog: pytest.LogCaptureFixture) -> None:
    plan = Plan("dhcp4", MANY)
    for _ in range(3):
        assert read(plan, kea) == OF_SERVER
    assert plan.extent is Extent.SERVER
    assert "stat-lease4-get" not in kea.asked
    (told,) = caplog.messages
    assert "load libdhcp_stat_cmds.so" in told
    assert "1000000 subnets" in told


def test_without_the_hook_all_of_the_time_may_be_used(kea: FakeKea) -> None:
    plan = Plan("dhcp4", 30_000)
    assert read(plan, kea)
    assert plan.extent is Extent.ALL
    assert read(hooked := Plan("dhcp4", 30_000, has_rows=True), kea)
    assert hooked.extent is Extent.LEASES


def test_what_was_measured_counts_more_than_what_was_guessed(kea: FakeKea, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kea.on_ask = lambda command: time.sleep(1.2) if command == "statistic-get-all" else None
    plan = Plan("dhcp4", 1, has_rows=True)
    extents = []
    for timeout in (2.0, 2.0, 2.0, 20.0):
        read(plan, kea, timeout)
        extents.append(plan.extent)
    assert extents == [Extent.ALL, Extent.LEASES, Extent.LEASES, Extent.ALL]
    assert len(caplog.messages) == 2


def begins(connection: socket.socket, answer: bytes) -> None:
    """Most of it, and then nothing more."""
    connection.sendall(answer[:-100])
    silent(connection, answer)


@pytest.mark.parametrize(("statistics", "then"), [(2_000, Extent.LEASES), (100, Extent.ALL)])
def test_an_answer_that_was_being_told_when_time_was_up_was_too_long(
    kea: FakeKea, statistics: int, then: Extent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_MANY", 1000)
    kea.statistics |= {f"subnet[{number}].total-addresses": 5 for number in range(statistics)}
    kea.manners["statistic-get-all"] = begins
    plan = Plan("dhcp4", 1, has_rows=True)
    with pytest.raises(ControlError, match="no answer"):
        read(plan, kea, 2.0)
    kea.manners.clear()
    assert read(plan, kea, 2.0)
    assert plan.extent is then
    assert read(plan, kea, 20.0)
    assert plan.extent is Extent.ALL, "there is more time now"


def test_a_server_without_any_subnet_has_no_rows(kea: FakeKea) -> None:
    kea.manners["stat-lease4-get"] = saying(b'{ "result": 3, "text": "no matching data" }')
    assert read(Plan("dhcp4", MANY, has_rows=True), kea) == OF_SERVER


BAD: dict[str, Manner] = {
    "cut": truncated,
    "refused": saying(b'{ "result": 1, "text": "no" }'),
    "unsupported": saying(b'{ "result": 2, "text": "not supported" }'),
    "empty": saying(b'{ "result": 0, "arguments": { } }'),
    "no table": saying(b'{ "result": 0, "arguments": { "result-set": [ 1 ] } }'),
    "no rows": saying(b'{ "result": 0, "arguments": { "result-set": { "columns": [ "subnet-id" ], "rows": 5 } } }'),
    "no columns": saying(b'{ "result": 0, "arguments": { "result-set": { "columns": null, "rows": [ [ 1 ] ] } } }'),
}


@pytest.mark.parametrize("manner", BAD.values(), ids=BAD)
def test_rows_that_are_none(kea: FakeKea, manner: Manner) -> None:
    kea.manners["stat-lease4-get"] = manner
    with pytest.raises(ControlError, match="stat-lease4-get"):
        read(Plan("dhcp4", MANY, has_rows=True), kea)


@pytest.mark.parametrize(
    "row", [5, None, "x", [], ["x"], [None], [7, "x"], [7, None, True], [[7], {}], list(range(99))]
)
def test_a_row_that_is_none_does_not_hide_the_others(kea: FakeKea, row: Any) -> None:
    kea.rows.insert(1, row)
    assert read(Plan("dhcp4", MANY, has_rows=True), kea)[-1] == 'kea_subnet_declined_addresses{subnet_id="7"} 4'


@pytest.mark.parametrize(
    ("configuration", "is_there"),
    [
        ({"Dhcp4": {"hooks-libraries": [{"library": "/usr/lib/kea/hooks/libdhcp_stat_cmds.so"}]}}, True),
        ({"Dhcp4": {"hooks-libraries": [{"library": "libdhcp_stat_cmds.so"}]}}, True),
        ({"Dhcp4": {"hooks-libraries": [{"library": "/usr/lib/kea/hooks/libdhcp_lease_cmds.so"}]}}, False),
        ({"Dhcp4": {"hooks-libraries": [{}, 5, {"library": None}]}}, False),
        ({"Dhcp4": {"hooks-libraries": 5}}, False),
        ({"Dhcp4": {}}, False),
        ({"Dhcp6": {"hooks-libraries": [{"library": "libdhcp_stat_cmds.so"}]}}, False),
        ({}, False),
    ],
)
def test_whether_the_hook_is_loaded(configuration: dict[str, Any], is_there: bool) -> None:
    assert has_hook("dhcp4", configuration, "stat_cmds") is is_there
