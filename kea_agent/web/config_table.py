# SPDX-License-Identifier: MPL-2.0
"""One mapping of the web configuration file, and everything that may be wrong with what stands in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kea_agent.settings_kinds import did_you_mean, quote

_TRUE = ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON")
_FALSE = ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF")
_NOTHING = ("", "~", "null", "Null", "NULL")


class Table:
    """Keys and values by name; problems go to `problems` as `path.of.key: what is wrong, allowed: ...`.

    `known` are the keys that may be there, None for any. Values are texts, lists and mappings: YAML's own ideas of
    what `no` or 1e3 could mean are not asked for.
    """

    def __init__(self, name: str, content: object, known: Collection[str] | None, problems: list[str]) -> None:
        self._name = name
        self._problems = problems
        self.content: dict[str, Any] = {}
        if isinstance(content, dict):
            self.content = content
        elif not _is_nothing(content):
            problems.append(f"{name}: {quote(content)} is not a mapping")
        for key in self.content if known is not None else ():
            self.is_known("", key, known or ())

    def blame(self, key: str, what: str) -> None:
        """A problem with the value at `key`."""
        self._problems.append(f"{self._path(key)}: {what}")

    def is_known(self, key: str, word: str, known: Collection[str]) -> bool:
        """Whether `word` is one of `known`; a problem if not: with the key itself ("") or with what stands there."""
        if word in known:
            return True
        hint = f"{did_you_mean(word, tuple(known))}, allowed: {', '.join(known)}"
        if key:
            self.blame(key, f"{quote(word)} is not one of them{hint}")
        else:
            self.blame(word, f"unknown key{hint}")
        return False

    def table(self, key: str, known: Collection[str] | None) -> Table:
        """The mapping at `key`, an empty one if there is none."""
        return Table(self._path(key), self.content.get(key, ""), known, self._problems)

    def text(self, key: str) -> str:
        """The text at `key`, "" if there is none."""
        value = self.content.get(key, "")
        if not isinstance(value, str):
            self.blame(key, f"{quote(value)} is not a text")
            return ""
        return "" if _is_nothing(value) else value

    def words(self, key: str) -> list[str] | None:
        """The list of texts at `key`, None if there is none."""
        value = self.content.get(key, "")
        if _is_nothing(value):
            return None
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            self.blame(key, f"{quote(value)} is not a list of at least one text")
            return None
        return value

    def choice(self, key: str, known: Collection[str], default: str) -> str:
        """One of `known`, `default` if there is nothing."""
        word = self.text(key) or default
        return word if self.is_known(key, word, known) else default

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        word = self.text(key) or str(default)
        return default if not self.is_known(key, word, (*_TRUE, *_FALSE)) else word in _TRUE

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key


def _is_nothing(value: object) -> bool:
    return isinstance(value, str) and value in _NOTHING
