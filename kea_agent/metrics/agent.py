# SPDX-License-Identifier: MPL-2.0
"""A whole scrape: what the agent knows, and what it found of Kea and systemd, each family made afresh, so nothing lingers.

`observe` is called by the agent's loop and `render` by the threads of the web server; the callables must be safe to
call from any thread, and must not raise: prometheus_client turns that into a lost scrape. The large families of a
`Scrape` are text already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from kea_agent.metrics import own, passes
from kea_agent.metrics.collection import DEFINITIONS, Scrape
from kea_agent.metrics.families import Sample, metrics, page
from kea_agent.outcome import DaemonStatus, Pass

# Every version of prometheus_client writes this format for names like ours; newer ones would call it 1.0.0, which
# Prometheus 2 does not know.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class AgentMetrics(Collector):
    """Renders scrapes; `registry` has the small families of one.

    `daemons` are the names of which passes are counted, `statuses`, `watch` and `kea` are asked at each scrape.
    """

    def __init__(
        self,
        *,
        version: str,
        daemons: Iterable[str],
        statuses: Callable[[], Iterable[DaemonStatus]],
        watch: Callable[[], own.WatchCounters],
        kea: Callable[[], Scrape],
    ) -> None:
        self._version = version
        self._statuses = statuses
        self._watch = watch
        self._kea = kea
        self._passes = passes.PassCounts(daemons)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def observe(self, daemon: str, done: Pass) -> None:
        """Count a finished pass."""
        self._passes.observe(daemon, done)

    def render(self) -> tuple[bytes, str]:
        """One scrape in Prometheus's text format, and its content type."""
        chunks, kind = self.chunks()
        return b"".join(chunks), kind

    def chunks(self) -> tuple[tuple[bytes, bytes], str]:
        """The same in two pieces; the second, which may be large, is the collection's own, and shared by all who get it."""
        scrape = self._kea()
        return (page(self._families(scrape)), scrape.text), CONTENT_TYPE

    def collect(self) -> Iterator[Metric]:
        """Every small family, the agent's first; what is not known has no series."""
        yield from self._families(self._kea())

    def _families(self, scrape: Scrape) -> Iterator[Metric]:
        yield from metrics(own.DEFINITIONS, [Sample(own.ASKED, (), scrape.at), *self._own()])
        yield from metrics(passes.DEFINITIONS, self._passes.samples())
        yield self._passes.stages()
        yield from metrics(DEFINITIONS, scrape.samples)

    def _own(self) -> Iterator[Sample]:
        yield Sample(own.BUILD, (self._version,), 1)
        yield from own.of_daemons(self._statuses())
        yield from own.of_watching(self._watch())
