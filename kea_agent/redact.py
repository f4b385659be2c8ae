# SPDX-License-Identifier: MPL-2.0
"""No secret of a configuration leaves the project: one function for trees, and the same knowledge for text.

Secret are the values under a key that speaks of a password, secret or token (database and HTTP passwords, TSIG and
RADIUS secrets), and who may log in over HTTP (`user` beside a password in `clients`, `basic-auth-user`). Names of files
(`password-file`) are not: their content never comes into a tree. Keys: Kea's lexers of 2.2.0 to 3.3.0, and its hooks'
parameters (high_availability/ha_config_parser.cc, radius).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MASK = "*****"

_SECRET = re.compile(r"password|passwd|passphrase|secret|token|credential|api-?key|auth-user|psk", re.IGNORECASE)
_NAMES_A_FILE = re.compile(r"-(?:file|cache|path|directory)$", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s\"]+(?=@)")
# Possessive quantifiers stand on single characters only: on groups, Python 3.11.2 gets them wrong (cpython gh-106052).
_GAP = r"(?:[ \t\r\n]|//[^\n]*+|\#[^\n]*+|/\*(?s:.*?)\*/)*"
# A key and what may be its value, also where the colon is missing or the string has no end.
_MEMBER = re.compile(rf'"([^"\\\n]*+(?:\\.[^"\\\n]*+)*)"{_GAP}:?{_GAP}("[^"\\\n]*+(?:\\.[^"\\\n]*+)*"?)')


def redacted(tree: Any) -> Any:
    """The same tree with a mask for every secret; the tree that was given stays as it is."""
    return _redacted(tree, in_clients=False)


def is_secret(key: str) -> bool:
    """Whether what stands under a key must not be shown."""
    return bool(_SECRET.search(key)) and not _NAMES_A_FILE.search(key)


def redacted_text(text: str) -> str:
    """A piece of a configuration's text, whole or not, with a mask for every string that is a secret by its key."""
    return _USERINFO.sub(MASK, _MEMBER.sub(_masked, text))


def cleaned(words: str, tree: Any) -> str:
    """Somebody else's sentence about a configuration without the secrets of its tree: Kea quotes what it cannot read."""
    for secret in sorted(set(_secrets(tree)), key=len, reverse=True):
        words = words.replace(secret, MASK)
    return words


def _secrets(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            # Shorter ones would blacken half of every sentence, and are known to whoever asks.
            if is_secret(key) and isinstance(value, str) and len(value) > 3:
                yield value
            yield from _secrets(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from _secrets(item)


def _masked(match: re.Match[str]) -> str:
    key = match[1]
    if not is_secret(key) and key != "user":
        return match[0]
    return match[0][: match.start(2) - match.start()] + f'"{MASK}"'


def _redacted(value: Any, *, in_clients: bool) -> Any:
    if isinstance(value, dict):
        return {key: _member(key, item, in_clients=in_clients) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, in_clients=in_clients) for item in value]
    return _USERINFO.sub(MASK, value) if isinstance(value, str) and "://" in value else value


def _member(key: str, value: Any, *, in_clients: bool) -> Any:
    if is_secret(key) or (key == "user" and in_clients):
        return MASK
    return _redacted(value, in_clients=in_clients or key == "clients")
