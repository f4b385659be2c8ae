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
from kea_agent.keaconf import MAX_BYTES, Document
from kea_agent.keaconf_places import CONTEXT, Path, Place, Places, Spot
from kea_agent.pieces import comments
from kea_agent.plain import printable
from kea_agent.reading import read_regular
from kea_agent.redact_text import redacted_pieces
from kea_agent.rules import RULES, Config, Problem, Rule, Severity, Version

# Who mends twenty places knows how the rest goes, and a file of 9 MB can break a rule 100,000 times.
MOST_OF_A_RULE = 20
LONGEST_LINE = 2000

_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
_IGNORE = re.compile(r"kea-agent: *+ignore=([a-z0-9,-]++)")


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
    lines: dict[tuple[str, int], _Line] = {}
    found: list[tuple[tuple[int, Place], Finding]] = []
    for each, problem in problems:
        place = _nearest(problem, spots, document)
        where = (place.file, place.line)
        if where not in lines:
            lines[where] = _Line.of(*places.around(place))
        if each.id in lines[where].ignored:
            continue
        severity = _severity(each, problem, version)
        found.append(((_RANK[severity], place), _finding(each, problem, severity, place, lines[where])))
    return [finding for _, finding in sorted(found, key=lambda each: each[0])]


@dataclass(frozen=True)
class _Line:
    """A line of a file in pieces, as they are shown, and the ids of the rules that comments there turn off."""

    pieces: list[tuple[str, str]]
    ignored: frozenset[str]

    @classmethod
    def of(cls, before: str, text: str) -> _Line:
        above = before[before.rfind("\n", 0, len(before) - 1) + 1 :] if before else ""
        texts = [text, above] if above.lstrip().startswith(("#", "//", "/*")) else [text]
        marks = (_IGNORE.search(comment) for each in texts for comment in comments(each))
        ignored = frozenset(name for mark in marks if mark for name in mark[1].split(","))
        return cls(_shown_pieces(before, text), ignored)


def _severity(each: Rule, problem: Problem, version: Version | None) -> Severity:
    severities = [each.worst(version), *([problem.severity] if problem.severity else [])]
    return max(severities, key=lambda severity: _RANK[severity])


def _nearest(problem: Problem, spots: Mapping[Path, Spot], document: Document) -> Place:
    spot = spots.get(problem.path)
    if spot is None:
        return Place(printable(document.path), 1, 1)
    return spot.key if problem.is_key and spot.key else spot.best


def _finding(each: Rule, problem: Problem, severity: Severity, place: Place, of: _Line) -> Finding:
    line, caret = _with_caret(of.pieces, place.column)
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


def _shown_pieces(before: str, line: str) -> list[tuple[str, str]]:
    """The pieces of a line and how each may be shown; none of a line too long to show.

    Text has one character a byte; `before` are whole lines: the key of a secret may stand on one of them.
    """
    found, at = [], -len(before)
    for piece, shown in redacted_pieces(before + line) if len(line) <= LONGEST_LINE else ():
        if at >= 0:
            found.append((piece, shown))
        at += len(piece)
    return found


def _with_caret(line: Sequence[tuple[str, str]], column: int) -> tuple[str, int]:
    """A line as it is shown, and where in it the caret goes (0-based)."""
    ahead, left = "", column - 1
    for piece, shown in line:
        # What is masked has no inside that the caret could point to.
        ahead += shown if len(piece) <= left else shown[: max(left, 0)] if shown == piece else ""
        left -= len(piece)
    whole = _text("".join(shown for _, shown in line))
    return whole, min(len(_text(ahead)), len(whole))


def _text(raw: str) -> str:
    return printable(raw.replace("\t", " ").encode("latin-1").decode("utf-8", "surrogateescape"))


def source_line(error: ConfigError) -> tuple[str, int]:
    """The line that an error is about and where its caret goes; nothing if the file cannot be read again."""
    if error.line is None:
        return "", 0
    try:
        text = read_regular(error.file, MAX_BYTES).decode("latin-1")
    except (OSError, ValueError):
        return "", 0
    lines = text.split("\n", error.line)
    if len(lines) < error.line or (len(lines) == error.line and not lines[-1]):
        return "", 0
    before = "".join(f"{line}\n" for line in lines[max(error.line - 11, 0) : error.line - 1])[-CONTEXT:]
    return _with_caret(_shown_pieces(before, lines[error.line - 1].rstrip("\r")), error.column or 1)
