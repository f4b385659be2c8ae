# SPDX-License-Identifier: MPL-2.0
"""Where in its files every key and value of a configuration stands; found only when somebody asks.

A tree without positions is what the agent needs at every save; a position is needed for a few findings. So nothing is
kept while reading: the files are taken again, and as long as their digest is the same, the ways to the asked places
are walked in the text. What lies beside the way is stepped over by json's scanner, in C.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kea_agent import keaconf
from kea_agent.errors import ConfigError
from kea_agent.keaconf_grammar import utf8_tree, without_escapes
from kea_agent.plain import printable

Path = tuple[str | int, ...]

CONTEXT = 600  # bytes before a place, to know what it is the value of

_SCAN = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*+")
_GAP = re.compile(r"[ \t\r\n,]*+")  # between members: any number of commas
_COLON = re.compile(r"[ \t\r\n:]*+")
_STRING = re.compile(r'"[^"]*+"')  # of text without escapes
_SCALAR = re.compile(r"[^ \t\r\n,\]}]++")
_NESTING = re.compile(r'"[^"]*+"|([\[{])|[\]}]')


@dataclass(frozen=True, order=True)
class Place:
    """One position, 1-based; the column counts bytes, as Kea's does. `offset`: the same in bytes from the file's start."""

    file: str
    line: int
    column: int
    offset: int = field(default=0, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Spot:
    """Where a value starts, and its key if it is a member of a map."""

    value: Place
    key: Place | None
    is_section: bool

    @property
    def best(self) -> Place:
        """The one to show: the value, unless that is a whole map or list, which its key names better."""
        return self.key if self.key and self.is_section else self.value


@dataclass
class _Wanted:
    """A tree of ways; `is_asked` where one of them ends."""

    below: dict[str | int, _Wanted] = field(default_factory=dict)
    is_asked: bool = False


class Places:
    """The text behind a document, read again; ConfigError if it is not what the document was read from."""

    def __init__(self, document: keaconf.Document) -> None:
        self._source = keaconf.Source(cwd=document.cwd, max_bytes=document.size)
        self._text = self._source.expand(document.path)
        self._plain = without_escapes(self._text)
        if self._source.stop is not None or self._source.hash.hexdigest() != document.digest:
            raise ConfigError("changed while it was being looked at", file=printable(document.path))
        self._texts = {printable(name): text for name, text in self._source.texts.items()}
        self._found: dict[Path, tuple[int, int | None]] = {}

    def find(self, paths: Iterable[Path]) -> dict[Path, Spot]:
        """The spot of each path that there is; `("Dhcp4", "subnet4", 0)` is the first subnet."""
        wanted = _tree_of(paths)
        start = _end(_SPACE, self._text, 0)
        self._found = {(): (start, None)} if wanted.is_asked else {}
        self._walk(start, wanted, ())
        return {path: self._spot(value, key) for path, (value, key) in self._found.items()}

    def around(self, place: Place) -> tuple[str, str]:
        """Some text before a place's line, in whole lines, and the line itself; one character a byte."""
        text = self._texts[place.file]
        start = text.rfind("\n", 0, place.offset) + 1
        end = text.find("\n", start)
        far = max(start - CONTEXT, 0)
        before = text[text.find("\n", far, start) + 1 if far else 0 : start]
        return before, text[start : end if end >= 0 else len(text)]

    def _spot(self, value: int, key: int | None) -> Spot:
        named = None if key is None else self._place(key)
        return Spot(self._place(value), named, self._text[value] in "{[")

    def _place(self, offset: int) -> Place:
        error = self._source.error(offset, "")
        return Place(error.file, error.line or 1, error.column or 1, self._source.origin(offset)[1])

    def _walk(self, at: int, wanted: _Wanted, path: Path) -> int:
        """Go through the value at `at`, noting what is wanted in it; returns where it ends."""
        if not wanted.below or self._text[at] not in "{[":
            return self._skip(at)
        return self._members(at, wanted, path) if self._text[at] == "{" else self._items(at, wanted, path)

    def _members(self, at: int, wanted: _Wanted, path: Path) -> int:
        at = _end(_GAP, self._text, at + 1)
        while self._text[at] != "}":
            end = _end(_STRING, self._plain, at)
            key = utf8_tree(json.loads(self._text[at:end], strict=False))
            value = _end(_COLON, self._text, end)
            at = _end(_GAP, self._text, self._step(value, at, wanted, (*path, key)))
        return at + 1

    def _items(self, at: int, wanted: _Wanted, path: Path) -> int:
        at, index = _end(_GAP, self._text, at + 1), 0
        while self._text[at] != "]":
            at = _end(_GAP, self._text, self._step(at, None, wanted, (*path, index)))
            index += 1
        return at + 1

    def _step(self, value: int, key: int | None, wanted: _Wanted, path: Path) -> int:
        below = wanted.below.get(path[-1])
        if below is None:
            return self._skip(value)
        if below.is_asked:
            self._found[path] = (value, key)
        return self._walk(value, below, path)

    def _skip(self, at: int) -> int:
        """Where the value at `at` ends."""
        first = self._text[at]
        if first == '"':
            return _end(_STRING, self._plain, at)
        if first not in "{[":
            return _end(_SCALAR, self._text, at)
        try:
            return _SCAN(self._text, at)[1]
        except (ValueError, RecursionError):  # Kea's numbers and commas are more than JSON's
            return self._skip_slowly(at)

    def _skip_slowly(self, at: int) -> int:
        depth = 0
        for match in _NESTING.finditer(self._plain, at):
            if match[0][0] != '"':
                depth += 1 if match[1] else -1
            if depth == 0:
                return match.end()
        raise AssertionError("the text was parsed before")


def _tree_of(paths: Iterable[Path]) -> _Wanted:
    root = _Wanted()
    for path in paths:
        node = root
        for step in path:
            node = node.below.setdefault(step, _Wanted())
        node.is_asked = True
    return root


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
