# SPDX-License-Identifier: MPL-2.0
"""docs/usage/broken-files.md out of what was measured: a table for each version of Kea."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Measured = Mapping[str, Any]
Row = Mapping[str, Any]
Is = Callable[[Row], bool]

_HEAD: Final = """# Broken files and broken hosts

What becomes of a server when its file, or its host, has one thing wrong; for each Kea that Debian 12, 13 and sid ship.
`tests/lab/broken_table` breaks them on booted hosts, one after the other, and writes this page.

| column | says |
|---|---|
| `-t`, `-T` | what Kea's own checks say of it, run as Kea's user with the file in its place; `-` where this daemon has no such check |
| rules | what `kea-agent check` says, before it asks Kea: [rules](rules.md) by id, `syntax` for the reader |
| rehearsal | what the real daemon in a sandbox came to; `-` for a file that cannot even be read. Databases are no part of it: the agent probes them apart |
| reload without the agent | what the server came to after a plain SIGHUP, as `systemctl kill -s HUP` or a configuration management sends it, and what `systemctl is-active` then said; in brackets the clients' exchanges that were lost, of those begun, until nothing changed any more |
| next start | what the server came to when it was started with that file, some day later |
| with the agent | the [outcome](outcomes.md), and what refused the file or brought the server back; how long that took after the save; in brackets the exchanges lost |

| word | the server |
|---|---|
| fine | runs the new file |
| old file kept | runs the old one, and serves |
| **deaf** | is alive and has no port open to its clients |
| **no control socket** | takes no commands any more |
| **no HA**, **no HA listener** | has lost High Availability; its partner cannot reach it |
| **hangs** | lives, and has answered nobody for half a minute |
| **dead** | is gone |

An exchange or two more than nothing are lost at the end of each measurement, when the clients stop while an answer is on its way.
Where a title says *later*, nobody could have served while it lasted: the server is looked at after the cause has gone by itself.
"""

_SECTIONS: Final[Sequence[tuple[str, Is]]] = (
    ("DHCPv4", lambda row: row["daemon"] == "dhcp4" and "-ha-" not in row["name"]),
    ("DHCPv6", lambda row: row["daemon"] == "dhcp6" and "-ha-" not in row["name"]),
    ("High Availability, DHCPv4 (the primary of a hot-standby pair)", lambda row: row["name"].startswith("dhcp4-ha-")),
    ("High Availability, DHCPv6", lambda row: row["name"].startswith("dhcp6-ha-")),
    ("DDNS", lambda row: row["daemon"] == "ddns"),
    ("Control Agent", lambda row: row["daemon"] == "ctrl-agent"),
)
_SOUND: Final = ("fine", "old file kept")
_COLUMNS: Final = (
    "| broken thing | `-t` | `-T` | rules | rehearsal | reload without the agent | next start | with the agent |"
)


def document(measured: Sequence[Measured]) -> str:
    """The whole page."""
    parts = [_HEAD, _summary(measured)]
    for suite in measured:
        parts += [f"## Kea {suite['kea']}\n\nMeasured {suite['at'][:10]}.\n"]
        parts += [_section(title, [row for row in suite["rows"] if belongs(row)]) for title, belongs in _SECTIONS]
    return "\n".join(parts)


def _summary(measured: Sequence[Measured]) -> str:
    """How many of the things each check sees, and what they came to."""
    rows = [["", *(f"Kea {suite['kea']}" for suite in measured)], ["---"] * (len(measured) + 1)]
    rows += [[title, *(str(sum(map(counts, suite["rows"]))) for suite in measured)] for title, counts in _COUNTS]
    return "\n".join(["## In numbers", "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _is_harmed(row: Row) -> bool:
    return row["without"]["words"] not in _SOUND


def _is_regretted(row: Row) -> bool:
    """At the reload, or at the next start."""
    return _is_harmed(row) or row["without"]["start"] not in ("", *_SOUND)


def _is_kept_out(row: Row) -> bool:
    return row["with"]["first"]["outcome"] in ("rejected", "deferred")


_COUNTS: Final[Sequence[tuple[str, Is]]] = (
    ("broken things", lambda _: True),
    ("of these, a server was harmed by the reload, the restart or the boot", _is_harmed),
    ("of these, systemd said `active` all the same", lambda row: _is_harmed(row) and row["without"]["active"] == "active"),
    ("harmed then, or at the next start", _is_regretted),
    ("of these, `-t` says ok", lambda row: _is_regretted(row) and row["verdicts"]["syntax"] == "ok"),
    ("of these, `-T` says ok (Kea 2.2.0 and two of the daemons have none)", lambda row: _is_regretted(row) and row["verdicts"]["extended"] == "ok"),
    ("with the agent: harmful, and read by Kea all the same", lambda row: _is_regretted(row) and not _is_kept_out(row)),
    ("with the agent: refused, or made to wait, before Kea was touched", _is_kept_out),
    ("with the agent: not served at the end", lambda row: not _serves(row)),
)  # fmt: skip


def _serves(row: Row) -> bool:
    standing = row["with"]["standing"]
    return bool(standing["is_alive"] and standing["is_listening"] and standing["answers"])


def _section(title: str, rows: Sequence[Row]) -> str:
    return "\n".join([f"### {title}", "", _COLUMNS, "|---" * 8 + "|", *map(_line, rows), ""])


def _line(row: Row) -> str:
    verdicts, without = row["verdicts"], row["without"]
    cells = [
        row["title"],
        verdicts["syntax"],
        verdicts["extended"],
        _code(verdicts["rules"]),
        verdicts["rehearsal"],
        f"{_loud(without['words'])}, `{without['active']}`{_lost(without['clients'])}",
        _loud(without["start"]),
        _with_agent(row),
    ]
    return f"| {' | '.join(cells)} |"


def _with_agent(row: Row) -> str:
    found = row["with"]
    first, last = found["first"], found["last"]
    by = f" by {_refused_by(row)}" if first["outcome"] == "rejected" else ""
    then = f", then {last['outcome']} in {found['away']:.1f} s" if last["outcome"] != first["outcome"] else ""
    served = "" if _serves(row) else ", **not served**"
    return f"{first['outcome']}{by} in {found['seconds']:.1f} s{then}{_lost(found['clients'])}{served}"


def _refused_by(row: Row) -> str:
    word = row["with"]["first"]
    if word["rehearsal"] == "refused":
        return "the rehearsal"
    if "cannot be reached" in word["reason"]:
        return "the probe of the database"
    if row["verdicts"]["rules"] == "refused: syntax":
        return "the reader"
    return "the rules" if row["verdicts"]["rules"] != "ok" else "`-t`"


def _code(verdict: str) -> str:
    """`refused: some-rule` with the rule as it is typed."""
    said, _, rule = verdict.partition(": ")
    return f"{said}: `{rule}`" if rule else said


def _loud(words: str) -> str:
    return words if words in ("", *_SOUND) else f"**{words}**"


def _lost(clients: Mapping[str, int] | None) -> str:
    return f" ({clients['lost']}/{clients['begun']})" if clients else ""
