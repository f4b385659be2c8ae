# SPDX-License-Identifier: MPL-2.0
"""One daemon's passes, with a real process, sockets, files and checker; only systemd and Kea's answers are stand-ins."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import NEW_HASH, silent
from pipelines import PARTNER_AWAY, SERVER, Host, started

from kea_agent.daemons import DDNS, DHCP4
from kea_agent.errors import BusError, DeniedError
from kea_agent.outcome import Outcome, Stage, Urge
from kea_agent.units import Unit


@pytest.fixture(params=[DDNS], ids=lambda daemon: daemon.name)
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    with started(tmp_path, request.param) as host:
        yield host


with_dhcp4 = pytest.mark.parametrize("host", [DHCP4], indirect=True)


@with_dhcp4
def test_a_rule_rejects_and_another_only_tells(host: Host) -> None:
    pair = '{ "id": 1, "subnet": "192.0.2.1/24" }, { "id": %d, "subnet": "198.51.100.0/24" }'
    host.save(f', "subnet4": [ {pair % 1} ]')
    outcome, reason, _ = host.run()
    assert (outcome, host.checks, host.systemd.reloads) == (Outcome.REJECTED, 0, 0)
    assert "already [subnet-id-duplicate]" in reason
    assert list(host.pipeline.status.warnings) == []
    host.save(f', "subnet4": [ {pair % 2} ]')
    assert host.run()[0] is Outcome.APPLIED
    assert any("[subnet-host-bits]" in warning for warning in host.pipeline.status.warnings)


def test_a_good_file_is_applied(host: Host) -> None:
    assert host.run() == (Outcome.APPLIED, "kea-x.service: it serves the new configuration", False)
    status = host.pipeline.status
    assert (status.config_valid, status.config_in_sync, status.reload_successful) == (True, True, True)
    assert status.running_hash == NEW_HASH
    assert status.last
    assert set(status.last.seconds) == set(Stage) - {Stage.RECOVER}
    assert (status.last.rehearsal, status.last.steps) == ("passed", ())
    assert (host.systemd.reloads, host.checks) == (1, 1)


def test_what_runs_already_is_reloaded_for_whoever_asks_again(host: Host) -> None:
    host.run()
    assert host.run(Urge.AGAIN)[0] is Outcome.APPLIED
    assert host.systemd.reloads == 2


def test_a_restarted_agent_knows_what_runs(host: Host) -> None:
    host.run()
    host.pipeline = host.new_pipeline()
    assert host.run()[:2] == (Outcome.UNCHANGED, "the file means what the server runs")
    assert (host.systemd.reloads, host.checks) == (1, 1)
    assert host.pipeline.status.reloaded_at


def test_another_comment_is_no_change(host: Host) -> None:
    host.run()
    host.save(comment="/* other words */")
    assert host.run()[:2] == (Outcome.UNCHANGED, "the file means what the server runs")
    assert host.systemd.reloads == 1


def test_what_config_write_saved_is_no_change(host: Host) -> None:
    from kea_agent import keaconf

    host.kea.config = keaconf.read(str(host.file), "DhcpDdns").tree
    assert host.run()[:2] == (Outcome.UNCHANGED, "the server runs exactly this already")
    assert host.pipeline.status.config_in_sync


def test_a_server_started_with_the_file_needs_no_reload(host: Host) -> None:
    time.sleep(0.02)  # the file is older than the process by more than a clock tick
    with subprocess.Popen(
        [sys.executable, "-I", "-c", SERVER, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as late:
        assert late.stdout
        late.stdout.readline()
        assert host.systemd.known
        host.systemd.known = replace(host.systemd.known, main_pid=late.pid)
        assert host.run()[:2] == (Outcome.UNCHANGED, "the server was started or reloaded with this file")
        late.kill()


def test_a_file_that_went_away_and_came_back_is_the_newer_word(host: Host) -> None:
    """Somebody saved another file and had it reloaded while the agent was down, and put the first one back."""
    host.run()
    host.kea.commit("C0FFEE")
    host.file.write_bytes(host.file.read_bytes())
    host.pipeline = host.new_pipeline()
    outcome, reason, _ = host.run()
    assert (outcome, host.systemd.reloads) == (Outcome.APPLIED, 2), reason


def test_config_set_is_told_and_not_undone(host: Host) -> None:
    host.run()
    host.kea.commit("C0FFEE")
    outcome, reason, _ = host.run()
    assert outcome is Outcome.UNCHANGED
    assert "changed over its control channel" in reason
    assert host.pipeline.status.config_in_sync is False
    assert host.systemd.reloads == 1


def test_a_deaf_server_is_never_taken_to_run_its_file(host: Host) -> None:
    """A failed reload closes the sockets and keeps the hash: the good file, saved again, has to be loaded."""
    host.run()
    host.tell_server("close")
    host.save(comment="/* as it was */")
    host.systemd.on_reload = host.reload
    assert host.run()[0] is Outcome.APPLIED


def test_a_server_without_a_control_socket_is_not_reloaded_for_nothing(host: Host) -> None:
    host.file.write_text(f'{{ "DhcpDdns": {{ "port": {host.port} }} }}')
    assert host.run()[0] is Outcome.APPLIED
    host.pipeline = host.new_pipeline()
    assert host.run()[:2] == (Outcome.UNCHANGED, "the server was proven to run this file")
    assert host.systemd.reloads == 1


def test_syntax_is_rejected_with_its_place(host: Host) -> None:
    host.file.write_text('{ "DhcpDdns": {\n  "port" 1 } }')
    outcome, reason, _ = host.run()
    assert outcome is Outcome.REJECTED
    assert reason.startswith(f"{host.file}:2:10: ")
    assert reason.endswith("the server was not touched and goes on with what it runs")
    assert (host.pipeline.status.config_valid, host.pipeline.status.config_in_sync) == (False, False)
    assert (host.systemd.reloads, host.checks) == (0, 0)


def test_what_kea_refuses_is_rejected_in_its_own_words(host: Host) -> None:
    host.checker('echo "Error encountered: no such key (/etc/kea/inc.conf:7:3)" >&2; exit 1')
    outcome, reason, _ = host.run()
    assert (outcome, reason.split(";")[0]) == (Outcome.REJECTED, "/etc/kea/inc.conf:7:3: no such key")
    assert host.systemd.reloads == 0


def test_a_missing_file_is_rejected(host: Host) -> None:
    host.file.unlink()
    outcome, reason, _ = host.run()
    assert outcome is Outcome.REJECTED
    assert str(host.file) in reason


def test_a_checker_that_cannot_run_is_no_verdict(host: Host) -> None:
    (host.directory / "checker").unlink()
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried) == (Outcome.DEFERRED, True)
    assert "cannot run" in reason
    assert host.pipeline.status.config_valid is None


def test_a_silent_server_is_left_alone(host: Host) -> None:
    host.kea.manner = silent
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.reloads) == (Outcome.DEFERRED, True, 0)
    assert "no answer" in reason
    assert f"may hang (process {host.server.pid})" in reason


def test_a_unit_that_is_stopped_is_not_reloaded(host: Host) -> None:
    assert host.systemd.known
    host.systemd.known = replace(host.systemd.known, active_state="inactive", sub_state="dead", main_pid=0)
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.reloads) == (Outcome.DEFERRED, False, 0)
    assert reason == "kea-x.service is inactive (dead); the file will be read when it starts"
    assert host.pipeline.status.config_valid


def test_no_unit_no_work(host: Host) -> None:
    host.systemd.known = None
    assert host.run() == (Outcome.DEFERRED, "no unit of ddns is installed", False)
    assert host.pipeline.status.unit is None


@with_dhcp4
def test_the_partner_has_to_be_there(host: Host) -> None:
    host.kea.status["high-availability"] = [PARTNER_AWAY]
    host.daemon = DHCP4
    # A port that is open is what tells a serving server from a deaf one.
    assert host.systemd.known
    argv = (*host.systemd.known.argv, "-p", str(host.port))
    host.systemd.known = replace(host.systemd.known, argv=argv)
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.reloads) == (Outcome.DEFERRED, True, 0)
    assert "not in touch with its HA partner" in reason
    host.run()
    assert host.checks == 1, "a file that waits at the gate is checked once"
    assert host.run(Urge.AGAIN)[0] is Outcome.DEFERRED, "whoever asks for a reload does not ask for an outage"
    assert host.run(Urge.FORCE)[0] is Outcome.APPLIED


@with_dhcp4
def test_a_deaf_server_is_not_held_back_for_its_partner(host: Host) -> None:
    host.kea.status["high-availability"] = [PARTNER_AWAY]
    assert host.run()[0] is Outcome.APPLIED


def test_a_file_that_would_silence_the_server_waits_for_a_person(host: Host) -> None:
    host.rehearsal = replace(host.rehearsal, cpu_seconds=21.0)
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.reloads) == (Outcome.DEFERRED, False, 0)
    assert "without an answer" in reason
    assert host.pipeline.status.config_valid
    assert host.run(Urge.AGAIN)[0] is Outcome.DEFERRED
    assert host.run(Urge.FORCE)[0] is Outcome.APPLIED


def test_a_rehearsal_ends_when_its_file_changes(host: Host) -> None:
    def overwritten(go_on: Callable[[], object]) -> None:
        host.during_rehearsal = lambda go_on: go_on()
        host.save(', "dhcp-server-timeout": 1')
        go_on()
        raise AssertionError("the old file is still rehearsed")

    host.during_rehearsal = overwritten
    assert host.run()[0] is Outcome.APPLIED
    assert (host.rehearsals, host.systemd.reloads) == (2, 1)


def test_a_refused_reload_has_failed(host: Host) -> None:
    host.systemd.on_reload = lambda: None
    outcome, reason, _ = host.run()
    assert outcome is Outcome.FAILED
    assert "still serves the old one" in reason
    assert host.pipeline.status.reload_successful is False


def test_a_server_left_deaf_is_broken(host: Host) -> None:
    host.systemd.on_reload = lambda: host.tell_server("close")
    outcome, reason, _ = host.run()
    assert outcome is Outcome.BROKEN
    assert f"127.0.0.1:{host.port}" in reason


def test_a_server_that_took_the_file_and_lost_its_port_is_broken(host: Host) -> None:
    def commit_and_close() -> None:
        host.kea.commit(NEW_HASH)
        host.tell_server("close")

    host.systemd.on_reload = commit_and_close
    outcome, reason, _ = host.run()
    assert outcome is Outcome.BROKEN
    assert f"UDP 127.0.0.1:{host.port} is not open" in reason


def test_a_server_that_died_is_broken(host: Host) -> None:
    def die() -> None:
        host.tell_server("die")
        assert host.systemd.known
        host.systemd.known = replace(
            host.systemd.known, active_state="activating", sub_state="auto-restart", main_pid=0
        )

    host.systemd.on_reload = die
    outcome, reason, _ = host.run()
    assert outcome is Outcome.BROKEN
    assert f"main process {host.server.pid} is gone" in reason


def test_a_server_stopped_by_a_person_meanwhile_is_not_broken(host: Host) -> None:
    def stop() -> None:
        host.tell_server("die")
        assert host.systemd.known
        host.systemd.known = replace(host.systemd.known, active_state="inactive", sub_state="dead", main_pid=0)

    host.systemd.on_reload = stop
    outcome, reason, _ = host.run()
    assert (outcome, host.systemd.reloads) == (Outcome.DEFERRED, 1)
    assert "the file will be read when it starts" in reason


def test_a_server_restarted_by_a_person_meanwhile_runs_its_file(host: Host) -> None:
    with ExitStack() as stack:

        def restart() -> None:
            host.tell_server("die")
            time.sleep(0.02)  # the file is older than the process by more than a clock tick
            command = [sys.executable, "-I", "-c", SERVER, str(host.port)]
            successor = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(successor.kill)
            assert successor.stdout
            successor.stdout.readline()
            assert host.systemd.known
            host.systemd.known = replace(host.systemd.known, main_pid=successor.pid)
            host.kea.commit(NEW_HASH)

        host.systemd.on_reload = restart
        assert host.run()[0] is Outcome.UNCHANGED


def test_a_reload_that_a_person_began_is_not_done_twice(host: Host) -> None:
    """They save and type `systemctl reload`: what that brings is awaited, and found to be the file."""
    active = host.systemd.known
    assert active
    states = iter([active, replace(active, active_state="reloading")])

    def finished() -> Unit:
        host.reload()
        host.kea.committed += 2  # a second and more after the save, by Kea's clock
        return active

    host.systemd.unit = lambda: next(states, None) or finished()  # type: ignore[method-assign]
    host.kea.config = {"DhcpDdns": {}}
    time.sleep(0.01)
    outcome, reason, _ = host.run()
    assert (outcome, host.systemd.reloads) == (Outcome.UNCHANGED, 0), reason


def test_a_file_that_changes_under_the_check_is_checked_again(host: Host) -> None:
    host.checker(f'[ "$(wc -l < {host.directory}/checks)" -gt 1 ] || echo "// more" >> {host.file}')
    assert host.run()[0] is Outcome.APPLIED
    assert (host.checks, host.systemd.reloads) == (2, 1)


def test_a_file_that_never_stands_still_is_not_reloaded(host: Host) -> None:
    host.checker(f'echo "// more" >> {host.file}')
    outcome, reason, is_to_be_retried = host.run()
    assert (outcome, is_to_be_retried, host.systemd.reloads) == (Outcome.DEFERRED, True, 0)
    assert "kept changing" in reason


@pytest.mark.parametrize(
    ("error", "outcome", "is_to_be_retried"),
    [
        (DeniedError("ReloadUnit kea-x.service: access denied"), Outcome.FAILED, False),
        (BusError("ReloadUnit kea-x.service: connection reset"), Outcome.DEFERRED, True),
    ],
)
def test_systemd_that_refuses(host: Host, error: BusError, outcome: Outcome, is_to_be_retried: bool) -> None:
    def refuse() -> None:
        raise error

    host.systemd.on_reload = refuse
    assert host.run()[::2] == (outcome, is_to_be_retried)
    assert str(error) in (host.pipeline.status.last.reason if host.pipeline.status.last else "")
