# SPDX-License-Identifier: MPL-2.0
"""Bringing a server back on the last known good configuration, by the gentlest step that works.

config-set where the server answers: the process stays. Else the fallback unit: the real one is stopped, because its
file would hurt it again, and Kea starts on the configuration that was kept. The operator's file is not touched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kea_agent import diff, keaconf, proc, redact, verify
from kea_agent.control import Channel, ask
from kea_agent.daemons import Daemon
from kea_agent.diff.text import lines
from kea_agent.endpoints import wanted
from kea_agent.errors import AgentError, ConfigError, ControlError
from kea_agent.history import History, Revision
from kea_agent.outcome import Step
from kea_agent.phrases import iso
from kea_agent.settings import Settings
from kea_agent.units import Unit
from kea_agent.verify import Before, Limits, Proof, Prover, Standing, Target

logger = logging.getLogger(__name__)

# Seconds a server may take for a configuration that it took before; then it is restarted.
_CONFIG_SET = 5.0
# Seconds that a server which serves again has for an answer; one that does not is asked again.
_GLANCE = 1.0
# How many changes are told of one configuration; `kea-agent history` and `diff` have all of them.
_MAX_CHANGES = 20


def fallback_unit(daemon: Daemon) -> str:
    """The unit that serves the last known good configuration in the real one's place."""
    return f"kea-agent-fallback@{daemon.name}.service"


class Starter(Protocol):
    """What is asked of systemd here; raises BusError."""

    def unit(self) -> Unit | None:
        """The daemon's unit as it is now, None where there is none."""

    def fallback(self) -> Unit | None:
        """The daemon's fallback unit as it is now, None where it is at rest."""

    def restart(self, name: str, timeout: float) -> str:
        """Stop a unit if it runs, start it, and wait (seconds); returns systemd's job result."""


@dataclass(frozen=True)
class LastGood:
    """The last known good configuration, and what a server on it has open."""

    revision: Revision
    tree: Mapping[str, Any]
    root: dict[str, Any]
    target: Target

    def is_in(self, path: str, max_bytes: int) -> bool:
        """Whether the file means the same."""
        try:
            return keaconf.read(path, next(iter(self.tree)), max_bytes=max_bytes).meaning == self.revision.meaning
        except ConfigError:
            return False

    def changes_to(self, root: Mapping[str, Any]) -> tuple[str, ...]:
        """What is new in a configuration (the map under its root key), a line each, for people."""
        found = lines(diff.changes(self.root, dict(root)), color=False)
        rest = [f"and {len(found) - _MAX_CHANGES} more"] if len(found) > _MAX_CHANGES else []
        return tuple(found[:_MAX_CHANGES] + rest)

    def __str__(self) -> str:
        return f"the last known good configuration (revision {self.revision.number}, proven {iso(self.revision.proven_at)})"


@dataclass(frozen=True)
class Attempt:
    """One step, and what it was proven to have done; `pid` is the process that serves then, 0 if none."""

    step: Step
    proof: Proof
    pid: int = 0

    @property
    def worked(self) -> bool:
        """Whether the server serves."""
        return self.proof.standing is Standing.SERVING


class Recovery:
    """One daemon's way back."""

    def __init__(self, daemon: Daemon, systemd: Starter, history: History, pause: Callable[[float], object]) -> None:
        self._daemon = daemon
        self._systemd = systemd
        self._history = history
        self._pause = pause

    def last_good(self, unit: Unit) -> LastGood | None:
        """What was last proven to serve, None where nothing is kept or it cannot be read."""
        revision = self._history.last(self._daemon.name)
        if revision is None:
            return None
        try:
            tree = self._history.tree(revision)
        except AgentError as error:
            logger.error("%s: %s", self._daemon.name, error)
            return None
        root = tree.get(self._daemon.root_key)
        root = root if isinstance(root, dict) else {}
        endpoints = wanted(self._daemon, root, unit.argv, unit.environment)
        return LastGood(revision, tree, root, Target.of(0, endpoints, root))

    def is_deaf(self, unit: Unit) -> bool:
        """Whether a server that has finished starting has its port closed, though it once served with it open."""
        if not unit.is_running or not proc.catches_sighup(unit.main_pid) or (last := self.last_good(unit)) is None:
            return False
        endpoints = last.target.endpoints
        return endpoints.wants_port and endpoints.is_closed(endpoints.sockets(unit.main_pid))

    def is_served(self, unit: Unit, by: Unit | None) -> bool:
        """Whether the process of one unit, the real one or the fallback, serves what the last known good wants open."""
        if by is None or not by.is_running or not proc.catches_sighup(by.main_pid):
            return False
        last = self.last_good(unit)
        return last is not None and verify.serves(replace(last.target, pid=by.main_pid), _GLANCE)

    def bring_back(self, unit: Unit, last: LastGood, channel: Channel | None, settings: Settings) -> list[Attempt]:
        """The steps that were taken, the last one worked or there are no more."""
        attempts: list[Attempt] = []
        if channel is not None and proc.is_alive(unit.main_pid):
            attempts.append(self._by_config_set(unit, last, channel, settings))
        if not attempts or not attempts[-1].worked:
            attempts.append(self.by_fallback(last, settings))
        return attempts

    def by_fallback(self, last: LastGood, settings: Settings) -> Attempt:
        """Start the fallback unit, which stops the real one."""
        return self._start(Step.FALLBACK, fallback_unit(self._daemon), self._systemd.fallback, last.target, settings)

    def by_start(self, unit: Unit, target: Target, settings: Settings) -> Attempt:
        """Start the real unit, which stops the fallback."""
        return self._start(Step.START, unit.name, self._systemd.unit, target, settings)

    def _start(
        self, step: Step, name: str, look: Callable[[], Unit | None], target: Target, settings: Settings
    ) -> Attempt:
        """Start a unit and follow its new process until it is proven to serve, or not to."""
        began = time.time()
        try:
            job = self._systemd.restart(name, settings.reload.timeout_seconds)
            unit = look()
        except AgentError as error:
            return Attempt(step, Proof(Standing.DEAD, str(error)))
        if unit is None or not unit.is_running:
            return Attempt(step, Proof(Standing.DEAD, f"{name} did not start (job: {job})"))
        before = verify.before_start(began)
        proof = self._follow(replace(target, pid=unit.main_pid), before, settings, settings.verify.timeout_seconds)
        return Attempt(step, proof, unit.main_pid)

    def _by_config_set(self, unit: Unit, last: LastGood, channel: Channel, settings: Settings) -> Attempt:
        timeout = settings.control.timeout_seconds
        before = verify.before(last.target.endpoints, channel, unit.main_pid, timeout, self._pause)
        try:
            answer = ask(channel, "config-set", dict(last.tree), timeout=_CONFIG_SET)
        except ControlError as error:
            return Attempt(Step.CONFIG_SET, Proof(Standing.SILENT, str(error)))
        if answer.result != 0:
            return Attempt(
                Step.CONFIG_SET, Proof(Standing.REFUSED, f"config-set: {redact.cleaned(answer.text, last.tree)}")
            )
        proof = self._follow(replace(last.target, pid=unit.main_pid), before, settings, _CONFIG_SET)
        return Attempt(Step.CONFIG_SET, proof, unit.main_pid)

    def _follow(self, target: Target, before: Before, settings: Settings, answer: float) -> Proof:
        # HA takes its time to come back, and is somebody else's business until then.
        limits = Limits(settings.control.timeout_seconds, answer, 0.0)
        return Prover(
            target, before, limits, lambda: target.pid if proc.is_alive(target.pid) else 0, self._pause
        ).prove()
