# SPDX-License-Identifier: MPL-2.0
"""The passes since the agent started: what they ended with, what happened in them, and how long their stages took.

Only the histogram is made of prometheus_client's own: a `Sample` is one number.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, product

from prometheus_client.core import HistogramMetricFamily, Metric

from kea_agent.metrics.families import Definition, Sample
from kea_agent.outcome import Outcome, Pass, Stage, Step
from kea_agent.rehearsal import Standing

OUTCOMES = Definition("kea_agent_outcomes_total", "Passes through the pipeline by what they ended with.", ("outcome",))
REHEARSALS = Definition(
    "kea_agent_rehearsals_total", "Starts of the real daemon on a new configuration, aside from the server, by result.",
    ("result",),
)  # fmt: skip
RECOVERIES = Definition(
    "kea_agent_recoveries_total", "Steps that were taken to bring a server back, by whether they did.",
    ("step", "result"),
)  # fmt: skip

MISTAKES = Definition(
    "kea_agent_mistakes_total", "Passes that a mistake in the agent ended; the journal has where. Please report it."
)

DEFINITIONS = (OUTCOMES, REHEARSALS, RECOVERIES, MISTAKES)

# Reading takes milliseconds, `kea-* -t` tenths of a second, a reload seconds, an HA pair up to a minute.
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WORKED = {True: "worked", False: "failed"}


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


class PassCounts:
    """Counted by the agent's loop, told in threads of the web server."""

    def __init__(self, daemons: Iterable[str]) -> None:
        self._lock = threading.Lock()
        # all of them from 0: rate() does not see a counter's first step if that is the one that makes it
        self._counts = dict.fromkeys(_counters(daemons), 0)
        self._stages: dict[tuple[str, Stage], _Histogram] = {}

    def observe(self, daemon: str, done: Pass) -> None:
        """Count a finished pass, what happened in it, and how long each of its stages took."""
        with self._lock:
            self._counts[OUTCOMES, (daemon, done.outcome.value)] += 1
            self._counts[MISTAKES, (daemon,)] += done.is_mistake
            if done.rehearsal:
                self._counts[REHEARSALS, (daemon, _result(done.rehearsal))] += 1
            for step, worked in done.steps:
                self._counts[RECOVERIES, (daemon, step.value, _WORKED[worked])] += 1
            for stage, seconds in done.seconds.items():
                self._stages.setdefault((daemon, stage), _Histogram()).observe(seconds)

    def samples(self) -> list[Sample]:
        """The counts."""
        with self._lock:
            return [Sample(definition, labels, count) for (definition, labels), count in self._counts.items()]

    def stages(self) -> Metric:
        """How long the stages took."""
        family = HistogramMetricFamily(
            "kea_agent_stage_duration_seconds",
            "How long each stage of the pipeline took, in passes that reached it.",
            labels=["daemon", "stage"],
        )
        with self._lock:
            for (daemon, stage), histogram in self._stages.items():
                family.add_metric([daemon, stage.value], histogram.buckets(), histogram.total)
        return family


def _counters(daemons: Iterable[str]) -> Iterator[tuple[Definition, tuple[str, ...]]]:
    for daemon in daemons:
        yield MISTAKES, (daemon,)
        yield from ((OUTCOMES, (daemon, outcome.value)) for outcome in Outcome)
        yield from ((REHEARSALS, (daemon, _result(standing.value))) for standing in Standing)
        for step, result in product(Step, _WORKED.values()):
            yield RECOVERIES, (daemon, step.value, result)


def _result(rehearsal: str) -> str:
    """The word alone, as a label: why there was no rehearsal stands behind a colon."""
    return rehearsal.partition(":")[0].replace(" ", "-")
