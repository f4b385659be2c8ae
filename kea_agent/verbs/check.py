# SPDX-License-Identifier: MPL-2.0
"""`kea-agent check`: judge configurations without touching a daemon, and without an agent.

`syntax` and `rules` need no Kea, no systemd and no root; D-Bus is only looked for from level `kea` on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kea_agent import keaconf, lint, rehearsal, report
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.errors import AgentError, ConfigError, ExitCode, SettingsError
from kea_agent.history import History
from kea_agent.keaconf_advice import advice
from kea_agent.levels import Levels, Rehearse, UnitView
from kea_agent.lint import Finding
from kea_agent.rules import RULES, Version
from kea_agent.settings import CheckSettings, Settings
from kea_agent.verbs.subjects import file_of, installed, own_settings, owner, unit_of
from kea_agent.verdict import Verdict

if TYPE_CHECKING:
    from kea_agent import units

_WITH_KEA = ("kea", "rehearsal")
_WAITS = "The same file may pass another time: the agent waits, and looks again by itself."


def main(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 if a file is bad, 3 if one could not be checked, or would have to wait."""
    if unknown := set(arguments.disable) - RULES.keys():
        raise SettingsError(f'kea-agent check: there is no rule "{min(unknown)}"; docs/usage/rules.md has them')
    found = own_settings(arguments.settings)
    asked = Asked(
        arguments.level,
        _required(arguments.level, replace(found.check, disable=(*found.check.disable, *arguments.disable))),
        arguments.kea_version,
        arguments.previous,
        getattr(arguments, "what", None) or (),
    )
    looks = [look(*subject, asked) for subject in _subjects(arguments, found)]
    sys.stdout.write(_written([finding for each in looks for finding in each.findings], arguments.format))
    codes = {each.exit_code for each in looks}
    return next((code for code in (ExitCode.BAD_CONFIG, ExitCode.NOT_DONE) if code in codes), ExitCode.OK)


def _required(level: str, settings: CheckSettings) -> CheckSettings:
    """Who asks for a rehearsal is told where there could be none."""
    return replace(settings, rehearsal="require") if level == "rehearsal" else settings


def _written(findings: list[Finding], form: str) -> str:
    if form == "text":
        return report.text(findings, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    return report.FORMS[form](findings)


def _subjects(arguments: argparse.Namespace, found: Settings) -> Iterator[tuple[Daemon, str, units.Unit | None]]:
    for word in arguments.what or installed(found):
        daemon = BY_NAME.get(word) or owner(word)
        unit = unit_of(daemon, found) if arguments.level in _WITH_KEA else None
        yield daemon, file_of(daemon, unit, found) if word in BY_NAME else word, unit


@dataclass(frozen=True)
class Asked:
    """What is wanted to be known of each file, and by which settings."""

    level: str
    settings: CheckSettings
    version: Version | None = None
    previous: str | None = None
    what: Sequence[str] = ()


@dataclass(frozen=True)
class Look:
    """What was found in one file, and what a pass of the agent would come to: OK, BAD_CONFIG or NOT_DONE."""

    findings: tuple[Finding, ...]
    exit_code: ExitCode


def look(
    daemon: Daemon, path: str, unit: units.Unit | None, asked: Asked, rehearse: Rehearse = rehearsal.rehearse
) -> Look:
    """Take one file through the levels; the first verdict that says no decides."""
    try:
        document = keaconf.read(path, daemon.root_key, max_bytes=asked.settings.max_config_bytes)
    except ConfigError as error:
        return Look((_of_error(error, "syntax"),), ExitCode.BAD_CONFIG)
    previous = _previous(daemon, asked) or _last_known_good(daemon, asked)
    view = UnitView.of(daemon, unit)
    levels = Levels(daemon, document, view, asked.settings, previous, asked.version)
    verdicts = list(levels.run(asked.level, rehearse))
    findings = [_of_warning(warning) for warning in document.warnings]
    for verdict in verdicts:
        findings += verdict.findings or _findings_of(verdict, document, view)
    return Look(tuple(findings), _exit_code(verdicts))


def _exit_code(verdicts: Iterable[Verdict]) -> ExitCode:
    decisive = next((verdict for verdict in verdicts if verdict.says_no), None)
    if decisive is None:
        return ExitCode.OK
    return ExitCode.BAD_CONFIG if decisive.refuses else ExitCode.NOT_DONE


def _previous(daemon: Daemon, asked: Asked) -> Mapping[str, Any] | None:
    """The tree before this one; one of another daemon is of no use, and no error when several are checked."""
    try:
        return keaconf.read(asked.previous, daemon.root_key).tree if asked.previous else None
    except ConfigError as error:
        if error.line is None:
            raise
        return None


def _last_known_good(daemon: Daemon, asked: Asked) -> Mapping[str, Any] | None:
    """This host's, where its own file is judged by somebody who may read what is kept."""
    if daemon.name not in (asked.what or [daemon.name]):
        return None
    try:
        return History().last_tree(daemon.name)
    except (AgentError, OSError):
        return None


def _findings_of(verdict: Verdict, document: keaconf.Document, unit: UnitView) -> Iterator[Finding]:
    """A verdict without places of its own, for a person; the databases are looked at as part of the rehearsal."""
    level = "kea" if verdict.level == "kea" else "rehearsal"
    for warning in verdict.warnings:
        yield _of_place(document.path, "warning", warning, level)
    if verdict.could_not:
        do = "" if Path(unit.argv[0]).exists() else "Where there is no Kea, ask for --level rules."
        yield replace(_of_place(document.path, "unknown", verdict.could_not, level), do=do)
    if verdict.problem and verdict.may_pass_later:
        yield replace(_of_error(verdict.problem, level), severity="unknown", do=_WAITS)
    elif verdict.problem:
        yield _of_error(verdict.problem, level)


def _of_error(error: ConfigError, level: str) -> Finding:
    line, caret = lint.source_line(error)
    do = advice(error.message) if level == "syntax" else ""
    return Finding(
        "", "error", error.message, error.place, error.file, error.line, error.column, do, level, line, caret
    )


def _of_warning(warning: str) -> Finding:
    """A warning of the reader's, `file:line:column: words`."""
    place, _, words = warning.partition(": ")
    file, _, numbers = place.partition(":")
    line, _, column = numbers.partition(":")
    where = ConfigError(
        words,
        file=file,
        line=int(line) if line.isdecimal() else None,
        column=int(column) if column.isdecimal() else None,
    )
    shown, caret = lint.source_line(where)
    return Finding("", "warning", words, place, file, where.line, where.column, advice(words), "syntax", shown, caret)


def _of_place(place: str, severity: str, words: str, level: str) -> Finding:
    return Finding("", severity, words, place, place, level=level)
