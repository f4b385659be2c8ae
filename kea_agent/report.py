# SPDX-License-Identifier: MPL-2.0
"""Findings as text for a person, and as the forms that machines read: json, github (workflow commands), sarif (2.1.0)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kea_agent import __version__
from kea_agent.lint import Finding
from kea_agent.plain import printable
from kea_agent.rules import RULES

_COLORS = {"error": "31", "warning": "33", "info": "36", "unknown": "35"}
# Levels that may say of a place what a rule has said of it: it is told who speaks.
_OTHERS = ("kea", "rehearsal")
_GITHUB = {"error": "error", "warning": "warning", "info": "notice", "unknown": "warning"}
_SARIF = {"error": "error", "warning": "warning", "info": "note", "unknown": "warning"}


def text(findings: Sequence[Finding], *, color: bool = False) -> str:
    """One block a finding: place and sentence, the line with a caret, what to do; at the end the sum."""
    if not findings:
        return ""
    blocks = ["\n".join(_block(finding, color=color)) for finding in findings]
    return "\n\n".join([*blocks, _sum(findings)]) + "\n"


def _block(finding: Finding, *, color: bool) -> Iterator[str]:
    paint = _painted if color else _plain
    judge = finding.rule or (finding.level if finding.level in _OTHERS else "")
    name = f" [{judge}]" if judge else ""
    severity = paint(f"{finding.severity}:", _COLORS[finding.severity])
    yield f"{paint(printable(finding.place), '1')}: {severity} {printable(finding.message)}{paint(name, '2')}"
    if finding.line:
        shown, caret = _cut(finding.line, finding.caret)
        yield f"{finding.row:>6} | {shown}"
        yield f"       | {' ' * caret}{paint('^', _COLORS[finding.severity])}"
    if finding.do:
        yield f"       = {finding.do}"


def _cut(line: str, caret: int, width: int = 100) -> tuple[str, int]:
    """The part of a line around its caret that fits a terminal, without the blanks that it starts with."""
    start = min(len(line) - len(line.lstrip()), caret)
    if caret - start > width * 3 // 4:
        start = caret - width // 2
    return line[start : start + width].rstrip(), caret - start


def _sum(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    words = (
        f"{counts[name]} {name}{'s' if counts[name] > 1 and name != 'unknown' else ''}"
        for name in _COLORS
        if counts[name]
    )
    return ", ".join(words)


def _painted(words: str, code: str) -> str:
    return f"\x1b[{code}m{words}\x1b[0m"


def _plain(words: str, _code: str) -> str:
    return words


def as_json(findings: Sequence[Finding]) -> str:
    """A list of findings; keys are added, never renamed or removed."""
    return json.dumps([_fields(finding) for finding in findings], indent=1) + "\n"


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity,
        "place": finding.place,
        "message": finding.message,
        "level": finding.level,
        "rule": finding.rule or None,
        "file": finding.file,
        "line": finding.row,
        "column": finding.column,
        "do": finding.do or None,
    }


def github(findings: Sequence[Finding]) -> str:
    """One workflow command a finding: GitHub shows them beside the lines of a pull request."""
    return "".join(f"{printable(_command(finding))}\n" for finding in findings)


def _command(finding: Finding) -> str:
    properties = {
        "file": _relative(finding.file),
        "line": finding.row,
        "col": finding.column,
        "title": finding.rule or finding.level,
    }
    spelled = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in properties.items() if value is not None)
    words = " ".join(part for part in (finding.message, f"({finding.do})" if finding.do else "") if part)
    return f"::{_GITHUB[finding.severity]} {spelled}::{_escaped(words)}"


def _escaped(value: str, more: str = "") -> str:
    for sign in ("%", "\r", "\n", *more):
        value = value.replace(sign, f"%{ord(sign):02X}")
    return value


def sarif(findings: Sequence[Finding]) -> str:
    """A SARIF 2.1.0 log with one run."""
    driver = {
        "name": "kea-agent",
        "version": __version__,
        "rules": [_described(name) for name in sorted({finding.rule for finding in findings} & RULES.keys())],
    }
    run = {"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": [_result(each) for each in findings]}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _described(name: str) -> dict[str, Any]:
    rule = RULES[name]
    return {
        "id": name,
        "shortDescription": {"text": rule.says},
        "help": {"text": rule.do},
        "defaultConfiguration": {"level": _SARIF[rule.severity.value]},
    }


def _result(finding: Finding) -> dict[str, Any]:
    where: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.row is not None:
        where["region"] = {"startLine": finding.row, "startColumn": finding.column or 1}
    # What to do stands with the rule; where there is none, here.
    more = f" {finding.do}" if finding.do and not finding.rule else ""
    return {
        "ruleId": finding.rule or finding.level,
        "level": _SARIF[finding.severity],
        "message": {"text": f"{finding.message}{more}"},
        "locations": [{"physicalLocation": where}],
    }


def _uri(file: str) -> str:
    near = _relative(file)
    # as_uri escapes what is not allowed; a relative one is the same without its beginning.
    uri = Path("/", near).as_uri()
    return uri if near.startswith("/") else uri.removeprefix("file:///")


def _relative(file: str) -> str:
    """As seen from here, where it is below: that is how a checkout in a CI job names its files."""
    here = os.getcwd()
    return os.path.relpath(file, here) if file.startswith(f"{here.rstrip('/')}/") else file


FORMS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": text,
    "json": as_json,
    "github": github,
    "sarif": sarif,
}
