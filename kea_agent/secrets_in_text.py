# SPDX-License-Identifier: MPL-2.0
"""Where the secrets of a configuration stand in its text, however broken the text is.

A scanner and not a pattern: it looks at each character once, so that no file can make it slow. It goes by position, not
by grammar: what stands behind a key that speaks of a secret is one, whatever is between them, up to the next comma or
bracket. Comments are read like all else: people keep old passwords in them. Too much is hidden rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

_SECRET = re.compile(
    r"pass[-_ ]?(?:word|wd|phrase|code)|pwd|secret|token|credential|api[-_ ]?key|private[-_ ]?key|bearer|auth[-_]user|psk",
    re.IGNORECASE,
)
_NAMES_A_FILE = re.compile(r"[-_](?:file|cache|path|directory)$", re.IGNORECASE)
# What a word like it was perhaps meant to be.
_SPELLINGS = ("password", "passphrase", "secret", "token", "credential")
_ALIKE = 0.78

# Possessive quantifiers stand on single characters only: on groups, Python 3.11.2 gets them wrong (cpython gh-106052).
_TOKEN = re.compile(
    r'(?P<string>"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"?)|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,)|(?P<between>[:=])'
    r"|(?P<line>\n)|(?P<word>[^\s\"{}\[\],:=]++)|(?P<space>[^\S\n]++)|(?P<other>\\)"
)
_PLAIN = re.compile(r"true|false|null|[-+.0-9eE]{1,24}|[^A-Za-z0-9]*")
_SIGNS = "'`;()/*#|<>"
_WORD = re.compile(r'[^\s"\\]++')


def is_secret(key: str) -> bool:
    """Whether what stands under a key must not be shown."""
    return bool(_SECRET.search(key)) and not _NAMES_A_FILE.search(key)


@lru_cache(maxsize=4096)
def may_be_secret(key: str) -> bool:
    """The same for a key as it was typed: `pasword` counts. Longer ones than any key are none."""
    if len(key) > 64 or is_secret(key):
        return is_secret(key[:4096])
    if _NAMES_A_FILE.search(key):
        return False
    parts = re.split(r"[^a-z0-9]+", key.lower())
    return any(_alike(part, word) for part in parts for word in _SPELLINGS)


def _alike(part: str, word: str) -> bool:
    return abs(len(part) - len(word)) < 3 and SequenceMatcher(None, part, word).ratio() >= _ALIKE


@dataclass
class _Behind:
    """What is known behind a secret's key: whether a value was seen, how deep in brackets, what is open."""

    has_value: bool = False
    depth: int = 0
    is_open: bool = False  # a string without its end
    comment: str = ""  # how the comment ends that is being read

    def note_comment(self, kind: str | None, token: str) -> bool:
        """Whether this belongs to a comment: what is in one ends nothing."""
        if not self.comment and kind == "word" and token.startswith(("//", "#", "/*")):
            self.comment = "*/" if token.startswith("/*") else "\n"
            token = token[2:]
        elif not self.comment:
            return False
        if self.comment in token or (self.comment == "\n" and kind == "line"):
            self.comment = ""
        return True


def spans(text: str) -> Iterator[tuple[int, int]]:
    """The beginning and end of each secret, in order."""
    behind: _Behind | None = None
    pending = False  # a word without quotes that is a key only if something comes between it and a value
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if behind is None:
            if kind == "string" and (may_be_secret(token.strip('"')) or token.strip('"') == "user"):
                behind, pending = _Behind(), False
            elif kind in ("between", "string") and pending:
                behind, pending = _Behind(), False
                if kind == "string":
                    behind.has_value = True
                    yield match.span()
            elif kind == "word":
                pending = may_be_secret(token.strip(_SIGNS))
            elif kind not in ("space", "other"):
                pending = False
            continue
        in_comment = behind.note_comment(kind, token)
        if kind in ("string", "word"):
            if token.strip(_SIGNS):
                yield match.span()
            if token.strip(_SIGNS) and not in_comment:
                behind.has_value = True
                behind.is_open = kind == "string" and not (len(token) > 1 and token.endswith('"'))
        elif not in_comment and _is_over(behind, kind):
            behind = None


def _is_over(behind: _Behind, kind: str | None) -> bool:
    """Whether what comes next is something else; keeps the count of brackets."""
    if kind == "open":
        behind.depth += 1
        behind.has_value = True
    elif kind == "close":
        behind.depth -= 1
        return behind.depth <= 0
    elif kind == "comma":
        return behind.depth == 0 and behind.has_value
    elif kind == "line" and behind.depth == 0 and behind.has_value:
        if not behind.is_open:
            return True
        behind.is_open = False  # the string goes on in this line, and no further
    return False


def in_words(text: str) -> Iterator[tuple[int, int]]:
    """What is secret inside of a word: who may log in (`user:password@host`, with or without a scheme), `password=…`."""
    if "@" not in text and "=" not in text:
        return
    for match in _WORD.finditer(text):
        word, start = match[0], match.start()
        colon, at, equals = word.find(":"), word.rfind("@"), word.find("=")
        begin = colon + 3 if word.startswith("://", colon) else 0
        if colon >= 0 and begin < at:
            yield start + begin, start + at
        elif 0 < equals < len(word) - 1 and may_be_secret(word[:equals].strip(_SIGNS)):
            yield start + equals + 1, match.end()


def outside_of_quotes(text: str) -> Iterator[tuple[int, int]]:
    """Words that no configuration has: neither a key, nor a number, nor true, false or null, nor in a comment.

    Whoever includes a file with a password in it has such words.
    """
    comment = _Behind()
    word: re.Match[str] | None = None
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if comment.note_comment(kind, match[0]):
            continue
        if word and kind not in ("space", "between"):
            yield word.span()
        if kind != "space":
            word = match if kind == "word" and not _PLAIN.fullmatch(match[0]) else None
    if word:
        yield word.span()
