# SPDX-License-Identifier: MPL-2.0
"""The words for outcomes, states and times, the same on the status page and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from kea_agent.outcome import Outcome
from kea_agent.plain import is_time

# What follows "The server ..."; the keys are words, because a file may be from a version with others.
MEANING: Mapping[str, str] = {
    Outcome.UNCHANGED: "was not touched: it runs what the file says",
    Outcome.APPLIED: "runs the new configuration, proven to serve",
    Outcome.REJECTED: "was not touched: it runs the configuration it had",
    Outcome.DEFERRED: "was not touched: it runs the configuration it had",
    Outcome.FAILED: "refused the reload and runs the configuration it had",
    Outcome.RECOVERED: "was hurt by the reload; it runs the last known good configuration again",
    Outcome.BROKEN: "could not be brought back: a person is needed",
}
ON_FALLBACK = "cannot run its file: the fallback unit serves the last known good configuration"
GOOD = frozenset({Outcome.UNCHANGED, Outcome.APPLIED})
NO_TIME = "at no time"
_DOWN = ("inactive", "failed")  # with systemd's sub-state behind it where there is room


def is_down(unit_state: object, main_pid: object) -> bool:
    """Whether a unit in that state (`failed`, `failed (failed)`) runs nothing; one that is not known may run.

    A unit that was masked while it ran goes on running.
    """
    return str(unit_state).startswith(_DOWN) or (unit_state == "masked" and not main_pid)


def iso(at: float) -> str:
    """Unix time as ISO 8601 in UTC, to the second; what no clock shows is called so."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if is_time(at) else NO_TIME


def ago(at: float, now: float) -> str:
    """A moment as people say it: `just now`, `2 min ago`, `in 5 s`."""
    if not is_time(at):
        return NO_TIME
    distance = abs(now - at)
    if distance < 1:
        return "just now"
    steps = ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h"), (float("inf"), 86400, "days"))
    size, unit = next((size, unit) for below, size, unit in steps if distance < below)
    return f"{distance // size:.0f} {unit} ago" if at < now else f"in {distance // size:.0f} {unit}"
