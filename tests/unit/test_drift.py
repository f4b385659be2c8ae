# SPDX-License-Identifier: MPL-2.0
"""One number for one configuration, on whichever of the two hosts it runs."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from kea_agent.metrics.drift import Drift, fingerprint

PEERS = [{"name": "a", "url": "http://192.0.2.1:8000/"}, {"name": "b", "url": "http://192.0.2.2:8000/"}]
PAIR = "a=http://192.0.2.1:8000/ b=http://192.0.2.2:8000/"


def config(name: str = "a", interface: str = "eth0") -> dict[str, Any]:
    relationship = {"this-server-name": name, "mode": "hot-standby", "peers": PEERS}
    return {
        "interfaces-config": {"interfaces": [interface]},
        "control-sockets": [{"socket-type": "http", "socket-address": f"192.0.2.{ord(name)}", "socket-port": 8001}],
        "hooks-libraries": [
            {"library": "/x/libdhcp_lease_cmds.so"},
            {"library": "/x/libdhcp_ha.so", "parameters": {"high-availability": [relationship]}},
        ],
        "lease-database": {"type": "mysql", "password": f"of {name}"},
        "subnet4": [
            {"id": number, "subnet": f"10.{number}.0.0/16", "option-data": [{"code": 6, "data": "192.0.2.3"}]}
            for number in (1, 2)
        ],
        "host-reservation-identifiers": ["hw-address", "duid"],
    }


def told(drift: Drift) -> dict[tuple[str, ...], float]:
    until = time.monotonic() + 10
    while not (found := list(drift.samples("2.6.3"))) and time.monotonic() < until:
        time.sleep(0.01)
    return {sample.labels: sample.value for sample in found}


def test_what_is_each_hosts_own_makes_no_difference() -> None:
    assert fingerprint(config("a", "eth0")) == fingerprint(config("b", "ens3"))


def test_the_order_of_things_makes_no_difference() -> None:
    other = config()
    other["subnet4"].reverse()
    assert fingerprint(dict(reversed(other.items()))) == fingerprint(config())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("subnet4", 0, "id"), 7),
        (("subnet4", 0, "option-data", 0, "data"), "192.0.2.4"),
        (("subnet4", 0, "id"), "1"),
        (("subnet4",), []),
        (("host-reservation-identifiers",), ["duid", "hw-address"]),
        (("valid-lifetime",), 60),
        (("authoritative",), True),
    ],
)
def test_all_else_does(path: tuple[Any, ...], value: Any) -> None:
    other = copy.deepcopy(config())
    place: Any = other
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert fingerprint(other) != fingerprint(config())


def test_both_sides_tell_one_pair() -> None:
    one, other = Drift("dhcp4"), Drift("dhcp4")
    one.learn(config("a"))
    other.learn(config("b"))
    assert told(one) == told(other) == {("dhcp4", PAIR, "2.6.3"): fingerprint(config())}


@pytest.mark.parametrize(
    "root", [None, [], {}, {"hooks-libraries": 7}, {"hooks-libraries": [{"library": "/libdhcp_ha.so"}]}]
)
def test_a_server_without_a_partner_has_no_number(root: Any) -> None:
    drift = Drift("dhcp4")
    drift.learn(config())
    drift.learn(root)
    time.sleep(0.01)
    assert list(drift.samples("2.6.3")) == []


def test_a_number_that_comes_late_is_not_told_of_a_newer_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(root: Any) -> int:
        time.sleep(0.3 if root == config() else 0)
        return fingerprint(root)

    monkeypatch.setattr("kea_agent.metrics.drift.fingerprint", slow)
    drift = Drift("dhcp4")
    drift.learn(config())
    drift.learn(config() | {"valid-lifetime": 60})
    time.sleep(0.5)
    assert set(told(drift).values()) == {fingerprint(config() | {"valid-lifetime": 60})}
