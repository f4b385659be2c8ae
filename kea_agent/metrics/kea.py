# SPDX-License-Identifier: MPL-2.0
"""One Kea daemon asked for everything that a scrape wants of it, within one deadline.

    status-get ─► config-hash-get ─► ha-heartbeat ─► config-get ─► statistic-get-all ─► status-get
                  (now and then)     (with HA)       (if it changed)  (or see plan.py)  (still the same?)

What is kept from one scrape to the next says only what a subnet's number means, and is thrown away as soon as the
server's configuration is another one. Making the hash costs Kea as much as telling the whole configuration (0.17 s
with 10,000 subnets, 2.6.3), so it is asked for at most half a percent of the time; the time of the last commit, which
is free, tells of everything else but subnet_cmds and configuration backends, and new subnets tell of themselves.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kea_agent import proc
from kea_agent.control import Channel
from kea_agent.daemons import BY_NAME
from kea_agent.errors import AgentError, ControlError
from kea_agent.metrics import ha, kea_status, subnets
from kea_agent.metrics.drift import Drift
from kea_agent.metrics.exposition import Draft, Writer
from kea_agent.metrics.families import Definition, Sample
from kea_agent.metrics.line import MAX_LONG_BYTES, Line
from kea_agent.metrics.plan import Extent, Plan
from kea_agent.verify import keas_time

logger = logging.getLogger(__name__)

SUCCESS = Definition(
    "kea_agent_collector_success", "Whether a part of this scrape could be had (1) or not (0).", ("collector",)
)
DURATION = Definition("kea_agent_collector_duration_seconds", "How long a part of this scrape took.", ("collector",))
COMPLETE = Definition(
    "kea_agent_statistics_complete",
    "Whether this scrape has every statistic of Kea (1), or only what could be had in the time (0).",
)
UNKNOWN = Definition(
    "kea_unknown_statistic",
    "A statistic of Kea that this version of kea-agent does not know, as Kea tells it; at most 200 a daemon.",
    ("name",),
)
UNKNOWN_COUNT = Definition(
    "kea_unknown_statistics", "How many statistics Kea told that this version of kea-agent does not know."
)

_HAS_STATISTICS = ("dhcp4", "dhcp6", "ddns")
_HASH_SHARE = 200


@dataclass(frozen=True)
class Target:
    """A daemon as the agent knows it at this moment."""

    daemon: str
    pid: int | None
    channel: Channel | None


@dataclass
class Answer:
    """What a daemon said; `is_up` whether it answers at all."""

    is_up: bool = False
    samples: list[Sample] = field(default_factory=list)
    draft: Draft | None = None
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by subnet id

    @contextmanager
    def part(self, daemon: str, collector: str, expected: type[AgentError] = ControlError) -> Iterator[None]:
        """Time a part and tell whether it could be had; the error that is to be expected ends here."""
        began, is_good = time.monotonic(), False
        try:
            yield
            is_good = True
        except expected as error:
            logger.debug("%s: %s: %s", daemon, collector, error)
        self.samples.append(Sample(SUCCESS, (daemon, collector), float(is_good)))
        self.samples.append(Sample(DURATION, (daemon, collector), time.monotonic() - began))


@dataclass(frozen=True)
class _Seen:
    """A status and when the configuration was taken in: within `commit` to `commit + slack`, seconds of Kea's clock."""

    pid: int
    status: dict[str, Any]
    started: int
    commit: int
    slack: int

    def is_same(self, other: _Seen) -> bool:
        """Whether both may be of the same process and the same commit."""
        apart = self.commit - other.commit
        return self.pid == other.pid and -self.slack <= apart <= other.slack


@dataclass
class _Names:
    """What the numbers mean: a writer with the subnets' labels, and of which configuration they are; how to ask."""

    seen: _Seen
    asked_at: float
    context: tuple[str, ...]
    writer: Writer
    plan: Plan
    hash: str | None
    pools: Mapping[str, tuple[str, ...]]
    strangers: frozenset[str] = frozenset()

    def are_of(self, seen: _Seen, context: tuple[str, ...]) -> bool:
        """Whether they hold; a commit in the second in which they were asked for may be a later one."""
        return self.context == context and self.seen.is_same(seen) and math.floor(self.asked_at) > seen.commit


class KeaView:
    """One daemon, scrape after scrape. `notice` is told the hash of the running configuration when it was asked for."""

    def __init__(self, daemon: str, notice: Callable[[str | None], None]) -> None:
        self._daemon = daemon
        self._notice = notice
        self._names: _Names | None = None
        self._drift = Drift(daemon)
        self._version: tuple[int, str] | None = None
        self._last: _Seen | None = None
        self._hash: str | None = None
        self._hash_due = 0.0

    def collect(self, target: Target, context: Sequence[str], timeout: float) -> Answer:
        """Everything the daemon tells within `timeout` seconds; what cannot be had is left out."""
        answer = Answer()
        if not target.pid or not proc.is_alive(target.pid):
            return answer
        if target.channel is None:
            answer.is_up = True
            return answer
        line = Line(target.channel, timeout)
        seen: _Seen | None = None
        with answer.part(self._daemon, "status"):
            seen = self._last = self._look(line, target.pid)
            answer.is_up = True
            answer.samples += self._status(line, seen)
        if seen is None:
            return answer
        if ha.relationships(seen.status):
            with answer.part(self._daemon, "ha"):
                answer.samples += ha.samples(self._daemon, seen.status)
                answer.samples += ha.unsent(self._daemon, _unsent(line, seen.status))
        if self._daemon in _HAS_STATISTICS:
            with answer.part(self._daemon, "statistics"):
                self._add_statistics(answer, line, seen, tuple(context))
        return answer

    # -- status

    def _status(self, line: Line, seen: _Seen) -> Iterator[Sample]:
        yield Sample(kea_status.START, (self._daemon,), seen.started)
        yield Sample(kea_status.COMMIT, (self._daemon,), seen.commit)
        yield from kea_status.samples(self._daemon, seen.status)
        if version := self._version_of(line, seen.pid):
            yield Sample(kea_status.INFO, (self._daemon, version), 1)
        self._look_at_hash(line)

    def _look(self, line: Line, pid: int) -> _Seen:
        asked = keas_time()
        status = line.ask("status-get").arguments
        answered = keas_time()
        age, uptime = status.get("reload"), status.get("uptime")
        if not isinstance(age, int) or not isinstance(uptime, int):
            raise ControlError("status-get: no times in the answer")
        # A process that systemd started a moment ago is known to the agent a moment later.
        pid = status["pid"] if isinstance(status.get("pid"), int) else pid
        slack = math.floor(answered) - math.floor(asked)
        seen = _Seen(pid, status, math.floor(asked) - uptime, math.floor(asked) - age, slack)
        # Between two seconds of the clock: what was said last time is as likely, and does not jump.
        last = self._last
        if slack and last and last.is_same(seen):
            return _Seen(pid, status, last.started, last.commit, 0)
        return seen

    def _look_at_hash(self, line: Line) -> None:
        began = time.monotonic()
        # The first time, config-get is asked for anyway and tells it, too.
        is_coming = self._names is None and self._daemon in subnets.DAEMONS
        if began < self._hash_due or is_coming:
            return
        digest = line.ask("config-hash-get", is_optional=True).arguments.get("hash")
        self._hash_due = time.monotonic() + _HASH_SHARE * (time.monotonic() - began)
        self._hash = str(digest) if digest else None
        self._notice(self._hash)

    def _version_of(self, line: Line, pid: int) -> str:
        if self._version is None or self._version[0] != pid:
            reply = line.ask("version-get", is_optional=True)
            self._version = pid, reply.text if reply.result == 0 else ""
        return self._version[1]

    # -- statistics

    def _add_statistics(self, answer: Answer, line: Line, seen: _Seen, context: tuple[str, ...]) -> None:
        names, draft = self._statistics(line, seen, context)
        extent = names.plan.extent
        answer.draft, answer.pools = draft, names.pools
        answer.samples += _unknown(self._daemon, draft)
        answer.samples += self._drift.samples(self._version_of(line, seen.pid))
        answer.samples.append(Sample(COMPLETE, (self._daemon,), float(extent is Extent.ALL)))
        if extent is Extent.SERVER:
            raise ControlError(f"only {extent}")

    def _statistics(self, line: Line, seen: _Seen, context: tuple[str, ...]) -> tuple[_Names, Draft]:
        """Twice if what the numbers mean changed in between; then the next scrape has to do."""
        for _ in range(2):
            names = self._current_names(line, seen, context)
            draft = names.plan.read(line, names.writer)
            after = self._look(line, seen.pid)
            if not after.is_same(seen):
                seen = after
            elif draft.strangers <= names.strangers:
                return names, draft
            elif names.asked_at >= line.began:
                # Kea counts subnets that its configuration does not have: so be it.
                names.strangers = frozenset(draft.strangers)
                return names, draft
            self._names = None
        raise ControlError("the configuration changed while it was being told")

    def _current_names(self, line: Line, seen: _Seen, context: tuple[str, ...]) -> _Names:
        names = self._names
        if names is None or not names.are_of(seen, context) or names.hash != self._hash:
            names = self._names = self._new_names(line, seen, context)
        return names

    def _new_names(self, line: Line, seen: _Seen, context: tuple[str, ...]) -> _Names:
        asked_at, digest = time.time(), self._hash
        configuration: Mapping[str, Any] = {}
        if self._daemon in subnets.DAEMONS:
            configuration = line.ask("config-get", max_bytes=MAX_LONG_BYTES).arguments
            digest = self._hash = str(configuration["hash"]) if configuration.get("hash") else None
            self._notice(digest)
            self._drift.learn(configuration.get(BY_NAME[self._daemon].root_key))
        found = subnets.labels(self._daemon, configuration, context)
        plan = Plan(self._daemon, len(found), subnets.has_hook(self._daemon, configuration, "stat_cmds"))
        pools = subnets.pools(self._daemon, configuration)
        return _Names(seen, asked_at, context, Writer(self._daemon, found), plan, digest, pools)


def _unknown(daemon: str, draft: Draft) -> Iterator[Sample]:
    yield Sample(UNKNOWN_COUNT, (daemon,), draft.unknown_count)
    for name, value in draft.unknown.items():
        yield Sample(UNKNOWN, (daemon, name), value)


def _unsent(line: Line, status: dict[str, Any]) -> dict[int, float]:
    """`ha-heartbeat` answers for one relationship, which has to be named where there are several (2.5.5 and later)."""
    counts = {}
    for index, ends in enumerate(ha.relationships(status)):
        name = ends.local.get("server-name")
        reply = line.ask("ha-heartbeat", {"server-name": name} if name else None)
        count = reply.arguments.get("unsent-update-count")
        if isinstance(count, int):
            counts[index] = float(count)
    return counts
