# SPDX-License-Identifier: MPL-2.0
"""Keywords and their values: what Kea's grammar does not take where it stands, and what is missing.

`-t` refuses each with a syntax error, and names the first of them only. Free are `user-context`, the `parameters` of hooks,
and `dhcp-queue-control` (src/bin/*/*_parser.yy, 2.2.0 to 3.3.0).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from kea_agent.keaconf_places import Path
from kea_agent.rules import grammar
from kea_agent.rules.base import ANY, Problem, Severity, rule
from kea_agent.rules.grammar import Release, Shape, Want
from kea_agent.rules.model import Config
from kea_agent.rules.words import listed, quoted
from kea_agent.vocabulary import FREE

# What still works and has a better name: since when, and the name (Kea's ChangeLog 2.5.2, 2.7.2 and 2.7.4).
_RENAMED = {
    "output_options": ((2, 5, 2), "output-options"),
    "control-socket": ((2, 7, 2), "control-sockets"),
    "client-class": ((2, 7, 4), "client-classes"),
    "require-client-classes": ((2, 7, 4), "evaluate-additional-classes"),
    "only-if-required": ((2, 7, 4), "only-in-additional-list"),
}
# What Kea takes for the same keyword; a comment is one for a member of user-context.
_SAME = {"output-options": "output_options", "secret-file": "secret"}
# The same thing in the words of other servers and of everyday life.
_ELSEWHERE = {
    "mac": "hw-address",
    "mac-address": "hw-address",
    "hardware": "hw-address",
    "range": "pools",
    "lease-time": "valid-lifetime",
    "default-lease-time": "valid-lifetime",
    "max-lease-time": "max-valid-lifetime",
    "options": "option-data",
}


class Kind(Enum):
    """What is wrong with a keyword."""

    UNKNOWN = 1
    TYPE = 2
    WORD = 3
    MISSING = 4
    TWICE = 5


class Fault(NamedTuple):
    """One thing that the grammar does not take, in the map called `home`. `want`: what `value` has to be."""

    kind: Kind
    path: Path
    home: str
    value: Any = None
    want: Want | None = None


def _found(config: Config, kind: Kind) -> list[Fault]:
    """All faults of a kind; looked for once."""
    if "faults" not in config.read:
        config.read["faults"] = list(_faults(config))
    return [fault for fault in config.read["faults"] if fault.kind is kind]


def _faults(config: Config) -> Iterator[Fault]:
    """In the order of the file; no recursion, whatever the depth."""
    shapes = grammar.shapes(config.daemon, _release(config))
    waiting: list[tuple[Path, str, Any, Want]] = [
        (config.root.path, "", config.root.map, Want(dict, "", map=grammar.root(config.daemon)))
    ]
    while waiting:
        path, home, value, want = waiting.pop()
        if kind := _misfit(value, want):
            yield Fault(kind, path, home, value, want)
        elif want.map:
            yield from _of_map(path, want.map, value, shapes[want.map])
            waiting += _inside(path, want.map, value, shapes[want.map].keys)
        elif want.item:
            shape = shapes.get(want.item.map)
            places = (at for at in range(len(value) - 1, -1, -1) if not (shape and _is_plain(value[at], shape)))
            waiting += [((*path, at), home, value[at], want.item) for at in places]


def _is_plain(value: object, shape: Shape) -> bool:
    """Whether it is a map with nothing but scalars, as they have to be: nearly all of a large file is."""
    if type(value) is not dict or not shape.needs <= value.keys():
        return False
    return {key: type(item) for key, item in value.items()}.items() <= shape.plain.items()


def _misfit(value: object, want: Want) -> Kind | None:
    if type(value) is not want.type and want.type is not object:
        return Kind.TYPE
    if want.is_filled and not value:
        return Kind.MISSING
    return Kind.WORD if want.words and str(value).lower() not in want.words else None


def _of_map(path: Path, home: str, tree: Mapping[str, Any], shape: Shape) -> Iterator[Fault]:
    if not shape.is_open and not tree.keys() <= shape.keys.keys():
        yield from (Fault(Kind.UNKNOWN, (*path, key), home) for key in tree if key not in shape.keys)
    if not shape.needs <= tree.keys() and not (tree and "*" in shape.needs):
        yield Fault(Kind.MISSING, path, home, sorted(shape.needs - tree.keys()))
    for key in _SAME.keys() & tree.keys():
        if _SAME[key] in tree:
            yield Fault(Kind.TWICE, (*path, key), home, _SAME[key])
    if "comment" in tree and _has_comment(tree):
        yield Fault(Kind.TWICE, (*path, "comment"), home, "user-context")


def _has_comment(tree: Mapping[str, Any]) -> bool:
    """Whether its user-context has one, too, and stands before: the other way round, the first one wins."""
    context, keys = tree.get("user-context"), list(tree)
    is_there = type(context) is dict and "comment" in context
    return is_there and keys.index("user-context") < keys.index("comment")


def _inside(path: Path, home: str, tree: dict[str, Any], keys: Mapping[str, Want]) -> list[tuple[Path, str, Any, Want]]:
    """What of a map has to be looked at more closely, the last first: nearly every value is just what it has to be."""
    return [
        ((*path, key), home, tree[key], want)
        for key in reversed(tree)
        if (want := keys.get(key)) and not (want.is_plain and type(tree[key]) is want.type)
    ]


def _release(config: Config) -> Release | None:
    return config.version[:2] if config.version else None


def severity(config: Config) -> Severity | None:
    """Less where the Kea that is to read it is newer than what is known here, or there is one that could not be asked."""
    if config.version is None:
        return Severity.WARNING if config.environment is not None else None
    return Severity.WARNING if config.version[:2] > grammar.RELEASES[-1] else None


@rule(
    "keyword-unknown",
    Severity.ERROR,
    says="There is no such keyword here in (this) Kea; it refuses the file.",
    do="Mend the spelling, or move it to where it belongs; a note of one's own belongs into user-context.",
    daemons=ANY,
)
def _unknown(config: Config) -> Iterator[Problem]:
    for fault in _found(config, Kind.UNKNOWN):
        key = str(fault.path[-1])
        message = f"{quoted(key)} is no keyword of Kea{_hint(config, fault.home, key)}"
        yield Problem(fault.path, message, severity(config), is_key=True)


def _hint(config: Config, home: str, key: str) -> str:
    """Why it is none, and what may have been meant."""
    span = grammar.spans(config.daemon).get((home, key))
    if span and config.version:
        first, last = (".".join(map(str, release)) for release in span)
        asked = ".".join(map(str, config.version[:2]))
        is_later = span[0] > config.version[:2]
        return f" {asked}: it is one from {first} on" if is_later else f" {asked}: it was one until {last}"
    here = grammar.shapes(config.daemon, _release(config))[home].keys
    near = [_ELSEWHERE.get(key, ""), *difflib.get_close_matches(key, here, 1)]
    if meant := next((each for each in near if each in here), None):
        return f"{' here' if grammar.owners(config.daemon, key) else ''}: did you mean {quoted(meant)}?"
    places = grammar.owners(config.daemon, key)
    return f" here, but in {listed(places)}" if places else ""


@rule(
    "value-type",
    Severity.ERROR,
    says="A value is of another type than its keyword takes; Kea refuses the file.",
    do='Write numbers, true and false without quotes, lists as [ ... ] and maps as { "keyword": ... }.',
    daemons=ANY,
)
def _type(config: Config) -> Iterator[Problem]:
    yield from _misfits(config, Kind.TYPE, grammar.named)


@rule(
    "value-unknown",
    Severity.ERROR,
    says="A value is none of the words that its keyword takes; Kea refuses the file.",
    do="Use one of the words that are named.",
    daemons=ANY,
)
def _word(config: Config) -> Iterator[Problem]:
    yield from _misfits(config, Kind.WORD, quoted)


def _misfits(config: Config, kind: Kind, named: Callable[[Any], str]) -> Iterator[Problem]:
    for fault in _found(config, kind):
        if fault.want:
            message = f"{_subject(fault.path)} has to be {fault.want.says}, and is {named(fault.value)}"
            yield Problem(fault.path, message, severity(config))


def _subject(path: Path) -> str:
    """What a value is called: by its keyword, or as one of those in the list under a keyword."""
    last = next(step for step in reversed(path) if type(step) is str)
    return quoted(last) if path[-1] == last else f"an entry of {quoted(last)}"


@rule(
    "keyword-missing",
    Severity.ERROR,
    says="A keyword that has to be there is missing; Kea refuses the file.",
    do="Add it, or take the whole entry out.",
    daemons=ANY,
)
def _missing(config: Config) -> Iterator[Problem]:
    for fault in _found(config, Kind.MISSING):
        # None of an empty list, or of a map that needs no certain one.
        needed = [key for key in fault.value if key != "*"]
        words = f"has no {listed(needed)}" if needed else "is empty, and must not be"
        yield Problem(fault.path, f"{_subject(fault.path)} {words}", severity(config))


@rule(
    "keyword-twice",
    Severity.ERROR,
    says="Two keywords that mean the same stand beside each other; Kea refuses the file.",
    do="Keep one of the two, the newer one where they are old and new.",
    daemons=ANY,
)
def _twice(config: Config) -> Iterator[Problem]:
    for fault in _found(config, Kind.TWICE):
        message = f"{quoted(str(fault.path[-1]))} beside {quoted(fault.value)}"
        yield Problem(fault.path, message, severity(config), is_key=True)


@rule(
    "keyword-renamed",
    Severity.INFO,
    says="A keyword has a new name; the old one is going to be refused one day.",
    do="Use the new name.",
    daemons=ANY,
)
def _renamed(config: Config) -> Iterator[Problem]:
    """Only for a version that is known: before it, the new name is an error."""
    if config.version is None:
        return
    old = {key: new for key, (since, new) in _RENAMED.items() if since <= config.version and key in config.keywords}
    for path, tree in _maps(config) if old else ():
        for key in old.keys() & tree.keys():
            if grammar.owners(config.daemon, old[key]):
                yield Problem((*path, key), f"{quoted(key)} is now {quoted(old[key])}", is_key=True)


def _maps(config: Config) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every map in which keys are keywords; no recursion, whatever the depth."""
    waiting: list[tuple[Path, Any]] = [(config.root.path, config.root.map)]
    while waiting:
        path, value = waiting.pop()
        if type(value) is dict:
            yield path, value
            items = [(key, item) for key, item in value.items() if key not in FREE]
        else:
            items = list(enumerate(value))
        waiting += [((*path, key), item) for key, item in items if type(item) is dict or type(item) is list]
