# SPDX-License-Identifier: MPL-2.0
"""Every rule by the examples of its own page, so that the page is true; and what the examples do not show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rulespage import Example, Section, sections

from kea_agent import keaconf, lint
from kea_agent.daemons import BY_NAME
from kea_agent.rules import RULES, TOPICS, Severity, parse_version

SECTIONS = sections()


def findings(path: Path, example: Example, **setup: Any) -> list[lint.Finding]:
    path.write_text(example.text)
    document = keaconf.read(str(path), example.daemon.root_key)
    return lint.run(example.daemon.name, document, lint.Setup(version=example.version, **setup))


def ids(tree: dict[str, Any], daemon: str = "dhcp4", **setup: Any) -> list[str]:
    """The rules that a tree breaks, without those that small trees cannot help breaking."""
    usual = {"interfaces-none", "control-socket-missing", "subnet-empty"}
    version = parse_version(setup.pop("version")) if "version" in setup else None
    found = lint.problems_of(daemon, {BY_NAME[daemon].root_key: tree}, lint.Setup(version=version, **setup))
    return [rule.id for rule, _ in found if rule.id not in usual]


def four(**subnet: Any) -> dict[str, Any]:
    return {"subnet4": [{"id": 1, "subnet": "192.0.2.0/24", **{key.replace("_", "-"): subnet[key] for key in subnet}}]}


def host(**more: str) -> dict[str, str]:
    return {key.replace("_", "-"): value for key, value in more.items()}


# The page


def test_the_page_has_every_rule_in_order() -> None:
    modules = [topic.__name__ for topic in TOPICS]
    wanted = sorted(RULES.values(), key=lambda rule: modules.index(rule.find.__module__))
    assert [section.name for section in SECTIONS] == [rule.id for rule in wanted]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_page_says_what_the_rule_says(section: Section) -> None:
    rule = RULES[section.name]
    head, words = section.words.strip().split("\n\n")[:2]
    assert head.startswith(f"{rule.severity} · {', '.join(rule.daemons)}")
    assert words == f"{rule.says} {rule.do}"
    assert ("Kea" in head) == (rule.since is not None or rule.before is not None)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_bad_example_is_found_and_the_good_one_is_not(tmp_path: Path, section: Section) -> None:
    before = section.examples.get("Before")
    previous = json.loads(before.text) if before else None
    bad = [each for each in findings(tmp_path / "bad", section.bad, previous=previous) if each.rule == section.name]
    assert bad, "not found"
    assert bad[0].row is not None
    # Certain only where the host is known.
    expected = Severity.WARNING if section.name.endswith("-directory") else RULES[section.name].severity
    assert {each.severity for each in bad} == {expected}
    good = findings(tmp_path / "good", section.good, previous=previous)
    assert [each.rule for each in good if each.rule == section.name or each.severity == Severity.ERROR] == []


# What the examples do not show


def test_every_rule_is_described() -> None:
    for rule in RULES.values():
        assert rule.says.endswith("."), rule.id
        assert rule.do.endswith("."), rule.id
        assert len(rule.says) < 150, rule.id


def test_kea_removes_blanks_from_prefixes_and_pools() -> None:
    tree = {"subnet4": [{"id": 1, "subnet": " 192.0.2.0 / 24", "pools": [{"pool": "192.0.2.1 -\t192.0.2.9 "}]}]}
    assert ids(tree) == []


@pytest.mark.parametrize("written", ["192.0.2.0/24 ", "192.0.2.0/+24", "192.0.2.0/024", "0.0.0.0/0", "192.0.2.0/32"])
def test_a_prefix_that_kea_reads(written: str) -> None:
    assert ids({"subnet4": [{"id": 1, "subnet": written}]}) == []


@pytest.mark.parametrize(
    "written", ["192.0.2/24", "192.0.02.0/24", "", "192.0.2.0/", "2001:db8::/64", "192.0.2.0/24/5"]
)
def test_a_prefix_that_kea_does_not_read(written: str) -> None:
    assert ids({"subnet4": [{"id": 1, "subnet": written}]}) == ["subnet-prefix-bad"]


@pytest.mark.parametrize("written", ["192.0.2.\u0663/24", "fe80::1%eth0/64", "192.0.2.0/24\n"])
def test_what_only_kea_knows_how_to_read_is_left_to_it(written: str) -> None:
    assert ids({"subnet4": [{"id": 1, "subnet": written}]}) == []


@pytest.mark.parametrize(
    "written",
    ["00:0c:1:2:3:4", "000c01020304", "0x000c01020304", "00 0c 01 02 03 04", "'a b'", " 'abc'", "1", "00:11:22:33:44"],
)
def test_an_identifier_that_kea_reads(written: str) -> None:
    assert ids(four(reservations=[host(hw_address=written, hostname="a")])) == []


@pytest.mark.parametrize(
    "written", ["", " ", "zz", "00-0c", "00::11", "00:0c:", " 00:0c", "aa: bb", "0x", "''", "\taa"]
)
def test_an_identifier_that_kea_does_not_read(written: str) -> None:
    assert ids(four(reservations=[host(hw_address=written, hostname="a")])) == ["reservation-identifier-bad"]


def test_a_hardware_address_has_a_length() -> None:
    for count, wanted in ((20, []), (21, ["reservation-identifier-bad"])):
        assert ids(four(reservations=[host(hw_address=":".join(["00"] * count), hostname="a")])) == wanted


def test_the_same_client_in_two_subnets_is_fine() -> None:
    tree = four(reservations=[host(hw_address="00:01", ip_address="192.0.2.5")])
    tree["subnet4"].append({"id": 2, "subnet": "198.51.100.0/24", "reservations": tree["subnet4"][0]["reservations"]})
    assert ids(tree) == ["reservation-outside-subnet"]  # of the second


def test_prefixes_that_only_touch_do_not_overlap() -> None:
    listed = ["192.0.2.0/26", "192.0.2.64/26", "192.0.2.128/25", "192.0.3.0/24", "0.0.0.0/1"]
    tree = {"subnet4": [{"id": index, "subnet": written} for index, written in enumerate(listed, 1)]}
    assert ids(tree) == []


def test_overlaps_are_found_across_shared_networks_and_however_they_nest() -> None:
    tree = {
        "subnet4": [{"id": 1, "subnet": "10.0.0.0/8"}, {"id": 2, "subnet": "10.1.2.0/24"}],
        "shared-networks": [
            {"name": "n", "subnet4": [{"id": 3, "subnet": "10.1.0.0/16"}, {"id": 4, "subnet": "11.0.0.0/8"}]}
        ],
    }
    assert ids(tree) == ["subnet-overlap", "subnet-overlap"]


def test_ids_are_needed_from_2_6_on() -> None:
    tree = {"subnet4": [{"subnet": "192.0.2.0/24"}]}
    assert ids(tree, version="2.4.1") == ["subnet-id-implicit"]
    assert ids(tree, version="2.6") == ["subnet-id-missing"]
    assert ids(tree) == ["subnet-id-missing"]


def test_what_is_wrong_for_some_versions_only_is_no_error_for_an_unknown_one(tmp_path: Path) -> None:
    example = next(section.bad for section in SECTIONS if section.name == "pool-host-bits")
    known = {each.severity for each in findings(tmp_path / "a", example) if each.rule == "pool-host-bits"}
    unknown = {
        each.severity
        for each in findings(tmp_path / "b", Example(example.text.partition("\n")[2]))
        if each.rule == "pool-host-bits"
    }
    assert (known, unknown) == ({"error"}, {"warning"})


SOCKET = {"control-socket": {"socket-type": "unix", "socket-name": "/tmp/kea.sock"}}


@pytest.mark.parametrize(
    ("version", "environment", "argv", "severity"),
    [
        ("2.6.3", {}, (), "error"),
        ("2.6.2", {}, (), None),
        ("2.2.0", {}, (), None),
        ("3.0.4", {}, (), "error"),
        ("3.0.4", {}, ("kea-dhcp4", "-X"), None),
        ("3.0.4", {"KEA_CONTROL_SOCKET_DIR": "/tmp"}, (), None),
        ("3.0.4", {"KEA_CONTROL_SOCKET_DIR": "/run/x"}, (), "error"),
        ("3.0.4", None, (), "warning"),
        (None, {}, (), "warning"),
    ],
)
def test_directories(
    version: str | None, environment: dict[str, str] | None, argv: tuple[str, ...], severity: str | None
) -> None:
    setup = lint.Setup(parse_version(version) if version else None, environment=environment, argv=argv)
    found = [
        problem.severity or rule.severity
        for rule, problem in lint.problems_of("dhcp4", {"Dhcp4": SOCKET}, setup)
        if rule.id == "control-socket-directory"
    ]
    assert found == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("key", "version", "is_known"),
    [
        ("reservation-mode", "2.2", True),
        ("reservation-mode", "2.4.2", True),
        ("reservation-mode", "2.5.3", True),
        ("reservation-mode", "2.6", False),
        ("reservation-mode", None, True),
        ("control-sockets", "2.6.3", False),
        ("control-sockets", "2.7.3", True),
        ("control-sockets", "9.9", True),
        ("contrl-sockets", None, False),
    ],
)
def test_keywords_by_version(key: str, version: str | None, is_known: bool) -> None:
    setup = {"version": version} if version else {}
    assert ("keyword-unknown" in ids({key: []}, **setup)) != is_known


@pytest.mark.parametrize(
    ("version", "environment", "severity"),
    [
        ("3.3", {}, "error"),
        ("3.4", {}, "warning"),
        (None, None, "error"),
        (None, {}, "warning"),
        ("2.2", None, "error"),
    ],
)
def test_a_kea_of_the_future_may_know_more(
    version: str | None, environment: dict[str, str] | None, severity: str
) -> None:
    setup = lint.Setup(parse_version(version) if version else None, environment=environment)
    found = lint.problems_of("dhcp4", {"Dhcp4": {"brand-new": 1}}, setup)
    severities = {problem.severity or rule.severity for rule, problem in found if rule.id == "keyword-unknown"}
    assert severities == {severity}


def test_what_is_free_is_left_alone() -> None:
    free = {"anything": {"goes": [{"here": 1}]}}
    queue = {"enable-queue": True, **free}
    tree = {
        "user-context": free,
        "dhcp-queue-control": queue,
        "hooks-libraries": [{"library": "x", "parameters": free}],
    }
    assert ids(tree) == []


def test_an_address_in_ipv6_options_has_to_be_one() -> None:
    tree = {"option-data": [{"name": "dns-servers", "data": "192.0.2.1"}]}
    assert ids(tree, "dhcp6") == ["option-address-bad"]
    assert ids({"option-data": [{"name": "dns-servers", "data": "2001:db8::1,,"}]}, "dhcp6") == []


@pytest.mark.parametrize(
    ("lifetimes", "is_right"),
    [
        ({"min-valid-lifetime": 1800, "valid-lifetime": 3600, "max-valid-lifetime": -1}, True),
        ({"valid-lifetime": 50, "max-valid-lifetime": -1}, True),
        ({"min-valid-lifetime": 10, "max-valid-lifetime": 10000}, True),
        ({"valid-lifetime": 5, "min-valid-lifetime": 10}, False),
        ({"valid-lifetime": 50, "max-valid-lifetime": 10}, False),
        ({"valid-lifetime": -1, "max-valid-lifetime": 10}, False),
        ({"valid-lifetime": 5, "min-valid-lifetime": -1}, False),
    ],
)
def test_lifetimes_and_those_for_ever(lifetimes: dict[str, int], is_right: bool) -> None:
    for tree in (lifetimes, four(**lifetimes), {"client-classes": [{"name": "a", **lifetimes}]}):
        assert ids(tree) == ([] if is_right else ["lifetimes-disordered"])


def test_a_rule_that_is_broken_very_often_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text(json.dumps({"Dhcp4": {"subnet4": [{"id": 1, "subnet": f"10.{n}.0.0/16"} for n in range(200)]}}))
    found = lint.run("dhcp4", keaconf.read(str(path), "Dhcp4"), lint.Setup(disabled=("subnet-empty",)))
    twice = [each.message for each in found if each.rule == "subnet-id-duplicate"]
    assert len(twice) == lint.MOST_OF_A_RULE
    assert [("more of this kind" in message) for message in twice].count(True) == 1


@pytest.mark.parametrize("text", ["", "2", "2.6.x", "two", "2.6.3.1", "²·6", "-2.6"])
def test_not_a_version(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version of Kea"):
        parse_version(text)
