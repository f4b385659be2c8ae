# SPDX-License-Identifier: MPL-2.0
"""No secret of a configuration leaves the project: one place for trees, for text, and for what others say of it.

Secret are the values under a key that speaks of a password, secret or token (database and HTTP passwords, TSIG and
RADIUS secrets), and who may log in over HTTP (`user` beside a password in `clients`, `basic-auth-user`). Names of files
(`password-file`) are not: their content never comes into a tree. Keys: Kea's lexers of 2.2.0 to 3.3.0, and its hooks'
parameters (high_availability/ha_config_parser.cc, radius).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kea_agent.secrets_in_text import in_words, is_secret, outside_of_quotes, spans

__all__ = ["MASK", "cleaned", "is_secret", "redacted", "redacted_line", "redacted_text"]

MASK = "*****"

# Shorter ones would blacken half of every sentence, and are known to whoever asks.
_SHORTEST = 4
# Of an option's data: addresses and numbers are what an operator looks for; all else may be anybody's secret.
_PLAIN_DATA = re.compile(r"[0-9a-fA-F.:, /]*|[A-Za-z0-9.-]*\.[A-Za-z0-9.-]*")


def redacted(tree: Any) -> Any:
    """The same tree with a mask for every secret; the tree that was given stays as it is."""
    return _redacted(tree, in_clients=False)


def redacted_text(text: str) -> str:
    """A piece of a configuration's text, whole or not, with a mask for every secret."""
    return _masked(text, 0)[0]


def redacted_line(before: str, line: str, column: int, *, is_broken: bool = False) -> tuple[str, int]:
    """A line with a mask for every secret, and where in it a column (0-based) went; `before` are the lines above it.

    A line that is no configuration may be anything (`is_broken`): words outside of quotes are masked, too.
    """
    more = list(outside_of_quotes(before + line)) if is_broken else []
    return _masked(before + line, len(before), len(before) + column, more)


def _masked(text: str, start: int, caret: int = 0, more: Sequence[tuple[int, int]] = ()) -> tuple[str, int]:
    """The text from an offset on, and where another offset went."""
    pieces: list[str] = []
    at, length, moved = start, 0, None
    for begin, end in _merged([*spans(text), *in_words(text), *more]):
        if end <= start:
            continue
        mask = f'"{MASK}"' if text[begin] == '"' else MASK
        if moved is None and caret < begin:
            moved = length + caret - at
        if moved is None and caret < end:
            moved = length + begin - at
        pieces += (text[at:begin], mask)
        length += begin - at + len(mask)
        at = end
    pieces.append(text[at:])
    return "".join(pieces), max(0, length + caret - at if moved is None else moved)


def _merged(found: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """In order, without those inside of others."""
    last = 0
    for begin, end in sorted(found):
        if begin >= last:
            yield begin, end
            last = end
        elif end > last:
            yield last, end
            last = end


def cleaned(words: str, tree: Any) -> str:
    """Somebody else's sentence about a configuration without the secrets of its tree: Kea quotes what it cannot read."""
    for secret in sorted(set(_secrets(tree)), key=len, reverse=True):
        words = words.replace(secret, MASK)
    return redacted_text(words) if "@" in words else words


def _secrets(tree: Any) -> Iterator[str]:
    """Every secret of a tree that is long enough to be told from other words."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                yield from _values_of(key, value)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _values_of(key: str, value: Any) -> Iterable[str]:
    if is_secret(key):
        return (text for text in _scalars(value) if len(text) >= _SHORTEST)
    if key == "data" and isinstance(value, str) and len(value) >= _SHORTEST and not _PLAIN_DATA.fullmatch(value):
        return (value,)
    return ()


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield str(value)


def _redacted(value: Any, *, in_clients: bool) -> Any:
    if isinstance(value, dict):
        return {key: _member(key, item, in_clients=in_clients) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, in_clients=in_clients) for item in value]
    return redacted_text(value) if isinstance(value, str) and ("@" in value or "=" in value) else value


def _member(key: str, value: Any, *, in_clients: bool) -> Any:
    if is_secret(key) or (key == "user" and in_clients):
        return MASK
    return _redacted(value, in_clients=in_clients or key == "clients")
