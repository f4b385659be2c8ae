# SPDX-License-Identifier: MPL-2.0
"""Prometheus's text format for the families that can have a hundred thousand series.

prometheus_client makes an object of each sample and looks at it four times. Here a statistic costs two look-ups, one
concatenation and one append: what is in front of its value is put together once for each subnet, not for each scrape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kea_agent.metrics.scan import Statistic
from kea_agent.metrics.statistics import ENTRIES, FAMILIES, SCOPE_LABELS, Family, Scope

MOST_UNKNOWN = 200

_HEAD = re.compile(r"subnet\[(\d+)(?:\]\.(pool|pd-pool)\[(\d+))?|key\[(.*)", re.DOTALL)
_NEGATIVE = re.compile(rb" -(\d{1,20})$", re.MULTILINE)
_POOLS = {"pool": Scope.POOL, "pd-pool": Scope.PD_POOL}
# Before 2.3.8 Kea counted these in 64 bits and told them as signed: beyond 2^63 they are 2^64 too small, and beyond
# 2^64 Kea stops at 2^64-1, told as -1 (subnet.cc and addr_utilities.cc of 2.2.0). No later version tells less than 0.
_WRAPPED = {
    index
    for index, family in enumerate(FAMILIES)
    if any(source.endswith(("].total-nas", "].total-pds")) for source in family.sources)
}

_Slots = Mapping[str, tuple[list[str], str]]


@dataclass
class Draft:
    """The statistics of one answer: text by family, what nobody knows, and subnets that the configuration lacked."""

    text: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in FAMILIES])
    unknown: dict[str, float] = field(default_factory=dict)
    unknown_count: int = 0
    strangers: set[str] = field(default_factory=set)


class Writer:
    """Writes one daemon's statistics; made anew when the configuration changes. `subnets`: labels by subnet id."""

    def __init__(self, daemon: str, subnets: Mapping[str, str]) -> None:
        self._subnets = subnets
        self._lines: list[list[str]] = [[] for _ in FAMILIES]
        self._slots = {scope: self._slots_of(scope, daemon) for scope in Scope}
        self._places: dict[str, tuple[_Slots, str]] = {}
        self._draft = Draft()

    def begin(self) -> None:
        """Forget whatever was begun, and begin."""
        for lines in self._lines:
            lines.clear()
        self._draft = Draft()

    def end(self) -> Draft:
        """What was written since the beginning; it is not kept here."""
        draft, self._draft = self._draft, Draft()
        return draft

    def write(self, statistics: Iterable[Statistic]) -> None:
        """Add statistics to the draft."""
        places = self._places
        for name, value in statistics:
            head, _, leaf = name.rpartition("].")
            try:
                slots, labels = places[head]
                lines, prefix = slots[leaf]
            except KeyError:
                self._write_new(head, leaf, name, value)
                continue
            if value:
                lines.append(f"{prefix}{labels}{value}")
            else:
                self._write_unknown(name, value)
        self._flush()

    def _write_new(self, head: str, leaf: str, name: str, value: str) -> None:
        """One of the server's, a place that is seen for the first time, or a statistic that nobody knows."""
        place = self._places.get(head) or self._place(head, name)
        if place is None or leaf not in place[0] or not value:
            self._write_unknown(name, value)
            return
        if head:
            self._places[head] = place
        lines, prefix = place[0][leaf]
        lines.append(prefix + place[1] + value)

    def _write_unknown(self, name: str, value: str) -> None:
        self._draft.unknown_count += 1
        if value and len(self._draft.unknown) < MOST_UNKNOWN:
            self._draft.unknown[name] = float(value)

    def _place(self, head: str, name: str) -> tuple[_Slots, str] | None:
        if "]." not in name:
            return self._slots[Scope.SERVER], "} "
        match = _HEAD.fullmatch(head)
        if match is None:
            return None
        subnet, kind, pool, key = match.groups()
        if key is not None:
            return self._slots[Scope.KEY], f'key="{escape(key)}"}} '
        labels = self._subnets.get(subnet)
        if labels is None:
            self._draft.strangers.add(subnet)
            labels = f'subnet_id="{subnet}"'
        return (self._slots[_POOLS[kind]], f'{labels},pool_id="{pool}"}} ') if kind else (
            self._slots[Scope.SUBNET], f"{labels}}} "
        )  # fmt: skip

    def _slots_of(self, scope: Scope, daemon: str) -> _Slots:
        """By statistic: where its lines go, and how they begin; a comma only where more labels follow."""
        comma = "," if SCOPE_LABELS[scope] else ""
        index = {family.name: number for number, family in enumerate(FAMILIES)}
        slots = {}
        for (of, leaf), entry in ENTRIES.items():
            if of is scope:
                own = f',{entry.family.label}="{entry.value}"' if entry.value else ""
                prefix = f'{entry.family.name}{{daemon="{daemon}"{own}{comma}'
                slots[leaf] = (self._lines[index[entry.family.name]], prefix)
        return slots

    def _flush(self) -> None:
        for index, lines in enumerate(self._lines):
            if lines:
                block = ("\n".join(lines) + "\n").encode(errors="replace")
                self._draft.text[index] += _NEGATIVE.sub(_unwrapped, block) if index in _WRAPPED else block
                lines.clear()


def document(drafts: Sequence[Draft]) -> bytes:
    """The families of several daemons, each once."""
    parts: list[bytes | bytearray] = []
    for index, family in enumerate(FAMILIES):
        blocks = [draft.text[index] for draft in drafts if draft.text[index]]
        if blocks:
            parts += [_heading(family), *blocks]
    return b"".join(parts)


def escape(value: str) -> str:
    """A label's value as it stands between the quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _heading(family: Family) -> bytes:
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n".encode()


def _unwrapped(match: re.Match[bytes]) -> bytes:
    return f" {(1 << 64) - int(match[1])}".encode()
