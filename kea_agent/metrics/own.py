# SPDX-License-Identifier: MPL-2.0
"""What the agent knows at this moment, of each daemon and of its watching, as samples; what it counted is in passes.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kea_agent.metrics.families import Definition, Sample
from kea_agent.outcome import DaemonStatus

BUILD = Definition("kea_agent_build_info", "The version of kea-agent, always 1.", ("version",), has_daemon=False)

VALID = Definition("kea_agent_config_valid", "Whether the configuration on disk passed every check (1) or not (0).")
WARNINGS = Definition(
    "kea_agent_config_warnings",
    "How many findings the configuration on disk has that do not keep it from being loaded.",
)
IN_SYNC = Definition(
    "kea_agent_config_in_sync",
    "Whether the running server was proven to run the configuration on disk (1) or not (0).",
)
SUCCESSFUL = Definition(
    "kea_agent_config_last_reload_successful", "Whether the last reload that was tried succeeded (1) or not (0)."
)
RELOADED = Definition(
    "kea_agent_config_last_reload_success_timestamp_seconds", "When a reload last succeeded, in Unix time."
)
FALLBACK = Definition(
    "kea_agent_fallback_active",
    "Whether the fallback serves the last known good configuration instead of Kea's own unit (1) or not (0).",
)
LAST_GOOD = Definition(
    "kea_agent_last_known_good_timestamp_seconds",
    "When the configuration that a recovery would go back to was proven to serve, in Unix time.",
)

WATCHES = Definition("kea_agent_inotify_watches", "Directories that are being watched right now.", has_daemon=False)
EVENTS = Definition(
    "kea_agent_inotify_events_total", "Events that the kernel reported of the watched directories.", has_daemon=False
)
OVERFLOWS = Definition(
    "kea_agent_inotify_overflows_total",
    "Times that the kernel dropped events; everything was read again.",
    has_daemon=False,
)
RECONNECTS = Definition(
    "kea_agent_dbus_reconnects_total",
    "Times that the connection to the system bus was made again.",
    has_daemon=False,
)
ASKED = Definition(
    "kea_agent_asked_timestamp_seconds",
    "When Kea and systemd were asked for what a scrape tells of them, in Unix time: after each time Kea has a rest.",
    has_daemon=False,
)

DEFINITIONS = (
    ASKED, BUILD, VALID, WARNINGS, IN_SYNC, SUCCESSFUL, RELOADED, FALLBACK, LAST_GOOD, WATCHES, EVENTS, OVERFLOWS, RECONNECTS,
)  # fmt: skip


@dataclass(frozen=True)
class WatchCounters:
    """What watching has seen since the agent started; `watches` is how many there are right now."""

    watches: int
    events: int
    overflows: int
    bus_reconnects: int


def of_daemons(statuses: Iterable[DaemonStatus]) -> Iterator[Sample]:
    """What is known of each; what is not has no sample."""
    for status in statuses:
        for definition, value in {
            VALID: status.config_valid,
            WARNINGS: len(status.warnings) if status.config_valid else None,
            IN_SYNC: status.config_in_sync,
            SUCCESSFUL: status.reload_successful,
            RELOADED: status.reloaded_at,
            FALLBACK: status.on_fallback if status.unit else None,
            LAST_GOOD: status.last_good_at,
        }.items():
            if value is not None:
                yield Sample(definition, (status.daemon,), float(value))


def of_watching(seen: WatchCounters) -> Iterator[Sample]:
    """The whole of the agent's own."""
    yield Sample(WATCHES, (), seen.watches)
    yield Sample(EVENTS, (), seen.events)
    yield Sample(OVERFLOWS, (), seen.overflows)
    yield Sample(RECONNECTS, (), seen.bus_reconnects)
