# SPDX-License-Identifier: MPL-2.0
"""The commands of Kea that tell statistics, each answer as statistics by name.

Before 3.1.2 there is no `statistic-global-get-all`, and `stat-leaseN-get` counts no declined lease as an assigned one,
which the statistics do in every version (stat_cmds.cc and lease_mgr.cc of 2.2.0, 2.6.3, 3.1.2 and 3.3.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from kea_agent.control import Reply
from kea_agent.errors import ControlError
from kea_agent.metrics.line import MAX_LONG_BYTES, Line
from kea_agent.metrics.scan import Scanner, Statistic, plain

_ROWS = {"dhcp4": "stat-lease4-get", "dhcp6": "stat-lease6-get"}
# No subnet, no rows.
_EMPTY = 3
# A column that is not called what the statistic is (2.2.0).
_MISNAMED = {"declined-nas": "declined-addresses"}
_ASSIGNED, _DECLINED = ("assigned-addresses", "assigned-nas"), "declined-addresses"


def everything(line: Line) -> Iterator[list[Statistic]]:
    """`statistic-get-all`, while it arrives; ControlError, SilentError when time is up."""
    scanner = Scanner()
    with closing(line.stream("statistic-get-all")) as chunks:
        for chunk in chunks:
            yield scanner.feed(chunk)
    yield scanner.finish()


def of_server(line: Line) -> list[Statistic] | None:
    """`statistic-global-get-all`: all but the subnets'; None from a Kea that does not have it."""
    reply = line.ask("statistic-global-get-all", is_optional=True)
    return _listed(reply) if reply.result == 0 else None


def one_by_one(line: Line, names: Iterable[str]) -> list[Statistic]:
    """`statistic-get` for each; those that Kea does not have are left out."""
    return [each for name in names for each in _listed(line.ask("statistic-get", {"name": name}))]


def of_subnets(line: Line, daemon: str, *, is_old: bool) -> Iterator[Statistic]:
    """`stat-leaseN-get` as the statistics that it repeats; `is_old`: Kea is older than 3.1.2."""
    columns, rows = _table(line, _ROWS[daemon])
    for values in rows:
        row = dict(zip(columns, values, strict=False))
        subnet = row.pop("subnet-id", None)
        if is_old:
            _add_declined(row)
        for name, value in row.items():
            yield plain(f"subnet[{subnet}].{name}", [[value]])


def _listed(reply: Reply) -> list[Statistic]:
    return [plain(name, samples) for name, samples in reply.arguments.items()]


def _table(line: Line, command: str) -> tuple[list[str], list[list[Any]]]:
    reply = line.ask(command, max_bytes=MAX_LONG_BYTES, is_optional=True)
    if reply.result == _EMPTY:
        return [], []
    table = reply.arguments.get("result-set")
    columns, rows = (table.get("columns"), table.get("rows")) if isinstance(table, dict) else (None, None)
    if reply.result != 0 or not isinstance(columns, list) or not isinstance(rows, list):
        raise ControlError(f"{command}: {line.channel}: {reply.text or 'no rows in the answer'}")
    names = [_MISNAMED.get(str(column), str(column)) for column in columns]
    return names, [row for row in rows if isinstance(row, list)]


def _add_declined(row: dict[str, Any]) -> None:
    declined = row.get(_DECLINED)
    for name in _ASSIGNED:
        if isinstance(row.get(name), int) and isinstance(declined, int):
            row[name] += declined
