# SPDX-License-Identifier: MPL-2.0
"""`kea-agent diff`: what differs in meaning between files and running servers; needs no agent."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kea_agent import control, keaconf
from kea_agent.accounts import for_kea
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.diff import Change, changes
from kea_agent.diff.compare import without_host_local
from kea_agent.diff.text import as_json, lines
from kea_agent.endpoints import wanted
from kea_agent.errors import AgentError
from kea_agent.plain import printable
from kea_agent.settings import Settings
from kea_agent.verbs.subjects import file_of, installed, own_settings, owner, unit_of

_SAME, _DIFFERENT = 0, 1
_TIMEOUT = 10.0  # config-get of 100,000 reservations takes Kea two seconds


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: the inside of a configuration, what it is called, and whether it runs."""

    label: str
    root: dict[str, Any]
    runs: bool


@dataclass(frozen=True)
class Comparison:
    """Two sides and what differs."""

    daemon: str
    before: Side
    after: Side
    changes: list[Change]


def main(arguments: argparse.Namespace) -> int:
    """Print the changes; 0 when there are none, 1 when there are, as diff(1) does."""
    pairs = _pairs(arguments.what, own_settings(arguments.settings))
    found = [_compare(daemon, sides, is_peer=arguments.peer) for daemon, *sides in pairs]
    if arguments.json:
        print(json.dumps([_as_json(comparison) for comparison in found], indent=1))
    else:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(line for comparison in found for line in _as_text(comparison, color=color)))
    return _DIFFERENT if any(comparison.changes for comparison in found) else _SAME


def _pairs(words: list[str], found: Settings) -> Iterator[tuple[Daemon, Side, Side]]:
    if len(words) == 2:
        yield _both(words[0], words[1], found)
        return
    if len(words) > 2:
        raise AgentError("diff takes one or two words: DAEMON, FILE, or A and B")
    for word in words or installed(found):
        daemon = BY_NAME.get(word) or owner(word)
        path = file_of(daemon, unit_of(daemon, found), found) if word in BY_NAME else word
        yield daemon, _running(daemon, found), _file(daemon, path)


def _both(one: str, other: str, found: Settings) -> tuple[Daemon, Side, Side]:
    daemons = {BY_NAME.get(word) or owner(word) for word in (one, other)}
    if len(daemons) > 1:
        raise AgentError(f"{one} and {other} are for different daemons")
    daemon = daemons.pop()
    before, after = (_running(daemon, found) if word in BY_NAME else _file(daemon, word) for word in (one, other))
    return daemon, before, after


def _file(daemon: Daemon, path: str) -> Side:
    return Side(path, keaconf.read(path, daemon.root_key).root, runs=False)


def _running(daemon: Daemon, found: Settings) -> Side:
    """What the server says that it runs; where it listens stands in its file."""
    unit = unit_of(daemon, found)
    document = keaconf.read(file_of(daemon, unit, found), daemon.root_key)
    account = for_kea(unit.user if unit else None)
    argv, environment = (unit.argv, unit.environment) if unit else ((), {})
    channel = wanted(daemon, document.root, argv, environment, account).control
    if channel is None:
        raise AgentError(f"{document.path} has no control socket, so {daemon.binary} cannot be asked what it runs")
    answer = keaconf.utf8_tree(control.ask(channel, "config-get", timeout=_TIMEOUT).arguments)
    root = answer.get(daemon.root_key) if isinstance(answer, dict) else None
    if not isinstance(root, dict):
        raise AgentError(
            f"{daemon.binary} answered config-get without a {daemon.root_key}, so there is nothing to compare"
        )
    return Side(f"running {daemon.binary}", root, runs=True)


def _compare(daemon: Daemon, sides: list[Side], *, is_peer: bool) -> Comparison:
    before, after = sides
    roots = (without_host_local(side.root) if is_peer else side.root for side in sides)
    changed = changes(*roots, before_runs=before.runs, after_runs=after.runs)
    return Comparison(daemon.name, before, after, changed)


def _as_text(comparison: Comparison, *, color: bool) -> Iterator[str]:
    names = f"{comparison.daemon}: from {comparison.before.label} to {comparison.after.label}"
    yield printable(names if comparison.changes else f"{names}: no difference")
    yield from (f"  {line}" for line in lines(comparison.changes, color=color))


def _as_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "daemon": comparison.daemon,
        "from": comparison.before.label,
        "to": comparison.after.label,
        "changes": as_json(comparison.changes),
    }
