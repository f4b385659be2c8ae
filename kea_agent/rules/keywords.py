# SPDX-License-Identifier: MPL-2.0
"""Keywords that Kea does not know, no longer, or not yet.

`-t` refuses a key that its grammar does not have, with a syntax error. Free are `user-context`, the `parameters` of hooks,
and `dhcp-queue-control` (dhcp4_parser.yy, 2.2.0 to 3.3.0). Only keys that no map may have are found here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from kea_agent.keaconf_places import Path
from kea_agent.rules.base import ANY, Problem, Severity, rule
from kea_agent.rules.keyword_table import TABLE
from kea_agent.rules.model import FREE, Config
from kea_agent.rules.words import quoted

Release = tuple[int, int]

RELEASES: tuple[Release, ...] = ((2, 2), (2, 4), (2, 6), (3, 0), (3, 2), (3, 3))
# What still works and has a better name: since when, and the name (Kea's ChangeLog 2.5.2, 2.7.2 and 2.7.4).
_RENAMED = {
    "output_options": ((2, 5, 2), "output-options"),
    "control-socket": ((2, 7, 2), "control-sockets"),
    "client-class": ((2, 7, 4), "client-classes"),
    "require-client-classes": ((2, 7, 4), "evaluate-additional-classes"),
    "only-if-required": ((2, 7, 4), "only-in-additional-list"),
}


@cache
def _spans(daemon: str) -> Mapping[str, tuple[Release, Release]]:
    """Each keyword's first and last release."""
    found: dict[str, tuple[Release, Release]] = {}
    for names, first, last, words in TABLE:
        if daemon in names.split():
            found |= dict.fromkeys(words.split(), (_release(first), _release(last)))
    return found


def _release(written: str) -> Release:
    major, minor = written.split(".")
    return int(major), int(minor)


@cache
def _known(daemon: str, version: Release | None) -> frozenset[str]:
    """What this Kea may know: between two releases, what either of them knows."""
    spans = _spans(daemon)
    if version is None:
        return frozenset(spans)
    low = max((each for each in RELEASES if each <= version), default=RELEASES[0])
    high = min((each for each in RELEASES if each >= version), default=RELEASES[-1])
    return frozenset(word for word, (first, last) in spans.items() if first <= high and low <= last)


@rule(
    "keyword-unknown",
    Severity.ERROR,
    says="There is no such keyword in (this) Kea; it refuses the file.",
    do="Mend the spelling; a note of one's own belongs into user-context.",
    daemons=ANY,
)
def _unknown(config: Config) -> Iterator[Problem]:
    version = config.version[:2] if config.version else None
    known = _known(config.daemon, version)
    severity = Severity.WARNING if _may_know_more(config) else None
    for path, tree in _maps(config) if not config.keywords <= known else ():
        for key in tree:
            if key not in known:
                yield Problem(
                    (*path, key), f"{quoted(key)} is no keyword of Kea{_hint(config, key, known)}", severity, True
                )


def _may_know_more(config: Config) -> bool:
    """Whether the Kea that is to read it is newer than what stands here, or there is one and it could not be asked."""
    if config.version is None:
        return config.environment is not None
    return config.version[:2] > RELEASES[-1]


def _hint(config: Config, key: str, known: frozenset[str]) -> str:
    span = _spans(config.daemon).get(key)
    if span and config.version:
        first, last = (".".join(map(str, release)) for release in span)
        asked = ".".join(map(str, config.version[:2]))
        return (
            f" {asked}: it is one from {first} on"
            if span[0] > config.version[:2]
            else f" {asked}: it was one until {last}"
        )
    near = difflib.get_close_matches(key, known, 1)
    return f": did you mean {quoted(near[0])}?" if near else ""


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
            if old[key] in _spans(config.daemon):
                yield Problem((*path, key), f"{quoted(key)} is now {quoted(old[key])}", is_key=True)
