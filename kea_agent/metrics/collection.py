# SPDX-License-Identifier: MPL-2.0
"""One scrape of Kea and of systemd: everybody is asked at the same time, and nobody is waited for beyond the timeout.

Called in the threads of the web server. Scrapes at the same time share one collection; a daemon that still hangs from
the scrape before is not asked again, so what hangs never piles up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kea_agent import proc
from kea_agent.errors import BusError
from kea_agent.metrics import drift, ha, kea_status, units
from kea_agent.metrics.exposition import document
from kea_agent.metrics.families import Definition, Sample
from kea_agent.metrics.kea import COMPLETE, DURATION, SUCCESS, UNKNOWN, UNKNOWN_COUNT, Answer, KeaView, Target

logger = logging.getLogger(__name__)

UP = Definition("kea_up", "Whether the Kea daemon answers (1) or not (0).")
DEFINITIONS = (
    UP, SUCCESS, DURATION, COMPLETE, *kea_status.DEFINITIONS, *ha.DEFINITIONS, *drift.DEFINITIONS, *units.DEFINITIONS,
    UNKNOWN, UNKNOWN_COUNT,
)  # fmt: skip
# For the threads to come back after their own deadlines.
_GRACE = 0.5
_SHARE, _LEAST_SHARE = 20.0, 2.0  # of a collection's own time
_INTERVAL = 14.0  # seconds, a little less than Prometheus's usual 15
# Reading a unit holds Python's lock for 1 ms, during which nothing can be asked of Kea; so Kea is asked first, and the
# units while it makes up its answer (0.02 s with 1,000 subnets). systemd takes one call after the other anyway.
_HEAD_START = 0.01

Jobs = Mapping[tuple[str, str], Callable[[], Answer]]  # by daemon and collector


@dataclass(frozen=True)
class Wishes:
    """What the settings say: seconds for everything, and fields of a subnet's user context to be labels."""

    timeout: float = 5.0
    context: tuple[str, ...] = ("name",)


@dataclass(frozen=True)
class World:
    """Whom there is to ask, called at each scrape from several threads.

    `units` are unit names by daemon. `properties` reads those of a unit within seconds and raises BusError. `notice`
    is told a daemon and the hash of the configuration that it was seen to run.
    """

    targets: Callable[[], Sequence[Target]]
    units: Callable[[], Mapping[str, str]]
    properties: Callable[[str, float], Mapping[str, Any]]
    notice: Callable[[str, str | None], None]
    wishes: Callable[[], Wishes]


@dataclass(frozen=True)
class Scrape:
    """What was found: whether the daemons answer, samples of the small families, and the text of the large ones."""

    up: Mapping[str, bool]
    samples: Sequence[Sample] = ()
    text: bytes = b""
    pools: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)  # by daemon and subnet id
    at: float = field(default=0.0, compare=False)  # Unix time


def rest(seconds: float) -> float:
    """How long Kea is left alone after a collection that took so long, whoever asks meanwhile: he gets the last one.

    While Kea answers commands it answers no client. So it is asked for at most about a twentieth of the time; but whoever
    comes every 15 s, as Prometheus does, finds a new one each time as long as a collection takes less than five seconds.
    """
    return max(min(_SHARE * seconds, _INTERVAL - seconds), _LEAST_SHARE * seconds)


class Collection:
    """Makes scrapes, one at a time, and with a rest after each."""

    def __init__(self, world: World, rest: Callable[[float], float] = lambda _: 0.0) -> None:
        self._world = world
        self._rest = rest
        self._last: Scrape | None = None
        self._not_before = 0.0
        self._views: dict[str, _View] = {}
        self._lock = threading.Lock()
        self._running: Future[Scrape] | None = None

    def collect(self) -> Scrape:
        """A scrape, or the one that is just being made for somebody else, or the last one while Kea has its rest."""
        with self._lock:
            if self._last is not None and time.monotonic() < self._not_before:
                return self._last
            running = self._running
            mine = self._running = running or Future()
        if running is not None:
            return running.result()
        began = time.monotonic()
        try:
            self._last = self._collect()
            ended = time.monotonic()
            self._not_before = ended + self._rest(ended - began)
            mine.set_result(self._last)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            self._running = None
        return mine.result()

    def forget(self) -> None:
        """Something has happened: the next scrape is a new one."""
        self._not_before = 0.0

    def _collect(self) -> Scrape:
        wishes, targets, began = self._world.wishes(), self._world.targets(), time.monotonic()
        self._views = {each.daemon: self._views.get(each.daemon) or self._view(each.daemon) for each in targets}
        statuses: Jobs = {
            (target.daemon, "status"): partial(self._views[target.daemon].collect, target, wishes) for target in targets
        }
        found: Jobs = {
            (daemon, "unit"): partial(self._unit, daemon, unit, began + wishes.timeout)
            for daemon, unit in self._world.units().items()
        }
        futures = _start(statuses, len(statuses))
        wait(futures.values(), _HEAD_START)
        futures |= _start(found, 1)
        wait(futures.values(), wishes.timeout + _GRACE)
        answers = {key: _result(key, future, began) for key, future in futures.items()}
        up = {target.daemon: answers[target.daemon, "status"].is_up for target in targets}
        samples = [Sample(UP, (daemon,), float(is_up)) for daemon, is_up in up.items()]
        return Scrape(
            up,
            [*samples, *(sample for answer in answers.values() for sample in answer.samples)],
            document([answer.draft for answer in answers.values() if answer.draft]),
            {daemon: answer.pools for (daemon, _), answer in answers.items() if answer.pools},
            time.time(),
        )

    def _view(self, daemon: str) -> _View:
        return _View(KeaView(daemon, lambda digest: self._world.notice(daemon, digest)))

    def _unit(self, daemon: str, unit: str, deadline: float) -> Answer:
        answer = Answer()
        with answer.part(daemon, "unit", BusError):
            left = max(0.0, deadline - time.monotonic())
            answer.samples += units.samples(daemon, unit, self._world.properties(unit, left), proc.usage)
        return answer


class _View:
    """A view of a daemon that only one thread has at a time."""

    def __init__(self, view: KeaView) -> None:
        self._view = view
        self._lock = threading.Lock()

    def collect(self, target: Target, wishes: Wishes) -> Answer:
        if not self._lock.acquire(blocking=False):
            return _nothing(target.daemon, "status", 0.0)
        try:
            return self._view.collect(target, wishes.context, wishes.timeout)
        finally:
            self._lock.release()


def _start(jobs: Jobs, threads: int) -> dict[tuple[str, str], Future[Answer]]:
    """The jobs in threads of their own, which end by themselves."""
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="scrape")
    futures = {key: pool.submit(job) for key, job in jobs.items()}
    pool.shutdown(wait=False)
    return futures


def _result(key: tuple[str, str], future: Future[Answer], began: float) -> Answer:
    """What a job told; one that is not back in time is as one that failed."""
    if not future.done():
        return _nothing(*key, time.monotonic() - began)
    if error := future.exception():
        # A mistake of ours costs one part of the scrape, not the scrape.
        logger.error("%s: %s of the scrape failed: %r", *key, error, exc_info=error)
        return _nothing(*key, time.monotonic() - began)
    return future.result()


def _nothing(daemon: str, collector: str, seconds: float) -> Answer:
    return Answer(samples=[Sample(SUCCESS, (daemon, collector), 0.0), Sample(DURATION, (daemon, collector), seconds)])
