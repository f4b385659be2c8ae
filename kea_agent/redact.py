# SPDX-License-Identifier: MPL-2.0
"""No secret of a configuration leaves the project: what is secret, for trees and for others' sentences.

Secret are the values under a key that speaks of a password, secret or token, in whatever spelling (database and HTTP
passwords, TSIG and RADIUS secrets); who may log in over HTTP (`user` in `clients`, `basic-auth-user`); and what stands under
a key that Kea does not have, which may be a misspelt one. Names of files (`password-file`) are not: their content never
comes into a tree. redact_text.py does the same for text, whatever is wrong with it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from kea_agent.pieces import Kind, pieces
from kea_agent.vocabulary import words

MASK = "*****"
# Shorter ones would blacken half of every sentence, and are known to whoever asks.
LONGEST_HARMLESS = 3

_LONGEST_KEY = 100
_SECRET = re.compile(
    r"password|passwd|passphrase|passcode|secret|token|credential|bearer|psk|pwd|(?:api|private)[-_ ]?key|auth-user",
    re.IGNORECASE,
)
_NAMES_A_FILE = re.compile(r"[-_](?:file|cache|path|directory)$", re.IGNORECASE)
_PART = re.compile(r"[A-Z]?[a-z0-9]++|[A-Z]++")
# Secret as a whole word of a key only.
_PARTS = frozenset(
    ("auth", "authorization", "key", "keys", "pass", "pw", "pin", "otp", "wpa", "jwt", "cookie", "community")
)
_MISSPELT = ("password", "passwd", "passphrase", "secret", "token", "credential", "credentials", "bearer", "apikey")
_TYPO_LENGTHS = range(5, 16)
# A word, and what comes after it in a string.
_ASSIGNED = re.compile(r"""([\w-]++)["']?+([ \t]*+[=:]?+[ \t]*+)|[^\w-]++""")
_USERINFO = re.compile(r"(?<=://)[^/@\s\"]++(?=@)")
_NUMBER = re.compile(r"[0-9.]{1,15}(?:[a-z%]| [a-zA-Z]{1,8})?")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,20}[A-Za-z]{2,63}\.?")


def is_secret(key: str) -> bool:
    """Whether a key speaks of a secret, perhaps in a word that has a letter too few, too many, or in the wrong place."""
    return _is_secret(key[:_LONGEST_KEY])


def is_private(key: str) -> bool:
    """The same where nobody knows what the key belongs to: `user` may be who logs in over HTTP."""
    return key == "user" or is_secret(key)


@lru_cache(maxsize=4096)
def _is_secret(key: str) -> bool:
    if _NAMES_A_FILE.search(key):
        return False
    if _SECRET.search(key):
        return True
    if key in words().known:
        return False
    parts = {part.lower() for part in _PART.findall(key)}
    return not parts.isdisjoint(_PARTS) or any(_is_misspelt(part) for part in parts)


def _is_misspelt(word: str) -> bool:
    return len(word) in _TYPO_LENGTHS and not _shortened(word).isdisjoint(_TYPOS)


def _shortened(word: str) -> set[str]:
    """The word, and with each letter left out: two words share one if they differ by one letter, or two are swapped."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


_TYPOS = frozenset(each for word in _MISSPELT for each in _shortened(word))


class _Place(NamedTuple):
    """What the keys above a value say of it: nothing of it may be shown, it stands under a word of Kea's, it is a note of
    somebody's own, it is an option's data.
    """

    is_hidden: bool = False
    is_known: bool = True
    is_note: bool = False
    in_clients: bool = False
    is_data: bool = False

    def under(self, key: str) -> _Place:
        is_note = self.is_note or key == "user-context"
        is_user = key == "user" and self.in_clients
        return _Place(
            is_hidden=self.is_hidden or is_user or is_secret(key),
            is_known=is_note or key in words().plain,
            is_note=is_note,
            in_clients=self.in_clients or key == "clients",
            is_data=key == "data" and not is_note,
        )

    def hides(self, value: Any) -> bool:
        """Whether a string or a number is not shown here."""
        text = str(value)
        if self.is_hidden or len(text) <= LONGEST_HARMLESS:
            return self.is_hidden
        return not (self.is_known and not self.is_data) and not is_plain_data(text)


def redacted(tree: Any, keys: Iterable[str] = ()) -> Any:
    """The same tree with a mask for every secret; the tree that was given stays as it is. `keys`: those above it."""
    return _redacted(tree, _below(keys))


def is_hidden(keys: Iterable[str]) -> bool:
    """Whether nothing of what stands in a tree under these keys may be shown."""
    return _below(keys).is_hidden


def _below(keys: Iterable[str]) -> _Place:
    place = _Place()
    for key in keys:
        place = place.under(key)
    return place


def _redacted(value: Any, place: _Place) -> Any:
    if place.is_hidden or (_is_scalar(value) and place.hides(value)):
        return MASK
    if isinstance(value, dict):
        return {within(key): _redacted(item, place.under(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, place) for item in value]
    return within(value) if isinstance(value, str) else value


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def within(value: str) -> str:
    """A string that may be shown, but for a password in it: `//user:password@`, and what follows `password=`."""
    start, end = _user_of(value)
    value = f"{value[:start]}{MASK}{value[end:]}" if start < end else value
    if "=" in value or ":" in value or _SECRET.search(value):
        for word in _ASSIGNED.finditer(value):
            if word[2] and word.end() < len(value) and _introduces(word[1], word[2]):
                return value[: word.end()] + MASK
    return value


def _introduces(word: str, sign: str) -> bool:
    """Whether a word and what stands behind it say that a secret comes; a blank alone may stand behind any word."""
    return bool(_SECRET.search(word)) or (bool(sign.strip()) and is_secret(word))


def _user_of(value: str) -> tuple[int, int]:
    """From where to where somebody's name and password stand before an @."""
    end = value.rfind("@")
    before = value[: max(end, 0)]
    start = before.find("://") + 3 if "://" in before else 0 if ":" in before or "/" in before else end
    return start, end


def is_plain_data(data: str) -> bool:
    """Whether data of an option are addresses, numbers and names of hosts: anything else may be a key for a device."""
    return all(map(_is_plain, data.split(",")))


def _is_plain(part: str) -> bool:
    part = part.strip(" \t")
    if len(part) <= LONGEST_HARMLESS or part in ("true", "false") or _NUMBER.fullmatch(part) or _DOMAIN.fullmatch(part):
        return True
    try:
        socket.inet_pton(socket.AF_INET6, part)
    except (OSError, ValueError):
        return False
    return True


# What others say


def cleaned(sentence: str, tree: Any) -> str:
    """Somebody else's sentence about a configuration without the secrets of its tree: Kea quotes what it cannot read."""
    return cleaner(tree)(sentence)


def cleaner(tree: Any) -> Callable[[str], str]:
    """The same for many sentences about one tree."""
    secrets = sorted(set(_secrets(tree, _Place())), key=len, reverse=True)
    data = sorted(set(_data(tree)), key=len, reverse=True)

    def clean(sentence: str) -> str:
        sentence = _without_members(_USERINFO.sub(MASK, sentence))
        for secret in secrets:
            sentence = sentence.replace(secret, MASK)
        for each in data:
            if each in sentence:
                sentence = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", MASK, sentence)
        return sentence

    return clean


def _secrets(value: Any, place: _Place) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, place.under(key))
            found = [key] if place.is_hidden else _inside(key)
            yield from (each for each in found if len(each) > LONGEST_HARMLESS)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, place)
    elif _is_scalar(value):
        text = str(value)
        found = [text] if place.hides(value) else _inside(text)
        yield from (each for each in found if len(each) > LONGEST_HARMLESS)


def _inside(value: str) -> Iterator[str]:
    """What `within` masks of a string, and the password alone."""
    start, end = _user_of(value)
    if start < end:
        yield value[start:end]
        yield value[start:end].replace("/", ":").partition(":")[2]
    shown = within(value[max(end, 0) :]).removesuffix(MASK)
    if len(shown) < len(value) - max(end, 0):
        hidden = value[max(end, 0) + len(shown) :]
        yield hidden
        yield hidden.replace("&", " ").split(" ", 1)[0]


def _data(value: Any) -> Iterator[str]:
    """Data of options that may be secret, and their parts, which Kea reads one by one."""
    if isinstance(value, dict):
        data = value.get("data")
        if isinstance(data, str) and not is_plain_data(data):
            yield from (each for each in (data, *map(str.strip, data.split(","))) if not _is_plain(each))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _data(item)


def _without_members(sentence: str) -> str:
    """With a mask for what stands under secret keys of maps."""
    if '"' not in sentence:
        return sentence
    found, is_hidden, name = [], False, ""
    for kind, text in pieces(sentence):
        if is_hidden and (kind is Kind.STRING or kind is Kind.WORD):
            found.append(f'"{MASK}"' if kind is Kind.STRING else MASK)
            continue
        is_hidden = (is_hidden and text not in ",}") or (text == ":" and bool(name) and is_secret(name))
        name = text.strip('"') if kind is Kind.STRING else name if kind is Kind.SPACE else ""
        found.append(text)
    return "".join(found)
