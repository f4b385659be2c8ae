# SPDX-License-Identifier: MPL-2.0
"""Why a unit does not run: what a person did is left alone, what failed can be helped."""

from __future__ import annotations

from enum import Enum

from kea_agent.units import Unit


class Down(Enum):
    """One way of not running; the values are for people."""

    ABSENT = "not installed"
    MASKED = "masked"
    UNUSABLE = "its unit file is wrong"
    DISABLED = "disabled"
    STOPPED = "stopped"
    CALLED_OFF = "failed, and was then stopped"
    STARTING = "starting"
    STOPPING = "stopping"
    RETRYING = "failed, systemd tries again"
    FAILED = "failed"


_NOT_LOADED = {"not-found": Down.ABSENT, "masked": Down.MASKED}
_ON_THE_WAY = {"activating": Down.STARTING, "deactivating": Down.STOPPING}
# Service.Result in systemd.exec(5), `$SERVICE_RESULT`, and in src/core/service.c.
_RESULTS = {
    "exit-code": "it ended with an error",
    "signal": "it was killed by a signal",
    "core-dump": "it crashed",
    "timeout": "it took too long",
    "watchdog": "it missed its watchdog",
    "start-limit-hit": "it was started too often within seconds",
    "oom-kill": "it was killed for want of memory",
    "resources": "systemd could not prepare it",
    "protocol": "it did not report as its unit says",
    "exec-condition": "a command of its unit forbade it",
}


def down(unit: Unit | None) -> Down | None:
    """How the unit is down, None for one that runs.

    A unit with a result that was stopped before systemd started it again counts as called off: by a person, or by the
    unit that conflicts with it and took over. One that a person stopped and that had to be killed for it looks like
    one that failed by itself.
    """
    if unit is None:
        return Down.ABSENT
    if unit.is_running:
        return None
    if unit.load_state != "loaded":
        return _NOT_LOADED.get(unit.load_state, Down.UNUSABLE)
    if unit.sub_state.startswith("auto-restart"):
        return Down.RETRYING
    if unit.active_state in _ON_THE_WAY:
        return _ON_THE_WAY[unit.active_state]
    return Down.FAILED if unit.active_state == "failed" else _at_rest(unit)


def explain(unit: Unit) -> str:
    """The same for people, with systemd's reason where something failed; empty for one that runs."""
    how = down(unit)
    failed = how in (Down.FAILED, Down.RETRYING, Down.CALLED_OFF)
    reason = _RESULTS.get(unit.result, unit.result) if failed and unit.result != "success" else ""
    return " ".join(part for part in (how.value if how else "", f"({reason})" if reason else "") if part)


def _at_rest(unit: Unit) -> Down:
    if unit.result not in ("", "success"):
        return Down.CALLED_OFF
    return Down.DISABLED if unit.unit_file_state.startswith("disabled") else Down.STOPPED
