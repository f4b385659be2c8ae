# SPDX-License-Identifier: MPL-2.0
"""How values of a configuration appear in a finding's sentence."""

from __future__ import annotations

from collections.abc import Iterable

from kea_agent.plain import printable
from kea_agent.redact import is_plain_data, within

_LONGEST = 200


def quoted(value: str | None) -> str:
    """A value in quotes, printable, without a password in it, and not longer than fits a line."""
    written = printable(within((value or "")[:_LONGEST]))
    return f'"{written if len(written) <= 60 else written[:57] + "..."}"'


def quoted_data(data: str) -> str:
    """A part of an option's data, unless it may be a key for a device."""
    return quoted(data) if is_plain_data(data) else "a part of the data"


def listed(values: Iterable[str]) -> str:
    """`"a", "b"`, the first few of many."""
    named = [quoted(value) for value in values]
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
