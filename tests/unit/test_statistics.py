# SPDX-License-Identifier: MPL-2.0
"""From Kea's names to families: the table, the reading of an answer while it comes, and the text that it becomes."""

from __future__ import annotations

import json
import re

import pytest

from kea_agent.errors import ControlError
from kea_agent.metrics import subnets
from kea_agent.metrics.exposition import Writer, document, escape
from kea_agent.metrics.scan import Scanner, Statistic
from kea_agent.metrics.statistics import ENTRIES, FAMILIES, Scope

SUBNETS = {"7": 'subnet="10.0.0.0/24",subnet_id="7"'}
STAMP = "2026-11-21 09:03:00.221959"


def written(statistics: dict[str, str], daemon: str = "dhcp4") -> list[str]:
    """The samples that statistics become."""
    writer = Writer(daemon, SUBNETS)
    writer.write(statistics.items())
    return [line for line in document([writer.end()]).decode().splitlines() if not line.startswith("#")]


def scanned(answer: bytes, size: int = 1 << 16) -> list[Statistic]:
    """What a scanner makes of an answer that comes in pieces of that size."""
    scanner, found = Scanner(), []
    for start in range(0, len(answer), size):
        found += scanner.feed(answer[start : start + size])
    return found + scanner.finish()


def kea_style(arguments: str) -> bytes:
    """As Kea spaces it."""
    return f'{{ "arguments": {{ {arguments} }}, "result": 0 }}'.encode()


# -- the table


def test_names_are_what_prometheus_expects() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"kea_[a-z_]+", name) for name in names)
    for family in FAMILIES:
        assert family.kind == ("counter" if family.name.endswith("_total") else "gauge")
        assert not {"type", "service", "instance", "job"} & set(family.labels)
        assert family.help.endswith(".")


def test_a_whole_is_never_in_the_family_of_its_parts() -> None:
    of = {name: entry.family.name for (_, name), entry in ENTRIES.items()}
    for whole, part in (
        ("pkt4-received", "pkt4-discover-received"),
        ("pkt4-sent", "pkt4-offer-sent"),
        ("pkt4-receive-drop", "pkt4-parse-failed"),
        ("update-sent", "update-signed"),
    ):
        assert of[whole] != of[part]
    # Kea counts each failure in one of these two, and in one of the other two.
    assert of["v4-allocation-fail"] == of["v4-allocation-fail-no-pools"]
    assert of["v4-allocation-fail-subnet"] == of["v4-allocation-fail-shared-network"]
    assert len({of["v4-allocation-fail"], of["v4-allocation-fail-subnet"], of["v4-allocation-fail-classes"]}) == 3


def test_the_scopes_have_families_of_their_own() -> None:
    for family in FAMILIES:
        assert {scope for scope in Scope for key, entry in ENTRIES.items() if entry.family is family and key[0] is scope} == {family.scope}  # fmt: skip


@pytest.mark.parametrize("prefix", ["pkt4", "pkt6"])
@pytest.mark.parametrize(
    "reason",
    ["parse-failed", "queue-full", "duplicate", "rfc-violation", "admin-filtered", "not-for-us",
     "processing-failed", "limit-exceeded", "service-disabled"],
)  # fmt: skip
def test_every_reason_for_a_drop_is_known(prefix: str, reason: str) -> None:
    expected = [f'kea_packets_dropped_by_reason_total{{daemon="dhcp4",reason="{reason}"}} 3']
    assert written({f"{prefix}-{reason}": "3"}) == expected


# -- the text


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pkt4-received", 'kea_packets_received_total{daemon="dhcp4"} 5'),
        ("pkt4-nak-sent", 'kea_messages_sent_total{daemon="dhcp4",message="nak"} 5'),
        ("assigned-addresses", 'kea_assigned_addresses{daemon="dhcp4"} 5'),
        (
            "subnet[7].assigned-addresses",
            'kea_subnet_assigned_addresses{daemon="dhcp4",subnet="10.0.0.0/24",subnet_id="7"} 5',
        ),
        (
            "subnet[7].v4-allocation-fail-no-pools",
            'kea_subnet_allocation_failures_total{daemon="dhcp4",cause="no-pools",subnet="10.0.0.0/24",subnet_id="7"} 5',
        ),
        (
            "subnet[7].pool[2].total-addresses",
            'kea_pool_addresses{daemon="dhcp4",subnet="10.0.0.0/24",subnet_id="7",pool_id="2"} 5',
        ),
        (
            "subnet[7].pd-pool[0].assigned-pds",
            'kea_pd_pool_assigned_prefixes{daemon="dhcp4",subnet="10.0.0.0/24",subnet_id="7",pool_id="0"} 5',
        ),
        ("key[key.example.com.].update-sent", 'kea_ddns_key_updates_sent_total{daemon="dhcp4",key="key.example.com."} 5'),
        ('key[a"b\\c].update-sent', 'kea_ddns_key_updates_sent_total{daemon="dhcp4",key="a\\"b\\\\c"} 5'),
        ("key[a\nb].update-sent", 'kea_ddns_key_updates_sent_total{daemon="dhcp4",key="a\\nb"} 5'),
        ("subnet[8].total-addresses", 'kea_subnet_addresses{daemon="dhcp4",subnet_id="8"} 5'),
    ],
)  # fmt: skip
def test_where_a_statistic_goes(name: str, line: str) -> None:
    assert written({name: "5"}) == [line]


@pytest.mark.parametrize(
    "name",
    ["news", "pkt4-", "", "subnet[7].news", "subnet[7]", "subnet[x].total-addresses", "subnet[7].pool[0].total-pds",
     "subnet[7].door[0].total-addresses", 'a"b\nc\\', "].].]", "key[].", "].pkt4-received", "subnet[7].total-addresses "],
)  # fmt: skip
def test_what_nobody_knows_is_counted_and_told_with_its_name(name: str) -> None:
    writer = Writer("dhcp4", SUBNETS)
    writer.write([(name, "5")])
    draft = writer.end()
    assert (document([draft]), draft.unknown_count, draft.unknown) == (b"", 1, {name: 5.0})


def test_what_nobody_knows_is_bounded() -> None:
    writer = Writer("dhcp4", SUBNETS)
    writer.write((f"news-{number}", "1") for number in range(1000))
    draft = writer.end()
    assert (len(draft.unknown), draft.unknown_count) == (200, 1000)


def test_a_known_name_with_a_value_that_is_no_number_is_not_known_either() -> None:
    writer = Writer("dhcp4", SUBNETS)
    writer.write([("pkt4-received", "")])
    draft = writer.end()
    assert (document([draft]), draft.unknown_count, draft.unknown) == (b"", 1, {})


def test_families_of_two_daemons_are_one_block_each() -> None:
    drafts = []
    for daemon in ("dhcp4", "dhcp6"):
        writer = Writer(daemon, SUBNETS)
        writer.write([("reclaimed-leases", "1"), ("declined-addresses", "2")])
        drafts.append(writer.end())
    text = document(drafts).decode()
    assert text.count("# TYPE") == 2
    assert re.findall(r"^\w+\{daemon=\"(\w+)\"", text, re.MULTILINE) == ["dhcp4", "dhcp6", "dhcp4", "dhcp6"]


def test_a_draft_that_was_given_up_leaves_nothing() -> None:
    writer = Writer("dhcp4", SUBNETS)
    writer.write([("reclaimed-leases", "1")])
    writer.begin()
    assert document([writer.end()]) == b""


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("18446744073709551616", "18446744073709551616"),
        ("-1", "18446744073709551615"),  # 2.2.0 of a /64
        ("-9223372036854775808", "9223372036854775808"),  # 2.2.0 of a /65
        ("340282366920938463463374607431768211456", "340282366920938463463374607431768211456"),
    ],
)
def test_totals_beyond_63_bits(told: str, line: str) -> None:
    assert written({"subnet[7].total-nas": told}, "dhcp6")[0].split()[1] == line
    assert written({"subnet[7].pd-pool[0].total-pds": told}, "dhcp6")[0].split()[1] == line


def test_other_values_below_zero_are_kea_s_own() -> None:
    assert written({"subnet[7].declined-addresses": "-1"})[0].endswith(" -1")


# -- reading an answer while it comes

ANSWER = kea_style(
    f'"declined-addresses": [ [ 0, "{STAMP}" ], [ 3, "{STAMP}" ] ], "name \\"with\\" quotes": [ [ 4, "{STAMP}" ] ], '
    f'"big": [ [ 18446744073709551616, "{STAMP}" ] ], "float": [ [ 1.5, "{STAMP}" ] ], '
    f'"word": [ [ "a ] b", "{STAMP}" ] ], "span": [ [ "00:00:01.5", "{STAMP}" ] ], "minus": [ [ -1, "{STAMP}" ] ], '
    f'"none": [ ], "map": {{ "a": [ 1 ] }}, "last": [ [ 7, "{STAMP}" ] ]'
)
FOUND = [
    ("declined-addresses", "0"), ('name "with" quotes', "4"), ("big", "18446744073709551616"), ("float", "1.5"),
    ("word", ""), ("span", ""), ("minus", "-1"), ("none", ""), ("map", ""), ("last", "7"),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 7, 50, 100, 1 << 20])
def test_an_answer_in_pieces(size: int) -> None:
    assert scanned(ANSWER, size) == FOUND


@pytest.mark.parametrize("size", [1, 13, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_any_other_spelling_of_the_same_json(size: int, indent: int | None) -> None:
    document_ = json.loads(ANSWER)
    for answer in (document_, [document_], dict(reversed(document_.items()))):
        assert scanned(json.dumps(answer, indent=indent).encode(), size) == FOUND


def test_no_statistics_at_all() -> None:
    assert scanned(b'{ "arguments": {  }, "result": 0 }') == []
    assert scanned(b'{ "result": 0 }') == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        ANSWER[:-1],
        ANSWER[: len(ANSWER) // 2],
        b"<html><body>502</body></html>",
        b"\x00\xff\xfe" * 1000,
        b'{ "result": 1, "text": "no" }',
        b'{ "result": 2, "text": "\'statistic-get-all\' command not supported." }',
        ANSWER.replace(b'"result": 0', b'"result": 1'),
        ANSWER + b"x",
        b"[" * 100_000,
        b'{ "arguments": { ' + b"[" * 100_000,
        b"[1, 2]",
        b'"words"',
    ],
)
def test_what_is_not_an_answer_is_an_error(answer: bytes) -> None:
    with pytest.raises(ControlError):
        scanned(answer)


@pytest.mark.parametrize("unit", [b" ", b"<p>", b'"', b"[[", b'{ "arguments": { "a', b"1,", b"\\"])
def test_garbage_without_end_ends_early(unit: bytes) -> None:
    scanner = Scanner()

    def feed() -> None:
        for _ in range(400):
            scanner.feed(unit * (65536 // len(unit)))

    with pytest.raises(ControlError):
        feed()


def test_letters_that_are_cut_in_two() -> None:
    answer = kea_style(f'"ключ": [ [ 1, "{STAMP}" ] ]')
    assert scanned(answer, 1) == [("ключ", "1")]


# -- labels of subnets

CONFIG = {
    "Dhcp4": {
        "subnet4": [
            {"id": 1, "subnet": "10.1.0.0/16", "user-context": {"name": "Büro \"1\"", "floor": 3, "list": [1]}},
            {"subnet": "10.9.0.0/16"},
            "nonsense",
        ],
        "shared-networks": [{"name": "campus", "subnet4": [{"id": 2, "subnet": "10.2.0.0/16"}]}, 5],
    }
}  # fmt: skip


def test_labels_out_of_a_configuration() -> None:
    assert subnets.labels("dhcp4", CONFIG, ["name"]) == {
        "1": 'subnet="10.1.0.0/16",subnet_id="1",subnet_name="Büro \\"1\\""',
        "2": 'shared_network="campus",subnet="10.2.0.0/16",subnet_id="2"',
    }


def test_only_the_fields_that_are_asked_for() -> None:
    found = subnets.labels("dhcp4", CONFIG, ["floor", "list", "absent"])
    assert found["1"] == 'subnet="10.1.0.0/16",subnet_floor="3",subnet_id="1"'


def test_a_field_cannot_take_the_place_of_a_label() -> None:
    config = {"Dhcp6": {"subnet6": [{"id": 1, "subnet": "2001:db8::/64", "user-context": {"id": "x", "a-b": True}}]}}
    assert subnets.labels("dhcp6", config, ["id", "a-b"]) == {
        "1": 'subnet="2001:db8::/64",subnet_a_b="true",subnet_id="1"'
    }


@pytest.mark.parametrize("config", [{}, {"Dhcp4": None}, {"Dhcp4": {"subnet4": 5, "shared-networks": {}}}])
def test_no_labels_where_there_is_no_configuration(config: dict[str, object]) -> None:
    assert subnets.labels("dhcp4", config, ["name"]) == {}
    assert subnets.labels("ddns", config, ["name"]) == {}


def test_escaping() -> None:
    assert escape('a\\n"\n') == 'a\\\\n\\"\\n'
