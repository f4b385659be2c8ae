# SPDX-License-Identifier: MPL-2.0
"""The levels that a file passes within a pass, and what each may stop: rules, `kea-* -t`, its databases, the rehearsal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from kea_agent import check, databases, rehearsal, rulebook
from kea_agent.check import Verdict
from kea_agent.daemons import Daemon
from kea_agent.errors import AgentError, ConfigError
from kea_agent.history import History
from kea_agent.keaconf import Document
from kea_agent.outcome import Stage
from kea_agent.rehearsal import Rehearsal, Standing
from kea_agent.settings import CheckSettings

logger = logging.getLogger(__name__)

Timer = Callable[[Stage], AbstractContextManager[None]]


def untimed(_: Stage) -> AbstractContextManager[None]:
    """For whoever does not want to know."""
    return nullcontext()


@dataclass(frozen=True)
class Setup:
    """How the daemon is started that is to run the file; an empty argv is the packaged program."""

    argv: Sequence[str]
    environment: Mapping[str, str]


class Rehearse(Protocol):
    """What `rehearsal.rehearse` is."""

    def __call__(
        self, daemon: Daemon, document: Document, *, timeout: float, go_on: Callable[[], object]
    ) -> Rehearsal: ...


@dataclass(frozen=True)
class Judgement:
    """`problem` refuses the file; `could_not` is no verdict on it, or not the last word; with neither it may be loaded."""

    problem: ConfigError | None = None
    could_not: str | None = None
    warnings: tuple[str, ...] = ()
    rehearsal: Rehearsal | None = None

    @property
    def has_passed(self) -> bool:
        """Whether the real daemon served with it in the rehearsal."""
        return self.rehearsal is not None and self.rehearsal.standing is Standing.PASSED

    @property
    def rehearsed(self) -> str | None:
        """The word for it, with the reason where there was no rehearsal."""
        if self.rehearsal is None:
            return None
        is_done = self.rehearsal.standing is not Standing.NOT_REHEARSED
        return self.rehearsal.standing.value + ("" if is_done else f": {self.rehearsal.reason}")

    @property
    def cpu_seconds(self) -> float:
        """What the daemon needed to load it in the rehearsal; 0 where there was none."""
        return self.rehearsal.cpu_seconds if self.rehearsal else 0.0

    @property
    def expected_hash(self) -> str | None:
        """What `config-hash-get` has to answer after the reload."""
        return self.rehearsal.hash if self.rehearsal and self.rehearsal.is_whole else None


class Judge:
    """Takes one daemon's files through the levels, the cheapest first; the first that says no ends it."""

    def __init__(self, daemon: Daemon, history: History, rehearse: Rehearse = rehearsal.rehearse) -> None:
        self._daemon = daemon
        self._history = history
        self._rehearse = rehearse

    def judge(
        self,
        document: Document,
        setup: Setup,
        settings: CheckSettings,
        timed: Timer = untimed,
        go_on: Callable[[], object] = rehearsal.unhindered,
    ) -> Judgement:
        """What comes of a file; `go_on` may raise when something else matters more than a rehearsal that takes long."""
        warnings: tuple[str, ...] = ()
        with timed(Stage.CHECK):
            for verdict in self._verdicts(document, setup, settings):
                warnings += verdict.warnings
                if verdict.problem or verdict.could_not:
                    return _ended(verdict, warnings)
        if settings.rehearsal == "off":
            return Judgement(warnings=warnings)
        with timed(Stage.REHEARSE):
            rehearsed = self._rehearse(self._daemon, document, timeout=settings.rehearsal_seconds, go_on=go_on)
        return _with(rehearsed, document, warnings, is_required=settings.rehearsal == "require")

    def _verdicts(self, document: Document, setup: Setup, settings: CheckSettings) -> Iterator[Verdict]:
        limits = check.Limits(settings.timeout_seconds, settings.output_bytes)
        environment = setup.environment
        argv = setup.argv or (f"/usr/sbin/{self._daemon.binary}",)
        yield rulebook.judge(self._daemon, document, argv, environment, settings, self._previous())
        said = check.with_kea(argv, environment, document.path, limits)
        for warning in said.warnings:
            logger.debug("%s: %s", document.path, warning)
        yield rulebook.without_secrets(Verdict(said.level, said.problem, said.seconds, (), said.could_not), document)
        if settings.rehearsal != "off":
            yield databases.probe(self._daemon, document, argv, environment, limits)

    def _previous(self) -> Mapping[str, Any] | None:
        try:
            last = self._history.last(self._daemon.name)
            return self._history.tree(last) if last else None
        except AgentError as error:
            logger.warning("%s: %s", self._daemon.name, error)
            return None


def _ended(verdict: Verdict, warnings: tuple[str, ...]) -> Judgement:
    if verdict.may_pass_later:
        return Judgement(None, str(verdict.problem), warnings)
    return Judgement(verdict.problem, verdict.could_not, warnings)


def _with(rehearsed: Rehearsal, document: Document, warnings: tuple[str, ...], *, is_required: bool) -> Judgement:
    if rehearsed.standing is Standing.REFUSED:
        problem = ConfigError(f"rehearsed, and {rehearsed.reason}", file=document.path)
        if rehearsed.may_pass_later:
            return Judgement(None, str(problem), warnings, rehearsed)
        return Judgement(problem, None, warnings, rehearsed)
    if rehearsed.standing is Standing.NOT_REHEARSED and is_required:
        return Judgement(None, f"not rehearsed: {rehearsed.reason}", warnings, rehearsed)
    return Judgement(None, None, warnings, rehearsed)
