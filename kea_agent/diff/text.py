# SPDX-License-Identifier: MPL-2.0
"""Changes for people and for programs; no secret is in either."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from kea_agent.diff.compare import Change, Kind
from kea_agent.plain import printable
from kea_agent.redact import MASK, is_hidden, redacted, within
from kea_agent.vocabulary import FREE, words

_SIGNS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}
_COLORS = {Kind.ADDED: "\033[32m", Kind.REMOVED: "\033[31m", Kind.CHANGED: "\033[33m"}
_PLAIN = "\033[0m"
_WIDEST = 200


def lines(changes: Iterable[Change], *, color: bool) -> list[str]:
    """One line a change: a sign, where it is, and what it was and is."""
    found = []
    for change in changes:
        line = printable(f"{_SIGNS[change.kind]} {' > '.join(_way(change))}: {_what(change)}")
        found.append(f"{_COLORS[change.kind]}{line}{_PLAIN}" if color else line)
    return found


def as_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """The same as objects with the members `path`, `change`, `before` and `after`."""
    return [
        {"path": _way(change), "change": change.kind.value}
        | ({} if change.kind is Kind.ADDED else {"before": _safe(change, change.before)})
        | ({} if change.kind is Kind.REMOVED else {"after": _safe(change, change.after)})
        for change in changes
    ]


def _what(change: Change) -> str:
    if change.kind is Kind.CHANGED:
        return f"{_short(_safe(change, change.before))} -> {_short(_safe(change, change.after))}"
    return _short(_safe(change, change.after if change.kind is Kind.ADDED else change.before))


def _safe(change: Change, value: Any) -> Any:
    """What is secret is so by the keys above it."""
    return redacted(value, _keys(change))


def _way(change: Change) -> tuple[str, ...]:
    """The path; things in lists have names there, which are made of what is in them."""
    keys = _keys(change)
    return tuple(_step(step, keys[: depth + 1]) for depth, step in enumerate(change.path))


def _step(step: str, keys: Sequence[str]) -> str:
    key, _, name = step.partition(" ")
    known = words()
    is_known = key in (known.plain if name.startswith('"') else known.known) or not FREE.isdisjoint(keys)
    is_shown = not name or (is_known and key != "clients" and not is_hidden(keys))
    return within(step) if is_shown else f"{key} {MASK}"


def _keys(change: Change) -> tuple[str, ...]:
    known = words().known
    return tuple(key if (key := step.partition(" ")[0]) in known else step for step in change.path)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"
