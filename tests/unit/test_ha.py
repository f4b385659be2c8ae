# SPDX-License-Identifier: MPL-2.0
"""The pair as status-get tells of it, in every state there is (kea.md, 2.7 and 3.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kea_agent.ha import Listener, Relationship, is_configured, listeners, obstacle, relationships

# Measured: 3.0.4, load-balancing, both up.
BOTH_UP = json.loads("""{"ha-mode":"load-balancing","ha-servers":{"local":{"role":"primary","scopes":["server1"],
"server-name":"server1","state":"load-balancing","system-time":"2026-11-20 20:43:46"},"remote":{"age":0,
"analyzed-packets":0,"clock-skew":0,"communication-interrupted":false,"connecting-clients":0,"in-touch":true,
"last-scopes":["server2"],"last-state":"load-balancing","role":"secondary","server-name":"server2",
"system-time":"2026-11-20 20:43:46","unacked-clients":0,"unacked-clients-left":0}}}""")

STATES = [
    "backup",
    "communication-recovery",
    "hot-standby",
    "load-balancing",
    "in-maintenance",
    "partner-down",
    "partner-in-maintenance",
    "passive-backup",
    "ready",
    "syncing",
    "terminated",
    "waiting",
]
SERVING = [
    "communication-recovery",
    "hot-standby",
    "load-balancing",
    "partner-down",
    "partner-in-maintenance",
    "passive-backup",
    "terminated",
]


def entry(mode: str, local: dict[str, Any], remote: dict[str, Any] | None) -> dict[str, Any]:
    servers = {"local": local} | ({"remote": remote} if remote is not None else {})
    return {"ha-mode": mode, "ha-servers": servers}


def pair(mode: str = "hot-standby", state: str = "", role: str = "primary", **remote: Any) -> Relationship:
    partner = {"role": "standby", "in-touch": True, "last-state": mode, "communication-interrupted": False}
    partner |= {name.replace("_", "-"): value for name, value in remote.items()}
    found = relationships({"high-availability": [entry(mode, {"state": state or mode, "role": role}, partner)]})
    return found[0]


def test_both_up() -> None:
    (found,) = relationships({"pid": 1, "high-availability": [BOTH_UP]})
    assert found == Relationship("load-balancing", "load-balancing", "primary", "load-balancing", True, False)
    assert found.is_back
    assert found.is_serving
    assert obstacle([found]) is None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("mode", ["hot-standby", "load-balancing"])
def test_every_local_state(mode: str, state: str) -> None:
    found = pair(mode, state)
    assert found.is_back is (state == mode)
    other_mode = {"hot-standby", "load-balancing", "passive-backup"} - {mode}
    assert found.is_serving is (state in SERVING and state not in other_mode)
    assert found.obstacle == (None if state == mode else f"this server is in HA state {state}, not {mode}")


@pytest.mark.parametrize("state", [*STATES, "unavailable", ""])
@pytest.mark.parametrize("mode", ["hot-standby", "load-balancing"])
def test_every_partner_state(mode: str, state: str) -> None:
    reason = pair(mode, last_state=state).obstacle
    assert (reason is None) is (state == mode)
    if state not in (mode, "unavailable"):
        assert reason == f"the HA partner is in state {state}, not {mode}"


@pytest.mark.parametrize(
    ("remote", "reason"),
    [
        # Before first contact, and after a loss: then in-touch stays true.
        ({"in_touch": False, "last_state": "", "age": 0}, "this server is not in touch with its HA partner"),
        ({"last_state": "unavailable", "age": 90}, "this server is not in touch with its HA partner"),
        ({"communication_interrupted": True}, "communication with the HA partner is interrupted"),
        ({"in_touch": "yes"}, "this server is not in touch with its HA partner"),
        ({"last_state": None}, "the HA partner is in state None, not hot-standby"),
    ],
)
def test_obstacles(remote: dict[str, Any], reason: str) -> None:
    assert pair(**remote).obstacle == reason


@pytest.mark.parametrize(("role", "state"), [("primary", "passive-backup"), ("backup", "backup")])
def test_servers_without_a_partner(role: str, state: str) -> None:
    (found,) = relationships({"high-availability": [entry("passive-backup", {"state": state, "role": role}, None)]})
    assert found.partner_state is None
    assert found.is_back
    assert found.obstacle is None


def test_a_hub_is_as_good_as_its_worst_relationship() -> None:
    assert obstacle([pair(), pair(last_state="waiting")]) == "the HA partner is in state waiting, not hot-standby"
    assert obstacle([pair(), pair()]) is None
    assert obstacle([]) is None


@pytest.mark.parametrize(
    "section",
    [None, {}, [], "on", [None, 1, "x", [], {}], [{"ha-mode": "hot-standby"}], [{"ha-servers": []}],
     [{"ha-servers": {"remote": {"in-touch": True}}}], [{"ha-servers": {"local": "primary"}}]],
)  # fmt: skip
def test_what_is_not_shaped_like_ha_is_left_out(section: object) -> None:
    assert relationships({"high-availability": section}) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ha-mode", "ha-servers", "local", "remote", "state", "last-state"]), inner)
    ),
)


@given(JSON)
def test_no_status_is_too_wrong(section: object) -> None:
    for found in relationships({"high-availability": section}):
        assert isinstance(found.obstacle, str | None)
    assert is_configured({"hooks-libraries": section}) is False


@pytest.mark.parametrize(
    ("hooks", "configured"),
    [
        ([{"library": "/usr/lib/kea/hooks/libdhcp_ha.so", "parameters": {"high-availability": [{}]}}], True),
        ([{"library": "libdhcp_lease_cmds.so"}, {"library": "libdhcp_ha.so", "parameters": {"a": 1}}], True),
        ([{"library": "libdhcp_ha.so"}], False),
        ([{"library": "libdhcp_lease_cmds.so", "parameters": {"a": 1}}], False),
        ([{"parameters": {"a": 1}}, None], False),
        ([], False),
        (None, False),
    ],
)
def test_is_configured(hooks: object, configured: bool) -> None:
    assert bool(is_configured({"hooks-libraries": hooks})) is configured


def paired(url: object = "http://192.0.2.1:8000/", threads: object = None) -> dict[str, object]:
    """A configuration of `a`, with the HA hook."""
    own = {
        "this-server-name": "a",
        "peers": [{"name": "a", "url": url}, {"name": "b", "url": "http://192.0.2.2:8000/"}],
    }
    section: dict[str, object] = {**own, "multi-threading": threads}
    return {"hooks-libraries": [{"library": "/x/libdhcp_ha.so", "parameters": {"high-availability": [section]}}]}


@pytest.mark.parametrize(
    ("root", "found"),
    [
        ({}, ()),
        (paired(), (Listener(("192.0.2.1", 8000), is_explicit=False),)),
        (paired("https://[2001:db8::1]:8443"), (Listener(("2001:db8::1", 8443), is_explicit=False),)),
        (
            paired(threads={"enable-multi-threading": True, "http-dedicated-listener": True}),
            (Listener(("192.0.2.1", 8000), is_explicit=True),),
        ),
        (paired(threads={"enable-multi-threading": False}), ()),
        (paired(threads={"http-dedicated-listener": False}), ()),
        (paired() | {"multi-threading": {"enable-multi-threading": False}}, ()),
        (paired("http://a.example/"), ()),
        (paired(3), ()),
        ({"hooks-libraries": [{"library": "libdhcp_ha.so", "parameters": {"high-availability": [3]}}]}, ()),
    ],
)
def test_where_the_partner_is_listened_to(root: dict[str, object], found: tuple[Listener, ...]) -> None:
    assert listeners(root) == found
