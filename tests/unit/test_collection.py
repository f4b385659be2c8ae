# SPDX-License-Identifier: MPL-2.0
"""A scrape of Kea behind real sockets: what it asks, how long it takes, and that nothing Kea does can break it."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeKea, Manner, early, saying, silent, truncated

from kea_agent.control import Channel, UnixChannel
from kea_agent.errors import BusError
from kea_agent.metrics import Collection, Scrape, Target, Wishes, World, rest
from kea_agent.metrics.families import Sample

PID = os.getpid()
MACHINE = 1.0  # seconds that a busy machine may add; who does not keep the time takes ten
CONFIG = {
    "Dhcp4": {
        "subnet4": [{"id": 1, "subnet": "10.1.0.0/16", "user-context": {"name": "one"}}],
        "shared-networks": [{"name": "campus", "subnet4": [{"id": 2, "subnet": "10.2.0.0/16"}]}],
    }
}


@pytest.fixture
def kea(tmp_path: Path) -> Iterator[FakeKea]:
    with FakeKea.unix(tmp_path / "kea4") as server:
        server.config = CONFIG
        server.statistics = {
            "pkt4-received": 9,
            "subnet[1].total-addresses": 65024,
            "subnet[1].pool[3].assigned-addresses": 4,
            "subnet[2].total-addresses": 256,
        }
        yield server


class Bench:
    """A collection and what it told."""

    def __init__(self, *targets: Target, timeout: float = 1.0, units: Mapping[str, str] | None = None) -> None:
        self.targets: list[Target] = list(targets)
        self.noticed: list[tuple[str, str | None]] = []
        self.wishes = Wishes(timeout)
        self.units = dict(units or {})
        self.properties: Callable[[str, float], Mapping[str, Any]] = lambda unit, timeout: {}
        self.collection = Collection(
            World(
                targets=lambda: self.targets,
                units=lambda: self.units,
                properties=self._read,
                notice=lambda daemon, digest: self.noticed.append((daemon, digest)),
                wishes=lambda: self.wishes,
            )
        )

    def _read(self, unit: str, seconds: float) -> Mapping[str, Any]:
        return self.properties(unit, seconds)

    def scrape(self) -> Scrape:
        return self.collection.collect()


def dhcp4(channel: Channel | None, pid: int | None = PID) -> Target:
    return Target("dhcp4", pid, channel)


def values(scrape: Scrape, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a small family, by their labels after the daemon."""
    return {sample.labels[1:]: sample.value for sample in scrape.samples if sample.of.name == name}


def lines(scrape: Scrape) -> list[str]:
    return [line for line in scrape.text.decode().splitlines() if not line.startswith("#")]


def success(scrape: Scrape) -> dict[tuple[str, ...], float]:
    return values(scrape, "kea_agent_collector_success")


# -- what is found


def test_everything_that_a_server_tells(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    scrape = bench.scrape()
    assert scrape.up == {"dhcp4": True}
    assert success(scrape) == {("status",): 1, ("statistics",): 1}
    assert lines(scrape) == [
        'kea_packets_received_total{daemon="dhcp4"} 9',
        'kea_subnet_addresses{daemon="dhcp4",subnet="10.1.0.0/16",subnet_id="1",subnet_name="one"} 65024',
        'kea_subnet_addresses{daemon="dhcp4",shared_network="campus",subnet="10.2.0.0/16",subnet_id="2"} 256',
        'kea_pool_assigned_addresses{daemon="dhcp4",subnet="10.1.0.0/16",subnet_id="1",subnet_name="one",pool_id="3"} 4',
    ]
    assert values(scrape, "kea_info") == {("3.0.4",): 1}
    assert values(scrape, "kea_dhcp_enabled") == {(): 1}
    assert abs(values(scrape, "kea_config_commit_time_seconds")[()] - kea.committed) <= 1
    assert bench.noticed[0] == ("dhcp4", kea.hash)


def test_a_server_without_a_channel_is_up_as_long_as_it_lives(kea: FakeKea) -> None:
    assert Bench(dhcp4(None)).scrape().up == {"dhcp4": True}
    assert Bench(dhcp4(None, pid=None)).scrape().up == {"dhcp4": False}
    assert Bench(dhcp4(kea.channel, pid=2**22 + 1)).scrape().up == {"dhcp4": False}
    assert kea.asked == []


def test_no_daemon_and_no_unit() -> None:
    assert Bench().scrape() == Scrape({}, [], b"")


def test_the_ddns_daemon_has_statistics_and_no_subnets(kea: FakeKea) -> None:
    kea.statistics = {"ncr-received": 4, "key[key.example.com.].update-sent": 2}
    scrape = Bench(Target("ddns", PID, kea.channel)).scrape()
    assert lines(scrape) == [
        'kea_ddns_requests_received_total{daemon="ddns"} 4',
        'kea_ddns_key_updates_sent_total{daemon="ddns",key="key.example.com."} 2',
    ]
    assert "config-get" not in kea.asked


def test_the_control_agent_has_no_statistics() -> None:
    with FakeKea.http() as agent:
        scrape = Bench(Target("ctrl-agent", PID, agent.channel)).scrape()
        assert (scrape.up, success(scrape)) == ({"ctrl-agent": True}, {("status",): 1})
        assert "statistic-get-all" not in agent.asked


def test_statistics_over_http_come_in_a_list() -> None:
    with FakeKea.http() as server:
        server.statistics = {"pkt4-received": 9}
        assert lines(Bench(dhcp4(server.channel)).scrape()) == ['kea_packets_received_total{daemon="dhcp4"} 9']


def test_kea_2_2_has_no_hash(tmp_path: Path) -> None:
    with FakeKea.unix(tmp_path / "kea", version=(2, 2, 0)) as server:
        server.statistics = {"subnet[1].total-addresses": 5}
        server.config = CONFIG
        bench = Bench(dhcp4(server.channel))
        for _ in range(3):
            assert 'subnet="10.1.0.0/16"' in lines(bench.scrape())[0]
        assert server.asked.count("config-get") == 1
        assert set(bench.noticed) == {("dhcp4", None)}


@pytest.mark.parametrize("hooks", [[], [{"library": "/usr/lib/kea/hooks/libdhcp_stat_cmds.so"}]])
def test_too_many_subnets_for_the_time(kea: FakeKea, monkeypatch: pytest.MonkeyPatch, hooks: list[Any]) -> None:
    bench = Bench(dhcp4(kea.channel))
    assert values(bench.scrape(), "kea_agent_statistics_complete") == {(): 1}
    monkeypatch.setattr("kea_agent.metrics.plan._SECONDS_A_SUBNET", 100)
    kea.config = {"Dhcp4": CONFIG["Dhcp4"] | {"hooks-libraries": hooks}}
    kea.rows = [["subnet-id", "total-addresses"], [1, 65024], [2, 256]]
    kea.commit("NEW")
    scrape = bench.scrape()
    assert values(scrape, "kea_agent_statistics_complete") == {(): 0}
    assert success(scrape) == {("status",): 1, ("statistics",): float(bool(hooks))}
    assert (
        lines(scrape)
        == [
            'kea_packets_received_total{daemon="dhcp4"} 9',
            'kea_subnet_addresses{daemon="dhcp4",subnet="10.1.0.0/16",subnet_id="1",subnet_name="one"} 65024',
            'kea_subnet_addresses{daemon="dhcp4",shared_network="campus",subnet="10.2.0.0/16",subnet_id="2"} 256',
        ][: 3 if hooks else 1]
    )


# -- what is asked, and when again


def test_the_configuration_is_asked_for_once(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    for _ in range(5):
        bench.scrape()
    assert kea.asked.count("config-get") == 1
    assert kea.asked.count("version-get") == 1
    assert kea.asked.count("statistic-get-all") == 5


def test_a_hash_that_is_expensive_is_not_asked_for_every_time(kea: FakeKea) -> None:
    kea.on_ask = lambda command: time.sleep(0.02) if command == "config-hash-get" else None
    bench = Bench(dhcp4(kea.channel))
    for _ in range(5):
        bench.scrape()
    assert kea.asked.count("config-hash-get") == 1


def changed(**subnet: object) -> dict[str, Any]:
    return {"Dhcp4": {"subnet4": [{"id": 1, "subnet": "10.1.0.0/16"} | subnet]}}


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        (changed(subnet="10.7.0.0/16"), 'subnet="10.7.0.0/16",subnet_id="1"'),
        (changed(**{"user-context": {"name": "new"}}), 'subnet="10.1.0.0/16",subnet_id="1",subnet_name="new"'),
    ],
)
@pytest.mark.parametrize("has_hash", [True, False])
def test_an_id_that_means_something_else_now(kea: FakeKea, config: dict[str, Any], labels: str, has_hash: bool) -> None:
    kea.version = (3, 0, 4) if has_hash else (2, 2, 0)
    bench = Bench(dhcp4(kea.channel))
    bench.scrape()
    kea.config, kea.statistics = config, {"subnet[1].total-addresses": 9}
    kea.commit("NEW")
    assert lines(bench.scrape()) == [f'kea_subnet_addresses{{daemon="dhcp4",{labels}}} 9']


def test_a_commit_in_the_second_of_the_last_one_is_not_missed(kea: FakeKea) -> None:
    kea.version = (2, 2, 0)
    bench = Bench(dhcp4(kea.channel))
    kea.commit()
    bench.scrape()
    kea.config, kea.statistics = changed(subnet="10.7.0.0/16"), {"subnet[1].total-addresses": 9}
    kea.commit()
    assert 'subnet="10.7.0.0/16"' in lines(bench.scrape())[0]


def test_a_subnet_that_came_without_a_commit(kea: FakeKea) -> None:
    kea.version = (2, 2, 0)
    bench = Bench(dhcp4(kea.channel))
    bench.scrape()
    kea.config = {"Dhcp4": {"subnet4": [{"id": 5, "subnet": "10.5.0.0/16"}]}}
    kea.statistics = {"subnet[5].total-addresses": 9}
    assert lines(bench.scrape()) == ['kea_subnet_addresses{daemon="dhcp4",subnet="10.5.0.0/16",subnet_id="5"} 9']


def test_a_subnet_that_the_configuration_never_has_is_asked_for_once(kea: FakeKea) -> None:
    kea.statistics = {"subnet[77].total-addresses": 9}
    bench = Bench(dhcp4(kea.channel))
    for _ in range(3):
        assert lines(bench.scrape()) == ['kea_subnet_addresses{daemon="dhcp4",subnet_id="77"} 9']
    assert kea.asked.count("config-get") == 1


def test_a_subnet_that_is_gone_has_no_series(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    assert len(lines(bench.scrape())) == 4
    kea.statistics = {"pkt4-received": 10}
    assert lines(bench.scrape()) == ['kea_packets_received_total{daemon="dhcp4"} 10']


def test_a_reload_in_the_middle_of_a_scrape(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    reloads = iter([True])

    def reload(command: str) -> None:
        if command == "statistic-get-all" and next(reloads, False):
            kea.config = changed(subnet="10.7.0.0/16")
            kea.statistics = {"subnet[1].total-addresses": 9}
            kea.commit("NEW")

    kea.on_ask = reload
    assert lines(bench.scrape()) == ['kea_subnet_addresses{daemon="dhcp4",subnet="10.7.0.0/16",subnet_id="1"} 9']


def test_the_fields_of_the_user_context_can_change(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    assert any("subnet_name" in line for line in lines(bench.scrape()))
    bench.wishes = Wishes(1.0, ())
    assert not any("subnet_name" in line for line in lines(bench.scrape()))


def test_a_daemon_that_is_gone_from_the_settings_leaves_nothing(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    bench.scrape()
    bench.targets = []
    assert bench.scrape() == Scrape({}, [], b"")


# -- bad moments and bad answers


def slowly(connection: socket.socket, answer: bytes) -> None:
    """A byte now and then, until the client gives up."""
    for byte in answer:
        connection.send(bytes([byte]))
        time.sleep(0.1)


def endless(connection: socket.socket, answer: bytes) -> None:
    """100 MB of HTML."""
    for _ in range(100):
        connection.sendall(b"<html>" * ((1 << 20) // 6))


BAD: dict[str, Manner] = {
    "hung": silent,
    "slow": slowly,
    "gone": early,
    "cut": truncated,
    "garbage": saying(b"\x00\xffnonsense"),
    "html": saying(b"<html><body>502 Bad Gateway</body></html>"),
    "endless": endless,
    "empty": saying(b"{}"),
    "list": saying(b"[[[[[["),
    "refused": saying(b'{ "result": 1, "text": "no" }'),
    "wrong": saying(b'{ "result": 0, "arguments": { "uptime": "x", "reload": null } }'),
}


@pytest.mark.parametrize("manner", BAD.values(), ids=BAD)
def test_a_server_that_answers_badly_is_not_up_and_costs_its_timeout_at_most(kea: FakeKea, manner: Manner) -> None:
    kea.manner = manner
    began = time.monotonic()
    scrape = Bench(dhcp4(kea.channel), timeout=0.3).scrape()
    assert time.monotonic() - began < 0.3 + MACHINE
    assert (scrape.up, success(scrape), scrape.text) == ({"dhcp4": False}, {("status",): 0}, b"")


@pytest.mark.parametrize("manner", [manner for name, manner in BAD.items() if name != "wrong"])
@pytest.mark.parametrize("command", ["statistic-get-all", "config-get"])
def test_bad_statistics_cost_only_the_statistics(kea: FakeKea, manner: Manner, command: str) -> None:
    kea.manners[command] = manner
    began = time.monotonic()
    scrape = Bench(dhcp4(kea.channel), timeout=0.5).scrape()
    assert time.monotonic() - began < 0.5 + MACHINE
    assert scrape.up == {"dhcp4": True}
    if (command, manner) != ("config-get", BAD["empty"]):
        assert success(scrape) == {("status",): 1, ("statistics",): 0}
        assert scrape.text == b""
    assert values(scrape, "kea_info") == {("3.0.4",): 1}


@pytest.mark.parametrize("command", ["version-get", "config-hash-get"])
def test_a_command_that_is_refused_costs_only_what_it_tells(kea: FakeKea, command: str) -> None:
    kea.manners[command] = BAD["refused"]
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert (scrape.up["dhcp4"], len(lines(scrape))) == (True, 4)
    assert values(scrape, "kea_info") == ({} if command == "version-get" else {("3.0.4",): 1})


def test_a_server_that_was_restarted_within_the_second_is_another_one(kea: FakeKea) -> None:
    kea.version = (2, 2, 0)
    bench = Bench(dhcp4(kea.channel))
    bench.scrape()
    kea.config, kea.statistics = changed(subnet="10.7.0.0/16"), {"subnet[1].total-addresses": 9}
    kea.status["pid"] = PID + 1
    assert 'subnet="10.7.0.0/16"' in lines(bench.scrape())[0]


def test_after_a_bad_answer_the_next_one_counts(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    good = lines(bench.scrape())
    for manner in (truncated, early, BAD["garbage"]):
        kea.manners["statistic-get-all"] = manner
        assert lines(bench.scrape()) == []
        del kea.manners["statistic-get-all"]
        assert lines(bench.scrape()) == good


def test_statistics_with_names_that_nobody_would_give(kea: FakeKea) -> None:
    kea.statistics |= {'news "of"\nthe\\world': 3, "perf": [["00:00:00.1", "then"]], "empty": []}
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert values(scrape, "kea_unknown_statistic") == {('news "of"\nthe\\world',): 3}
    assert values(scrape, "kea_unknown_statistics") == {(): 3}
    assert len(lines(scrape)) == 4


def test_one_that_hangs_does_not_hide_the_others(kea: FakeKea, tmp_path: Path) -> None:
    with FakeKea.unix(tmp_path / "kea6") as six:
        six.manner = silent
        began = time.monotonic()
        scrape = Bench(dhcp4(kea.channel), Target("dhcp6", PID, six.channel), timeout=0.3).scrape()
        assert time.monotonic() - began < 0.3 + MACHINE
    assert scrape.up == {"dhcp4": True, "dhcp6": False}
    assert len(lines(scrape)) == 4


def test_all_of_them_hang_at_the_same_time(tmp_path: Path) -> None:
    keas = [FakeKea.unix(tmp_path / name) for name in ("dhcp4", "dhcp6", "ddns", "ctrl-agent")]
    try:
        for kea in keas:
            kea.manner = silent
        names = ("dhcp4", "dhcp6", "ddns", "ctrl-agent")
        bench = Bench(*(Target(name, PID, kea.channel) for name, kea in zip(names, keas, strict=True)), timeout=1.0)
        began = time.monotonic()
        scrape = bench.scrape()
        assert 0.9 < time.monotonic() - began < 1.9  # one after the other they would take 4
        assert set(scrape.up.values()) == {False}
    finally:
        for kea in keas:
            kea.close()


def test_a_thread_that_does_not_come_back_is_not_waited_for_and_not_joined_by_others(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel), timeout=0.2)
    release, calls = threading.Event(), []

    def notice(daemon: str, digest: str | None) -> None:
        calls.append(daemon)
        release.wait(10)

    bench.collection = Collection(
        World(lambda: bench.targets, dict, lambda unit, seconds: {}, notice, lambda: bench.wishes)
    )
    for _ in range(3):
        began = time.monotonic()
        assert bench.scrape().up == {"dhcp4": False}
        assert time.monotonic() - began < 0.2 + MACHINE
    assert calls == ["dhcp4"]
    release.set()


def test_a_mistake_of_ours_costs_one_part(kea: FakeKea, caplog: pytest.LogCaptureFixture) -> None:
    def properties(unit: str, timeout: float) -> Mapping[str, Any]:
        raise ZeroDivisionError

    bench = Bench(dhcp4(kea.channel), units={"dhcp4": "kea.service"})
    bench.properties = properties
    scrape = bench.scrape()
    assert success(scrape) == {("status",): 1, ("statistics",): 1, ("unit",): 0}
    assert "ZeroDivisionError" in caplog.text


# -- what an exporter that is in use does wrong, as far as it is not above: kea-exporter 0.7.1, each seen


def test_a_server_that_is_down_at_first_is_there_when_it_comes(tmp_path: Path) -> None:
    bench = Bench(dhcp4(UnixChannel(str(tmp_path / "kea4"))))
    assert bench.scrape().up == {"dhcp4": False}
    with FakeKea.unix(tmp_path / "kea4") as server:
        server.statistics = {"pkt4-received": 1}
        assert len(lines(bench.scrape())) == 1


def test_a_server_that_stops_does_not_hide_the_others(kea: FakeKea, tmp_path: Path) -> None:
    with FakeKea.unix(tmp_path / "kea6") as six:
        bench = Bench(dhcp4(kea.channel), Target("dhcp6", PID, six.channel))
        assert bench.scrape().up == {"dhcp4": True, "dhcp6": True}
    scrape = bench.scrape()
    assert scrape.up == {"dhcp4": True, "dhcp6": False}
    assert len(lines(scrape)) == 4


def test_a_new_statistic_of_the_server_with_the_name_of_a_subnet_s(kea: FakeKea) -> None:
    kea.statistics = {"total-addresses": 5, "pkt4-received": 1, "subnet[1].pkt4-received": 2}
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert lines(scrape) == ['kea_packets_received_total{daemon="dhcp4"} 1']
    assert values(scrape, "kea_unknown_statistic") == {("total-addresses",): 5, ("subnet[1].pkt4-received",): 2}


def test_prefix_pools_and_pools_are_told_apart_and_by_kea_s_number(kea: FakeKea) -> None:
    kea.config = {"Dhcp6": {"subnet6": [{"id": 1, "subnet": "2001:db8::/48"}]}}
    kea.statistics = {
        "subnet[1].pool[0].total-nas": 1, "subnet[1].pool[7].total-nas": 2, "subnet[1].pd-pool[7].total-pds": 4,
        "subnet[1].total-nas": 3, "subnet[1].total-pds": 4,
    }  # fmt: skip
    found = lines(Bench(Target("dhcp6", PID, kea.channel)).scrape())
    assert [line.replace('{daemon="dhcp6",subnet="2001:db8::/48",subnet_id="1"', "{") for line in found] == [
        "kea_subnet_addresses{} 3",
        "kea_subnet_prefixes{} 4",
        'kea_pool_addresses{,pool_id="0"} 1',
        'kea_pool_addresses{,pool_id="7"} 2',
        'kea_pd_pool_prefixes{,pool_id="7"} 4',
    ]


def test_two_servers_of_one_kind_would_have_series_of_their_own(kea: FakeKea) -> None:
    """A host has one of each; the label is there all the same."""
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert all('{daemon="dhcp4"' in line for line in lines(scrape))
    assert all(sample.labels[0] == "dhcp4" for sample in scrape.samples)


# -- scrapes at the same time


def test_scrapes_at_the_same_time_share_one(kea: FakeKea) -> None:
    kea.on_ask = lambda command: time.sleep(0.05)
    bench, found = Bench(dhcp4(kea.channel)), []
    threads = [threading.Thread(target=lambda: found.append(bench.scrape())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kea.asked.count("statistic-get-all") == 1
    assert all(each is found[0] for each in found)
    assert bench.scrape() is not found[0]


# -- High Availability


def ends(local: dict[str, Any], remote: dict[str, Any] | None, mode: str = "hot-standby") -> dict[str, Any]:
    return {"ha-mode": mode, "ha-servers": {"local": local} | ({"remote": remote} if remote is not None else {})}


LOCAL = {"role": "primary", "state": "hot-standby", "scopes": ["server1"], "server-name": "server1"}
REMOTE = {
    "role": "standby", "in-touch": True, "age": 3, "last-state": "hot-standby", "last-scopes": [],
    "communication-interrupted": False, "connecting-clients": 1, "unacked-clients": 2, "unacked-clients-left": 8,
    "analyzed-packets": 5, "server-name": "server2", "clock-skew": -4,
}  # fmt: skip


def test_both_ends_of_a_pair(kea: FakeKea) -> None:
    kea.status["high-availability"] = [ends(LOCAL, REMOTE)]
    kea.unsent_updates = {"server1": 6}
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert success(scrape)["ha",] == 1
    assert values(scrape, "kea_ha_info") == {("1", "hot-standby", "primary", "server1", "standby", "server2"): 1}
    states = values(scrape, "kea_ha_state")
    assert (len(states), sum(states.values()), states["1", "hot-standby"]) == (12, 1, 1)
    partner = values(scrape, "kea_ha_partner_state")
    assert (len(partner), sum(partner.values()), partner["1", "hot-standby"]) == (13, 1, 1)
    assert values(scrape, "kea_ha_scope_served") == {("1", "server1"): 1, ("1", "server2"): 0}
    assert values(scrape, "kea_ha_partner_scope_served") == {("1", "server1"): 0, ("1", "server2"): 0}
    for name, value in {
        "partner_in_touch": 1, "partner_contact_age_seconds": 3, "communication_interrupted": 0,
        "connecting_clients": 1, "unacked_clients": 2, "unacked_clients_left": 8, "analyzed_packets": 5,
        "clock_skew_seconds": -4, "unsent_updates_total": 6,
    }.items():  # fmt: skip
        assert values(scrape, f"kea_ha_{name}") == {("1",): value}, name


def test_a_hub_has_several_relationships(kea: FakeKea) -> None:
    other = LOCAL | {"server-name": "server3", "state": "partner-down"}
    kea.status["high-availability"] = [ends(LOCAL, REMOTE), ends(other, REMOTE | {"last-state": "unavailable"})]
    kea.unsent_updates = {"server1": 6, "server3": 7}
    scrape = Bench(dhcp4(kea.channel)).scrape()
    states = values(scrape, "kea_ha_state")
    assert [key for key, value in states.items() if value] == [("1", "hot-standby"), ("2", "partner-down")]
    assert values(scrape, "kea_ha_partner_state")["2", "unavailable"] == 1
    assert values(scrape, "kea_ha_unsent_updates_total") == {("1",): 6, ("2",): 7}


def test_kea_2_2_tells_no_names_and_no_clocks(kea: FakeKea) -> None:
    def old(end: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in end.items() if key not in ("server-name", "clock-skew")}

    kea.status["high-availability"] = [ends(old(LOCAL), old(REMOTE))]
    kea.unsent_updates = {None: 6}
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert values(scrape, "kea_ha_info") == {("1", "hot-standby", "primary", "", "standby", ""): 1}
    assert values(scrape, "kea_ha_clock_skew_seconds") == {}
    assert values(scrape, "kea_ha_unsent_updates_total") == {("1",): 6}


def test_before_the_first_contact_the_partner_has_no_state_and_no_age(kea: FakeKea) -> None:
    kea.status["high-availability"] = [ends(LOCAL, REMOTE | {"in-touch": False, "age": 0, "last-state": ""})]
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert set(values(scrape, "kea_ha_partner_state").values()) == {0}
    assert values(scrape, "kea_ha_partner_contact_age_seconds") == {}


def test_a_server_without_a_partner(kea: FakeKea) -> None:
    kea.status["high-availability"] = [ends(LOCAL | {"state": "passive-backup"}, None, "passive-backup")]
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert values(scrape, "kea_ha_state")["1", "passive-backup"] == 1
    assert not [sample for sample in scrape.samples if sample.of.name.startswith("kea_ha_partner")]


def test_without_the_heartbeat_the_rest_is_there(kea: FakeKea) -> None:
    kea.status["high-availability"] = [ends(LOCAL, REMOTE)]
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert success(scrape) == {("status",): 1, ("ha",): 0, ("statistics",): 1}
    assert values(scrape, "kea_ha_partner_in_touch") == {("1",): 1}


@pytest.mark.parametrize("section", [None, {}, [5], [{}], [{"ha-servers": {}}], [{"ha-servers": {"local": 5}}]])
def test_what_is_not_shaped_like_ha_is_left_out(kea: FakeKea, section: object) -> None:
    kea.status["high-availability"] = section
    assert success(Bench(dhcp4(kea.channel)).scrape()) == {("status",): 1, ("statistics",): 1}


def test_a_state_that_nobody_knows_yet(kea: FakeKea) -> None:
    kea.status["high-availability"] = [ends(LOCAL | {"state": "dreaming"}, None)]
    states = values(Bench(dhcp4(kea.channel)).scrape(), "kea_ha_state")
    assert (len(states), states["1", "dreaming"], sum(states.values())) == (13, 1, 1)


# -- Kea's condition


def test_why_dhcp_is_disabled(kea: FakeKea) -> None:
    kea.status["dhcp-state"] = {
        "globally-disabled": True, "disabled-by-user": False, "disabled-by-local-command": [1000],
        "disabled-by-remote-command": [], "disabled-by-db-connection": [],
    }  # fmt: skip
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert values(scrape, "kea_dhcp_enabled") == {(): 0}
    by = values(scrape, "kea_dhcp_disabled_by")
    assert by == {("user",): 0, ("local-command",): 1, ("remote-command",): 0, ("db-connection",): 0}


def test_sockets_queue_and_threads(kea: FakeKea) -> None:
    kea.status |= {
        "sockets": {"status": "retrying", "errors": ["eth0", "eth1"]},
        "multi-threading-enabled": True, "thread-pool-size": 4, "packet-queue-size": 64,
        "packet-queue-statistics": [0.5, 0.25, 0.1], "csv-lease-file": "/nowhere/leases.csv",
    }  # fmt: skip
    scrape = Bench(dhcp4(kea.channel)).scrape()
    assert values(scrape, "kea_sockets_state") == {("ready",): 0, ("retrying",): 1, ("failed",): 0}
    assert values(scrape, "kea_socket_errors") == {(): 2}
    assert values(scrape, "kea_thread_pool_threads") == {(): 4}
    assert values(scrape, "kea_packet_queue_limit") == {(): 64}
    assert values(scrape, "kea_packet_queue_length") == {("10",): 0.5, ("100",): 0.25, ("1000",): 0.1}
    assert values(scrape, "kea_lease_file_cleanup_running") == {(): 0}


def test_times_do_not_jump(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    seen = set()
    deadline = time.monotonic() + 2.2
    while time.monotonic() < deadline:
        seen.add(values(bench.scrape(), "kea_config_commit_time_seconds")[()])
    assert len(seen) == 1


# -- units

TOLD = {
    "LoadState": "loaded", "ActiveState": "reloading", "CanReload": True, "NeedDaemonReload": False, "NRestarts": 2,
    "Result": "oom-kill", "MainPID": PID, "ExecMainStartTimestamp": 1_795_251_780_168_604,
    "MemoryCurrent": 1000, "MemoryPeak": 2000, "CPUUsageNSec": 3_500_000_000, "TasksCurrent": 7,
}  # fmt: skip


def unit_samples(told: Mapping[str, Any]) -> dict[str, float]:
    bench = Bench(units={"dhcp4": "kea.service"})
    bench.properties = lambda unit, timeout: told
    scrape = bench.scrape()
    assert success(scrape) == {("unit",): 1}

    def key(sample: Sample) -> str:
        assert sample.labels[:2] == ("dhcp4", "kea.service") or sample.labels[1] == "unit"
        return " ".join([sample.of.name.removeprefix("kea_unit_"), *sample.labels[2:]])

    return {key(sample): sample.value for sample in scrape.samples if sample.of.name.startswith("kea_unit")}


def test_a_unit() -> None:
    found = unit_samples(TOLD)
    ones = [name for name, value in found.items() if re.match("state |result ", name) and value]
    assert ones == ["state reloading", "result oom-kill"]
    assert {name: value for name, value in found.items() if " " not in name} == {
        "restarts_total": 2, "start_time_seconds": 1795251780.168604, "memory_bytes": 1000, "memory_peak_bytes": 2000,
        "cpu_seconds_total": 3.5, "tasks": 7, "can_reload": 1, "needs_daemon_reload": 0,
    }  # fmt: skip


def test_what_systemd_does_not_count_is_the_process_s_own() -> None:
    unset = dict.fromkeys(("MemoryCurrent", "MemoryPeak", "CPUUsageNSec", "TasksCurrent"), (1 << 64) - 1)
    found = unit_samples(TOLD | unset)
    assert found["memory_bytes"] > 1 << 20
    assert found["cpu_seconds_total"] > 0
    assert found["tasks"] >= 1
    assert "memory_peak_bytes" not in found


def test_a_unit_that_does_not_run() -> None:
    found = unit_samples(TOLD | {"MainPID": 0, "ActiveState": "failed"})
    assert found["state failed"] == 1
    assert not {"memory_bytes", "start_time_seconds", "tasks"} & set(found)


def test_a_unit_that_is_not_there() -> None:
    assert unit_samples({"LoadState": "not-found", "ActiveState": "inactive"}) == {}


def test_states_that_systemd_may_learn() -> None:
    found = unit_samples(TOLD | {"ActiveState": "refreshing"})
    assert found["state refreshing"] == 1


def test_systemd_that_cannot_be_asked() -> None:
    def properties(unit: str, timeout: float) -> Mapping[str, Any]:
        raise BusError("no bus")

    bench = Bench(units={"dhcp4": "kea.service"})
    bench.properties = properties
    assert success(bench.scrape()) == {("unit",): 0}


# -- rest


def test_kea_is_left_alone_for_a_while_and_everybody_gets_the_last_scrape(kea: FakeKea) -> None:
    bench = Bench(dhcp4(kea.channel))
    rests: list[float] = []
    resting = Collection(bench.collection._world, lambda seconds: rests.append(seconds) or 3600.0)  # type: ignore[func-returns-value]
    first = resting.collect()
    asked = len(kea.asked)
    assert all(resting.collect() is first for _ in range(100))
    assert len(kea.asked) == asked
    assert len(rests) == 1
    assert rests[0] > 0


def test_after_the_rest_it_is_asked_again(kea: FakeKea) -> None:
    collection = Collection(Bench(dhcp4(kea.channel)).collection._world, lambda _: 0.0)
    assert collection.collect() is not collection.collect()


@pytest.mark.parametrize(
    ("seconds", "pause"), [(0.01, 0.2), (0.1, 2.0), (0.5, 10.0), (1.0, 13.0), (4.0, 10.0), (6.0, 12.0), (10.0, 20.0)]
)
def test_how_long_the_rest_is(seconds: float, pause: float) -> None:
    assert rest(seconds) == pytest.approx(pause)
    if seconds < 4.5:
        assert seconds + rest(seconds) < 15, "who comes every 15 s finds a new one each time"
