# SPDX-License-Identifier: MPL-2.0
"""`kea-agent check`: judge configurations without touching a daemon, and without an agent.

`syntax` and `rules` need no Kea, no systemd and no root; D-Bus is only looked for from level `kea` on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kea_agent import check, databases, keaconf, lint, redact, rehearsal, report
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.errors import AgentError, ConfigError, ExitCode, SettingsError
from kea_agent.history import History
from kea_agent.keaconf_advice import advice
from kea_agent.lint import Finding
from kea_agent.rules import RULES
from kea_agent.settings import Settings
from kea_agent.verbs.subjects import file_of, installed, own_settings, owner, unit_of

if TYPE_CHECKING:
    from kea_agent import units

_WITH_KEA = ("kea", "rehearsal")


def main(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 if one is an error, 3 if something could not be checked."""
    if unknown := set(arguments.disable) - RULES.keys():
        raise SettingsError(f'kea-agent check: there is no rule "{min(unknown)}"; docs/usage/rules.md has them')
    found = own_settings(arguments.settings)
    disabled = {*found.check.disable, *arguments.disable}
    findings = [finding for subject in _subjects(arguments, found) for finding in judge(*subject, arguments, disabled)]
    sys.stdout.write(_written(findings, arguments.format))
    severities = {finding.severity for finding in findings}
    return (
        ExitCode.BAD_CONFIG if "error" in severities else ExitCode.NOT_DONE if "unknown" in severities else ExitCode.OK
    )


def _written(findings: list[Finding], form: str) -> str:
    if form == "text":
        return report.text(findings, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    return report.FORMS[form](findings)


def _subjects(arguments: argparse.Namespace, found: Settings) -> Iterator[tuple[Daemon, str, units.Unit | None]]:
    for word in arguments.what or installed(found):
        daemon = BY_NAME.get(word) or owner(word)
        unit = unit_of(daemon, found) if arguments.level in _WITH_KEA else None
        yield daemon, file_of(daemon, unit, found) if word in BY_NAME else word, unit


def judge(
    daemon: Daemon, path: str, unit: units.Unit | None, arguments: argparse.Namespace, disabled: set[str]
) -> Iterator[Finding]:
    """What every level up to `arguments.level` finds in one file."""
    try:
        document = keaconf.read(path, daemon.root_key)
    except ConfigError as error:
        yield _of_error(error, "syntax")
        return
    yield from (_of_warning(warning) for warning in document.warnings)
    if arguments.level == "syntax":
        return
    yield from lint.run(daemon.name, document, _setup(daemon, arguments, disabled, unit))
    if arguments.level in _WITH_KEA:
        asked = list(_judge_with_kea(daemon, document, unit))
        yield from asked
        if arguments.level == "rehearsal" and not any(finding.severity == "error" for finding in asked):
            yield from _probe(daemon, document, unit)
            yield from _rehearse(daemon, document, arguments.settings)


def _setup(daemon: Daemon, arguments: argparse.Namespace, disabled: set[str], unit: units.Unit | None) -> lint.Setup:
    version = arguments.kea_version
    if version is None and arguments.level in _WITH_KEA:
        version = check.version_of(_argv(daemon, unit)[0])
    return lint.Setup(
        version=version,
        disabled=disabled,
        previous=_previous(daemon, arguments.previous) or _last_known_good(daemon, arguments),
        environment=unit.environment if unit else None,
        argv=unit.argv if unit else (),
    )


def _previous(daemon: Daemon, path: str | None) -> Mapping[str, Any] | None:
    """The tree before this one; one of another daemon is of no use, and no error when several are checked."""
    try:
        return keaconf.read(path, daemon.root_key).tree if path else None
    except ConfigError as error:
        if error.line is None:
            raise
        return None


def _last_known_good(daemon: Daemon, arguments: argparse.Namespace) -> Mapping[str, Any] | None:
    """This host's, where its own file is judged by somebody who may read what is kept."""
    if daemon.name not in (getattr(arguments, "what", None) or [daemon.name]):
        return None
    try:
        history = History()
        last = history.last(daemon.name)
        return history.tree(last) if last else None
    except (AgentError, OSError):
        return None


def _judge_with_kea(daemon: Daemon, document: keaconf.Document, unit: units.Unit | None) -> Iterator[Finding]:
    environment = unit.environment if unit else {}
    verdict = check.with_kea(_argv(daemon, unit), environment, document.path, check.Limits())
    for warning in verdict.warnings:
        yield _of_place(document.path, "warning", redact.cleaned(warning, document.tree))
    if verdict.could_not:
        do = "" if Path(_argv(daemon, unit)[0]).exists() else "Where there is no Kea, ask for --level rules."
        yield replace(_of_place(document.path, "unknown", verdict.could_not), do=do)
    if verdict.problem:
        yield _of_error(verdict.problem, "kea", document)


def _probe(daemon: Daemon, document: keaconf.Document, unit: units.Unit | None) -> Iterator[Finding]:
    environment = unit.environment if unit else {}
    verdict = databases.probe(daemon, document, _argv(daemon, unit), environment, check.Limits())
    for warning in verdict.warnings:
        yield replace(_of_place(document.path, "warning", warning), level="rehearsal")
    if verdict.could_not:
        yield replace(_of_place(document.path, "unknown", verdict.could_not), level="rehearsal")
    if verdict.problem:
        yield _of_error(verdict.problem, "rehearsal", document)


def _rehearse(daemon: Daemon, document: keaconf.Document, directory: Path) -> Iterator[Finding]:
    seconds = own_settings(directory).check.rehearsal_seconds
    found = rehearsal.rehearse(daemon, document, timeout=seconds)
    if found.standing is rehearsal.Standing.REFUSED:
        yield _of_error(ConfigError(f"rehearsed, and {found.reason}", file=document.path), "rehearsal", document)
    if found.standing is rehearsal.Standing.NOT_REHEARSED:
        yield replace(_of_place(document.path, "unknown", f"not rehearsed: {found.reason}"), level="rehearsal")


def _argv(daemon: Daemon, unit: units.Unit | None) -> tuple[str, ...]:
    return tuple((unit and unit.argv) or (f"/usr/sbin/{daemon.binary}",))


def _of_error(error: ConfigError, level: str, document: keaconf.Document | None = None) -> Finding:
    line, caret = lint.source_line(error)
    message = redact.cleaned(error.message, document.tree) if document else error.message
    do = advice(error.message) if level == "syntax" else ""
    return Finding("", "error", message, error.place, error.file, error.line, error.column, do, level, line, caret)


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


def _of_place(place: str, severity: str, words: str) -> Finding:
    return Finding("", severity, words, place, place, level="kea")
