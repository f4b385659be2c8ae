# SPDX-License-Identifier: MPL-2.0
"""Small families: defined as data where they are filled, and turned into prometheus_client's objects for a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class Definition:
    """A family: a name that ends in `_total` is a counter's; `help` is a sentence; nearly all have `daemon` first."""

    name: str
    help: str
    own_labels: tuple[str, ...] = ()
    has_daemon: bool = True

    @property
    def kind(self) -> str:
        """`counter` or `gauge`."""
        return "counter" if self.name.endswith("_total") else "gauge"

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order in which values are given."""
        return ("daemon", *self.own_labels) if self.has_daemon else self.own_labels


@dataclass(frozen=True)
class Sample:
    """One value; `labels` are the values of the definition's labels, in their order."""

    of: Definition
    labels: tuple[str, ...]
    value: float


def metrics(definitions: Iterable[Definition], samples: Iterable[Sample]) -> Iterator[Metric]:
    """The families in the order of the definitions, each with its samples; one without samples is left out."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.of.name, []).append(sample)
    for definition in definitions:
        if listed := by_name.get(definition.name):
            yield _metric(definition, listed)


def page(families: Iterable[Metric]) -> bytes:
    """Families in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Families(tuple(families)))
    return generate_latest(registry)


class _Families(Collector):
    """Families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._listed = families

    def collect(self) -> Iterable[Metric]:
        return self._listed


def _metric(definition: Definition, samples: Iterable[Sample]) -> Metric:
    make = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = make(definition.name, definition.help, labels=definition.labels)
    for sample in samples:
        family.add_metric(sample.labels, sample.value)
    return family


def number(value: object) -> float | None:
    """A number of Kea's answer as such; everything else, a truth value too, is not known."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
