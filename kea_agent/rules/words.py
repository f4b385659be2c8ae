# SPDX-License-Identifier: MPL-2.0
"""How values of a configuration appear in a finding's sentence."""

from __future__ import annotations

from collections.abc import Iterable

from kea_agent.foreign import printable


def quoted(value: str | None) -> str:
    """A value in quotes, printable and not longer than fits a line."""
    written = printable(value or "")
    return f'"{written if len(written) <= 60 else written[:57] + "..."}"'


def listed(values: Iterable[str]) -> str:
    """`"a", "b"`, the first few of many."""
    named = [quoted(value) for value in values]
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
