# SPDX-License-Identifier: MPL-2.0
"""One daemon's way from a saved file to a server that is proven to run it, or to the reason why not.

    read ─► unchanged? ─► check ─► gate ─► reload ─► verify ─► remember

A pass is plain code that blocks; the agent gives each daemon a thread for it. Every step hands a frozen dataclass
to the next and any step can end the pass with a `Finding`. Whatever is cut off in the middle leaves Kea serving,
because nothing but the reload itself touches it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from kea_agent import check, gate, insync, journal, keaconf, proc, redact, rulebook, units, verify, voucher
from kea_agent.candidate import Candidate
from kea_agent.control import Channel, SilentError
from kea_agent.daemons import Daemon
from kea_agent.endpoints import wanted
from kea_agent.errors import AgentError, ConfigError, ControlError, DeniedError
from kea_agent.outcome import DaemonStatus, Outcome, Pass, Stage, Urge
from kea_agent.settings import Settings
from kea_agent.store import Store
from kea_agent.units import Unit
from kea_agent.verify import Before, Limits, Proof, Prover, Snapshot, Standing, snapshot

logger = logging.getLogger(__name__)

UNTOUCHED = "the server was not touched and goes on with what it runs"
_MAX_ROUNDS = 3
# How often, and how many seconds apart, a unit is looked at whose process ended while it was being watched.
_STOP_ROUNDS = 50
_STOP_PAUSE = 0.1


class Systemd(Protocol):
    """What a pass needs of systemd; calls may come from any thread and raise BusError."""

    def unit(self) -> Unit | None:
        """The daemon's unit as it is now, None where there is none."""

    def reload(self, unit: Unit, timeout: float) -> str:
        """Reload the unit and wait (seconds); returns systemd's job result, or `signalled` without a job."""


@dataclass(frozen=True)
class Finding:
    """How a pass ended. `retry`: a deferral that time alone may end. `valid`: what was learnt of the file."""

    outcome: Outcome
    reason: str
    retry: bool = False
    valid: bool | None = None
    in_sync: bool = False
    snapshot: Snapshot | None = None


class _SupersededError(Exception):
    """What was learnt speaks of something else by now; the message says what happened meanwhile."""


class Pipeline:
    """Takes one daemon through its passes; `status` is always the whole truth known of it."""

    def __init__(
        self, daemon: Daemon, systemd: Systemd, store: Store, settings: Settings, pause: Callable[[float], object]
    ) -> None:
        self.daemon = daemon
        self.settings = settings
        self._systemd = systemd
        self._store = store
        self._pause = pause
        self._remembered = store.load(daemon.name)
        self._seconds: dict[Stage, float] = {}
        # A file that passed and waits at the gate is not checked again at every retry, only when the gate opens.
        self._held: str | None = None
        self._told: str | None = None
        self._warnings: tuple[str, ...] = ()
        self.channel: Channel | None = None
        reloaded_at = self._remembered.reloaded_at if self._remembered else None
        self.status = DaemonStatus(daemon.name, reloaded_at=reloaded_at)

    def config_file(self, unit: Unit | None) -> str:
        """The file that matters, by the settings and the unit."""
        return units.config_file(self.daemon, unit, self.settings.daemon[self.daemon.name].config_file)

    def run(self, *, settled: float = 0.0, urge: Urge = Urge.IF_NEEDED) -> tuple[Pass, bool]:
        """One pass; returns it, and whether it is a deferral to be tried again.

        `settled`: seconds since the first sign of the change.
        """
        self._seconds = {Stage.SETTLE: settled}
        unit, finding = self._advance_unless_superseded(urge)
        done = Pass(finding.outcome, finding.reason, time.time(), dict(self._seconds))
        self._conclude(unit, finding, done)
        return done, finding.retry

    def _advance_unless_superseded(self, urge: Urge) -> tuple[Unit | None, Finding]:
        unit: Unit | None = None
        for _ in range(_MAX_ROUNDS):
            try:
                unit = self._systemd.unit()
                return unit, self._advance(unit, urge)
            except _SupersededError as event:
                logger.info("%s: %s; starting over", self.daemon.name, event)
            except AgentError as error:
                return unit, _given_up(error)
        reason = f"the file or the server kept changing while it was being checked; {UNTOUCHED}"
        return unit, Finding(Outcome.DEFERRED, reason, retry=True)

    def _advance(self, unit: Unit | None, urge: Urge) -> Finding:
        if unit is None:
            return Finding(Outcome.DEFERRED, f"no unit of {self.daemon.name} is installed")
        with self._timed(Stage.READ):
            candidate = self._read(unit)
        if urge is Urge.IF_NEEDED and (already := self._runs_already(candidate)):
            return already
        if candidate.document.digest == self._held and (obstacle := self._timed_gate(candidate, urge)):
            return Finding(Outcome.DEFERRED, obstacle.reason, obstacle.retry, valid=True)
        with self._timed(Stage.CHECK):
            verdict = self._check(candidate)
        if verdict.problem:
            raise verdict.problem
        if verdict.could_not:
            return Finding(Outcome.DEFERRED, f"{verdict.could_not}; {UNTOUCHED}", retry=True)
        if obstacle := self._timed_gate(candidate, urge):
            self._held = candidate.document.digest
            return Finding(Outcome.DEFERRED, obstacle.reason, obstacle.retry, valid=True)
        return self._reload_and_verify(candidate)

    def _read(self, unit: Unit) -> Candidate:
        limit = self.settings.check.max_config_bytes
        document = keaconf.read(self.config_file(unit), self.daemon.root_key, max_bytes=limit)
        for warning in document.warnings:
            logger.warning("%s", warning)
        endpoints = wanted(self.daemon, document.root, unit.argv, unit.environment)
        self.channel = self.channel or endpoints.control
        candidate = Candidate(document, unit, endpoints)
        return self._with_snapshot(candidate) if unit.is_running else candidate

    def _with_snapshot(self, candidate: Candidate) -> Candidate:
        """Ask the server, once it has started, where it last answered or where the new file says.

        A file may move the control channel. A server that is starting reads the file by itself; asked too early it
        would look like one that runs something else.
        """
        pid, timeout = candidate.unit.main_pid, self.settings.reload.start_timeout_seconds
        obstacle = gate.starting_obstacle(pid, timeout, self._pause)
        if obstacle is not None:
            return replace(candidate, obstacle=obstacle)
        known = [channel for channel in (self.channel, candidate.endpoints.control) if channel]
        for channel in dict.fromkeys(known):
            try:
                running = snapshot(channel, self.settings.control.timeout_seconds)
            except SilentError as error:
                obstacle = gate.Obstacle(f"{error}: not reloading a server that may hang (process {pid})")
            except ControlError as error:
                logger.debug("%s", error)
            else:
                return replace(candidate, running=running, channel=channel)
        return replace(candidate, obstacle=obstacle)

    def _runs_already(self, candidate: Candidate) -> Finding | None:
        answer = insync.look(self._remembered, candidate, self.settings.control.timeout_seconds)
        if answer is None:
            return None
        if answer.in_sync:
            self._remember(candidate, candidate.running, self.status.reloaded_at)
        return Finding(Outcome.UNCHANGED, answer.reason, valid=True, in_sync=answer.in_sync, snapshot=candidate.running)

    def _check(self, candidate: Candidate) -> check.Verdict:
        limits = check.Limits(self.settings.check.timeout_seconds, self.settings.check.output_bytes)
        argv = candidate.unit.argv or (f"/usr/sbin/{self.daemon.binary}",)
        environment = candidate.unit.environment
        verdict = rulebook.judge(self.daemon, candidate.document, argv, environment, self.settings.check)
        self._tell(candidate.document, verdict.warnings)
        if verdict.problem:
            return verdict
        said = check.with_kea(argv, environment, candidate.document.path, limits)
        verdict = rulebook.without_secrets(said, candidate.document)
        for warning in verdict.warnings:
            logger.debug("%s: %s", candidate.document.path, warning)
        return verdict

    def _tell(self, document: keaconf.Document, warnings: tuple[str, ...]) -> None:
        """Once for the same bytes, however often they are checked."""
        if document.digest != self._told:
            self._told = document.digest
            for warning in warnings:
                logger.warning("%s", warning)
        self._warnings = warnings

    def _timed_gate(self, candidate: Candidate, urge: Urge) -> gate.Obstacle | None:
        with self._timed(Stage.GATE):
            return self._gate(candidate, is_forced=urge is Urge.FORCE)

    def _gate(self, candidate: Candidate, *, is_forced: bool) -> gate.Obstacle | None:
        obstacle = gate.unit_obstacle(candidate.unit) or candidate.obstacle
        if obstacle is None and candidate.running:
            obstacle = gate.lease_cleanup_obstacle(candidate.running.status)
        if obstacle is None and candidate.running and self.settings.gate.ha == "hold" and not is_forced:
            obstacle = None if self._is_deaf(candidate) else gate.ha_obstacle(candidate.running.status)
        if obstacle is None and not is_forced:
            obstacle = gate.link_obstacle(self._interfaces_at_stake(candidate))
        return obstacle

    def _interfaces_at_stake(self, candidate: Candidate) -> list[str]:
        """Those that the file wants and the server has open now; all of them where it has none, and hears nobody."""
        sockets = candidate.endpoints.sockets(candidate.unit.main_pid)
        wanted_now = {spelled.partition("/")[0] for spelled in candidate.endpoints.interfaces}
        names = sorted(wanted_now - {"*"} | (sockets.packet if "*" in wanted_now else set()))
        if self._is_deaf(candidate):
            return names
        if candidate.endpoints.raw:
            return [name for name in names if name in sockets.packet]
        # A DHCPv6 server has each interface's own address; which interfaces UDP sockets of DHCPv4 are for is not seen.
        return [name for name in names if (sockets.link_local.get(name), candidate.endpoints.port) in sockets.udp]

    def _is_deaf(self, candidate: Candidate) -> bool:
        """A server with no DHCP port open serves nobody: a reload can only help, whatever the partner does."""
        sockets = candidate.endpoints.sockets(candidate.unit.main_pid)
        return not any(port == candidate.endpoints.port for _, port in sockets.udp)

    def _reload_and_verify(self, candidate: Candidate) -> Finding:
        document, unit = candidate.document, candidate.unit
        if keaconf.fingerprint(document.files, max_bytes=self.settings.check.max_config_bytes) != document.digest:
            raise _SupersededError("the file changed while it was being checked")
        if not proc.catches_sighup(unit.main_pid):
            raise _SupersededError(f"process {unit.main_pid} of {unit.name} ended while its file was being checked")
        self._let_others_finish(unit)
        before = verify.before(
            candidate.endpoints, candidate.channel, unit.main_pid, self.settings.control.timeout_seconds, self._pause
        )
        began = time.time()
        with self._timed(Stage.RELOAD), self._vouched(document):
            result = self._systemd.reload(unit, self.settings.reload.timeout_seconds)
        with self._timed(Stage.VERIFY):
            proof = self._prove(candidate, before)
        return self._judge(candidate, proof, result, began)

    def _let_others_finish(self, unit: Unit) -> None:
        """A person who saves and types `systemctl reload` has begun this very reload: a second one would cost HA again."""
        rounds = int(self.settings.reload.timeout_seconds / _STOP_PAUSE)
        for number in range(rounds):
            now = self._systemd.unit()
            if now is None or now.active_state != "reloading":
                if number:
                    raise _SupersededError(f"{unit.name} was reloaded by somebody else meanwhile")
                return
            self._pause(_STOP_PAUSE)

    @contextmanager
    def _vouched(self, document: keaconf.Document) -> Iterator[None]:
        """Meanwhile the unit's ExecReload is a bare signal: this pass has just checked and will verify."""
        try:
            voucher.write(self.daemon)
        except OSError as error:
            logger.debug("cannot vouch for %s, it will be checked once more: %s", document.path, error)
        try:
            yield
        finally:
            voucher.withdraw(self.daemon)

    def _prove(self, candidate: Candidate, before: Before) -> Proof:
        settings, pid = self.settings, candidate.unit.main_pid
        limits = Limits(
            settings.control.timeout_seconds, settings.verify.timeout_seconds, settings.verify.ha_timeout_seconds
        )
        return Prover(candidate.target, before, limits, lambda: pid if proc.is_alive(pid) else 0, self._pause).prove()

    def _judge(self, candidate: Candidate, proof: Proof, job: str, began: float) -> Finding:
        name = candidate.unit.name
        if proof.standing is Standing.SERVING:
            self.channel = candidate.endpoints.control
            self._remember(candidate, proof.snapshot, time.time())
            reason = f"{name}: {proof.reason}"
            return Finding(Outcome.APPLIED, reason, valid=True, in_sync=True, snapshot=proof.snapshot)
        if proof.standing is Standing.DEAD and self._was_ended_on_purpose(candidate.unit):
            raise _SupersededError(f"{name} was stopped or restarted while it was being watched")
        if proof.standing is Standing.REFUSED and proof.snapshot:
            busy = gate.lease_cleanup_obstacle(proof.snapshot.status)
            if busy:
                return Finding(Outcome.DEFERRED, busy.reason, retry=True, valid=True)
        said = redact.cleaned(journal.complaint(name, began) or "", candidate.document.tree)
        reason = f"{name}: {proof.reason}" + (f"; kea said: {said}" if said else "") + f" (reload job: {job})"
        outcome = Outcome.FAILED if proof.standing is Standing.REFUSED else Outcome.BROKEN
        return Finding(outcome, reason, valid=True, snapshot=proof.snapshot)

    def _was_ended_on_purpose(self, old: Unit) -> bool:
        """Whether somebody stopped or restarted the unit; one that systemd has to start again died of the reload."""
        for _ in range(_STOP_ROUNDS):
            unit = self._systemd.unit()
            if unit is None or unit.active_state == "inactive":
                return True
            if unit.is_running and unit.main_pid != old.main_pid:
                return True
            if unit.active_state != "deactivating" and unit.sub_state in ("failed", "auto-restart"):
                return False
            self._pause(_STOP_PAUSE)
        return False

    def _remember(self, candidate: Candidate, running: Snapshot | None, reloaded_at: float | None) -> None:
        self._remembered = insync.remembered(candidate, running, reloaded_at)
        self._store.save(self.daemon.name, self._remembered)

    def _conclude(self, unit: Unit | None, finding: Finding, done: Pass) -> None:
        tried = finding.outcome in (Outcome.APPLIED, Outcome.FAILED, Outcome.BROKEN)
        path = self.config_file(unit)
        self.status = replace(
            self.observed(unit),
            config_file=path,
            included_files=keaconf.file_set(path, max_bytes=self.settings.check.max_config_bytes)[1:],
            config_valid=self.status.config_valid if finding.valid is None else finding.valid,
            config_in_sync=finding.in_sync if unit else None,
            reload_successful=(finding.outcome is Outcome.APPLIED) if tried else self.status.reload_successful,
            reloaded_at=done.at if finding.outcome is Outcome.APPLIED else self.status.reloaded_at,
            running_hash=finding.snapshot.hash if finding.snapshot else self.status.running_hash,
            last=done,
            retry_at=None,
            warnings=() if finding.outcome is Outcome.REJECTED else self._warnings,
        )

    def observed(self, unit: Unit | None) -> DaemonStatus:
        """The status with the unit as systemd has it now."""
        if unit is None:
            return replace(self.status, unit=None, unit_state=None, main_pid=None)
        return replace(self.status, unit=unit.name, unit_state=unit.state, main_pid=unit.main_pid or None)

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[stage] = time.monotonic() - started


def _given_up(error: AgentError) -> Finding:
    """What an error makes of a pass; all of them come up before Kea is touched."""
    if isinstance(error, ConfigError):
        return Finding(Outcome.REJECTED, f"{error}; {UNTOUCHED}", valid=False)
    if isinstance(error, DeniedError):
        return Finding(Outcome.FAILED, f"{error}: the agent's polkit rule is missing; {UNTOUCHED}", valid=True)
    return Finding(Outcome.DEFERRED, f"{error}; {UNTOUCHED}", retry=True)
