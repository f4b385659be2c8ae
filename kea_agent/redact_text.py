# SPDX-License-Identifier: MPL-2.0
"""A configuration's text without its secrets, whatever is wrong with it.

Who looks at a line because of an error cannot know where its secret begins: quotes, colons or commas are missing, a key is
misspelt, the file is the password itself. So only what is known to be harmless is shown: Kea's own keywords, what stands
under one that is not secret, and structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from kea_agent.pieces import Kind, Piece, pieces
from kea_agent.redact import LONGEST_HARMLESS, MASK, is_plain_data, is_private, within
from kea_agent.vocabulary import words

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_LITERALS = ("true", "false", "null")


class _Trust(Enum):
    """What the last key says of what comes: all of it is shown, some of it if it is harmless by itself, or nothing."""

    SHOWN = 1
    DOUBTED = 2
    SECRET = 3


class _State(NamedTuple):
    """`key`: the last one that is Kea's; `before`: the sign right before; `is_given`: there was a value since the key.

    `depth`: how many brackets are open in a secret.
    """

    trust: _Trust
    key: str = ""
    before: str = ""
    is_given: bool = False
    depth: int = 0

    def after_sign(self, sign: str) -> _State:
        """What ends a comment that began elsewhere tells nothing."""
        if sign == "*":
            return _State(_Trust.DOUBTED)
        return self._after_sign_in_secret(sign) if self.trust is _Trust.SECRET else self._replace(before=sign)

    def _after_sign_in_secret(self, sign: str) -> _State:
        """A comma ends it, unless it stands in the place of a value, or in brackets."""
        if sign == "," and self.is_given and not self.depth:
            return _State(_Trust.DOUBTED, before=sign)
        depth = max(self.depth + (sign in "[{") - (sign in "]}"), 0)
        return self._replace(before=sign, depth=depth)

    def after_value(self, *, is_key: bool) -> _State:
        """A second value is one of a list, or it stands where a key should."""
        is_over = is_key or self.key not in words().many
        trust = _Trust.DOUBTED if is_over and self.trust is _Trust.SHOWN else self.trust
        return _State(trust, self.key, is_given=not is_key, depth=self.depth)


def redacted_text(text: str) -> str:
    """A piece of a configuration's text, whole or not, with a mask for everything that may be a secret."""
    return "".join(shown for _, shown in redacted_pieces(text))


def redacted_pieces(text: str) -> Iterator[tuple[str, str]]:
    """Each piece of a text and how it may be shown. None goes on in another line."""
    found = list(pieces(text))
    state = outside = _State(_Trust.DOUBTED)
    for piece, after in zip(found, _signs_after(found), strict=True):
        shown = piece.text
        if piece.kind is Kind.OPEN:
            outside, state = state, state._replace(before="")
        elif piece.kind is Kind.CLOSE:
            state = outside
        elif piece.kind is Kind.SIGN:
            state = state.after_sign(piece.text)
        elif piece.kind is not Kind.SPACE:
            shown, state = _judged(piece, state, is_key=after in (":", "=") and state.before not in (":", "="))
        yield piece.text, shown


def _signs_after(found: Sequence[Piece]) -> list[str]:
    """What stands behind each piece, without spaces and comments; nothing behind the last of a comment."""
    signs: list[str] = []
    after = outside = ""
    for piece in reversed(found):
        signs.append(after)
        if piece.kind is Kind.CLOSE:
            outside, after = after, ""
        elif piece.kind is Kind.OPEN:
            after = outside
        elif piece.kind is not Kind.SPACE:
            after = piece.text if piece.kind is Kind.SIGN else ""
    return signs[::-1]


def _judged(piece: Piece, state: _State, *, is_key: bool) -> tuple[str, _State]:
    """How a word or string is shown, and what it says of those that follow."""
    name = piece.text.strip("\"'`") if piece.kind is Kind.STRING else piece.text
    if state.depth:
        return _masked(piece), state.after_value(is_key=is_key)
    is_open = state.trust is not _Trust.SECRET
    is_begun = is_open and state.before in ("{", ",") and piece.text.startswith('"')
    # Its colon may be what is missing.
    is_key = is_key or (is_begun and name in words().known and state.key not in words().many)
    is_told = name in words().known and (is_key or is_open)
    is_misspelt = is_key and is_begun and _KEY.fullmatch(name)
    if is_private(name):
        shown = piece.text if is_told or is_misspelt else _value(piece, name, state)
        return shown, _State(_Trust.SECRET)
    if is_key and is_told:
        return piece.text, _State(_Trust.SHOWN if name in words().plain else _Trust.DOUBTED, name)
    if is_key and is_misspelt:
        return piece.text, _State(_Trust.DOUBTED)
    return _value(piece, name, state), state.after_value(is_key=is_key)


def _value(piece: Piece, name: str, state: _State) -> str:
    if state.trust is _Trust.SHOWN:
        is_shown = state.key != "data" or is_plain_data(name)
        return piece.text.replace(name, within(name), 1) if is_shown else _masked(piece)
    is_short = len(name) <= LONGEST_HARMLESS and name.isdecimal()
    return piece.text if state.trust is _Trust.DOUBTED and (is_short or name in _LITERALS) else _masked(piece)


def _masked(piece: Piece) -> str:
    return f'"{MASK}"' if piece.kind is Kind.STRING else MASK
