# SPDX-License-Identifier: MPL-2.0
"""`kea-agent history`: the configurations that were proven to run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kea_agent import unconfirmed
from kea_agent.daemons import BY_NAME
from kea_agent.diff import changes
from kea_agent.errors import AgentError, ExitCode, SettingsError
from kea_agent.history import STATE, History, Revision
from kea_agent.phrases import iso
from kea_agent.plain import printable, printable_lines
from kea_agent.redact import redacted

# A comparison of two large configurations takes a second.
_NEWEST = 10
_HEADINGS = ("revision", "proven", "Kea", "hash", "changes", "how")


@dataclass(frozen=True)
class Row:
    """A revision and how many changes it made; None for the first that is kept, or one that cannot be compared."""

    revision: Revision
    changes: int | None


def main(arguments: argparse.Namespace) -> int:
    """Print what is kept; 3 where nothing is, or it may not be read."""
    if STATE.exists() and not os.access(STATE, os.R_OK | os.X_OK):
        raise AgentError(f"{STATE}: only root and the agent's user may read it; try sudo")
    history = History()
    if arguments.show:
        return _show(history, arguments)
    names = [arguments.daemon] if arguments.daemon else list(BY_NAME)
    found = {name: _rows(history, name, None if arguments.all else _NEWEST) for name in names}
    print(json.dumps(_as_json(found), indent=1) if arguments.json else "\n".join(_as_text(found, history)))
    return ExitCode.OK if any(found.values()) else ExitCode.NOT_DONE


def _show(history: History, arguments: argparse.Namespace) -> int:
    if not arguments.daemon:
        raise SettingsError("kea-agent history: --show needs to know of which DAEMON")
    if arguments.with_secrets and os.geteuid() != 0:
        raise AgentError("only root is shown secrets; try sudo")
    found = history.find(arguments.daemon, arguments.show)
    body = history.text(found, dict if arguments.with_secrets else redacted)
    if sys.stdout.isatty():
        # To a file go the very bytes; a terminal would obey some of them.
        print(printable_lines(body.decode("utf-8", "surrogateescape")), end="")
    else:
        sys.stdout.buffer.write(body)
    return ExitCode.OK


def _rows(history: History, name: str, most: int | None) -> list[Row]:
    known = history.revisions(name)
    shown = known[:most]
    before: Sequence[Revision | None] = [*known[1:], None]
    return [Row(each, _count(history, old, each)) for each, old in zip(shown, before, strict=False)]


def _count(history: History, old: Revision | None, new: Revision) -> int | None:
    if old is None:
        return None
    key = BY_NAME[new.daemon].root_key
    try:
        return len(changes(history.tree(old)[key], history.tree(new)[key]))
    except AgentError:
        return None


def _as_text(found: dict[str, list[Row]], history: History) -> Iterator[str]:
    for name, rows in found.items():
        if not rows:
            yield f"{name}: nothing is kept yet"
            continue
        more = len(history.revisions(name)) - len(rows)
        yield f"{name}: the last known good is revision {rows[0].revision.number}"
        yield from (f"  {line}" for line in _table([_HEADINGS, *map(_cells, rows)]))
        if more:
            yield f"  {more} older: kea-agent history --all {name}"
        yield from _waiting(name)


def _cells(row: Row) -> tuple[str, ...]:
    each = row.revision
    changed = "" if row.changes is None else str(row.changes)
    version, digest = each.kea_version or "?", (each.hash or "")[:12]
    cells = (str(each.number), iso(each.proven_at), version, digest, changed, each.proof)
    return tuple(map(printable, cells))


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _waiting(name: str) -> Iterator[str]:
    """Whether a change waits to be confirmed; only root can tell."""
    if os.geteuid() == 0 and (found := unconfirmed.find(name)):
        yield f"  {found}"


def _as_json(found: dict[str, list[Row]]) -> dict[str, Any]:
    return {
        name: [
            asdict(row.revision) | {"proven_at_iso": iso(row.revision.proven_at), "changes": row.changes}
            for row in rows
        ]
        for name, rows in found.items()
    }
