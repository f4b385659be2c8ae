# SPDX-License-Identifier: MPL-2.0
"""Changes for people and for programs; no secret is in either."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kea_agent.diff.compare import Change, Kind
from kea_agent.foreign import printable
from kea_agent.redact import redacted

_SIGNS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}
_COLORS = {Kind.ADDED: "\033[32m", Kind.REMOVED: "\033[31m", Kind.CHANGED: "\033[33m"}
_PLAIN = "\033[0m"
_WIDEST = 200


def lines(changes: Iterable[Change], *, color: bool) -> list[str]:
    """One line a change: a sign, where it is, and what it was and is."""
    found = []
    for change in changes:
        line = printable(f"{_SIGNS[change.kind]} {' > '.join(change.path)}: {_what(change)}")
        found.append(f"{_COLORS[change.kind]}{line}{_PLAIN}" if color else line)
    return found


def as_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """The same as objects with the members `path`, `change`, `before` and `after`."""
    return [
        {"path": change.path, "change": change.kind.value}
        | ({} if change.kind is Kind.ADDED else {"before": _safe(change, change.before)})
        | ({} if change.kind is Kind.REMOVED else {"after": _safe(change, change.after)})
        for change in changes
    ]


def _what(change: Change) -> str:
    if change.kind is Kind.CHANGED:
        return f"{_short(_safe(change, change.before))} -> {_short(_safe(change, change.after))}"
    return _short(_safe(change, change.after if change.kind is Kind.ADDED else change.before))


def _safe(change: Change, value: Any) -> Any:
    """What is secret is so by its key."""
    key = change.path[-1]
    return redacted({key: value})[key]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"
