# SPDX-License-Identifier: MPL-2.0
"""The proof, followed against a fake Kea whose state changes between the looks.

The test process itself is the server: its real UDP sockets are what the kernel shows. `pause`, which the prover calls
between looks, plays the server's next move, so nothing here waits for the clock unless the prover must.
"""

from __future__ import annotations

import ctypes
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest
from fakes import HASH, NEW_HASH, FakeKea
from hypothesis import given
from hypothesis import strategies as st

from kea_agent import verify
from kea_agent.control import UnixChannel
from kea_agent.endpoints import Endpoints
from kea_agent.errors import ControlError
from kea_agent.sockets import Sockets
from kea_agent.verify import Before, Limits, Proof, Prover, Snapshot, Standing, Target, gaps, snapshot, took

QUICK = Limits(command=0.1, answer=0.1, ha=0.1, sockets=0.1)
LONG_AGO = 2.5  # seconds: an answer that late is believed to be the last word


class Server:
    """This process as a server with one UDP socket and, unless it is mute, a control channel."""

    def __init__(self, kea: FakeKea | None) -> None:
        self.kea = kea
        self.pid = os.getpid()
        self.port = 0
        self._socket: socket.socket | None = None
        self.reopen()

    @property
    def endpoints(self) -> Endpoints:
        channel = self.kea.channel if self.kea else None
        return Endpoints(channel, None, self.port, udp=("127.0.0.1", self.port))

    def reopen(self) -> None:
        """Close and open the port; nobody else can take it in between."""
        old, self._socket = self._socket, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        if old is not None:
            old.close()

    def close(self) -> None:
        assert self._socket is not None
        self._socket.close()

    def reload(self, new_hash: str | None = None) -> None:
        assert self.kea is not None
        self.reopen()
        self.kea.commit(new_hash)

    def die(self) -> None:
        self.pid = 0

    def before(self, ago: float = 0.0) -> Before:
        found = verify.before(self.endpoints, self.endpoints.control, os.getpid(), 1.0, time.sleep)
        return replace(found, signalled=found.signalled - ago)

    def prover(
        self, *moves: Callable[[], object], before: Before | None = None, limits: Limits = QUICK, wants_ha: bool = False
    ) -> Prover:
        """A prover whose pauses play the moves, one each."""
        waiting = iter(moves)

        def pause(seconds: float) -> None:
            move = next(waiting, None)
            if move is not None:
                move()
            else:
                time.sleep(min(seconds, 0.02))

        target = Target(os.getpid(), self.endpoints, wants_ha)
        return Prover(target, before or self.before(), limits, lambda: self.pid, pause)

    def prove(self, *moves: Callable[[], object], **more: Any) -> Proof:
        return self.prover(*moves, **more).prove()


def nothing() -> None:
    """A move."""


def never(seconds: float) -> None:
    """A pause that must not be made."""
    raise AssertionError(seconds)


@pytest.fixture
def kea(tmp_path: Path) -> Iterator[FakeKea]:
    with FakeKea.unix(tmp_path / "kea.sock") as fake:
        yield fake


@pytest.fixture
def server(kea: FakeKea) -> Iterator[Server]:
    found = Server(kea)
    yield found
    found.close()


@pytest.fixture
def mute() -> Iterator[Server]:
    found = Server(None)
    yield found
    found.close()


# -- applied


def test_applied_by_hash(server: Server) -> None:
    proof = server.prove(nothing, lambda: server.reload(NEW_HASH))
    assert (proof.standing, proof.reason) == (Standing.SERVING, "it serves the new configuration")
    assert proof.snapshot is not None
    assert proof.snapshot.hash == NEW_HASH


def test_applied_with_an_unchanged_hash(server: Server) -> None:
    assert server.prove(nothing, server.reload).standing is Standing.SERVING


def test_applied_by_age_only(tmp_path: Path) -> None:
    with FakeKea.unix(tmp_path / "kea.sock", version=(2, 2, 0)) as kea:
        server = Server(kea)
        before = server.before()
        assert before.snapshot is not None
        assert before.snapshot.hash is None
        proof = server.prove(nothing, server.reload, before=before)
        server.close()
    assert proof.standing is Standing.SERVING
    assert proof.snapshot is not None
    assert proof.snapshot.hash is None


def test_applied_after_being_busy(server: Server, kea: FakeKea) -> None:
    before = server.before()
    kea.manner = fakes.silent

    def done() -> None:
        kea.manner = fakes.whole
        server.reload()

    assert server.prove(nothing, done, before=before, limits=replace(QUICK, answer=5)).standing is Standing.SERVING


def test_sockets_may_open_a_moment_after_the_commit(server: Server, kea: FakeKea) -> None:
    before = server.before()
    server.close()
    kea.commit(NEW_HASH)
    proof = server.prove(nothing, server.reopen, before=before, limits=replace(QUICK, sockets=5))
    assert proof.standing is Standing.SERVING


def test_a_server_that_could_not_be_asked_before_is_proven_by_its_sockets(server: Server, kea: FakeKea) -> None:
    kea.manner = fakes.early
    before = server.before()
    assert before.snapshot is None
    kea.manner = fakes.whole
    started = time.monotonic()
    assert server.prove(nothing, server.reload, before=before, limits=Limits()).standing is Standing.SERVING
    assert time.monotonic() - started < 1


def test_a_lost_hash_is_not_a_new_one(server: Server, kea: FakeKea) -> None:
    before = server.before(LONG_AGO)
    kea.version = (2, 2, 0)
    assert server.prove(before=before).standing is Standing.REFUSED


# -- not applied


def test_refused(server: Server) -> None:
    proof = server.prove(before=server.before(LONG_AGO))
    assert (proof.standing, proof.reason) == (Standing.REFUSED, "it did not take the file and still serves the old one")
    assert proof.snapshot is not None
    assert proof.snapshot.hash == HASH


def test_it_is_not_refused_before_its_time(server: Server) -> None:
    assert server.prove().standing is Standing.SILENT


def test_an_answer_asked_for_early_and_given_late_is_not_the_last_word(server: Server, kea: FakeKea) -> None:
    before = server.before(LONG_AGO - 1)
    before = replace(before, signalled=time.time() - 1.9)

    def late(command: str) -> None:
        kea.on_ask = lambda _: None
        while time.time() - before.signalled < 2.1:
            time.sleep(0.01)

    kea.on_ask = late
    limits = replace(QUICK, command=5, answer=5)
    assert server.prove(server.reload, before=before, limits=limits).standing is Standing.SERVING


def test_refused_and_deaf(server: Server) -> None:
    before = server.before(LONG_AGO)
    server.close()
    proof = server.prove(before=before)
    assert proof.standing is Standing.DEAF
    assert proof.reason == f"it did not take the file and lost its sockets: closed: 127.0.0.1:{server.port}"


def test_silent(server: Server, kea: FakeKea) -> None:
    before = server.before()
    kea.manner = fakes.silent
    proof = server.prove(before=before)
    assert proof.standing is Standing.SILENT
    assert "no answer on" in proof.reason


@pytest.mark.parametrize("manner", [fakes.truncated, fakes.early, fakes.saying(b"<html>")])
def test_nonsense_is_as_good_as_silence(server: Server, kea: FakeKea, manner: fakes.Manner) -> None:
    before = server.before()
    kea.manner = manner
    proof = server.prove(before=before)
    assert proof.standing is Standing.SILENT
    assert "is not JSON" in proof.reason


def test_deaf_and_its_control_socket_gone(server: Server, kea: FakeKea) -> None:
    before = server.before()
    server.close()
    kea.close()
    proof = server.prove(before=before)
    assert proof.standing is Standing.DEAF
    assert "nobody listens on" in proof.reason
    assert f"closed: 127.0.0.1:{server.port}" in proof.reason


def test_an_undecided_look_has_a_reason(server: Server, kea: FakeKea) -> None:
    kea.manner = fakes.early
    before = server.before()
    kea.manner = fakes.whole
    proof = server.prove(before=before)
    assert (proof.standing, proof.reason) == (Standing.SILENT, "nothing proved within 0.1 s that it took the file")


# -- dead


@pytest.mark.parametrize("successor", [0, 4711])
def test_dead(server: Server, successor: int) -> None:
    server.pid = successor
    proof = server.prove()
    assert (proof.standing, proof.reason) == (Standing.DEAD, f"its main process {os.getpid()} is gone")


def test_a_successor_is_not_taken_for_the_server(server: Server) -> None:
    def restart() -> None:
        server.reload(NEW_HASH)
        server.pid = 4711

    assert server.prove(restart).standing is Standing.DEAD


def test_death_ends_every_wait(server: Server, kea: FakeKea) -> None:
    kea.status["high-availability"] = [ha_entry("waiting")]
    before = server.before()
    server.reload()
    started = time.monotonic()
    assert server.prove(server.die, before=before, limits=Limits(), wants_ha=True).standing is Standing.DEAD
    assert time.monotonic() - started < 5


def test_an_interrupted_pause_ends_every_wait(server: Server) -> None:
    prover = replace(server.prover(limits=Limits()), pause=lambda _: True)
    started = time.monotonic()
    assert prover.prove().standing is Standing.SILENT
    assert time.monotonic() - started < 5


# -- applied, but not serving


def test_taken_and_deaf(server: Server, kea: FakeKea) -> None:
    before = server.before()
    server.close()
    kea.commit(NEW_HASH)
    proof = server.prove(before=before)
    assert proof.standing is Standing.DEAF
    assert proof.reason == f"it took the file but does not serve: UDP 127.0.0.1:{server.port} is not open"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"status": "failed", "errors": ["the interface d0 is down"]}, "the interface d0 is down"),
        ({"status": "retrying", "errors": ["a", "b"]}, "a; b"),
        ({"status": "failed", "errors": []}, "sockets are failed"),
        ({"status": "failed", "errors": None}, "sockets are failed"),
        ({"status": "failed"}, "sockets are failed"),
    ],
)
def test_kea_says_that_its_sockets_failed(server: Server, kea: FakeKea, section: dict[str, Any], words: str) -> None:
    before = server.before()
    server.reload()
    kea.status["sockets"] = section
    proof = server.prove(before=before)
    assert (proof.standing, proof.reason) == (Standing.DEAF, f"it took the file but does not serve: {words}")


def test_disabled_by_the_reload(server: Server, kea: FakeKea) -> None:
    before = server.before()
    server.reload()
    kea.status["dhcp-state"] = {"globally-disabled": True}
    proof = server.prove(before=before)
    assert proof.standing is Standing.DEAF
    assert proof.reason.endswith("the DHCP service is disabled")


def test_disabled_before_and_after(server: Server, kea: FakeKea) -> None:
    kea.status["dhcp-state"] = {"globally-disabled": True}
    assert server.prove(server.reload).standing is Standing.SERVING


def test_disabled_by_ha(server: Server, kea: FakeKea) -> None:
    before = server.before()
    server.reload()
    kea.status |= {"dhcp-state": {"globally-disabled": True}, "high-availability": [ha_entry("waiting")]}
    proof = server.prove(lambda: kea.status.update(both_up()), before=before, wants_ha=True)
    assert proof.standing is Standing.SERVING


def test_it_falls_silent_after_the_commit(server: Server, kea: FakeKea) -> None:
    before = server.before()
    server.reload(NEW_HASH)
    kea.on_ask = lambda _: setattr(kea, "manner", fakes.early if len(kea.asked) > 4 else fakes.whole)
    proof = server.prove(before=before)
    assert proof.standing is Standing.DEAF
    assert "it took the file but does not serve: status-get" in proof.reason


# -- HA


def ha_entry(state: str, partner: str = "hot-standby") -> dict[str, Any]:
    remote = {"in-touch": True, "last-state": partner, "role": "standby"}
    return {"ha-mode": "hot-standby", "ha-servers": {"local": {"state": state, "role": "primary"}, "remote": remote}}


def both_up() -> dict[str, Any]:
    return {"high-availability": [ha_entry("hot-standby")]}


def ha_moves(kea: FakeKea, *states: str) -> list[Callable[[], object]]:
    return [lambda state=state: kea.status.update({"high-availability": [ha_entry(state)]}) for state in states]  # type: ignore[misc]


def test_ha_is_back_after_a_while(server: Server, kea: FakeKea) -> None:
    kea.status |= both_up()
    before = server.before()
    server.reload()
    kea.status["high-availability"] = [ha_entry("waiting")]
    moves = ha_moves(kea, "syncing", "ready", "hot-standby")
    proof = server.prove(*moves, before=before, limits=replace(QUICK, ha=10), wants_ha=True)
    assert (proof.standing, proof.reason) == (Standing.SERVING, "it serves the new configuration, HA is hot-standby")


def test_ha_never_comes_back(server: Server, kea: FakeKea) -> None:
    kea.status["high-availability"] = [ha_entry("waiting")]
    proof = server.prove(server.reload, wants_ha=True)
    assert (proof.standing, proof.reason) == (Standing.DEAF, "HA is waiting after 0.1 s and serves nobody")


@pytest.mark.parametrize("state", ["partner-down", "communication-recovery", "terminated"])
def test_ha_serves_although_the_pair_is_not_whole(server: Server, kea: FakeKea, state: str) -> None:
    kea.status["high-availability"] = [ha_entry(state)]
    proof = server.prove(server.reload, wants_ha=True)
    assert proof.standing is Standing.SERVING
    assert proof.reason == f"it serves the new configuration, HA is {state}: look at the partner"


def test_every_relationship_has_to_be_back(server: Server, kea: FakeKea) -> None:
    kea.status["high-availability"] = [ha_entry("hot-standby"), ha_entry("syncing")]
    proof = server.prove(server.reload, wants_ha=True)
    assert (proof.standing, proof.reason) == (Standing.DEAF, "HA is hot-standby, syncing after 0.1 s and serves nobody")


def test_ha_is_configured_but_not_running(server: Server) -> None:
    proof = server.prove(server.reload, wants_ha=True)
    assert proof.standing is Standing.DEAF
    assert proof.reason.endswith("HA is configured but not running")


def test_ha_is_not_waited_for_when_not_wanted(server: Server, kea: FakeKea) -> None:
    kea.status["high-availability"] = [ha_entry("waiting")]
    proof = server.prove(server.reload, limits=replace(QUICK, ha=0), wants_ha=True)
    assert proof.standing is Standing.SERVING


# -- without a control socket


def test_new_sockets_are_proof(mute: Server) -> None:
    proof = mute.prove(nothing, mute.reopen)
    assert (proof.standing, proof.snapshot) == (Standing.SERVING, None)


def test_old_sockets_are_a_refusal(mute: Server) -> None:
    proof = mute.prove()
    assert proof.standing is Standing.REFUSED
    assert proof.reason == "it did not open its sockets anew within 0.1 s, so it did not take the file"


def test_no_sockets_are_deaf(mute: Server) -> None:
    before = mute.before()
    mute.close()
    proof = mute.prove(before=before)
    assert (proof.standing, proof.reason) == (Standing.DEAF, f"closed: 127.0.0.1:{mute.port}")


# -- what the proof is made of


def test_packet_sockets_are_lost_by_raw_servers_only(mute: Server) -> None:
    before = mute.before(LONG_AGO)
    before = replace(before, sockets=replace(before.sockets, packet=frozenset({"eth0"})))
    raw = replace(mute.endpoints, raw=True)
    assert mute.prove(before=before).standing is Standing.REFUSED
    proof = replace(mute.prover(before=before), target=Target(os.getpid(), raw)).prove()
    assert (proof.standing, proof.reason) == (Standing.DEAF, "closed: packet socket on eth0")


def test_a_snapshot(kea: FakeKea) -> None:
    kea.committed = time.time() - 3.5
    seen = snapshot(kea.channel, 1)
    assert (seen.hash, seen.age in (3, 4)) == (HASH, True)
    assert seen.commit_from <= kea.committed <= seen.commit_to
    assert seen.commit_to - seen.commit_from <= 2


def test_keas_clock_is_not_the_one_of_python() -> None:
    """Right after the turn of a second time(2) is still in the last one: what is compared with it has to be, too."""
    libc = ctypes.CDLL(None)
    libc.time.restype = ctypes.c_long
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        first, kea, last = verify.keas_time(), libc.time(None), verify.keas_time()
        assert math.floor(first) <= kea <= math.floor(last)


def test_a_refusal_at_the_turn_of_a_second_is_one(
    server: Server, kea: FakeKea, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the turn takes a second, in which Kea is still in the last one; a failed reload closes the sockets and commits nothing."""
    before = server.before(LONG_AGO)
    monkeypatch.setattr(time, "time", lambda: verify.keas_time() + 1)
    server.close()
    proof = server.prove(before=before)
    assert proof.reason == f"it did not take the file and lost its sockets: closed: 127.0.0.1:{server.port}"
    seen = snapshot(kea.channel, 1)
    assert seen.commit_from <= math.floor(kea.committed) < seen.commit_to


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b'{"result": 1, "text": "busy"}', "busy"),
        (b'{"result": 401, "text": "Unauthorized"}', "Unauthorized"),
        (b'{"result": 0}', "no reload time in the answer"),
        (b'{"result": 0, "arguments": {"reload": "3"}}', "no reload time in the answer"),
    ],
)
def test_no_snapshot(kea: FakeKea, words: bytes, reason: str) -> None:
    kea.manner = fakes.saying(words)
    with pytest.raises(ControlError, match=reason):
        snapshot(kea.channel, 1)


def test_a_fresh_commit_is_given_its_second(server: Server, kea: FakeKea) -> None:
    kea.commit()
    pauses: list[float] = []

    def age(seconds: float) -> None:
        pauses.append(seconds)
        kea.committed -= 0.4

    before = verify.before(server.endpoints, server.endpoints.control, os.getpid(), 1, age)
    assert 1 <= len(pauses) <= 3
    assert before.snapshot is not None
    assert before.snapshot.age == 1


def test_a_server_that_is_away_is_not_waited_for(tmp_path: Path) -> None:
    endpoints = Endpoints(UnixChannel(str(tmp_path / "none")), None, 1)
    assert verify.before(endpoints, endpoints.control, os.getpid(), 1, never).snapshot is None


def test_gaps_name_everything(mute: Server) -> None:
    mute.close()
    status = {"sockets": {"status": "failed", "errors": ["the interface d0 is down"]}}
    found = gaps(Target(os.getpid(), mute.endpoints, wants_ha=True), Snapshot(None, 0, 0, 0, status))
    assert found == [
        f"UDP 127.0.0.1:{mute.port} is not open",
        "the interface d0 is down",
        "HA is configured but not running",
    ]
    mute.reopen()
    assert gaps(Target(os.getpid(), mute.endpoints, wants_ha=True), None) == []


# -- the arithmetic of whole seconds

SECONDS = st.floats(min_value=0, max_value=100)
DELAYS = st.floats(min_value=0, max_value=5)


def told(commit: float, asked: float, waited: float, ahead: float = 0.0) -> Snapshot:
    """What `snapshot` makes of a commit at this moment when the answer comes after `waited` seconds of Kea's clock.

    By `ahead` seconds time.time() is in front of that clock.
    """
    age = math.floor(asked + waited) - math.floor(commit)
    return Snapshot(None, age, math.floor(asked) - age, math.floor(asked + waited + ahead) - age + 1, {})


@given(
    since=st.floats(min_value=0.001, max_value=100),
    first=DELAYS,
    until_signal=DELAYS,
    until_look=SECONDS,
    second=DELAYS,
    ahead=st.floats(min_value=0, max_value=0.01),
    known=st.booleans(),
)
def test_no_commit_is_never_taken_for_one(
    since: float, first: float, until_signal: float, until_look: float, second: float, ahead: float, known: bool
) -> None:
    asked = 1000 + since
    signalled = asked + first + until_signal
    old = told(1000, asked, first, ahead) if known else None
    before = Before(signalled, old, Sockets({}, {}, frozenset(), {}))
    assert not took(before, told(1000, signalled + until_look, second, ahead))


@given(
    since=st.floats(min_value=1, max_value=100), until_commit=st.floats(min_value=0.001, max_value=60), later=SECONDS
)
def test_every_commit_is_seen_when_the_last_one_is_a_second_old(
    since: float, until_commit: float, later: float
) -> None:
    signalled = 1000 + since
    commit = signalled + until_commit
    before = Before(signalled, told(1000, signalled, 0), Sockets({}, {}, frozenset(), {}))
    assert took(before, told(commit, commit + later, 0))


# The clock is set between the signal and the proof: what was noted before is in the time of the old clock.


def in_the_old_clock(before: Before, ahead: float) -> Before:
    """As if the clock had been set back by `ahead` seconds since then (forward, where it is negative)."""
    old = before.snapshot
    moved = old and replace(old, commit_from=old.commit_from + ahead, commit_to=old.commit_to + ahead)
    return replace(before, signalled=before.signalled + ahead, offset=before.offset + ahead, snapshot=moved)


@pytest.mark.parametrize("ahead", [3.0, 3600.0, -3.0, -3600.0])
@pytest.mark.parametrize("version", [(2, 2, 0), (3, 0, 4)])
def test_a_good_file_is_no_refused_one_because_the_clock_was_set(
    tmp_path: Path, ahead: float, version: tuple[int, int, int]
) -> None:
    with FakeKea.unix(tmp_path / "kea.sock", version=version) as kea:
        server = Server(kea)
        before = in_the_old_clock(server.before(LONG_AGO), ahead)
        server.reload()
        proof = server.prove(before=before)
        server.close()
    assert proof.standing is Standing.SERVING, proof


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_refusal_is_one_when_the_clock_was_set(tmp_path: Path, ahead: float) -> None:
    """Kea has the time of its last commit from the old clock, and tells an age that may be below 0."""
    with FakeKea.unix(tmp_path / "kea.sock", version=(2, 2, 0)) as kea:
        server = Server(kea)
        before = in_the_old_clock(server.before(LONG_AGO), ahead)
        kea.committed += ahead
        proof = server.prove(before=before)
        server.close()
    assert proof.standing is Standing.REFUSED, proof


def test_where_nothing_proves_it_a_server_that_serves_is_left_alone(tmp_path: Path) -> None:
    """It could not be asked before the signal, opens nothing anew, and the clock was set: no reason to take a file back."""
    with FakeKea.unix(tmp_path / "kea.sock", version=(2, 2, 0)) as kea:
        server = Server(kea)
        before = replace(in_the_old_clock(server.before(), 3600.0), snapshot=None)
        proof = server.prove(before=before)
        server.close()
    assert proof.standing is Standing.REFUSED, proof
    assert "the clock was set meanwhile" in proof.reason


def test_seconds_since_the_signal_whatever_the_clock_says(server: Server) -> None:
    before = in_the_old_clock(server.before(LONG_AGO), 3600.0)
    assert before.clock_was_set
    assert LONG_AGO <= before.elapsed < LONG_AGO + 60
