# SPDX-License-Identifier: MPL-2.0
"""What one setting may be: each `Kind` says it in words and accepts or refuses one value out of a TOML file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from kea_agent.rules import RULES

UNIX_PREFIX = "unix:"
_PATH = r"/[^\x00-\x1f\x7f]{1,4094}"
_MAX_UNIX_PATH = 107  # bytes; sun_path in unix(7) has 108 with its final NUL


@dataclass(frozen=True)
class Kind:
    """`allowed` in words, units included; `accept` returns the value as the agent holds it or raises ValueError."""

    allowed: str
    accept: Callable[[object], Any]


def seconds(low: float, high: float) -> Kind:
    """A time span; whole numbers are welcome and become floats."""
    return Kind(f"a number of seconds from {low} to {high}", partial(_number, low, high))


def size(low: int, high: int) -> Kind:
    """A number of bytes."""
    return Kind(f"a whole number of bytes from {low} to {high}", partial(_whole, low, high))


def count(low: int, high: int) -> Kind:
    """A number of things."""
    return Kind(f"a whole number from {low} to {high}", partial(_whole, low, high))


def one_of(*words: str) -> Kind:
    """One word out of a closed list."""
    return Kind(f"one of {_listed(words)}", partial(_word, words))


def some_of(*words: str) -> Kind:
    """A list of at least one word out of a closed list, none of them twice."""
    return Kind(f"a list of at least one of {_listed(words)}", partial(_each, partial(_word, words), 1))


def keys() -> Kind:
    """A list of keys of a JSON object, perhaps empty, none of them twice."""
    return Kind("a list of keys, empty for none", partial(_each, partial(_matching, r"[\w.-]{1,64}", "a key"), 0))


def rule_ids() -> Kind:
    """A list of rules, perhaps empty, none of them twice."""
    return Kind("a list of ids of rules, empty for none", partial(_each, partial(_word, tuple(RULES)), 0))


def addresses() -> Kind:
    """A list of addresses to listen on, perhaps empty, none of them twice."""
    return Kind('a list of "host:port", "[IPv6]:port" and "unix:/path", empty for none', partial(_each, _address, 0))


def service() -> Kind:
    """The name of a systemd service; systemd.unit(5) has the letters, 255 is the longest."""
    pattern = r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]{0,246}\.service"
    return Kind('a name such as "kea-dhcp4.service"', partial(_matching, pattern, "the name of a service"))


def absolute_path() -> Kind:
    """A path that means the same from everywhere."""
    return Kind('a path such as "/etc/kea/kea.conf"', partial(_matching, _PATH, "an absolute path"))


def path_or_none() -> Kind:
    """A path, or nothing."""
    words = 'a path such as "/etc/kea-agent/web.yml", or "" for none'
    return Kind(words, partial(_matching, f"(?:{_PATH})?", "an absolute path"))


def split_address(text: str) -> tuple[str, int]:
    """`host:port` or `[IPv6]:port` as host and port (0 to 65535); ValueError says what is wrong with it."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text, re.ASCII)
    if match is None:
        raise ValueError(f"{quote(text)} is not an address and a port")
    if int(match[3]) > 65535:
        raise ValueError(f"{quote(text)} has a port above 65535")
    return match[1] or match[2], int(match[3])


def quote(value: object) -> str:
    """A value as TOML spells it, on one line and short enough for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """` (did you mean "..."?)`, or nothing if nothing known is near."""
    near = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {quote(near[0])}?)" if near else ""


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(map(quote, words))


def _number(low: float, high: float, value: object) -> float:
    # bool is an int to isinstance, and `timeout = true` is not a second
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{quote(value)} is not a number")  # noqa: TRY004  # a Kind has one way to say no
    if not low <= value <= high:  # nan ends here, too
        raise ValueError(f"{quote(value)} is out of range")
    return float(value)


def _whole(low: int, high: int, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{quote(value)} is not a whole number")  # noqa: TRY004
    if not low <= value <= high:
        raise ValueError(f"{quote(value)} is out of range")
    return value


def _word(words: tuple[str, ...], value: object) -> str:
    if isinstance(value, str) and value in words:
        return value
    raise ValueError(f"{quote(value)} is not one of them{did_you_mean(str(value), words)}")


def _matching(pattern: str, what: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{quote(value)} is not {what}")
    return value


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is not an address and a port")  # noqa: TRY004
    if value.startswith(UNIX_PREFIX):
        return _unix_address(value)
    if split_address(value)[1] == 0:
        raise ValueError(f"{quote(value)} has port 0, which nobody could find")
    return value


def _unix_address(value: str) -> str:
    path = value.removeprefix(UNIX_PREFIX)
    if not re.fullmatch(_PATH, path):
        raise ValueError(f"{quote(value)} has no absolute path")
    if len(path.encode()) > _MAX_UNIX_PATH:
        raise ValueError(f"{quote(value)} has a path of more than {_MAX_UNIX_PATH} bytes")
    return value


def _each(accept: Callable[[object], str], at_least: int, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{quote(value)} is not a list")  # noqa: TRY004
    taken = tuple(accept(item) for item in value)
    twice = [item for item in dict.fromkeys(taken) if taken.count(item) > 1]
    if twice:
        raise ValueError(f"{quote(twice[0])} stands in the list twice")
    if len(taken) < at_least:
        raise ValueError("the list is empty")
    return taken
