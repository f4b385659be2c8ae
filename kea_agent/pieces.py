# SPDX-License-Identifier: MPL-2.0
"""A configuration's text in pieces, whatever is wrong with it: strings, words, signs, and what of them is in a comment.

For whoever looks at text that Kea and our reader refuse, or at part of it. Time is linear in the text: each piece is found
once, by a pattern that has one way to match and none to go back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a piece is; OPEN and CLOSE are the two ends of a comment, CLOSE empty where its line ends it."""

    SPACE = 1
    STRING = 2
    WORD = 3
    SIGN = 4
    OPEN = 5
    CLOSE = 6


class Piece(NamedTuple):
    """All pieces joined are the text; none goes on in another line."""

    kind: Kind
    text: str


_PLAIN = re.compile(r"([ \t\r\f\v]++|\n)|([^\s\"'`#*/{}\[\],:;=<>()]++)")
_INSIDE = re.compile(r'[^"\\\n]*+')
_OPENINGS = ("#", "//", "/*")


def pieces(text: str) -> Iterator[Piece]:
    """The text in its order."""
    at = 0
    while at < len(text):
        opening = _opening(text, at)
        if not opening:
            piece = _piece(text, at, len(text))
            yield piece
            at += len(piece.text)
            continue
        closing, end = _comment_end(text, at, opening)
        yield Piece(Kind.OPEN, opening)
        yield from _inside(text, at + len(opening), end)
        yield Piece(Kind.CLOSE, closing)
        at = end + len(closing)


def comments(text: str) -> Iterator[str]:
    """What stands in each of the text's comments."""
    at = 0
    while at < len(text):
        opening = _opening(text, at)
        if opening:
            closing, end = _comment_end(text, at, opening)
            yield text[at + len(opening) : end]
            at = end + len(closing)
        else:
            at += len(_piece(text, at, len(text)).text)


def _opening(text: str, at: int) -> str:
    return next((each for each in _OPENINGS if text.startswith(each, at)), "") if text[at] in "#/" else ""


def _comment_end(text: str, at: int, opening: str) -> tuple[str, int]:
    """What closes the comment that begins at `at`, and where its inside ends."""
    closing = "*/" if opening == "/*" else ""
    end = text.find(closing or "\n", at + len(opening))
    return (closing, end) if end >= 0 else ("", len(text))


def _inside(text: str, at: int, end: int) -> Iterator[Piece]:
    while at < end:
        piece = _piece(text, at, end)
        yield piece
        at += len(piece.text)


def _piece(text: str, at: int, end: int) -> Piece:
    if plain := _PLAIN.match(text, at, end):
        return Piece(Kind.SPACE if plain[1] else Kind.WORD, plain[0])
    if text[at] == '"':
        return Piece(Kind.STRING, text[at : _string_end(text, at, end)])
    if text[at] in "'`" and (after := text.find(text[at], at + 1, end)) >= 0 and text.find("\n", at, after) < 0:
        return Piece(Kind.STRING, text[at : after + 1])
    return Piece(Kind.SIGN, text[at])


def _string_end(text: str, at: int, end: int) -> int:
    """Behind the closing quote of the string that begins at `at`, or where its line ends."""
    at += 1
    while True:
        # Step by step: one pattern for all of it would remember a way back for each of a million escapes.
        inside = _INSIDE.match(text, at, end)
        at = inside.end() if inside else at
        if text.startswith("\\", at, end) and not text.startswith("\n", at + 1, end):
            at = min(at + 2, end)
        else:
            return at + text.startswith('"', at, end)
