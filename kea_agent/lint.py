# SPDX-License-Identifier: MPL-2.0
"""The rules run on a file that was read: findings with positions, without those that somebody turned off.

Off is a rule by its id, everywhere (settings, command line) or at one place, by a comment on the finding's line or on a
line of its own above: `// kea-agent: ignore=ID,ID`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from kea_agent.daemons import BY_NAME
from kea_agent.errors import ConfigError
from kea_agent.foreign import printable
from kea_agent.keaconf import Document
from kea_agent.keaconf_places import CONTEXT, Path, Place, Places, Spot
from kea_agent.redact import redacted_line
from kea_agent.regular import read_regular
from kea_agent.rules import RULES, Config, Problem, Rule, Severity, Version

# Who mends twenty places knows how the rest goes, and a file of 9 MB can break a rule 100,000 times.
MOST_OF_A_RULE = 20
LONGEST_LINE = 2000
_LARGEST = 64 * 1024 * 1024  # bytes of a file that is read once more, for one of its lines

_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
# A string, even one without an end, or what begins a comment.
_STRING_OR_COMMENT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*"?|#|//|/\*')
_IGNORE = re.compile(r"kea-agent: {0,8}ignore=([a-z0-9,-]++)")
_ONLY_COMMENT = re.compile(r"\s*(?:#|//|/\*)")


@dataclass(frozen=True)
class Finding:
    """One problem at one place. `rule`: its id; `do`: what helps; `line` is the file's own, secrets masked."""

    rule: str
    severity: str
    message: str
    place: str
    file: str
    row: int | None = None
    column: int | None = None
    do: str = ""
    level: str = "rules"
    line: str = ""
    caret: int = 0


@dataclass(frozen=True)
class Setup:
    """How the rules are to look: which Kea, which rules not, and what is known of the unit that is to run the file."""

    version: Version | None = None
    disabled: Collection[str] = ()
    previous: Mapping[str, Any] | None = None
    environment: Mapping[str, str] | None = None
    argv: Sequence[str] = field(default_factory=tuple)


def run(daemon: str, document: Document, setup: Setup) -> list[Finding]:
    """Every finding, errors first, then by place; ConfigError if the file changes meanwhile."""
    problems = list(problems_of(daemon, document.tree, setup))
    return _placed(document, problems, setup.version) if problems else []


def problems_of(daemon: str, tree: Mapping[str, Any], setup: Setup) -> Iterator[tuple[Rule, Problem]]:
    """The same without files: for a tree from anywhere."""
    config = Config(
        daemon,
        BY_NAME[daemon].root_key,
        tree,
        version=setup.version,
        previous=setup.previous,
        environment=setup.environment,
        argv=setup.argv,
    )
    for each in RULES.values():
        if each.id not in setup.disabled and each.applies(config):
            yield from ((each, problem) for problem in _some(each.find(config)))


def _some(problems: Iterable[Problem]) -> list[Problem]:
    """The first of a rule's problems; the last of them says if there are more."""
    found = list(islice(problems, MOST_OF_A_RULE + 1))
    if len(found) > MOST_OF_A_RULE:
        found.pop()
        found[-1] = replace(found[-1], message=f"{found[-1].message} (and there is more of this kind)")
    return found


def _placed(document: Document, problems: Sequence[tuple[Rule, Problem]], version: Version | None) -> list[Finding]:
    places = Places(document)
    spots = places.find({problem.path for _, problem in problems})
    found: list[tuple[tuple[int, Place], Finding]] = []
    for each, problem in problems:
        place = _nearest(problem, spots, document)
        before, line = places.around(place)
        if each.id in _ignored(before, line):
            continue
        severity = _severity(each, problem, version)
        found.append(((_RANK[severity], place), _finding(each, problem, severity, place, (before, line))))
    return [finding for _, finding in sorted(found, key=lambda each: each[0])]


def _severity(each: Rule, problem: Problem, version: Version | None) -> Severity:
    severities = [each.worst(version), *([problem.severity] if problem.severity else [])]
    return max(severities, key=lambda severity: _RANK[severity])


def _nearest(problem: Problem, spots: Mapping[Path, Spot], document: Document) -> Place:
    spot = spots.get(problem.path)
    if spot is None:
        return Place(printable(document.path), 1, 1)
    return spot.key if problem.is_key and spot.key else spot.best


def _finding(each: Rule, problem: Problem, severity: Severity, place: Place, text: tuple[str, str]) -> Finding:
    line, caret = shown_line(*text, place.column)
    return Finding(
        rule=each.id,
        severity=severity.value,
        message=problem.message,
        place=str(place),
        file=place.file,
        row=place.line,
        column=place.column,
        do=f"{each.says} {each.do}",
        line=line,
        caret=caret,
    )


def _ignored(before: str, line: str) -> set[str]:
    """The ids that a comment on the line, or on a line of its own above it, turns off."""
    above = before[before.rfind("\n", 0, len(before) - 1) + 1 :] if before else ""
    texts = [line, above] if _ONLY_COMMENT.match(above) else [line]
    marks = (_IGNORE.search(text, _comment_in(text)) for text in texts if "kea-agent:" in text)
    return {name for mark in marks if mark for name in mark[1].split(",")}


def _comment_in(line: str) -> int:
    """Where the first comment of a line begins; its end, where there is none."""
    begins = (match.start() for match in _STRING_OR_COMMENT.finditer(line) if not match[0].startswith('"'))
    return next(begins, len(line))


def shown_line(before: str, line: str, column: int, *, is_broken: bool = False) -> tuple[str, int]:
    """A line of a file fit to be shown, and where in it the caret goes (0-based); nothing for one too long to show.

    Text has one character a byte; `before` are whole lines: the key of a secret may stand on one of them.
    """
    if len(line) > LONGEST_LINE:
        return "", 0
    shown, caret = redacted_line(before, line, column - 1, is_broken=is_broken)
    whole = _text(shown)
    return whole, min(len(_text(shown[:caret])), len(whole))


def _text(raw: str) -> str:
    return printable(raw.replace("\t", " ").encode("latin-1").decode("utf-8", "surrogateescape"))


def source_line(error: ConfigError) -> tuple[str, int]:
    """The line that an error is about and where its caret goes; nothing if the file cannot be read again."""
    if error.line is None:
        return "", 0
    try:
        lines = read_regular(error.file, _LARGEST).decode("latin-1").split("\n", error.line)[: error.line]
    except (OSError, ValueError):
        return "", 0
    if len(lines) < error.line:
        return "", 0
    before = "".join(f"{line}\n" for line in lines[-20:-1])
    return shown_line(before[-CONTEXT:], lines[-1].rstrip("\r\n"), error.column or 1, is_broken=True)
