# SPDX-License-Identifier: MPL-2.0
"""A right file at the wrong moment: while the HA partner could not take over, it waits, is told, and goes in by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from labs import SUITES, UpLab, grouped
from pairlabs import borrowed, grouped_pair
from pairs import Pair, dhcp4, edit, relationship, settings, wait_for_partner, wait_in_sync

ON_TRIXIE = [grouped_pair("trixie")]
EVERYWHERE = [grouped_pair(suite) for suite in SUITES]
HELD = "so a reload could leave nobody serving"
IN_HURRY = "[gate]\nretry_seconds = 1\ngive_up_seconds = 3\n"
GAVE_UP = "gave up after 3 s of waiting; save the file again or run: kea-agent reload dhcp4"


@pytest.fixture
def pair(up: UpLab, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with borrowed(up(**request.param)) as pair:
        yield pair


def held_back(host: AgentHost, clear_word: str) -> int:
    """Save a good edit and see it deferred; the valid-lifetime that waits."""
    before, reloads, running = host.outcomes(), host.reloads(), host.lifetime()
    lifetime = edit(host)
    reason = host.wait_for("deferred", before)
    assert clear_word in reason
    assert HELD in reason
    host.wait_logged(f"dhcp4: deferred: {reason}")
    status = host.status()
    assert (status["config_valid"], status["config_in_sync"]) == (True, False)
    assert status["retry_at"] is not None
    assert (host.reloads(), host.lifetime()) == (reloads, running)
    return lifetime


def applied_by_itself(host: AgentHost, lifetime: int, applied: int) -> None:
    """The edit goes in without anybody doing anything, in one reload."""
    for _ in wait_for(every=0.2):
        if host.outcomes()["applied"] > applied:
            break
    else:
        raise AssertionError(f"not applied: {host.status()['last']}; the pair: {relationship(host)}")
    assert host.lifetime() == lifetime, host.status()
    assert host.outcomes()["applied"] == applied + 1
    status = host.status()
    assert (status["config_in_sync"], status["retry_at"]) == (True, None)


@pytest.mark.parametrize("pair", EVERYWHERE, indirect=True)
def test_partner_stopped(pair: Pair) -> None:
    host, partner = pair.hosts
    applied = host.outcomes()["applied"]
    dhcp4(partner, "stop")
    wait_for_partner(host, "unavailable")
    lifetime = held_back(host, "not in touch with its HA partner")
    dhcp4(partner, "start")
    applied_by_itself(host, lifetime, applied)


@pytest.mark.parametrize("pair", ON_TRIXIE, indirect=True)
def test_a_deferral_is_told_and_counted_once(pair: Pair) -> None:
    host, partner = pair.hosts
    with settings(host, text="[gate]\nretry_seconds = 0.5\n"):
        before = host.outcomes()
        dhcp4(partner, "stop")
        wait_for_partner(host, "unavailable")
        held_back(host, "not in touch with its HA partner")
        first = host.status()["retry_at"]
        for _ in wait_for():
            if (host.status()["retry_at"] or 0) >= first + 2:
                break
        else:
            raise AssertionError(f"it is not tried again: {host.status()}")
        assert host.outcomes()["deferred"] == before["deferred"] + 1
        dhcp4(partner, "start")
        pair.wait_normal()


@pytest.mark.parametrize("pair", ON_TRIXIE, indirect=True)
def test_partner_cut_off_the_network(pair: Pair) -> None:
    host, partner = pair.hosts
    applied = host.outcomes()["applied"]
    partner.node.plug(connected=False)
    wait_for_partner(host, "unavailable")
    lifetime = held_back(host, "not in touch with its HA partner")
    partner.node.plug(connected=True)
    applied_by_itself(host, lifetime, applied)


@pytest.mark.parametrize("pair", ON_TRIXIE, indirect=True)
def test_neither_partner_is_reloaded_during_maintenance(pair: Pair) -> None:
    host, partner = pair.hosts
    applied = [each.outcomes()["applied"] for each in pair.hosts]
    answer = partner.node.control("dhcp4", "ha-maintenance-start")
    assert answer["result"] == 0, answer
    wait_for_partner(host, "partner-in-maintenance")
    wait_for_partner(partner, "in-maintenance")
    lifetimes = (
        held_back(host, "the HA partner is in state partner-in-maintenance, not hot-standby"),
        held_back(partner, "the HA partner is in state in-maintenance, not hot-standby"),
    )
    answer = partner.node.control("dhcp4", "ha-maintenance-cancel")
    assert answer["result"] == 0, answer
    for each, lifetime, before in zip(pair.hosts, lifetimes, applied, strict=True):
        applied_by_itself(each, lifetime, before)


@pytest.mark.parametrize("pair", ON_TRIXIE, indirect=True)
def test_force_goes_through(pair: Pair) -> None:
    host, partner = pair.hosts
    dhcp4(partner, "stop")
    wait_for_partner(host, "unavailable")
    lifetime = held_back(host, "not in touch with its HA partner")
    done = host.node.run(["kea-agent", "reload", "--force", "dhcp4"], check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("dhcp4: applied: ")
    assert host.lifetime() == lifetime
    # Alone, it serves everybody as soon as it has given the partner up.
    assert relationship(host)["local"]["state"] == "partner-down"
    stays_in_sync(host)


@pytest.mark.parametrize("pair", ON_TRIXIE, indirect=True)
def test_gives_up_and_says_so_and_a_new_save_tries_again(pair: Pair) -> None:
    host, partner = pair.hosts
    with settings(host, text=IN_HURRY):
        applied = host.outcomes()["applied"]
        dhcp4(partner, "stop")
        wait_for_partner(host, "unavailable")
        held_back(host, "not in touch with its HA partner")
        host.wait_logged(GAVE_UP)
        for _ in wait_for():  # the journal is told first
            if host.status()["retry_at"] is None:
                break
        else:
            raise AssertionError(f"it gave up, and means to try again: {host.status()}")
        dhcp4(partner, "start")
        pair.wait_normal()
        for _ in wait_for(2):  # it would be tried twice in this time
            assert host.outcomes()["applied"] == applied
        assert host.status()["config_in_sync"] is False
        lifetime = edit(host)
        applied_by_itself(host, lifetime, applied)


@pytest.mark.parametrize("pair", ON_TRIXIE, indirect=True)
def test_a_deaf_server_is_not_held_back(pair: Pair) -> None:
    """Reloaded while its cable was out, Kea has no socket and never opens one again: another reload can only help."""
    host, partner = pair.hosts
    dhcp4(partner, "stop")
    deafen(host)
    wait_for_partner(host, "unavailable")
    before = host.outcomes()
    lifetime = edit(host)
    for _ in wait_for(every=0.2):
        if host.outcomes()["applied"] > before["applied"]:
            break
    assert (host.lifetime(), host.outcomes()["applied"]) == (lifetime, before["applied"] + 1), host.status()
    assert host.outcomes()["deferred"] == before["deferred"]
    assert hears(host)
    stays_in_sync(host)


def stays_in_sync(host: AgentHost) -> None:
    """What was applied although the partner is away is not tried again: the agent knows what it made Kea run."""
    for _ in wait_for(2, every=0.2):
        host.fresh_metrics()  # a scrape notices a server that runs something else
        status = host.status()
        assert (status["config_in_sync"], status["retry_at"]) == (True, None), status
        assert status["last"]["outcome"] in ("applied", "unchanged"), status
    assert status["running_hash"] == host.node.control("dhcp4", "config-hash-get")["arguments"]["hash"]


def hears(host: AgentHost) -> bool:
    """Is UDP 67 open."""
    return ":67 " in host.node.run(["ss", "--udp", "--listening", "--numeric"]).stdout


def deafen(host: AgentHost) -> None:
    """Have Kea reload, behind the agent's back, while the host's cable is out."""
    host.node.plug(connected=False)
    wait_for_link(host, is_up=False)
    host.node.systemctl("kill", "--kill-whom=main", "--signal=HUP", host.node.unit("dhcp4"))
    for _ in wait_for():
        if not hears(host):
            break
    assert not hears(host)
    host.node.plug(connected=True)
    wait_for_link(host, is_up=True)


def wait_for_link(host: AgentHost, *, is_up: bool) -> None:
    """Wait for what Kea goes by; the kernel tells it up to a second later than the carrier."""
    for _ in wait_for():
        if (host.node.read("/sys/class/net/host0/operstate").strip() == "up") is is_up:
            return
    raise AssertionError(f"host0 is not {'up' if is_up else 'down'}")


@pytest.mark.parametrize("host", [grouped(suite="trixie")], indirect=True)
def test_no_reload_while_the_cable_is_out(host: AgentHost) -> None:
    """Kea closes its sockets, finds the interface not running, and would be deaf also when the cable is back."""
    before, reloads, plain = host.outcomes(), host.reloads(), host.node.read(CONFIG)
    host.node.plug(connected=False)
    wait_for_link(host, is_up=False)
    try:
        lifetime = edit(host)
        assert "no link on host0" in host.wait_for("deferred", before)
        assert host.reloads() == reloads
        host.node.plug(connected=True)
        applied_by_itself(host, lifetime, before["applied"])
        assert hears(host)
    finally:
        host.node.plug(connected=True)
        host.node.replace(CONFIG, plain)
        wait_in_sync(host)
