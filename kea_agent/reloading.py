# SPDX-License-Identifier: MPL-2.0
"""The reload itself, from the last look at the file to the proof of what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from kea_agent import keaconf, proc, verify, voucher
from kea_agent.candidate import Candidate, SupersededError
from kea_agent.daemons import Daemon
from kea_agent.errors import BusError
from kea_agent.keaconf import Document
from kea_agent.levels import Timer
from kea_agent.outcome import Stage
from kea_agent.settings import Settings
from kea_agent.units import Unit
from kea_agent.verify import Before, Limits, Proof, Prover, Standing

logger = logging.getLogger(__name__)

# How often, and how many seconds apart, a unit is looked at whose process ended while it was being watched.
_STOP_ROUNDS = 50
_STOP_PAUSE = 0.1


class Systemd(Protocol):
    """What a reload needs of systemd; calls may come from any thread and raise BusError."""

    def unit(self) -> Unit | None:
        """The daemon's unit as it is now, None where there is none."""

    def reload(self, unit: Unit, timeout: float) -> str:
        """Reload the unit and wait (seconds); returns systemd's job result, or `signalled` without a job."""


@dataclass(frozen=True)
class Reload:
    """One that was done: what was proven, systemd's job result, and when it began (Unix time)."""

    proof: Proof
    job: str
    began: float


class Reloader:
    """One daemon's reloads; `pause` sleeps (seconds)."""

    def __init__(self, daemon: Daemon, systemd: Systemd, pause: Callable[[float], object]) -> None:
        self._daemon = daemon
        self._systemd = systemd
        self._pause = pause

    def reload(self, candidate: Candidate, settings: Settings, timed: Timer) -> Reload:
        """Reload and prove; raises SupersededError when file or server turn out to be others than those judged."""
        unit = candidate.unit
        still_the_same(candidate.document, settings)
        if not proc.catches_sighup(unit.main_pid):
            raise SupersededError(f"process {unit.main_pid} of {unit.name} ended while its file was being checked")
        self._let_others_finish(unit, settings.reload.timeout_seconds)
        timeout = settings.control.timeout_seconds
        before = verify.before(candidate.endpoints, candidate.channel, unit.main_pid, timeout, self._pause)
        began = time.time()
        with timed(Stage.RELOAD), self._vouched(candidate.document):
            job = self._systemd.reload(unit, settings.reload.timeout_seconds)
        with timed(Stage.VERIFY):
            proof = self._prove(candidate, before, settings)
        if proof.standing is Standing.DEAD and self._was_ended_on_purpose(unit):
            raise SupersededError(f"{unit.name} was stopped or restarted while it was being watched")
        return Reload(proof, job, began)

    def ensure_wanted(self, candidate: Candidate, settings: Settings) -> None:
        """While a file is rehearsed: raises SupersededError when it changed, or when nobody serves, which comes first."""
        still_the_same(candidate.document, settings)
        with suppress(BusError):
            now = self._systemd.unit()
            if candidate.unit.is_running and now is not None and now.has_failed:
                raise SupersededError(f"{now.name} failed while its file was being checked")

    def _let_others_finish(self, unit: Unit, timeout: float) -> None:
        """A person who saves and types `systemctl reload` has begun this very reload: a second one would cost HA again."""
        for number in range(int(timeout / _STOP_PAUSE)):
            now = self._systemd.unit()
            if now is None or now.active_state != "reloading":
                if number:
                    raise SupersededError(f"{unit.name} was reloaded by somebody else meanwhile")
                return
            self._pause(_STOP_PAUSE)

    @contextmanager
    def _vouched(self, document: Document) -> Iterator[None]:
        """Meanwhile the unit's ExecReload is a bare signal: this pass has just checked and will verify."""
        try:
            voucher.write(self._daemon)
        except OSError as error:
            logger.debug("cannot vouch for %s, it will be checked once more: %s", document.path, error)
        try:
            yield
        finally:
            voucher.withdraw(self._daemon)

    def _prove(self, candidate: Candidate, before: Before, settings: Settings) -> Proof:
        pid = candidate.unit.main_pid
        limits = Limits(
            settings.control.timeout_seconds, settings.verify.timeout_seconds, settings.verify.ha_timeout_seconds
        )
        return Prover(candidate.target, before, limits, lambda: pid if proc.is_alive(pid) else 0, self._pause).prove()

    def _was_ended_on_purpose(self, old: Unit) -> bool:
        """Whether somebody stopped or restarted the unit; one that systemd has to start again died of the reload."""
        for _ in range(_STOP_ROUNDS):
            unit = self._systemd.unit()
            if unit is None or unit.active_state == "inactive":
                return True
            if unit.is_running and unit.main_pid != old.main_pid:
                return True
            if unit.has_failed:
                return False
            self._pause(_STOP_PAUSE)
        return False


def still_the_same(document: Document, settings: Settings) -> None:
    """Right before the file is used: raises SupersededError when it is not the one that was judged."""
    if keaconf.fingerprint(document.files, max_bytes=settings.check.max_config_bytes) != document.digest:
        raise SupersededError("the file changed while it was being checked")
