# SPDX-License-Identifier: MPL-2.0
"""The levels that a configuration passes, in their one order. Whoever judges a file comes here.

    rules       ours, without Kea               (lint.py)
    kea         `kea-* -t`                      (check.py)
    databases   opened by Kea itself            (databases.py)
    rehearsal   the real daemon in a sandbox    (rehearsal.py)

The first level, `syntax`, is the reader: whoever comes here has read the file. The agent and `systemctl reload` stop at
the first verdict that says no. `kea-agent check` and `apply` print every verdict up to the level that was asked for.
The first that says no decides in each case: a problem rejects the file, anything else defers it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from kea_agent import check, databases, lint, redact, rehearsal
from kea_agent.accounts import Account, for_kea
from kea_agent.daemons import Daemon
from kea_agent.errors import AgentError, ConfigError
from kea_agent.history import History
from kea_agent.keaconf import Document, json_text
from kea_agent.outcome import Stage
from kea_agent.reading import read_regular
from kea_agent.rules import Severity, Version
from kea_agent.sandbox.request import Standing
from kea_agent.settings import CheckSettings
from kea_agent.units import Unit
from kea_agent.verdict import Rehearsal, Verdict

logger = logging.getLogger(__name__)

# What `kea-agent check --level` takes, each with the levels before it; the databases are opened with the rehearsal.
ASKED = ("syntax", "rules", "kea", "rehearsal")

# These start a program on the file, so they come only while nobody has said no.
_STARTING = ("databases", "rehearsal")

Timer = Callable[[Stage], AbstractContextManager[None]]


def untimed(_: Stage) -> AbstractContextManager[None]:
    """For whoever does not want to know."""
    return nullcontext()


class Rehearse(Protocol):
    """What `rehearsal.rehearse` is."""

    def __call__(
        self, daemon: Daemon, document: Document, *, timeout: float, go_on: Callable[[], object]
    ) -> Rehearsal: ...


@dataclass(frozen=True)
class UnitView:
    """How the daemon is started that is to run the file.

    Where there is no unit it is the packaged program, and the rules take nothing of it for known.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    account: Account | None = None  # who runs Kea's programs for root; None: who we are
    is_known: bool = True

    @classmethod
    def of(cls, daemon: Daemon, unit: Unit | None) -> UnitView:
        """What systemd has for the daemon."""
        packaged = (f"/usr/sbin/{daemon.binary}",)
        if unit is None:
            return cls(packaged, {}, for_kea(), is_known=False)
        return cls(tuple(unit.argv) or packaged, unit.environment, for_kea(unit.user))


@dataclass(frozen=True)
class Levels:
    """One file, and all that judging it depends on.

    `previous` is the tree that was last proven to run. `version` is the Kea to judge for; None: whichever is installed.
    """

    daemon: Daemon
    document: Document
    unit: UnitView
    settings: CheckSettings
    previous: Mapping[str, Any] | None = None
    version: Version | None = None

    def run(
        self,
        upto: str = "rehearsal",
        rehearse: Rehearse = rehearsal.rehearse,
        timed: Timer = untimed,
        go_on: Callable[[], object] = rehearsal.unhindered,
    ) -> Iterator[Verdict]:
        """Every verdict up to a level of `ASKED`. What starts something is asked only while nobody has said no.

        `go_on` may raise when something else matters more than a rehearsal that takes long.
        """
        is_good = True
        for level, ask in self._steps(upto, rehearse, go_on):
            if level in _STARTING and not is_good:
                return
            with timed(Stage.REHEARSE if level == "rehearsal" else Stage.CHECK):
                verdict = ask()
            is_good = is_good and not verdict.says_no
            yield verdict

    def _steps(
        self, upto: str, rehearse: Rehearse, go_on: Callable[[], object]
    ) -> Iterator[tuple[str, Callable[[], Verdict]]]:
        if upto == "syntax":
            return
        yield "rules", partial(self.rules, is_kea_there=upto != "rules")
        if upto == "rules":
            return
        yield "kea", self.kea
        if upto == "rehearsal" and self.settings.rehearsal != "off":
            yield "databases", self.databases
            yield "rehearsal", partial(self.rehearsed, rehearse, go_on)

    def rules(self, *, is_kea_there: bool = True) -> Verdict:
        """The first error is the problem, all else are warnings; infos are among the findings only."""
        if self.settings.rules == "off":
            return Verdict("rules", None, 0.0)
        started = time.monotonic()
        findings = self._findings(is_kea_there=is_kea_there)
        told = [finding for finding in findings if finding.severity != Severity.INFO]
        error = next((finding for finding in told if finding.severity == Severity.ERROR), None)
        warnings = tuple(f"{each.place}: {each.message} [{each.rule}]" for each in told if each is not error)
        problem = _as_error(error) if error else None
        return Verdict("rules", problem, time.monotonic() - started, warnings, findings=tuple(findings))

    def _findings(self, *, is_kea_there: bool) -> list[lint.Finding]:
        version = self.version
        if version is None and is_kea_there:
            version = check.version_of(self.unit.argv[0], self.unit.account)
        view = lint.Setup(version, self.settings.disable, self.previous)
        if self.unit.is_known:
            view = replace(view, environment=self.unit.environment, argv=self.unit.argv)
        try:
            findings = lint.run(self.daemon.name, self.document, view)
        except ConfigError:  # the file changed meanwhile: the fingerprint before the reload sees that
            return []
        except Exception:
            # A rule is advice, and a bug in one must not keep a good file from the server: Kea's own check comes next.
            logger.exception("the rules could not judge %s", self.document.path)
            return []
        if self.settings.rules == "tell":
            return [_no_worse_than_a_warning(finding) for finding in findings]
        return findings

    def kea(self) -> Verdict:
        """What Kea's own `-t` says. It quotes what it cannot read, and that may be a secret: it is masked."""
        unit = self.unit
        verdict = check.with_kea(
            unit.argv, unit.environment, self.document.path, self._limits, unit.account, self._handed_over()
        )
        return without_secrets(verdict, self.document)

    def _handed_over(self) -> bytes | None:
        """The text that Kea gets, where root asks about files that Kea's user may not read; else it reads them itself."""
        document, account = self.document, self.unit.account
        if account is None or account.uid == 0 or check.may_read(account, document.files):
            return None
        try:  # as it was written, so that places are those of the file
            return read_regular(document.path, document.size) if len(document.files) == 1 else json_text(document.tree)
        except OSError:  # it changed meanwhile: the fingerprint before the reload sees that
            return json_text(document.tree)

    def databases(self) -> Verdict:
        """Whether Kea can open the file's databases."""
        return databases.probe(
            self.daemon, self.document, self.unit.argv, self.unit.environment, self._limits, self.unit.account
        )

    def rehearsed(self, rehearse: Rehearse, go_on: Callable[[], object]) -> Verdict:
        """How the real daemon did."""
        done = rehearse(self.daemon, self.document, timeout=self.settings.rehearsal_seconds, go_on=go_on)
        verdict = Verdict("rehearsal", None, done.seconds, rehearsal=done)
        if done.standing is Standing.REFUSED:
            problem = ConfigError(f"rehearsed, and {done.reason}", file=self.document.path)
            return replace(verdict, problem=problem, may_pass_later=done.may_pass_later)
        if done.standing is Standing.NOT_REHEARSED and self.settings.rehearsal == "require":
            return replace(verdict, could_not=f"not rehearsed: {done.reason}")
        return verdict

    @property
    def _limits(self) -> check.Limits:
        return check.Limits(self.settings.timeout_seconds, self.settings.output_bytes)


def _no_worse_than_a_warning(finding: lint.Finding) -> lint.Finding:
    is_error = finding.severity == Severity.ERROR
    return replace(finding, severity=Severity.WARNING.value) if is_error else finding


def _as_error(finding: lint.Finding) -> ConfigError:
    return ConfigError(
        f"{finding.message} [{finding.rule}]", file=finding.file, line=finding.row, column=finding.column
    )


def without_secrets(verdict: Verdict, document: Document) -> Verdict:
    """The same in words that quote no secret of the file."""
    warnings = tuple(redact.cleaned(warning, document.tree) for warning in verdict.warnings)
    problem = verdict.problem
    if problem is not None:
        words = redact.cleaned(problem.message, document.tree)
        problem = ConfigError(words, file=problem.file, line=problem.line, column=problem.column)
    return replace(verdict, problem=problem, warnings=warnings)


@dataclass(frozen=True)
class Judgement:
    """What a pass does with a file: `problem` rejects it, `could_not` defers it; with neither it may be loaded."""

    problem: ConfigError | None = None
    could_not: str | None = None
    warnings: tuple[str, ...] = ()
    rehearsal: Rehearsal | None = None

    @classmethod
    def of(cls, verdict: Verdict, warnings: tuple[str, ...]) -> Judgement:
        """By the last verdict that was asked for."""
        if verdict.refuses:
            return cls(verdict.problem, None, warnings, verdict.rehearsal)
        could_not = verdict.could_not or (str(verdict.problem) if verdict.problem else None)
        return cls(None, could_not, warnings, verdict.rehearsal)

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
    """Takes one daemon's files through the levels; the first that says no ends it."""

    def __init__(self, daemon: Daemon, history: History, rehearse: Rehearse = rehearsal.rehearse) -> None:
        self._daemon = daemon
        self._history = history
        self._rehearse = rehearse

    def judge(
        self,
        document: Document,
        unit: UnitView,
        settings: CheckSettings,
        timed: Timer = untimed,
        go_on: Callable[[], object] = rehearsal.unhindered,
    ) -> Judgement:
        """What comes of a file; `go_on` may raise when something else matters more than a rehearsal that takes long."""
        levels = Levels(self._daemon, document, unit, settings, self._last_proven_tree())
        judgement = Judgement()
        warnings: tuple[str, ...] = ()
        for verdict in levels.run("rehearsal", self._rehearse, timed, go_on):
            warnings += _worth_telling(verdict, document)
            judgement = Judgement.of(verdict, warnings)
            if verdict.says_no:
                break
        return judgement

    def _last_proven_tree(self) -> Mapping[str, Any] | None:
        try:
            return self._history.last_tree(self._daemon.name)
        except AgentError as error:
            logger.warning("%s: %s", self._daemon.name, error)
            return None


def _worth_telling(verdict: Verdict, document: Document) -> tuple[str, ...]:
    """Kea's own `-t` warns of what nobody can change, and its log has it again after the reload."""
    if verdict.level != "kea":
        return verdict.warnings
    for warning in verdict.warnings:
        logger.debug("%s: %s", document.path, warning)
    return ()
