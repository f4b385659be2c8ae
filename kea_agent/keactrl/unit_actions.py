# SPDX-License-Identifier: MPL-2.0
"""What the commands do to a unit, through systemd and the agent; each says why it failed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from kea_agent import gate, journal, local, units
from kea_agent.bus import Bus
from kea_agent.daemons import Daemon
from kea_agent.errors import BusError, DeniedError, NoAgentError
from kea_agent.keactrl.errors import FailedError
from kea_agent.outcome import Outcome
from kea_agent.reading import user_name

_RIGHT = "org.freedesktop.systemd1.manage-units"
_JOB_TIMEOUT = 120.0  # systemd gives a unit 90 s to stop
_START_TIMEOUT = 30.0
_PASS_TIMEOUT = 600.0
_GOOD = (Outcome.APPLIED, Outcome.UNCHANGED)


class UnitActions:
    """Through a connection to systemd; every method raises FailedError."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def start(self, unit: units.Unit) -> None:
        """Start a unit, and wait until the daemon has taken its configuration: a job that is `done` proves nothing."""
        since = time.time()
        self._job(unit, "StartUnit")
        running = units.read(self._bus, unit.path)
        if running.main_pid and gate.starting_obstacle(running.main_pid, _START_TIMEOUT, time.sleep) is None:
            return
        reason = journal.complaint(unit.name, since) or f"it is {units.read(self._bus, unit.path).state}"
        raise FailedError(f"{unit.name} was started and does not run: {reason}")

    def stop(self, unit: units.Unit) -> None:
        """Stop a unit and wait for it."""
        self._job(unit, "StopUnit")

    def reload(self, unit: units.Unit, daemon: Daemon) -> None:
        """Have the agent reload the daemon; without an agent systemd does, whose ExecReload checks and proves as well."""
        try:
            done = local.ask_for_passes([daemon.name], again=True, timeout=_PASS_TIMEOUT)[daemon.name]
        except NoAgentError:
            self._reload_without_agent(unit)
            return
        if done.outcome not in _GOOD:
            raise FailedError(f"{done.outcome}: {done.reason}")

    def _reload_without_agent(self, unit: units.Unit) -> None:
        since = time.time()
        if not unit.can_reload:
            raise FailedError(f"{unit.name} has no ExecReload and the agent is not running; nothing was done")
        self._job(unit, "ReloadUnit", lambda: journal.last_error(unit.name, since))

    def _job(self, unit: units.Unit, method: str, why: Callable[[], str | None] = lambda: None) -> None:
        try:
            result = self._bus.wait_for_job(self._bus.job(method, unit.name), _JOB_TIMEOUT)
        except DeniedError as error:
            right = f"user {user_name(os.geteuid())} lacks polkit's right {_RIGHT} for {unit.name}"
            raise FailedError(f"{right}: do it as root") from error
        except BusError as error:
            raise FailedError(f"{error}; nothing was done") from error
        if result != "done":
            raise FailedError(why() or f"systemd says of the job for {unit.name}: {result}")
