# SPDX-License-Identifier: MPL-2.0
"""What the grammars in Kea's source say of each map: which keywords it takes, with which values, and which it needs.

Reads bison and flex files (src/bin/*/*_parser.yy, *_lexer.ll) of a tag in a clone of Kea's repository. Run as a program, it
prints kea_agent/rules/grammar.table: `python tests/keagrammar.py CLONE > kea_agent/rules/grammar.table`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

Release = tuple[int, int]
Production = list[list[str]]

RELEASES: tuple[Release, ...] = ((2, 2), (2, 4), (2, 6), (3, 0), (3, 2), (3, 3))
# The parser's files, and what stands between the brackets of the daemon's own map.
PARSERS = {
    "dhcp4": ("src/bin/dhcp4/dhcp4", "global_params"),
    "dhcp6": ("src/bin/dhcp6/dhcp6", "global_params"),
    "ddns": ("src/bin/d2/d2", "dhcpddns_params"),
    "ctrl-agent": ("src/bin/agent/agent", "global_params"),
}
_SCALARS = {"INTEGER": "int", "FLOAT": "float", "BOOLEAN": "bool", "STRING": "str"}
_KEYWORD = re.compile(r'^(?:\(\?i:)?\\"([^"\\]+)\\"\)?\s*\{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
_ACTION = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)\'|[{}]', re.DOTALL)


class Row(NamedTuple):
    """One keyword of one map, and a value that it takes; `value` "needs": the keyword has to be there."""

    map: str
    value: str
    keyword: str


@cache
def rows(clone: str, tag: str, daemon: str) -> frozenset[Row]:
    """Everything that a daemon's grammar says; nothing where the tag has no such daemon."""
    base, start = PARSERS[daemon]
    parser, lexer = (shown(clone, f"Kea-{tag}:{base}_{end}") for end in ("parser.yy", "lexer.ll"))
    return frozenset(_Grammar(parser, lexer).rows(start)) if parser else frozenset()


def tags(clone: str, release: Release) -> list[str]:
    """The published versions of a release."""
    major, minor = release
    listed = subprocess.run(
        ["git", "-C", clone, "tag", "-l", f"Kea-{major}.{minor}.*"], stdout=subprocess.PIPE, text=True, check=True
    )
    return [tag.removeprefix("Kea-") for tag in listed.stdout.split()]


def shown(clone: str, name: str) -> str:
    """A file at a tag; empty where it is not there."""
    done = subprocess.run(["git", "-C", clone, "show", name], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


class _Grammar:
    def __init__(self, parser: str, lexer: str) -> None:
        self.needs: dict[str, set[str]] = {}
        self.productions: dict[str, Production] = defaultdict(list)
        # 3.2 has one name twice, for a keyword and for its values.
        for name, found in self._productions(_without_actions(parser.split("%%")[1])):
            self.productions[name] += found
        self.spelled: dict[str, set[str]] = defaultdict(set)
        for word, action in _KEYWORD.findall(lexer):
            for token in set(re.findall(r"make_(\w+)\(", action)) - {"STRING"}:
                self.spelled[token].add(word)

    def _productions(self, text: str) -> Iterator[tuple[str, Production]]:
        parts = re.split(r"^(\w+)\s*:", text, flags=re.MULTILINE)
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            alternatives = [part.replace(";", " ").split() for part in body.split("|")]
            for symbols in alternatives:
                self._note_needs(symbols)
            kept = [symbols for symbols in alternatives if "!error" not in symbols]
            yield name, [[each for each in symbols if each != "%empty" and each[0] != "!"] for symbols in kept]

    def _note_needs(self, symbols: list[str]) -> None:
        if "LCURLY_BRACKET" in symbols:
            inside = next((each for each in symbols[symbols.index("LCURLY_BRACKET") + 1 :] if each[0] != "!"), "")
            self.needs.setdefault(inside, set()).update(each[1:] for each in symbols if each[0] == "!")

    def rows(self, start: str) -> Iterator[Row]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            needs = self.needs.get(name, set()) or (set() if self._may_be_nothing(name) else {"*"})
            yield from (Row(_map_name(name), "needs", keyword) for keyword in needs)
            for keyword, value in self._entries(name, set()):
                yield Row(_map_name(name), _map_name(value), keyword)
                waiting += re.findall(r"\{(\w+)\}", value)

    def _may_be_nothing(self, name: str) -> bool:
        return any(
            all(each in self.productions and each != name and self._may_be_nothing(each) for each in symbols)
            for symbols in self.productions[name]
        )

    def _entries(self, name: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """The keywords that a list of parameters may have, with their values."""
        for symbols in self.productions[name] if name not in seen else ():
            seen.add(name)
            if "COLON" in symbols:
                values = self._values(symbols[symbols.index("COLON") + 1 :])
                keywords = {"*"} if symbols[0] == "STRING" else self.spelled[symbols[0]]
                yield from ((keyword, value) for keyword in keywords for value in values)
            else:
                for each in symbols:
                    yield from self._entries(each, seen) if each in self.productions else ()

    def _values(self, symbols: list[str]) -> set[str]:
        symbols = [each for each in symbols if self.productions.get(each) != [[]]]
        first, *rest = symbols
        if rest[:1] and rest[0].startswith("="):
            return {"|".join(sorted(rest[0][1:].split("/")))}
        if first == "LCURLY_BRACKET":
            return {f"{{{rest[0]}}}"}
        if first == "LSQUARE_BRACKET":
            may_be_empty = self._may_be_nothing(rest[0])
            return {f"[{_one(self._items(rest[0], set()))}]{'' if may_be_empty else '+'}"}
        if first in ("value", "map_value", "map2", "list_generic"):
            return {{"value": "any", "list_generic": "[any]"}.get(first, "{}")}
        if first in _SCALARS:
            return {_SCALARS[first]}
        if first in self.productions:
            plain = (each for each in self.productions[first] if "COLON" not in each)
            return {_one(set().union(*map(self._values, plain)))}
        return {_one(self.spelled[first])}

    def _items(self, name: str, seen: set[str]) -> set[str]:
        """What may stand in a list."""
        if name in seen:
            return set()
        seen.add(name)
        found: set[str] = set()
        for symbols in self.productions[name]:
            if symbols[:1] == ["LCURLY_BRACKET"]:
                found |= self._values(symbols)
                continue
            for each in symbols:
                if each in self.productions and each not in ("value", "map_value"):
                    found |= self._items(each, seen)
                elif each != "COMMA":
                    found |= self._values([each])
        return found


def _one(values: set[str]) -> str:
    """Several values as one: a string is any of the words that are strings."""
    if "str" in values:
        return "str"
    return "|".join(sorted({value.lower() if value[:1] not in "{[" else value for value in values}))


def _map_name(value: str) -> str:
    return re.sub(r"_params(?:_list)?\b", "", value)


def _without_actions(text: str) -> str:
    """The rules without C++; of that, only what a map needs is kept (`!KEYWORD`), what a value may be (`=A/B`), and what always is an error."""
    found, depth, start, end = [], 0, 0, 0
    for match in _ACTION.finditer(text):
        if match[0] == "{":
            if not depth:
                found.append(text[end : match.start()])
                start = match.start()
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if not depth:
                found.append(_kept(text[start : match.end()]))
                end = match.end()
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", "".join(found) + text[end:], flags=re.DOTALL)


def _kept(action: str) -> str:
    if re.search(r"\berror\s*\(", action) and "if (" not in action:
        return " !error "
    words = "/".join(re.findall(r'string\(\$4\) == "([^"]+)"', action))
    needs = [f"!{word}" for word in re.findall(r'ctx\.require\("([^"]+)"', action)]
    return " ".join(["", *needs, *([f"={words}"] if words else []), ""])


def by_release(clone: str, daemon: str) -> dict[Release, frozenset[Row]]:
    """What any version of each release takes, and what all of them need; the Control Agent stays what it was at last."""
    found: dict[Release, frozenset[Row]] = {}
    for release in RELEASES:
        each = [rows(clone, tag, daemon) for tag in tags(clone, release)]
        taken = frozenset(
            row for some in each for row in some if row.value != "needs" or all(row in one for one in each)
        )
        found[release] = taken or found[max(found)]
    return found


def table(clone: str) -> str:
    """The file: rows that are the same but for their keywords are one, so are those of several daemons."""
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for row, spans in _spans(clone).items():
        for (first, last), daemons in spans.items():
            written = "-".join(f"{major}.{minor}" for major, minor in (first, last))
            groups[row.map, " ".join(daemons), written, row.value].append(row.keyword)
    lines = (" / ".join((*group, " ".join(sorted(keywords)))) for group, keywords in sorted(groups.items()))
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _spans(clone: str) -> dict[Row, dict[tuple[Release, Release], list[str]]]:
    """Each row's first and last release, by daemon."""
    found: dict[Row, dict[tuple[Release, Release], list[str]]] = defaultdict(lambda: defaultdict(list))
    for daemon in PARSERS:
        grammar = by_release(clone, daemon)
        for row in frozenset().union(*grammar.values()):
            there = [release for release in RELEASES if row in grammar[release]]
            if there != list(RELEASES[RELEASES.index(there[0]) : RELEASES.index(there[-1]) + 1]):
                raise ValueError(f"{daemon}: {row} went and came back")
            found[row][there[0], there[-1]].append(daemon)
    return found


_HEAD = """\
# SPDX-License-Identifier: MPL-2.0
# Kea's configuration as its own grammars have it, written by tests/keagrammar.py out of all versions of 2.2, 2.4, 2.6, 3.0,
# 3.2 and 3.3: map / daemons / first and last release / value / keywords.
# Values: int, float, bool, str, any, a|b (one of these words), {map}, {} (any map), [value] (a list), [value]+ (one that is
# not empty). "needs": what has to be there; *: something has to, or, as a keyword, any.
"""


if __name__ == "__main__":
    print(table(sys.argv[1]), end="")
