# SPDX-License-Identifier: MPL-2.0
"""What others wrote, made fit to be shown: text that cannot steer a terminal or forge a line, times that a clock shows.

`keactrl status` has this on its way, so it imports next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeGuard

_DEEPEST = 16
_END_OF_TIME = 2e10  # the year 2603: later than any clock of today shows, and well below what datetime takes


def printable(text: str) -> str:
    """Fit for a terminal, a log and a UTF-8 file, whatever bytes it came from: one line, nothing hidden, nothing obeyed.

    Escaped are control characters (ESC, U+0080 to U+009F, line ends of every kind), what turns the direction of text or
    has no width, blanks other than the space, what is not assigned, and bytes that are not UTF-8.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else character.encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    """The same for a text of several lines, whose ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def is_time(value: object) -> TypeGuard[float]:
    """Whether it is a Unix time of this or the next few centuries; files may be damaged, or somebody's invention."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME


def is_plain(value: object, depth: int = _DEEPEST) -> bool:
    """Whether a tree of JSON can be walked and written again: finite numbers, not nested deeper than anybody writes."""
    if isinstance(value, (dict, list)):
        items = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(is_plain(item, depth - 1) for item in items)
    return not isinstance(value, float) or abs(value) < float("inf")
