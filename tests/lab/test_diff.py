# SPDX-License-Identifier: MPL-2.0
"""`kea-agent diff` against real servers: what config-get adds by itself is no difference, and every edit is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from agenthost import CONFIG, AgentHost
from labkit.spec import DAEMONS
from saving import CONFIG6, on_every_suite

CLASSES = [{"name": "phones", "test": "substring(option[60].hex,0,5) == 'Phone'", "valid-lifetime": 1800}]
RICH: dict[str, Any] = {
    "client-classes": CLASSES,
    "option-def": [{"name": "asset", "code": 222, "type": "uint32", "space": "dhcp4"}],
    "option-data": [
        {"name": "domain-name-servers", "data": "198.18.0.53,198.18.0.54"},
        {"code": 15, "data": "example.org"},
        {"name": "asset", "data": "7"},
        {"name": "boot-file-name", "data": "6669", "csv-format": False},
    ],
    "expired-leases-processing": {"reclaim-timer-wait-time": 20},
    "decline-probation-period": 3600,
    "shared-networks": [
        {
            "name": "floor",
            "valid-lifetime": 7000,
            "relay": {"ip-addresses": ["198.51.100.1"]},
            "subnet4": [
                {"id": 20, "subnet": "198.51.100.0/25", "pools": [{"pool": "198.51.100.64/26"}]},
                {
                    "id": 21,
                    "subnet": "198.51.100.128/25",
                    "valid-lifetime": 60,
                    "user-context": {"name": "lab"},
                    "reservations": [
                        {"hw-address": "1A:1B:1C:1D:1E:1F", "ip-address": "198.51.100.140", "hostname": "printer"},
                        {"client-id": "01:0a:0b", "option-data": [{"name": "routers", "data": "198.51.100.129"}]},
                    ],
                },
            ],
        }
    ],
}
RICH6: dict[str, Any] = {
    "preferred-lifetime": 2000,
    "option-data": [{"name": "dns-servers", "data": "2001:db8:18::53"}],
    "shared-networks": [
        {
            "name": "floor",
            "subnet6": [
                {
                    "id": 30,
                    "subnet": "2001:DB8:30::/64",
                    "pools": [{"pool": "2001:db8:30::1000 - 2001:db8:30::1fff"}],
                    "pd-pools": [{"prefix": "2001:db8:31::", "prefix-len": 48, "delegated-len": 64}],
                    "reservations": [{"duid": "01:02:03:04", "ip-addresses": ["2001:db8:30::5"]}],
                }
            ],
        }
    ],
}


@pytest.fixture
def plain(host: AgentHost, good: str) -> Iterator[tuple[str, str]]:
    """Both DHCP configurations as they were; put back."""
    six = host.node.read(CONFIG6)
    yield good, six
    host.node.replace(CONFIG6, six)


def diff(host: AgentHost, *words: str) -> tuple[int, Any]:
    done = host.node.run(["kea-agent", "diff", "--json", *words], check=False)
    return done.returncode, json.loads(done.stdout)


def save_rich(host: AgentHost, daemon: str, config: str, root: str, more: dict[str, Any]) -> dict[str, Any]:
    before = host.outcomes(daemon)  # type: ignore[arg-type]
    tree = host.node.control(daemon, "config-get")["arguments"][root]  # type: ignore[arg-type]
    ours = {
        key: tree[key]
        for key in ("interfaces-config", "control-socket", "control-sockets", "hooks-libraries", "loggers")
        if key in tree
    }
    lists = {key: tree[key] for key in ("subnet4", "subnet6", "lease-database") if key in tree}
    host.node.replace(config, json.dumps({root: ours | lists | more}))
    host.wait_for("applied", before, daemon)  # type: ignore[arg-type]
    return ours | lists | more


@on_every_suite
def test_a_server_that_was_proven_to_run_its_file_does_not_differ(host: AgentHost, plain: tuple[str, str]) -> None:
    code, compared = diff(host)
    assert (code, [each["changes"] for each in compared]) == (0, [[]] * len(DAEMONS)), compared
    save_rich(host, "dhcp4", CONFIG, "Dhcp4", RICH)
    save_rich(host, "dhcp6", CONFIG6, "Dhcp6", RICH6)
    code, compared = diff(host)
    assert (code, [each["changes"] for each in compared]) == (0, [[]] * len(DAEMONS)), compared


@on_every_suite
def test_each_edit_is_one_change(host: AgentHost, plain: tuple[str, str]) -> None:
    tree = save_rich(host, "dhcp4", CONFIG, "Dhcp4", RICH)
    edited = json.loads(json.dumps(tree))
    network = edited["shared-networks"][0]
    network["subnet4"][0]["pools"].append({"pool": "198.51.100.10-198.51.100.20"})
    del network["subnet4"][1]["valid-lifetime"]
    network["subnet4"][1]["reservations"][0]["ip-address"] = "198.51.100.141"
    del network["subnet4"][1]["reservations"][1]
    edited["option-data"][0]["data"] = "198.18.0.53"
    del edited["decline-probation-period"]
    host.node.write("/root/candidate.conf", json.dumps({"Dhcp4": edited}))
    code, compared = diff(host, "/root/candidate.conf")
    lab = "subnet4 id 21 (198.51.100.128/25)"
    assert code == 1
    assert {(" > ".join(each["path"]), each["change"]) for each in compared[0]["changes"]} == {
        ("subnet4 id 20 (198.51.100.0/25) > pools 198.51.100.10-198.51.100.20", "added"),
        (f"{lab} > valid-lifetime", "removed"),
        (f"{lab} > reservations hw-address 1a:1b:1c:1d:1e:1f > ip-address", "changed"),
        (f"{lab} > reservations client-id 01:0a:0b", "removed"),
        ("option-data 6 (domain-name-servers) > data", "changed"),
        ("decline-probation-period", "removed"),
    }
