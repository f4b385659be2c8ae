# SPDX-License-Identifier: MPL-2.0
"""What becomes of a server that was hurt, or that does not start; processes and sockets are real."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
from fakes import NEW_HASH
from pipelines import PARTNER_AWAY, SERVER, Host

from kea_agent.daemons import DDNS
from kea_agent.errors import BusError
from kea_agent.outcome import Outcome, Step, Urge
from kea_agent.rehearsal import Rehearsal, Standing
from kea_agent.settings import GateSettings
from kea_agent.units import Unit

FALLBACK = "kea-agent-fallback@ddns.service"
Started = list[subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Started]:
    processes: Started = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def host(tmp_path: Path, started: Started) -> Iterator[Host]:
    """A server that runs a file which is the last known good."""
    started.append(serve(0))
    host = Host(tmp_path, started[0], DDNS)
    assert host.run()[0] is Outcome.APPLIED
    host.systemd.stand_in = replace(unit_of(host), name=FALLBACK, active_state="inactive", sub_state="dead", main_pid=0)
    yield host
    host.kea.close()


def serve(port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", SERVER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def unit_of(host: Host) -> Unit:
    assert host.systemd.known
    return host.systemd.known


def as_it_is(unit: Unit, pid: int) -> Unit:
    """The unit with this process, or stopped."""
    state = ("active", "running") if pid else ("inactive", "dead")
    return replace(unit, active_state=state[0], sub_state=state[1], main_pid=pid)


def down(host: Host, state: str = "failed", sub_state: str = "failed") -> None:
    host.systemd.known = replace(unit_of(host), active_state=state, sub_state=sub_state, main_pid=0)


def close(host: Host) -> Callable[[], None]:
    return lambda: host.tell_server("close")


def reload_to(host: Host, new_hash: str) -> Callable[[], None]:
    """A reload that works."""

    def reload() -> None:
        host.kea.commit(new_hash)
        host.tell_server("reopen")

    return reload


def reopens(host: Host) -> None:
    """config-set with a configuration that works opens the port anew."""
    host.kea.on_ask = lambda command: host.tell_server("reopen") if command == "config-set" else None


def starts(host: Host, started: Started) -> None:
    """systemd starts a server in place of the other one."""

    def restart(name: str) -> None:
        if host.server.poll() is None:
            host.tell_server("die")
        successor = serve(host.port)
        started.append(successor)
        assert successor.stdout
        successor.stdout.readline()
        host.kea.commit()
        is_fallback = name == FALLBACK
        assert host.systemd.stand_in
        host.systemd.stand_in = as_it_is(host.systemd.stand_in, successor.pid if is_fallback else 0)
        host.systemd.known = as_it_is(unit_of(host), 0 if is_fallback else successor.pid)
        host.server = successor

    host.systemd.on_restart = restart


def on_fallback(host: Host, started: Started) -> None:
    """The unit could not start with a new file, and the fallback serves."""
    starts(host, started)
    host.tell_server("die")
    down(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.RECOVERED


def steps(host: Host) -> tuple[tuple[Step, bool], ...]:
    assert host.pipeline.status.last
    return host.pipeline.status.last.steps


def test_a_deaf_server_is_given_the_last_known_good(host: Host) -> None:
    good = json.loads(host.file.read_text())
    host.systemd.on_reload = close(host)
    reopens(host)
    host.save(', "dhcp-server-timeout": 1')
    bad = host.file.read_text()
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, steps(host)) == (Outcome.RECOVERED, False, ((Step.CONFIG_SET, True),)), reason
    assert f"127.0.0.1:{host.port}" in reason
    assert "the file was not touched: mend it and save it" in reason
    assert (host.kea.config, host.file.read_text(), host.systemd.restarts) == (good, bad, [])
    status = host.pipeline.status
    assert (status.config_valid, status.config_in_sync, status.on_fallback) == (False, False, False)


def test_what_hurt_the_server_is_not_tried_again_by_itself(host: Host) -> None:
    host.systemd.on_reload = close(host)
    reopens(host)
    host.save(', "dhcp-server-timeout": 1')
    host.run()
    host.pipeline = host.new_pipeline()
    outcome, reason, _ = host.run()
    assert (outcome, host.systemd.reloads) == (Outcome.REJECTED, 2)
    assert "this very file passed every check and hurt the server" in reason
    host.systemd.on_reload = host.reload
    assert host.run(Urge.AGAIN)[0] is Outcome.APPLIED
    assert host.run()[0] is Outcome.UNCHANGED


def test_a_server_that_answers_nobody_is_replaced(host: Host, started: Started) -> None:
    starts(host, started)

    def die() -> None:
        host.tell_server("die")
        down(host, "activating", "auto-restart")

    host.systemd.on_reload = die
    host.save(', "dhcp-server-timeout": 1')
    outcome, reason, _ = host.run()
    assert (outcome, steps(host)) == (Outcome.RECOVERED, ((Step.FALLBACK, True),)), reason
    status = host.pipeline.status
    assert (status.on_fallback, status.main_pid) == (True, started[-1].pid)
    assert host.systemd.restarts == [FALLBACK]


def test_config_set_that_does_not_help_is_followed_by_the_fallback(host: Host, started: Started) -> None:
    starts(host, started)
    host.systemd.on_reload = close(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.RECOVERED
    assert steps(host) == ((Step.CONFIG_SET, False), (Step.FALLBACK, True))


def test_a_server_that_could_not_be_brought_back_is_tried_again(host: Host) -> None:
    """Whatever was in the way of the last known good, too, went away."""
    host.systemd.on_reload = close(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[::2] == (Outcome.BROKEN, True)
    assert steps(host) == ((Step.CONFIG_SET, False), (Step.FALLBACK, False))
    reopens(host)
    assert host.run()[0] is Outcome.RECOVERED
    assert (steps(host), host.systemd.reloads) == (((Step.CONFIG_SET, True),), 2)


def test_a_fallback_that_serves_after_all_is_told_before_its_file_is_looked_at(host: Host, started: Started) -> None:
    """systemd tried it again, and this time it went."""
    checks = host.checks
    host.tell_server("die")
    down(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.BROKEN
    assert not host.pipeline.is_served()
    starts(host, started)
    host.systemd.on_restart(FALLBACK)
    down(host)
    assert host.pipeline.is_served()
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.checks) == (Outcome.RECOVERED, True, checks)
    assert "the fallback unit serves the last known good configuration after all" in reason
    assert host.pipeline.status.on_fallback
    assert host.run()[0] is Outcome.APPLIED, "now its file has its turn"


def test_word_and_sentence_agree_whenever_the_fallback_has_started(host: Host, started: Started) -> None:
    on_fallback(host, started)
    host.file.write_text("{")
    serving = host.systemd.stand_in
    assert serving
    started.append(subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    found = set()
    for looks in range(6):
        units = chain(repeat(as_it_is(serving, started[-1].pid), looks), repeat(serving))
        host.systemd.fallback = lambda units=units: next(units)  # type: ignore[method-assign,misc]
        outcome, reason, _ = host.run(Urge.AGAIN)
        found.add(outcome)
        assert (outcome is Outcome.BROKEN) == ("nothing serves on this host" in reason), reason
        assert (outcome is Outcome.REJECTED) == ("the fallback unit goes on serving" in reason), reason
    assert found == {Outcome.BROKEN, Outcome.REJECTED}


def test_a_server_that_ends_while_it_starts_is_not_said_to_go_on(host: Host, started: Started) -> None:
    """systemd started it once more with the file that hurt it, and knows of its end a moment later."""
    host.systemd.on_reload = close(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.BROKEN, "and the file is known to hurt"
    host.tell_server("die")

    def reaped(_: float) -> None:
        down(host, "activating", "auto-restart")

    host.pipeline = host.new_pipeline(reaped)
    outcome, reason, _ = host.run()
    assert (outcome, reason.startswith("kea-x.service: failed, systemd tries again")) == (Outcome.BROKEN, True), reason


def test_a_fallback_that_is_still_starting_serves_nobody(host: Host, started: Started) -> None:
    host.tell_server("die")
    down(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.BROKEN
    starting = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started.append(starting)
    assert host.systemd.stand_in
    host.systemd.stand_in = as_it_is(host.systemd.stand_in, starting.pid)
    assert not host.pipeline.is_served()
    host.file.write_text("{")
    outcome, reason, _ = host.run()
    assert (outcome, "nothing serves on this host" in reason) == (Outcome.BROKEN, True), reason


@pytest.mark.parametrize("word", ["serves", "is deaf", "is silent"])
def test_a_broken_server_serves_again_when_it_has_its_port_and_answers(host: Host, word: str) -> None:
    """Whatever was in the way of the last known good went away, and no event tells of it."""
    host.systemd.on_reload = close(host)
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.BROKEN
    assert not host.pipeline.is_served()
    if word != "is deaf":
        host.tell_server("reopen")
    if word == "is silent":
        host.kea.close()
    assert host.pipeline.is_served() is (word == "serves")


def test_nobody_knows_who_serves_while_systemd_is_away(host: Host) -> None:
    def away() -> Unit:
        raise BusError("systemd cannot be reached over D-Bus")

    assert host.pipeline.is_served()
    host.systemd.unit = away  # type: ignore[method-assign]
    assert not host.pipeline.is_served()


def test_without_a_last_known_good_a_hurt_server_is_broken(host: Host) -> None:
    for kept in sorted(host.directory.rglob("*"), reverse=True):
        if "ddns" in kept.name and kept.is_dir():
            subprocess.run(["rm", "-r", str(kept)], check=True)
    host.pipeline = host.new_pipeline()
    host.systemd.on_reload = close(host)
    host.save(', "dhcp-server-timeout": 1')
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.restarts) == (Outcome.BROKEN, False, [])
    assert "no last known good configuration yet" in reason


def test_a_unit_that_cannot_start_is_replaced_before_its_file_is_looked_at(host: Host, started: Started) -> None:
    checks = host.checks
    on_fallback(host, started)
    assert (host.checks, steps(host)) == (checks, ((Step.FALLBACK, True),))
    assert host.pipeline.status.on_fallback


def test_a_unit_that_fails_while_its_next_file_is_rehearsed_is_replaced_at_once(host: Host, started: Started) -> None:
    """On a busy machine a rehearsal takes a minute; nobody serves meanwhile."""
    starts(host, started)

    def fails(go_on: Callable[[], object]) -> None:
        go_on()
        host.tell_server("die")
        down(host, "activating", "auto-restart")
        go_on()

    host.during_rehearsal = fails
    rehearsals = host.rehearsals
    host.save(', "dhcp-server-timeout": 1')
    outcome, reason, _ = host.run()
    assert (outcome, steps(host)) == (Outcome.RECOVERED, ((Step.FALLBACK, True),)), reason
    assert host.rehearsals == rehearsals + 1, "of that file; the fallback needs none"


def test_a_bad_file_leaves_the_fallback_in_place(host: Host, started: Started) -> None:
    on_fallback(host, started)
    host.file.write_text("{")
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried) == (Outcome.REJECTED, True)
    assert reason.endswith("the fallback unit goes on serving the last known good configuration")
    assert host.pipeline.status.on_fallback


def test_a_good_file_takes_over_from_the_fallback(host: Host, started: Started) -> None:
    on_fallback(host, started)
    outcome, reason, _ = host.run()
    assert outcome is Outcome.APPLIED, reason
    assert reason == "kea-x.service was started: it serves the new configuration"
    assert host.systemd.restarts == [FALLBACK, "kea-x.service"]
    assert not host.pipeline.status.on_fallback
    assert host.run()[0] is Outcome.UNCHANGED


def test_a_file_that_failed_before_is_not_tried_without_a_rehearsal(host: Host, started: Started) -> None:
    on_fallback(host, started)
    host.rehearsal = Rehearsal(Standing.NOT_REHEARSED, "no sandbox here", 0.0)
    outcome, reason, _ = host.run()
    assert (outcome, host.systemd.restarts) == (Outcome.DEFERRED, [FALLBACK])
    assert "kea-agent reload --again tries it" in reason
    assert host.run(Urge.AGAIN)[0] is Outcome.APPLIED


def test_a_fallback_waits_for_the_partner_and_not_longer(host: Host, started: Started) -> None:
    on_fallback(host, started)
    host.pipeline.settings = replace(host.pipeline.settings, gate=GateSettings(ha="hold"))
    host.kea.status["high-availability"] = [PARTNER_AWAY]
    for _ in range(2):
        outcome, reason, is_to_be_retried = host.run()
        assert (outcome, is_to_be_retried) == (Outcome.DEFERRED, True)
        assert "not in touch with its HA partner" in reason
    del host.kea.status["high-availability"]
    assert host.run()[0] is Outcome.APPLIED


def test_systemd_away_in_the_middle_is_no_mistake_of_the_agents(host: Host, started: Started) -> None:
    on_fallback(host, started)

    def away() -> Unit:
        raise BusError("systemd cannot be reached over D-Bus")

    host.systemd.fallback = away  # type: ignore[method-assign]
    host.file.write_text("{")
    down(host)
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried) == (Outcome.DEFERRED, True)
    assert "systemd cannot be reached" in reason


def test_a_file_that_fails_again_is_replaced_again(host: Host, started: Started) -> None:
    on_fallback(host, started)
    serve_again = host.systemd.on_restart
    host.systemd.on_restart = lambda name: serve_again(name) if name == FALLBACK else down(host)
    outcome, reason, _ = host.run()
    assert outcome is Outcome.RECOVERED, reason
    assert host.systemd.restarts == [FALLBACK, "kea-x.service", FALLBACK]
    assert host.run()[0] is Outcome.REJECTED, "it is known to hurt by now"


def test_where_the_file_is_the_last_known_good_the_cause_is_elsewhere(host: Host) -> None:
    host.tell_server("die")
    down(host)
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried) == (Outcome.BROKEN, True)
    assert "its file is the last known good, so the cause is elsewhere; it is tried again" in reason
    assert host.systemd.restarts == ["kea-x.service"]


def test_what_systemd_is_about_to_start_again_is_left_to_it(host: Host) -> None:
    host.tell_server("die")
    down(host, "activating", "auto-restart")
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.restarts) == (Outcome.BROKEN, True, [])
    assert "systemd starts it again" in reason


def test_a_unit_that_a_person_stopped_stays_stopped(host: Host) -> None:
    host.tell_server("die")
    down(host, "inactive", "dead")
    host.save(', "dhcp-server-timeout": 1')
    assert host.run()[0] is Outcome.DEFERRED
    assert host.systemd.restarts == []


def test_a_fallback_that_a_person_stopped_stays_stopped(host: Host, started: Started) -> None:
    on_fallback(host, started)
    host.tell_server("die")
    assert host.systemd.stand_in
    host.systemd.stand_in = replace(host.systemd.stand_in, active_state="inactive", sub_state="dead", main_pid=0)
    down(host)
    for _ in range(2):
        outcome, reason, is_to_be_retried = host.run()
        assert (outcome, is_to_be_retried, host.systemd.restarts) == (Outcome.DEFERRED, False, [FALLBACK])
        assert f"{FALLBACK} was stopped" in reason


def test_a_server_found_deaf_with_a_bad_file_is_given_the_last_known_good(host: Host) -> None:
    """It was started with it, or reloaded by somebody, and every check refuses it."""
    reopens(host)
    host.tell_server("close")
    host.file.write_text("{")
    outcome, reason, _ = host.run()
    assert (outcome, steps(host)) == (Outcome.RECOVERED, ((Step.CONFIG_SET, True),))
    assert "runs and serves nobody" in reason


def test_what_the_rehearsal_refuses_is_rejected(host: Host) -> None:
    host.rehearsal = Rehearsal(Standing.REFUSED, "kea said: no such hook", 0.1)
    host.save(', "dhcp-server-timeout": 1')
    reloads = host.systemd.reloads
    outcome, reason, _ = host.run()
    assert (outcome, host.systemd.reloads) == (Outcome.REJECTED, reloads)
    assert "no such hook" in reason


def test_what_could_not_be_rehearsed_is_loaded_and_said(host: Host) -> None:
    host.rehearsal = Rehearsal(Standing.NOT_REHEARSED, "no sandbox here", 0.0)
    host.save(', "dhcp-server-timeout": 1')
    host.kea.commit("another")
    host.systemd.on_reload = reload_to(host, "third")
    assert host.run()[0] is Outcome.APPLIED
    assert host.pipeline.status.last
    assert host.pipeline.status.last.rehearsal == "not rehearsed: no sandbox here"


def test_the_changes_are_told(host: Host) -> None:
    host.save(', "dhcp-server-timeout": 1')
    host.systemd.on_reload = reload_to(host, NEW_HASH + "1")
    assert host.run()[0] is Outcome.APPLIED
    assert host.pipeline.status.last
    assert host.pipeline.status.last.changes == ("+ dhcp-server-timeout: 1",)


def test_a_rehearsal_that_is_required_is_waited_for(host: Host) -> None:
    host.rehearsal = Rehearsal(Standing.NOT_REHEARSED, "no sandbox here", 0.0)
    host.pipeline.settings = replace(
        host.pipeline.settings, check=replace(host.pipeline.settings.check, rehearsal="require")
    )
    host.save(', "dhcp-server-timeout": 1')
    time.sleep(0.01)
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried) == (Outcome.DEFERRED, True)
    assert reason.startswith("not rehearsed: no sandbox here")
