# SPDX-License-Identifier: MPL-2.0
"""Kea's grammar: text without comments and includes in, one tree out, or the offset where it is wrong.

Two ways to the same answer. json.loads with a few hooks is quick and says yes or "do not know"; on the latter `_Parser`
decides, some ten times slower, knowing every position. What differs from JSON [kea-dhcp4 -t of 2.2.0, 2.6.3, 3.0.4]:
commas may follow a value in any number; integers have 64 bits and may start with zeros; other numbers may lack the digits
on one side of the point and may start with `+`; of \\u escapes only those up to \\u00ff, each meaning one byte.
Text here has one character for each byte, until `utf8_tree`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from kea_agent.errors import ConfigError
from kea_agent.plain import printable
from kea_agent.redact import LONGEST_HARMLESS, is_private
from kea_agent.vocabulary import words

MAX_DEPTH = 200  # Kea's -t has no limit, but 3.0 cannot print more than 100; and whoever walks the tree may recurse

_INT64 = range(-(2**63), 2**63)
_BOM = "\xef\xbb\xbf"

# Possessive quantifiers stand on single characters only: on groups, Python 3.11.2 gets them wrong (cpython gh-106052).
_SURPLUS_COMMA = re.compile(r",[ \t\r\n]*+[,}\]]")
_SURPLUS_COMMA_OR_STRING = re.compile(r'"[^"]*+"|(,)(?=[ \t\r\n]*+[,}\]])')  # of text without escapes
_LEADING_COMMA = re.compile(r"[\[{][ \t\r\n]*+,")
_NOT_LATIN_ESCAPE = re.compile(r"\\u(?!00)")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u00[0-9A-Fa-f]{2}|(u?))')
_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:([{}\[\]:,])|("[^"]*+")|(true|false|null)"""  # of text without escapes
    r"""|((?=[-+.0-9eE])[-+]?[0-9]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?))"""
)
_SPACE = re.compile(r"[ \t\r\n]*+")
_INTEGER = re.compile(r"-?[0-9]+")
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"\w+", re.ASCII)

# What is wrong in an expanded text, by offset: made into a file, line and column by whoever expanded it.
MakeError = Callable[[int, str], ConfigError]


def parse(text: str, root_key: str, *, error: MakeError, stop: ConfigError | None) -> tuple[dict[str, Any], list[int]]:
    """The tree and the offsets of surplus commas.

    Raises ConfigError for the first thing that Kea would not accept; `stop`, if given, is what is wrong at the text's end.
    """
    commas: list[int] = []
    tree = _load(text, root_key, commas) if stop is None else None
    if tree is None:
        commas.clear()
        tree = _Parser(text, root_key, error=error, stop=stop, commas=commas).parse()
    return (tree if text.isascii() and "\\u00" not in text else utf8_tree(tree)), commas


def utf8_tree(value: Any) -> Any:
    r"""The same tree with text for strings that hold one character a byte (config-get says "\u00c3\u00bc" for ü)."""
    if isinstance(value, dict):
        return {utf8_tree(key): utf8_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [utf8_tree(item) for item in value]
    if isinstance(value, str) and not value.isascii() and max(value) <= "\xff":
        return value.encode("latin-1").decode("utf-8", "surrogateescape")
    return value


def without_escapes(text: str) -> str:
    """The same length, and every quote begins or ends a string: a pattern for escapes keeps 64 bytes for each of them."""
    return text.replace("\\\\", "__").replace('\\"', "__")


def shown(text: str, limit: int = 60) -> str:
    """A short piece of a configuration for a message."""
    return printable(utf8_tree(text[:limit])) + ("..." if len(text) > limit else "")


# The quick way


def _load(text: str, root_key: str, commas: list[int]) -> dict[str, Any] | None:
    """The tree if json.loads can be made to agree with Kea, else None; `commas` gets where surplus commas are."""
    if "\\u" in text and _NOT_LATIN_ESCAPE.search(text):
        return None
    if _SURPLUS_COMMA.search(text):
        if _LEADING_COMMA.search(text):
            return None
        commas += [match.start() for match in _SURPLUS_COMMA_OR_STRING.finditer(without_escapes(text)) if match[1]]
        text = _without(text, commas)
    try:
        tree = json.loads(
            text, object_pairs_hook=_unique, parse_int=_int64, parse_float=_finite, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return None
    return tree if _is_usual(tree, root_key) else None


def _without(text: str, commas: list[int]) -> str:
    data = bytearray(text, "latin-1")
    for offset in commas:
        data[offset] = 32
    return data.decode("latin-1")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("duplicate key")
    return tree


def _int64(token: str) -> int:
    digits = token.lstrip("+-").lstrip("0") or "0"
    number = int(digits) * (-1 if token[0] == "-" else 1) if len(digits) < 20 else _INT64.stop
    if number not in _INT64:
        raise ValueError("number beyond 64 bits")
    return number


def _finite(token: str) -> float:
    number = float(token)
    if math.isinf(number):
        raise ValueError("number beyond a double")
    return number


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def _is_usual(tree: Any, root_key: str) -> bool:
    """Whether the tree has the right top and is not too deep; json.loads' own limit differs with Python's version."""
    if type(tree) is not dict or list(tree) != [root_key] or type(tree[root_key]) is not dict:
        return False
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        values = (item for node in level for item in (node.values() if type(node) is dict else node))
        level = [item for item in values if type(item) is dict or type(item) is list]
    return not level


# The exact way


class _State(NamedTuple):
    """What may come next. Kinds of tokens: punctuation as itself, `"` a string, `0` another scalar, `$` the end."""

    accepts: str
    wanted: str


class _Shape(NamedTuple):
    """The states inside one kind of container: after its opening, after a colon, after a value, after a comma."""

    first: _State
    value: _State
    after: _State
    more: _State


class _Frame(NamedTuple):
    node: Any
    shape: _Shape
    keys: dict[str, int]


_COLON = _State(":", '":"')
_VALUE = _State('{["0', "a value")
_END = _State("$", "")
_AFTER = 'text after the last "}" of the configuration'
_MAP = _Shape(
    _State('"}', 'a key in double quotes or "}"'),
    _VALUE,
    _State(",}", '"," or "}"'),
    _State('"},', 'a key in double quotes or "}"'),
)
_LIST = _Shape(
    _State('{["0]', 'a value or "]"'), _VALUE, _State(",]", '"," or "]"'), _State('{["0],', 'a value or "]"')
)


class _Parser:
    """One step a token and no recursion, so that nothing nests too deep for it."""

    def __init__(
        self, text: str, root_key: str, *, error: MakeError, stop: ConfigError | None, commas: list[int]
    ) -> None:
        self.text = text
        self.plain = without_escapes(text)
        self.root_key = root_key
        self.error = error
        self.stop = stop
        self.commas = commas
        brace = _State("{", '"{"')
        more = _State(",}", '"}", there being one top-level key only,')
        self.top = _Shape(_State('"', f'the top-level key "{root_key}"'), brace, more, more._replace(accepts="},"))
        self.state = brace
        self.stack: list[_Frame] = []
        self.tree: dict[str, Any] = {}
        self.key = ""
        self.position = self.comma = 0
        self.steps: dict[str, Callable[[str, int], None]] = {
            "{": self._open,
            "[": self._open,
            "}": self._close,
            "]": self._close,
            ",": self._comma,
            ":": self._colon,
            '"': self._string,
            "0": self._scalar,
        }

    def parse(self) -> dict[str, Any]:
        try:
            return self._parse()
        finally:
            self.steps.clear()  # bound methods: a cycle that would hold the whole text until the collector comes

    def _parse(self) -> dict[str, Any]:
        while True:
            kind, token, at = self._next()
            if kind not in self.state.accepts:
                raise self._unexpected(kind, token, at)
            if kind == "$":
                return self.tree
            self.steps[kind](token, at)

    def _next(self) -> tuple[str, str, int]:
        match = _TOKEN.match(self.plain, self.position)
        if match is None or not match[match.lastindex or 0]:
            return self._no_token()
        token = self.text[slice(*match.span(match.lastindex or 0))]
        self.position = match.end()
        kind = token if match.lastindex == 1 else '"' if match.lastindex == 2 else "0"
        return kind, token, self.position - len(token)

    def _no_token(self) -> tuple[str, str, int]:
        space = _SPACE.match(self.text, self.position)
        at = space.end() if space else self.position
        if at < len(self.text):
            raise self.error(at, _AFTER if self.state is _END else self._bad_character(at))
        if self.stop:
            raise self.stop
        return "$", "", max(at - 1, 0)

    def _unexpected(self, kind: str, token: str, at: int) -> ConfigError:
        if self.state is _END:
            return self.error(at, _AFTER)
        if kind == "$":
            return self.error(at, f"expected {self.state.wanted} before the end of the file")
        return self.error(at, f"expected {self.state.wanted} before {self._named(token)}")

    def _named(self, token: str) -> str:
        """A token for a message, unless it may be a secret: nobody knows what was meant to be a key or a value."""
        if self._shows(token):
            return shown(token) if token.startswith('"') else f'"{shown(token)}"'
        return "a string" if token.startswith('"') else "a number"

    def _shows(self, token: str) -> bool:
        """Whether it is harmless: a sign, one of Kea's keywords, or the value of one that is not secret."""
        name = token.strip('"')
        if "0" not in self.state.accepts and name in words().known:
            return True
        is_value = "0" in self.state.accepts and self.key in words().plain
        return not is_private(self.key) and (is_value or len(name) <= LONGEST_HARMLESS)

    def _bad_character(self, at: int) -> str:
        if self.text.startswith(_BOM, at):
            return "byte order mark: save the file as UTF-8 without one"
        word = _WORD.match(self.text, at)
        if word is None:
            hint = ": strings need double quotes" if self.text[at] == "'" else ""
            return f'invalid character "{shown(self.text[at])}"{hint}'
        if word[0].lower() in _WORDS:
            return f'"{word[0]}" has to be written in lower case'
        named = f' "{shown(word[0])}"' if self._shows(word[0]) else ""
        return f"invalid word{named}: keys and strings need double quotes"

    def _open(self, bracket: str, at: int) -> None:
        if len(self.stack) == MAX_DEPTH:
            raise self.error(at, f"nested deeper than {MAX_DEPTH}")
        node: Any = {} if bracket == "{" else []
        shape = (_MAP if bracket == "{" else _LIST) if self.stack else self.top
        if self.stack:
            self._put(node)
        else:
            self.tree = node
        self.stack.append(_Frame(node, shape, {}))
        self.state = shape.first

    def _put(self, value: Any) -> None:
        node, shape, _ = self.stack[-1]
        if isinstance(node, dict):
            node[self.key] = value
        else:
            node.append(value)
        self.state = shape.after

    def _close(self, _token: str, _at: int) -> None:
        if self.state is self.stack[-1].shape.more:
            self.commas.append(self.comma)
        self.stack.pop()
        self.state = self.stack[-1].shape.after if self.stack else _END

    def _comma(self, _token: str, at: int) -> None:
        more = self.stack[-1].shape.more
        if self.state is more:
            self.commas.append(self.comma)
        self.comma, self.state = at, more

    def _colon(self, _token: str, _at: int) -> None:
        self.state = self.stack[-1].shape.value

    def _string(self, token: str, at: int) -> None:
        value = self._decoded(token, at)
        frame = self.stack[-1]
        if isinstance(frame.node, dict) and self.state is not frame.shape.value:
            self._begin(value, frame, at)
        else:
            self._put(value)

    def _begin(self, key: str, frame: _Frame, at: int) -> None:
        """A key: it has to be new here, and the right one at the top."""
        if frame.shape is self.top and key != self.root_key:
            other = f'"{shown(key)}"' if key in words().known else "another"
            raise self.error(at, f'expected the top-level key "{self.root_key}", not {other}')
        if key in frame.keys:
            raise self.error(at, f'duplicate key "{shown(key)}", first at {self.error(frame.keys[key], "").place}')
        frame.keys[key] = at
        self.key, self.state = key, _COLON

    def _decoded(self, token: str, at: int) -> str:
        for escape in _ESCAPE.finditer(token):
            if escape[1] is not None:
                raise self.error(at + escape.start(), _bad_escape(token[escape.start() :]))
        return str(json.loads(token))

    def _scalar(self, token: str, at: int) -> None:
        if token in _WORDS:
            self._put(_WORDS[token])
            return
        try:
            self._put(_int64(token) if _INTEGER.fullmatch(token) else _finite(token))
        except ValueError as error:
            named = self._named(token) if self._shows(token) else "this"
            raise self.error(at, f"{named} is not a number that Kea reads") from error


def _bad_escape(text: str) -> str:
    if text.startswith("\\u"):
        return "\\u is no escape that Kea reads here: it knows \\u0000 to \\u00ff"
    return f'bad escape "{shown(text[:2])}" in a string'
