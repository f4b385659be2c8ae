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
from kea_agent.keactrl.processes import user_name
from kea_agent.outcome import Outcome

_RIGHT = "org.freedesktop.systemd1.manage-units"
_JOB_TIMEOUT = 120.0  # systemd gives a unit 90 s to stop
_START_TIMEOUT = 30.0
_PASS_TIMEOUT = 600.0
_GOOD = (Outcome.APPLIED, Outcome.UNCHANGED)


def start(bus: Bus, unit: units.Unit) -> None:
    """Start a unit, and wait until the daemon has taken its configuration: a job that is `done` proves nothing."""
    since = time.time()
    _job(bus, unit, "StartUnit")
    running = units.read(bus, unit.path)
    if running.main_pid and gate.starting_obstacle(running.main_pid, _START_TIMEOUT, time.sleep) is None:
        return
    reason = journal.complaint(unit.name, since) or f"it is {units.read(bus, unit.path).state}"
    raise FailedError(f"{unit.name} was started and does not run: {reason}")


def stop(bus: Bus, unit: units.Unit) -> None:
    """Stop a unit and wait for it."""
    _job(bus, unit, "StopUnit")


def reload(bus: Bus, unit: units.Unit, daemon: Daemon) -> None:
    """Have the agent reload the daemon; without an agent systemd does, whose ExecReload checks and proves as well."""
    request = {"verb": "reload", "daemons": [daemon.name], "again": True}
    try:
        done = local.ask(request, timeout=_PASS_TIMEOUT)["results"][daemon.name]
    except NoAgentError:
        _reload_without_agent(bus, unit)
        return
    if Outcome(done["outcome"]) not in _GOOD:
        raise FailedError(f"{done['outcome']}: {done['reason']}")


def _reload_without_agent(bus: Bus, unit: units.Unit) -> None:
    since = time.time()
    if not unit.can_reload:
        raise FailedError(f"{unit.name} has no ExecReload and the agent is not running; nothing was done")
    _job(bus, unit, "ReloadUnit", lambda: journal.last_error(unit.name, since))


def _job(bus: Bus, unit: units.Unit, method: str, why: Callable[[], str | None] = lambda: None) -> None:
    try:
        result = bus.wait_for_job(bus.job(method, unit.name), _JOB_TIMEOUT)
    except DeniedError as error:
        right = f"user {user_name(os.geteuid())} lacks polkit's right {_RIGHT} for {unit.name}"
        raise FailedError(f"{right}: do it as root") from error
    except BusError as error:
        raise FailedError(f"{error}; nothing was done") from error
    if result != "done":
        raise FailedError(why() or f"systemd says of the job for {unit.name}: {result}")
