# SPDX-License-Identifier: MPL-2.0
"""What differs in meaning: the same thing written in another way is no change, and every change is one."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kea_agent.diff import Change, Kind, changes
from kea_agent.diff.compare import without_host_local
from kea_agent.diff.text import as_json, lines

TOP = Path(__file__).parents[2]
Tree = dict[str, Any]


def config(**more: Any) -> Tree:
    return {
        "valid-lifetime": 4000,
        "control-socket": {"socket-type": "unix", "socket-name": "/run/kea/socket"},
        "option-data": [{"name": "domain-name-servers", "data": "192.0.2.1,192.0.2.2"}],
        "subnet4": [
            {
                "id": 7,
                "subnet": "192.0.2.0/24",
                "pools": [{"pool": "192.0.2.0/28"}, {"pool": "192.0.2.32 - 192.0.2.40"}],
                "reservations": [
                    {"hw-address": "1A:1B:1C:1D:1E:1F", "ip-address": "192.0.2.201"},
                    {"client-id": "'abc'", "hostname": "printer"},
                ],
            }
        ],
        "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}]}],
        **more,
    }


def running() -> Tree:
    """The same as Kea 2.6 has it in config-get, shortened."""
    option = {"code": 6, "csv-format": True, "always-send": False, "name": "domain-name-servers", "space": "dhcp4"}
    common = {"valid-lifetime": 4000, "min-valid-lifetime": 4000, "max-valid-lifetime": 4000, "allocator": "iterative"}
    return {
        "valid-lifetime": 4000,
        "allocator": "iterative",
        "authoritative": False,
        "echo-client-id": True,
        "t1-percent": 0.5,
        "control-socket": {"socket-type": "unix", "socket-name": "/run/kea/socket"},
        "dhcp-ddns": {"enable-updates": False, "server-port": 53001},
        "host-reservation-identifiers": ["hw-address", "duid", "circuit-id", "client-id"],
        "hooks-libraries": [],
        "option-data": [{**option, "data": "192.0.2.1, 192.0.2.2"}],
        "subnet4": [
            {
                **common,
                "id": 7,
                "subnet": "192.0.2.0/24",
                "4o6-interface": "",
                "relay": {"ip-addresses": []},
                "option-data": [],
                "pools": [
                    {"option-data": [], "pool": "192.0.2.0/28"},
                    {"option-data": [], "pool": "192.0.2.32-192.0.2.40"},
                ],
                "reservations": [
                    {"client-id": "616263", "hostname": "printer", "option-data": [], "next-server": "0.0.0.0"},
                    {"hw-address": "1a:1b:1c:1d:1e:1f", "ip-address": "192.0.2.201", "hostname": ""},
                ],
            }
        ],
        "loggers": [
            {
                "name": "kea-dhcp4",
                "debuglevel": 0,
                "severity": "INFO",
                "output-options": [{"output": "stdout", "flush": True}],
            }
        ],
    }


def lifetimes(seconds: int) -> Tree:
    return dict.fromkeys(("valid-lifetime", "min-valid-lifetime", "max-valid-lifetime"), seconds)


def found(before: Tree, after: Tree, **runs: bool) -> list[str]:
    return lines(changes(before, after, **runs), color=False)


def test_config_get_of_a_file_is_no_change() -> None:
    assert found(running(), config(), before_runs=True) == []
    assert found(config(), running(), after_runs=True) == []
    assert found(running(), running(), before_runs=True, after_runs=True) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["valid-lifetime"], 3600, "~ valid-lifetime: 4000 -> 3600"),
        (["authoritative"], True, "~ authoritative: false -> true"),
        (["subnet4", 0, "valid-lifetime"], 60, "~ subnet4 id 7 (192.0.2.0/24) > valid-lifetime: 4000 -> 60"),
        (["subnet4", 0, "pools", 1, "pool"], "192.0.2.32-192.0.2.41", "+ subnet4 id 7 (192.0.2.0/24) > pools 192.0.2.32-192.0.2.41"),
        (["subnet4", 0, "pools"], [], '- subnet4 id 7 (192.0.2.0/24) > pools 192.0.2.0-192.0.2.15: {"pool"'),
        (["subnet4", 0, "reservations", 0, "ip-address"], "192.0.2.9", "reservations hw-address 1a:1b:1c:1d:1e:1f > ip-address"),
        (["option-data", 0, "data"], "192.0.2.1", 'option-data 6 (domain-name-servers) > data: "192.0.2.1, 192.0.2.2" -> "192.0.2.1"'),
        (["option-data"], [], "- option-data 6 (domain-name-servers)"),
        (["subnet4"], [], "- subnet4 id 7 (192.0.2.0/24)"),
        (["subnet4", 0, "subnet"], "192.0.3.0/24", 'subnet: "192.0.2.0/24" -> "192.0.3.0/24"'),
        (["loggers", 0, "severity"], "DEBUG", "severity"),
        (["host-reservation-identifiers"], ["duid", "hw-address"], "host-reservation-identifiers"),
    ],
)  # fmt: skip
def test_every_edit_of_the_file_is_a_change_of_what_runs(path: list[Any], value: Any, expected: str) -> None:
    file = config()
    place: Any = file
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(expected in line for line in found(running(), file, before_runs=True))


def test_what_the_file_no_longer_says_is_a_change_unless_it_is_the_default() -> None:
    file = config()
    del file["valid-lifetime"]
    assert found(running(), file, before_runs=True) == ["- valid-lifetime: 4000"]
    before = running() | {"valid-lifetime": 7200}
    before["subnet4"][0] |= lifetimes(7200)
    assert found(before, file, before_runs=True) == []


def test_a_value_of_its_own_that_a_subnet_loses_is_a_change() -> None:
    before = running()
    before["subnet4"][0] |= lifetimes(60)
    assert found(before, config(), before_runs=True) == ["- subnet4 id 7 (192.0.2.0/24) > valid-lifetime: 60"]


def test_a_subnet_that_moves_into_a_network_is_the_same_subnet() -> None:
    file = config()
    file["shared-networks"] = [{"name": "lan", "subnet4": file.pop("subnet4")}]
    assert found(config(), file) == [
        '+ subnet4 id 7 (192.0.2.0/24) > shared-network: "lan"',
        '+ shared-networks lan: {"name": "lan"}',
    ]


def test_a_subnet_without_an_id_is_known_by_its_prefix() -> None:
    file = config()
    del file["subnet4"][0]["id"]
    assert found(running(), file, before_runs=True) == []


def test_old_and_new_spellings_mean_the_same() -> None:
    old = {
        "client-classes": [{"name": "a", "only-if-required": True}],
        "subnet4": [
            {"id": 1, "client-class": "a", "require-client-classes": ["b"], "relay": {"ip-address": "192.0.2.1"}, "comment": "x"}
        ],
        "reservation-mode": "out-of-pool",
        "dhcp-ddns": {"generated-prefix": "host"},
    }  # fmt: skip
    new = {
        "client-classes": [{"name": "a", "only-in-additional-list": True}],
        "subnet4": [
            {
                "id": 1,
                "client-classes": ["a"],
                "evaluate-additional-classes": ["b"],
                "relay": {"ip-addresses": ["192.0.2.1"]},
                "user-context": {"comment": "x"},
            }
        ],
        "reservations-global": False,
        "reservations-in-subnet": True,
        "reservations-out-of-pool": True,
        "dhcp-ddns": {},
        "ddns-generated-prefix": "host",
    }
    assert found(old, new) == []


def test_peers_have_some_things_each_for_themselves() -> None:
    def host(name: str, interface: str) -> Tree:
        ha = {"this-server-name": name, "mode": "hot-standby", "peers": [{"name": "a"}, {"name": "b"}]}
        hook = {"library": "/x/libdhcp_ha.so", "parameters": {"high-availability": [ha]}}
        return {"interfaces-config": {"interfaces": [interface]}, "hooks-libraries": [hook]}

    assert len(found(host("a", "eth0"), host("b", "ens3"))) == 3
    assert found(without_host_local(host("a", "eth0")), without_host_local(host("b", "ens3"))) == []


def test_no_secret_is_shown() -> None:
    before = {
        "tsig-keys": [{"name": "k", "secret": "geheim"}],
        "lease-database": {"type": "mysql", "password": "geheim"},
    }
    after = {"tsig-keys": [{"name": "k", "secret": "geheimer"}, {"name": "l", "secret": "geheimer"}]}
    for told in (found(before, after), [json.dumps(as_json(changes(before, after)))]):
        assert told
        assert "geheim" not in "".join(told)


def test_true_is_not_one() -> None:
    assert changes({"a": 1}, {"a": True}) == [Change(("a",), Kind.CHANGED, 1, True)]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["192.0.2.0/24", "a:b", "'x'"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted({*running(), *running()["subnet4"][0], "pool", "name", "code", "data", "id", "peers", "relay", "client-class"})), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
trees = st.dictionaries(st.sampled_from(["subnet4", "shared-networks", *running()]), values, max_size=5)


@given(trees, trees)
def test_any_tree_is_compared_and_left_alone(one: Tree, other: Tree) -> None:
    kept = copy.deepcopy((one, other))
    for runs in ({}, {"before_runs": True}, {"after_runs": True}):
        as_json(changes(one, other, **runs))
        found(one, other, **runs)
    assert (one, other) == kept
    assert changes(one, copy.deepcopy(one)) == []


def test_the_verb(tmp_path: Path) -> None:
    one, other = tmp_path / "one.conf", tmp_path / "other.conf"
    one.write_text('{ "Dhcp4": { "valid-lifetime": 1 } } // here')
    other.write_text('{ "Dhcp4": { "valid-lifetime": 2 } }')
    words = [sys.executable, "-m", "kea_agent", "diff"]
    done = subprocess.run([*words, one, other], cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"dhcp4: from {one} to {other}\n  ~ valid-lifetime: 1 -> 2\n")
    done = subprocess.run([*words, one, one], cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"dhcp4: from {one} to {one}: no difference\n")
    done = subprocess.run([*words, "--json", one, other], cwd=TOP, capture_output=True, text=True, check=False)
    change = {"path": ["valid-lifetime"], "change": "changed", "before": 1, "after": 2}
    assert json.loads(done.stdout) == [{"daemon": "dhcp4", "from": str(one), "to": str(other), "changes": [change]}]
    done = subprocess.run([*words, one, "dhcp6"], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "are for different daemons" in done.stderr
