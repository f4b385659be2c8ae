# SPDX-License-Identifier: MPL-2.0
"""Which keywords Kea's grammars take in which map, with which values, by release; read from grammar.table beside this file.

Read out of src/bin/*/*_parser.yy and *_lexer.ll of 2.2.0 to 3.3.0. Words that the grammar takes in any case are compared so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

Release = tuple[int, int]

RELEASES: tuple[Release, ...] = ((2, 2), (2, 4), (2, 6), (3, 0), (3, 2), (3, 3))
_ROOTS = {"ddns": "dhcpddns"}
_SCALARS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "any": object}
_TYPES: dict[type, str] = {
    int: "an integer",
    float: "a number with a point",
    bool: "true or false",
    str: "a string",
    dict: "a map",
    list: "a list",
    type(None): "null",
    object: "anything",
}


class Want(NamedTuple):
    """What a value has to be: its type, in words; if a string, one of `words`; which map it is, or what its items are.

    `is_plain`: there is nothing to it but its type; `is_filled`: a list with something in it.
    """

    type: type
    says: str
    words: frozenset[str] = frozenset()
    map: str = ""
    item: Any = None
    is_plain: bool = False
    is_filled: bool = False


class Shape(NamedTuple):
    """What may and what must be in a map; `is_open`: and anything else. `plain`: the types of those that are just that."""

    keys: Mapping[str, Want]
    plain: Mapping[str, type]
    needs: frozenset[str]
    is_open: bool


class _Row(NamedTuple):
    map: str
    daemons: str
    first: Release
    last: Release
    value: str
    keywords: tuple[str, ...]


def root(daemon: str) -> str:
    """The name of the map with everything of a daemon in it."""
    return _ROOTS.get(daemon, "global")


def named(value: object) -> str:
    """The type of a value, in words."""
    return _TYPES[type(value)]


@cache
def shapes(daemon: str, version: Release | None) -> Mapping[str, Shape]:
    """Every map of a daemon. Between two releases, and without a version, what any takes and all of them need."""
    low, high = _around(version)
    rows = [row for row in _rows() if daemon in row.daemons.split() and row.first <= high and low <= row.last]
    return {name: _shape([row for row in rows if row.map == name], low, high) for name in {row.map for row in rows}}


def _shape(rows: list[_Row], low: Release, high: Release) -> Shape:
    keys = _keys(row for row in rows if row.value != "needs")
    plain = {key: want.type for key, want in keys.items() if want.is_plain}
    needs = [row.keywords for row in rows if row.value == "needs" and row.first <= low and high <= row.last]
    return Shape(keys, plain, frozenset(chain(*needs)), "*" in keys)


@cache
def spans(daemon: str) -> Mapping[tuple[str, str], tuple[Release, Release]]:
    """The first and the last release that know a keyword, by map and keyword."""
    found: dict[tuple[str, str], tuple[Release, Release]] = {}
    for row in _rows():
        for key in row.keywords if daemon in row.daemons.split() and row.value != "needs" else ():
            first, last = found.get((row.map, key), (row.first, row.last))
            found[row.map, key] = min(first, row.first), max(last, row.last)
    return found


@cache
def owners(daemon: str, keyword: str) -> tuple[str, ...]:
    """Under which keywords the maps are that take this one; nothing if there is no such keyword."""
    known = shapes(daemon, None)
    homes = {name for name, shape in known.items() if keyword in shape.keys}
    inside = {key: want.item or want for shape in known.values() for key, want in shape.keys.items()}
    return tuple(sorted(key for key, want in inside.items() if want.map in homes)) or tuple(homes & {root(daemon)})


def _around(version: Release | None) -> tuple[Release, Release]:
    if version is None:
        return RELEASES[0], RELEASES[-1]
    low = max((each for each in RELEASES if each <= version), default=RELEASES[0])
    return low, min((each for each in RELEASES if each >= version), default=RELEASES[-1])


def _keys(rows: Iterator[_Row]) -> dict[str, Want]:
    found: dict[str, Want] = {}
    for row in rows:
        want = _want(row.value)
        # One of some words in one release is any string in another, and so with lists that must not be empty.
        is_lenient = not want.words and not want.is_filled
        found |= {key: want for key in row.keywords if key not in found or is_lenient}
    return found


@cache
def _want(value: str) -> Want:
    if value in _SCALARS:
        return Want(_SCALARS[value], _TYPES[_SCALARS[value]], is_plain=True)
    if value.startswith("["):
        return Want(list, _TYPES[list], item=_want(value[1 : value.rindex("]")]), is_filled=value.endswith("+"))
    if value.startswith("{"):
        return Want(dict, _TYPES[dict], map=value[1:-1])
    words = value.split("|")
    return Want(str, ", ".join(f'"{word}"' for word in words), frozenset(words))


@cache
def _rows() -> tuple[_Row, ...]:
    lines = Path(__file__).with_name("grammar.table").read_text(encoding="ascii").splitlines()
    return tuple(_row(line) for line in lines if not line.startswith("#"))


def _row(line: str) -> _Row:
    name, daemons, releases, value, keywords = line.split(" / ")
    first, last = (_release(each) for each in releases.split("-"))
    return _Row(name, daemons, first, last, value, tuple(keywords.split()))


def _release(written: str) -> Release:
    major, minor = written.split(".")
    return int(major), int(minor)
