# SPDX-License-Identifier: MPL-2.0
"""What a scrape has, and the agent's own part of it: families built afresh for each scrape, so nothing lingers and there are no `_created` series.

`observe` is called by the agent's loop and `render` by the threads of the web server, so the counts have a lock; the
callables must be safe to call from any thread, and must not raise: prometheus_client turns that into a lost scrape.
What Kea and systemd tell is a `Scrape`; its large families are text already.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kea_agent.metrics.collection import DEFINITIONS, Scrape
from kea_agent.metrics.families import metrics, page
from kea_agent.outcome import DaemonStatus, Outcome, Pass, Stage

# Every version of prometheus_client writes this format for names like ours; newer ones would call it 1.0.0, which
# Prometheus 2 does not know.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Reading takes milliseconds, `kea-* -t` tenths of a second, a reload seconds, an HA pair up to a minute.
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class WatchCounters:
    """What watching has seen since the agent started; `watches` is how many there are right now."""

    watches: int
    events: int
    overflows: int
    bus_reconnects: int


@dataclass
class _Histogram:
    """Observations per bucket, the last one for those above every bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(STAGE_BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(STAGE_BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        bounds = [*map(str, STAGE_BUCKETS), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


class AgentMetrics(Collector):
    """Renders scrapes; `registry` has the small families of one.

    `daemons` are the names of which outcomes are counted, `statuses`, `watch` and `kea` are asked at each scrape.
    """

    def __init__(
        self,
        *,
        version: str,
        daemons: Iterable[str],
        statuses: Callable[[], Iterable[DaemonStatus]],
        watch: Callable[[], WatchCounters],
        kea: Callable[[], Scrape],
    ) -> None:
        self._version = version
        self._statuses = statuses
        self._watch = watch
        self._kea = kea
        self._lock = threading.Lock()
        # all of them from 0: rate() does not see a counter's first step if that is the one that makes it
        self._outcomes = {(daemon, outcome): 0 for daemon in daemons for outcome in Outcome}
        self._stages: dict[tuple[str, Stage], _Histogram] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def observe(self, daemon: str, done: Pass) -> None:
        """Count a finished pass and how long each of its stages took."""
        with self._lock:
            self._outcomes[daemon, done.outcome] += 1
            for stage, seconds in done.seconds.items():
                self._stages.setdefault((daemon, stage), _Histogram()).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """One scrape in Prometheus's text format, and its content type."""
        scrape = self._kea()
        return page(self._families(scrape)) + scrape.text, CONTENT_TYPE

    def collect(self) -> Iterator[Metric]:
        """Every small family, the agent's first; what is not known has no series."""
        yield from self._families(self._kea())

    def _families(self, scrape: Scrape) -> Iterator[Metric]:
        yield self._build_info()
        yield from self._states(tuple(self._statuses()))
        yield from self._passes()
        yield from self._watching(self._watch())
        yield from metrics(DEFINITIONS, scrape.samples)

    def _build_info(self) -> Metric:
        family = GaugeMetricFamily("kea_agent_build_info", "The version of kea-agent, always 1.", labels=["version"])
        family.add_metric([self._version], 1)
        return family

    def _states(self, statuses: tuple[DaemonStatus, ...]) -> Iterator[Metric]:
        yield _by_daemon(
            "kea_agent_config_valid",
            "Whether the configuration on disk passed every check (1) or not (0).",
            {status.daemon: status.config_valid for status in statuses},
        )
        yield _by_daemon(
            "kea_agent_config_in_sync",
            "Whether the running server was proven to run the configuration on disk (1) or not (0).",
            {status.daemon: status.config_in_sync for status in statuses},
        )
        yield _by_daemon(
            "kea_agent_config_last_reload_successful",
            "Whether the last reload that was tried succeeded (1) or not (0).",
            {status.daemon: status.reload_successful for status in statuses},
        )
        yield _by_daemon(
            "kea_agent_config_last_reload_success_timestamp_seconds",
            "When a reload last succeeded, in Unix time.",
            {status.daemon: status.reloaded_at for status in statuses},
        )

    def _passes(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "kea_agent_outcomes", "Passes through the pipeline by what they ended with.", labels=["daemon", "outcome"]
        )
        stages = HistogramMetricFamily(
            "kea_agent_stage_duration_seconds",
            "How long each stage of the pipeline took, in passes that reached it.",
            labels=["daemon", "stage"],
        )
        with self._lock:
            for (daemon, outcome), count in self._outcomes.items():
                outcomes.add_metric([daemon, outcome.value], count)
            for (daemon, stage), histogram in self._stages.items():
                stages.add_metric([daemon, stage.value], histogram.buckets(), histogram.total)
        yield outcomes
        yield stages

    def _watching(self, seen: WatchCounters) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "kea_agent_inotify_watches", "Directories that are being watched right now.", value=seen.watches
        )
        yield CounterMetricFamily(
            "kea_agent_inotify_events", "Events that the kernel reported of the watched directories.", value=seen.events
        )
        yield CounterMetricFamily(
            "kea_agent_inotify_overflows",
            "Times that the kernel dropped events; everything was read again.",
            value=seen.overflows,
        )
        yield CounterMetricFamily(
            "kea_agent_dbus_reconnects",
            "Times that the connection to the system bus was made again.",
            value=seen.bus_reconnects,
        )


def _by_daemon(name: str, doc: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(name, doc, labels=["daemon"])
    for daemon, value in values.items():
        if value is not None:
            family.add_metric([daemon], float(value))
    return family
