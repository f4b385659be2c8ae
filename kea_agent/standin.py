# SPDX-License-Identifier: MPL-2.0
"""Who serves when the unit cannot: the last known good configuration takes the file's place, and gives it back.

The unit that failed to start is not always its file's fault. Where the file is the last known good one nothing else
would serve better, and systemd goes on trying it. A unit that a person stopped stays stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kea_agent import journal, keaconf, moment, proc, verify
from kea_agent.candidate import Candidate, Finding
from kea_agent.daemons import Daemon
from kea_agent.down import explain
from kea_agent.errors import BusError, ConfigError, ControlError
from kea_agent.gate import Obstacle
from kea_agent.outcome import Outcome, Step
from kea_agent.recovery import Attempt, LastGood, Recovery, Starter, fallback_unit
from kea_agent.settings import Settings
from kea_agent.units import Unit

NOTHING_KEPT = "there is no last known good configuration yet to serve instead"


class StandIn:
    """One daemon's fallback: when it steps in, and when it may leave."""

    def __init__(self, daemon: Daemon, systemd: Starter, recovery: Recovery) -> None:
        self._daemon = daemon
        self._systemd = systemd
        self._recovery = recovery
        # The files with which the unit failed to start, as far as this agent saw it.
        self._failed: str | None = None
        self._was_serving = False
        # A person stopped it, and wants nobody to serve until the unit is started.
        self._is_called_off = False

    def stand_down(self) -> None:
        """The unit runs: whatever was is over."""
        self._was_serving = self._is_called_off = False

    def is_serving(self) -> bool:
        """Whether the fallback has started; no where systemd cannot be asked: this is for words on what holds."""
        try:
            unit = self._systemd.fallback()
        except BusError:
            return False
        return unit is not None and unit.is_running and proc.catches_sighup(unit.main_pid)

    def is_served(self) -> bool:
        """Whether the unit, or the fallback in its place, is proven to serve now; no where systemd cannot be asked."""
        try:
            unit, fallback = self._systemd.unit(), self._systemd.fallback()
        except BusError:
            return False
        return unit is not None and any(self._recovery.is_served(unit, by) for by in (unit, fallback))

    def is_engaged(self) -> bool:
        """Whether the fallback unit runs, or systemd tries to make it run: it was not a person who stopped it."""
        unit = self._systemd.fallback()
        return unit is not None and (unit.is_running or unit.has_failed)

    def step_in(self, unit: Unit, path: str, settings: Settings) -> Finding | None:
        """For a unit that failed to start; None where the file on disk has to be looked at instead."""
        is_engaged = self.is_engaged()
        was_serving, self._was_serving = self._was_serving, self.is_serving()
        if is_engaged:
            return None
        self._is_called_off |= was_serving
        if self._is_called_off:
            reason = f"{fallback_unit(self._daemon)} was stopped; start {unit.name} to serve again"
            return Finding(Outcome.DEFERRED, reason)
        limit = settings.check.max_config_bytes
        self._failed = keaconf.fingerprint(keaconf.file_set(path, max_bytes=limit), max_bytes=limit)
        last = self._recovery.last_good(unit)
        if last is None:
            return None
        return (
            self._left_to_systemd(unit, path) if last.is_in(path, limit) else self._step_in(unit, path, last, settings)
        )

    def _left_to_systemd(self, unit: Unit, path: str) -> Finding | None:
        """Nothing would serve better than its file; where systemd is about to start it again, it is the one to do so."""
        if unit.active_state == "failed":
            return None
        why = f"{unit.name}: {explain(unit)}{complaint(unit, self._daemon, path)}"
        reason = f"{why}; its file is the last known good, so the cause is elsewhere; systemd starts it again"
        return Finding(Outcome.BROKEN, reason, retry=True, valid=True)

    def _step_in(self, unit: Unit, path: str, last: LastGood, settings: Settings) -> Finding:
        why = f"{unit.name}: {explain(unit)}{complaint(unit, self._daemon, path)}"
        attempt = self._recovery.by_fallback(last, settings)
        self._was_serving = attempt.worked
        return told(why, last, [attempt], retry=True)

    def obstacle(self, candidate: Candidate, settings: Settings, *, is_sure: bool) -> Obstacle | None:
        """What keeps the fallback in its place although the file passed: its restart would cost the service."""
        if not self.is_serving():
            return None
        if not is_sure and self._failed in (None, candidate.document.digest):
            return Obstacle("it was not rehearsed and did not start before; kea-agent reload --again tries it")
        status = self._status(candidate.unit, settings.control.timeout_seconds)
        return moment.partner_obstacle(status, settings.gate) if status else None

    def _status(self, unit: Unit, timeout: float) -> dict[str, Any] | None:
        """What the fallback says of itself, None where it says nothing."""
        last = self._recovery.last_good(unit)
        channel = last.target.endpoints.control if last else None
        try:
            return verify.snapshot(channel, timeout).status if channel else None
        except ControlError:
            return None

    def leave(self, candidate: Candidate, settings: Settings) -> Attempt:
        """Start the real unit; the fallback ends with that."""
        attempt = self._recovery.by_start(candidate.unit, candidate.target, settings)
        self._was_serving = False
        if not attempt.worked:
            self._failed = candidate.document.digest
        return attempt


def complaint(unit: Unit, daemon: Daemon, path: str) -> str:
    """What Kea said when its unit did not start with a file, to follow other words; empty where it said nothing."""
    try:
        tree = keaconf.read(path, daemon.root_key).tree
    except ConfigError:
        tree = {}
    return journal.clause(unit.name, unit.started_at, tree)


def told(why: str, last: LastGood | None, attempts: Sequence[Attempt], *, retry: bool = False) -> Finding:
    """How a server that was hurt, or down, is after these attempts to bring it back."""
    steps = tuple((attempt.step, attempt.worked) for attempt in attempts)
    if last is None:
        return Finding(Outcome.BROKEN, f"{why}; {NOTHING_KEPT}", retry, valid=False)
    done = attempts[-1]
    if not done.worked:
        tried = "; ".join(f"{attempt.step}: {attempt.proof.reason}" for attempt in attempts)
        reason = f"{why}; it could not be brought back on {last}: {tried}"
        return Finding(Outcome.BROKEN, reason, retry=True, valid=False, steps=steps)
    how = "given by config-set" if done.step is Step.CONFIG_SET else f"served by the fallback unit (process {done.pid})"
    reason = f"{why}; brought back on {last}, {how}; the file was not touched: mend it and save it"
    return Finding(Outcome.RECOVERED, reason, retry, valid=False, snapshot=done.proof.snapshot, steps=steps)
