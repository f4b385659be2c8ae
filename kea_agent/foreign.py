# SPDX-License-Identifier: MPL-2.0
"""Text of others (files, Kea, peers, Kea's user) where it meets a terminal, a log or a page."""

from __future__ import annotations


def printable(text: str) -> str:
    """Fit for a terminal, a log and a UTF-8 file, whatever bytes it came from."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else character.encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """The same on one line: the journal keeps what is not printable as a blob, and a terminal obeys it."""
    return printable(" ".join(text.split()) if not text.isprintable() else text)


def printable_tree(value: object) -> object:
    """Every string in lists and maps made printable, keys too; whoever gives it has bounded its depth."""
    if isinstance(value, dict):
        return {printable(str(key)): printable_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable_tree(item) for item in value]
    return printable(value) if isinstance(value, str) else value
