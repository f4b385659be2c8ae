# SPDX-License-Identifier: MPL-2.0
"""One daemon's way from a saved file to a server that is proven to run it, or to the reason why not.

    read ─► unchanged? ─► check, rehearse ─► gate ─► reload, verify ─► remember
                                                         └─► recover: the last known good

A pass is plain code that blocks; the agent gives each daemon a thread for it. Every step hands a frozen dataclass to the
next and any step can end the pass with a `Finding`. Nothing but the reload, and the way back from it, touches Kea.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from kea_agent import check, gate, insync, journal, keaconf, moment, proc, recovery, reloading, standin, units
from kea_agent.candidate import Candidate, Finding, SupersededError
from kea_agent.control import Channel, SilentError
from kea_agent.daemons import Daemon
from kea_agent.endpoints import wanted
from kea_agent.errors import AgentError, ConfigError, ControlError, DeniedError
from kea_agent.history import History
from kea_agent.keaconf import Document
from kea_agent.levels import Judge, Judgement, UnitView
from kea_agent.outcome import DaemonStatus, Outcome, Pass, Stage, Urge
from kea_agent.recovery import Attempt, Recovery
from kea_agent.reloading import Reload, Reloader
from kea_agent.settings import Settings
from kea_agent.standin import StandIn
from kea_agent.store import Store
from kea_agent.units import Unit
from kea_agent.verify import Snapshot, Standing, snapshot

logger = logging.getLogger(__name__)

UNTOUCHED = "the server was not touched and goes on with what it runs"
ON_FALLBACK = "the fallback unit goes on serving the last known good configuration"
AFTER_ALL = "the fallback unit serves the last known good configuration after all"
DOWN = "nothing serves on this host until it starts"
_MAX_ROUNDS = 3
# Seconds after which systemd, too, knows that a process ended.
_REAPED = 0.1


class Systemd(reloading.Systemd, recovery.Starter, Protocol):
    """What a pass needs of systemd; calls may come from any thread and raise BusError."""


@dataclass(frozen=True)
class Memory:
    """What outlives the agent: what was proven to run, and the configurations themselves."""

    store: Store
    history: History


class Pipeline:
    """Takes one daemon through its passes; `status` is always the whole truth known of it."""

    def __init__(
        self,
        daemon: Daemon,
        systemd: Systemd,
        memory: Memory,
        settings: Settings,
        pause: Callable[[float], object],
        judge: Judge | None = None,
    ) -> None:
        self.daemon = daemon
        self.settings = settings
        self._systemd = systemd
        self._memory = memory
        self._pause = pause
        self._judge = judge or Judge(daemon, memory.history)
        self._reloader = Reloader(daemon, systemd, pause)
        self._recovery = Recovery(daemon, systemd, memory.history, pause)
        self._stand_in = StandIn(daemon, systemd, self._recovery)
        self._remembered = memory.store.load(daemon.name)
        self._seconds: dict[Stage, float] = {}
        # A file that passed and waits at the gate is not checked again at every retry, only when the gate opens.
        self._held: str | None = None
        self._judged: Judgement | None = None
        self._warnings: tuple[str, ...] = ()
        self._told: str | None = None
        # Whether the unit is down against its will: it failed, or the fallback serves in its place.
        self._is_away = False
        self._harmful = self._remembered.harmful if self._remembered else ""
        self.channel: Channel | None = None
        last = memory.history.last(daemon.name)
        self.status = DaemonStatus(
            daemon.name,
            reloaded_at=self._remembered.reloaded_at if self._remembered else None,
            last_good_at=last.proven_at if last else None,
        )

    def config_file(self, unit: Unit | None) -> str:
        """The file that matters, by the settings and the unit."""
        return units.config_file(self.daemon, unit, self.settings.daemon[self.daemon.name].config_file)

    def run(self, *, settled: float = 0.0, urge: Urge = Urge.IF_NEEDED) -> tuple[Pass, bool]:
        """One pass; returns it, and whether time alone may change how it ended, so that it is to be tried again.

        `settled`: seconds since the first sign of the change.
        """
        self._seconds = {Stage.SETTLE: settled}
        self._judged = None
        unit, finding = self._advance_unless_superseded(urge)
        done = Pass(
            finding.outcome,
            finding.reason,
            time.time(),
            dict(self._seconds),
            rehearsal=self._judged.rehearsed if self._judged else None,
            steps=finding.steps,
            changes=finding.changes,
        )
        self._conclude(self._after(unit, finding), finding, done)
        return done, finding.retry

    def ended_by_a_mistake(self, words: str) -> Pass:
        """What is left of a pass that went wrong by a fault of ours; what was done to Kea until then stays as it is."""
        reason = f"{words}; Kea goes on as it is, and the file is looked at again by itself"
        last = Pass(Outcome.DEFERRED, reason, time.time(), dict(self._seconds), is_mistake=True)
        self.status = replace(self.status, last=last)
        return last

    def is_served(self) -> bool:
        """Whether the unit or its fallback is proven to serve now; no where systemd cannot be asked."""
        return self._stand_in.is_served()

    def _advance_unless_superseded(self, urge: Urge) -> tuple[Unit | None, Finding]:
        unit: Unit | None = None
        for _ in range(_MAX_ROUNDS):
            try:
                unit = self._systemd.unit()
                return unit, self._advance(unit, urge)
            except SupersededError as event:
                logger.info("%s: %s; starting over", self.daemon.name, event)
            except ConfigError as error:
                return unit, self._rejected(unit, error)
            except DeniedError as error:
                outcome, holds = self._what_holds(unit, Outcome.FAILED)
                return unit, Finding(outcome, f"{error}: the agent's polkit rule is missing; {holds}", valid=True)
            except AgentError as error:
                return unit, Finding(Outcome.DEFERRED, f"{error}; {UNTOUCHED}", retry=True)
        reason = f"the file or the server kept changing while it was being checked; {UNTOUCHED}"
        return unit, Finding(Outcome.DEFERRED, reason, retry=True)

    def _advance(self, unit: Unit | None, urge: Urge) -> Finding:
        if unit is None:
            return Finding(Outcome.DEFERRED, f"no unit of {self.daemon.name} is installed")
        if finding := self._away(unit, urge):
            return finding
        with self._timed(Stage.READ):
            candidate = self._read(unit)
        finding = self._spared(candidate, urge) or self._judge_file(candidate) or self._at_gate(candidate, urge)
        if finding:
            return finding
        return self._start(candidate) if self._is_away else self._reload(candidate)

    def _away(self, unit: Unit, urge: Urge) -> Finding | None:
        """For a unit that is down against its will; None where the file on disk has to be looked at."""
        self._is_away = not unit.is_running and (unit.has_failed or self._stand_in.is_engaged())
        if unit.is_running:
            self._stand_in.stand_down()
        if not self._is_away:
            return None
        with self._timed(Stage.RECOVER):
            finding = self._stand_in.step_in(unit, self.config_file(unit), self.settings)
        return finding or (self._serves_after_all(unit) if urge is Urge.IF_NEEDED else None)

    def _serves_after_all(self, unit: Unit) -> Finding | None:
        """The last word was that nobody serves: that the fallback does is told before its file is looked at for minutes."""
        was_broken = self.status.last is not None and self.status.last.outcome is Outcome.BROKEN
        if not was_broken or not self.is_served():
            return None
        reason = f"{unit.name} is {unit.state}, and {AFTER_ALL}; the file was not touched and is looked at again"
        return Finding(Outcome.RECOVERED, reason, retry=True)

    def _spared(self, candidate: Candidate, urge: Urge) -> Finding | None:
        """What ends the pass before the file is judged: it runs, it hurt the server before, or the gate is shut still."""
        if urge is Urge.IF_NEEDED and (already := self._runs_already(candidate) or self._hurt_before(candidate)):
            return already
        is_held = candidate.document.digest == self._held and not self._is_away
        return self._at_gate(candidate, urge) if is_held else None

    def _judge_file(self, candidate: Candidate) -> Finding | None:
        """None for a file that passes the checks and the rehearsal; raises what is wrong with it."""
        unit, wishes = candidate.unit, self.settings.check
        if unit.load_state != "loaded":  # masked: nobody can start it, in a sandbox either
            wishes = replace(wishes, rehearsal="off")
        view = UnitView.of(self.daemon, unit)
        go_on = partial(self._reloader.ensure_wanted, candidate, self.settings)
        self._judged = judged = self._judge.judge(candidate.document, view, wishes, self._timed, go_on)
        self._tell(candidate.document, judged.warnings)
        if judged.problem:
            raise judged.problem
        if not judged.could_not:
            return None
        outcome, holds = self._what_holds(unit, Outcome.DEFERRED)
        return Finding(outcome, f"{judged.could_not}; {holds}", retry=True)

    def _at_gate(self, candidate: Candidate, urge: Urge) -> Finding | None:
        obstacle = self._timed_gate(candidate, urge)
        if obstacle is None:
            return None
        self._held = candidate.document.digest
        return Finding(Outcome.DEFERRED, obstacle.reason, obstacle.retry, valid=True)

    def _tell(self, document: Document, warnings: tuple[str, ...]) -> None:
        """Once for the same bytes, however often they are judged."""
        self._warnings = warnings
        if document.digest != self._told:
            self._told = document.digest
            for warning in warnings:
                logger.warning("%s", warning)

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
        """Ask the server once it has started; raises SupersededError for one that ended.

        A server that is starting reads the file by itself; asked too early it would look like one that runs something else.
        """
        pid, timeout = candidate.unit.main_pid, self.settings.reload.start_timeout_seconds
        obstacle = gate.starting_obstacle(pid, timeout, self._pause)
        if not proc.is_alive(pid):
            self._pause(_REAPED)
            raise SupersededError(f"process {pid} of {candidate.unit.name} ended before it could be asked")
        return replace(candidate, obstacle=obstacle) if obstacle else self._asked(candidate)

    def _asked(self, candidate: Candidate) -> Candidate:
        """Where the server last answered, or where the new file says: a file may move the control channel."""
        obstacle = None
        known = [channel for channel in (self.channel, candidate.endpoints.control) if channel]
        for channel in dict.fromkeys(known):
            try:
                running = snapshot(channel, self.settings.control.timeout_seconds)
            except SilentError as error:
                hangs = f"{error}: not reloading a server that may hang (process {candidate.unit.main_pid})"
                obstacle = gate.Obstacle(hangs)
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
            self._remember(candidate, candidate.running, self.status.reloaded_at, answer.reason)
        return Finding(Outcome.UNCHANGED, answer.reason, valid=True, in_sync=answer.in_sync, snapshot=candidate.running)

    def _hurt_before(self, candidate: Candidate) -> Finding | None:
        """A file that every check passed and that hurt the server all the same is not tried again by itself."""
        if candidate.document.digest != self._harmful:
            return None
        if self._recovery.is_deaf(candidate.unit):
            why = f"{candidate.unit.name} serves nobody: its port is closed"
            return self._bring_back(candidate.unit, why, candidate.channel, candidate.document)
        outcome, holds = self._what_holds(candidate.unit, Outcome.REJECTED)
        reason = (
            f"{candidate.document.path}: this very file passed every check and hurt the server; change it, or try it "
            f"once more with: kea-agent reload --again {self.daemon.name}; {holds}"
        )
        return Finding(outcome, reason, self._is_away, valid=False)

    def _timed_gate(self, candidate: Candidate, urge: Urge) -> gate.Obstacle | None:
        is_forced = urge is Urge.FORCE
        with self._timed(Stage.GATE):
            if not self._is_away:
                busy = self._judged.cpu_seconds if self._judged else 0.0
                return moment.obstacle(candidate, self.settings.gate, busy, is_forced=is_forced)
            is_sure = urge is not Urge.IF_NEEDED or (self._judged is not None and self._judged.has_passed)
            return None if is_forced else self._stand_in.obstacle(candidate, self.settings, is_sure=is_sure)

    def _reload(self, candidate: Candidate) -> Finding:
        return self._judge_reload(candidate, self._reloader.reload(candidate, self.settings, self._timed))

    def _judge_reload(self, candidate: Candidate, done: Reload) -> Finding:
        name, proof = candidate.unit.name, done.proof
        if proof.standing is Standing.SERVING:
            return self._applied(candidate, proof.snapshot, f"{name}: {proof.reason}")
        if proof.standing is Standing.REFUSED and proof.snapshot:
            busy = gate.lease_cleanup_obstacle(proof.snapshot.status)
            if busy:
                return Finding(Outcome.DEFERRED, busy.reason, retry=True, valid=True)
        said = journal.clause(name, done.began, candidate.document.tree)
        reason = f"{name}: {proof.reason}{said} (reload job: {done.job})"
        if proof.standing is Standing.REFUSED:
            return Finding(Outcome.FAILED, reason, valid=True, snapshot=proof.snapshot)
        return self._bring_back(candidate.unit, reason, candidate.channel, candidate.document)

    def _applied(self, candidate: Candidate, running: Snapshot | None, reason: str) -> Finding:
        last = self._recovery.last_good(candidate.unit)
        changes = last.changes_to(candidate.document.root) if last else ()
        self.channel = candidate.endpoints.control
        self._remember(candidate, running, time.time(), reason)
        expected = self._judged.expected_hash if self._judged else None
        if expected and running and running.hash not in (None, expected):
            logger.warning("%s; it runs %s, the rehearsal ran %s", reason, running.hash, expected)
        for line in changes:
            logger.info("%s: %s", self.daemon.name, line)
        return Finding(Outcome.APPLIED, reason, valid=True, in_sync=True, snapshot=running, changes=changes)

    def _start(self, candidate: Candidate) -> Finding:
        """The unit failed to start before; now its file has passed, or the cause went away."""
        reloading.still_the_same(candidate.document, self.settings)
        began = time.time()
        with self._timed(Stage.RECOVER):
            attempt = self._stand_in.leave(candidate, self.settings)
        if attempt.worked:
            unit = self._systemd.unit() or candidate.unit
            started = replace(candidate, unit=unit)
            return self._applied(started, attempt.proof.snapshot, f"{unit.name} was started: {attempt.proof.reason}")
        said = journal.clause(candidate.unit.name, began, candidate.document.tree)
        why = f"{candidate.unit.name}: {attempt.proof.reason}{said}"
        last = self._recovery.last_good(candidate.unit)
        if last and last.revision.meaning == candidate.document.meaning:
            reason = f"{why}; its file is the last known good, so the cause is elsewhere; it is tried again"
            return Finding(Outcome.BROKEN, reason, retry=True, valid=True)
        return self._bring_back(candidate.unit, why, None, candidate.document)

    def _bring_back(self, unit: Unit, why: str, channel: Channel | None, harmful: Document | None = None) -> Finding:
        with self._timed(Stage.RECOVER):
            last = self._recovery.last_good(unit)
            attempts = self._recovery.bring_back(unit, last, channel, self.settings) if last else []
        done = attempts[-1] if attempts and attempts[-1].worked else None
        if last and done:
            self.channel = last.target.endpoints.control
        # A last known good that hurts is not to blame: something else is wrong.
        is_to_blame = harmful is not None and (last is None or harmful.meaning != last.revision.meaning)
        self._remember_hurt(harmful.digest if harmful and is_to_blame else "", done)
        return standin.told(why, last, attempts)

    def _remember_hurt(self, harmful: str, done: Attempt | None) -> None:
        """The file that hurt the server, by its digest; brought back, it runs what was remembered since another moment."""
        self._harmful = harmful or self._harmful
        if self._remembered is None:
            return
        known = replace(self._remembered, harmful=self._harmful)
        if done and (seen := done.proof.snapshot):
            known = replace(known, pid=done.pid, hash=seen.hash, committed_at=seen.commit_to)
        self._remembered = known
        self._memory.store.save(self.daemon.name, known)

    def _rejected(self, unit: Unit | None, error: ConfigError) -> Finding:
        """Nothing is loaded; a server that serves nobody is given what it served with before."""
        if unit and self._recovery.is_deaf(unit):
            why = f"{error}; {unit.name} runs and serves nobody: its port is closed"
            return self._bring_back(unit, why, self.channel)
        outcome, holds = self._what_holds(unit, Outcome.REJECTED)
        return Finding(outcome, f"{error}; {holds}", retry=self._is_away, valid=False)

    def _what_holds(self, unit: Unit | None, outcome: Outcome) -> tuple[Outcome, str]:
        """The outcome, unless nobody serves: then that is what counts; and what goes on although the file is not loaded."""
        if unit is None or not self._is_away:
            return outcome, UNTOUCHED
        if self._stand_in.is_serving():
            return outcome, ON_FALLBACK
        said = standin.complaint(unit, self.daemon, self.config_file(unit))
        return Outcome.BROKEN, f"{unit.name} is {unit.state}: {DOWN}{said}"

    def _remember(self, candidate: Candidate, running: Snapshot | None, reloaded_at: float | None, proof: str) -> None:
        document, argv = candidate.document, candidate.unit.argv
        self._harmful = ""
        self._remembered = insync.remembered(candidate, running, reloaded_at)
        self._memory.store.save(self.daemon.name, self._remembered)
        revision = self._memory.history.keep(
            self.daemon.name,
            Path(document.path).name,
            document.tree,
            meaning=document.meaning,
            hash=self._remembered.hash,
            kea_version=_version(argv),
            proof=proof,
            at=time.time(),
        )
        if revision:
            self.status = replace(self.status, last_good_at=revision.proven_at)

    def _after(self, unit: Unit | None, finding: Finding) -> Unit | None:
        """The unit as it is now, where this pass started or stopped something."""
        try:
            return self._systemd.unit() if finding.steps else unit
        except AgentError:
            return unit

    def _conclude(self, unit: Unit | None, finding: Finding, done: Pass) -> None:
        is_applied = finding.outcome is Outcome.APPLIED
        was_tried = Stage.RELOAD in done.seconds and finding.outcome is not Outcome.DEFERRED
        path = self.config_file(unit)
        self.status = replace(
            self.observed(unit, self._fallback(unit)),
            config_file=path,
            included_files=keaconf.file_set(path, max_bytes=self.settings.check.max_config_bytes)[1:],
            config_valid=self.status.config_valid if finding.valid is None else finding.valid,
            config_in_sync=finding.in_sync if unit else None,
            reload_successful=is_applied if is_applied or was_tried else self.status.reload_successful,
            reloaded_at=done.at if is_applied else self.status.reloaded_at,
            running_hash=finding.snapshot.hash if finding.snapshot else self.status.running_hash,
            last=done,
            retry_at=None,
            warnings=() if finding.outcome is Outcome.REJECTED else self._warnings,
        )

    def _fallback(self, unit: Unit | None) -> Unit | None:
        try:
            return None if unit is None or unit.is_running else self._systemd.fallback()
        except AgentError:
            return None

    def observed(self, unit: Unit | None, fallback: Unit | None) -> DaemonStatus:
        """The status with the units as systemd has them now; the fallback's is only looked at when the unit is down."""
        if unit is None:
            return replace(self.status, unit=None, unit_state=None, main_pid=None, on_fallback=False)
        is_on_fallback = fallback is not None and fallback.is_running and not unit.is_running
        pid = fallback.main_pid if fallback and is_on_fallback else unit.main_pid
        return replace(
            self.status, unit=unit.name, unit_state=unit.state, main_pid=pid or None, on_fallback=is_on_fallback
        )

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - started


def _version(argv: Sequence[str]) -> str | None:
    found = check.version_of(argv[0]) if argv else None
    return ".".join(map(str, found)) if found else None
