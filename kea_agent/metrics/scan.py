# SPDX-License-Identifier: MPL-2.0
"""Reads the answer to `statistic-get-all` while it arrives.

Kea with 10,000 subnets tells 140,000 statistics in 11 MB. `json.loads` of that needs 45 MB and holds Python's
interpreter lock, and with it the agent's loop, for a tenth of a second. Kea writes every statistic the same way
(2.2.0 to 3.3), so one regular expression takes them out of what has come, while Kea sends the rest. Whatever does not
look like that goes through the json module, so the worst of an odd answer is that it is slow.
"""

from __future__ import annotations

import codecs
import json
import re
from json import JSONDecodeError, JSONDecoder
from typing import Any

from kea_agent.errors import ControlError

# One statistic as Kea spells it: its name, and the value of its newest sample, which is the first. Without a way back,
# so time is linear in what is there; a spelling that allows for other spaces takes twice as long.
_STATISTIC = r'"([^"\\]*+)": \[ \[ (-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?), "[^"]*+" \](?:, \[[^\[\]]*+\])*+ \]'
_ENTRY = re.compile(rf"[\s,]*+{_STATISTIC}")
# Every statistic; and whatever else is there, which has no name and no value.
_ENTRIES = re.compile(rf'{_STATISTIC}|[^\s,][^"]*+')
_STRANGE = ("", "")
_ENTRY_END = " ] ]"
_BEGIN = re.compile(r'\s*+(\[?)\s*+\{\s*+"arguments"\s*+:\s*+\{')
_END = re.compile(r"[\s,]*+\}")
_ODD = re.compile(r'[\s,]*+(?=")')
_DECODER = JSONDecoder()
_COLON = re.compile(r"\s*:\s*")
# More than this without one statistic is not Kea; one that has 20 samples is 1 KiB.
_MOST_PENDING = 1 << 20

Statistic = tuple[str, str]


class Scanner:
    """Takes chunks, gives statistics: Kea's name, and its value in Kea's spelling ("" if it is not a number)."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""
        self._position = 0
        self._opening: str | None = None
        self._chunks: list[str] = []
        self._arrived = self._enough = 0
        self._is_over = False

    def feed(self, chunk: bytes) -> list[Statistic]:
        """The statistics that are whole now; ControlError when this cannot become an answer of Kea."""
        self._chunks.append(self._decode(chunk))
        self._arrived += len(self._chunks[-1])
        found: list[Statistic] = []
        if self._arrived < self._enough:
            return found
        self._gather()
        has_begun = self._opening is not None or self._begins()
        if has_begun and not self._take_block(found):
            self._take_carefully(found)
        if len(self._text) - self._position > _MOST_PENDING:
            raise ControlError(f"answer is not Kea's: {self._text[self._position :][:80]!r}")
        # What was looked at for nothing is looked at again when there is twice as much: chunks may be of one byte.
        self._arrived, self._enough = 0, 0 if found else len(self._text)
        return found

    def _gather(self) -> None:
        self._text = self._text[self._position :] + "".join(self._chunks)
        self._position = 0
        self._chunks.clear()

    def finish(self) -> list[Statistic]:
        """What is left at the end; ControlError if the answer is not whole, or is Kea's refusal."""
        self._gather()
        opening = "" if self._opening is None else f'{self._opening}{{"arguments": {{'
        try:
            answer = json.loads(opening + self._text[self._position :].lstrip(", \n"))
        except (ValueError, RecursionError) as error:
            raise ControlError(f"answer is not whole, or not JSON: {self._text[:80]!r}") from error
        if isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if not isinstance(answer, dict) or answer.get("result") != 0:
            raise ControlError(f"no statistics: {str(answer)[:80]}")
        listed = answer.get("arguments")
        return [plain(name, value) for name, value in listed.items()] if isinstance(listed, dict) else []

    def _begins(self) -> bool:
        begin = _BEGIN.match(self._text)
        if begin:
            self._opening = begin[1]
            self._position = begin.end()
        return begin is not None

    def _take_block(self, found: list[Statistic]) -> bool:
        """Everything up to the last whole statistic, in one call, if it is all spelled as Kea does it."""
        end = self._text.rfind(_ENTRY_END, self._position) + len(_ENTRY_END)
        block = _ENTRIES.findall(self._text, self._position, end)
        if not block or _STRANGE in block:
            return False
        found += block
        self._position = end
        return True

    def _take_carefully(self, found: list[Statistic]) -> None:
        """One statistic after the other, whatever its form, until one is not whole."""
        while not self._is_over and (self._take(found) or self._take_odd(found)):
            pass

    def _take(self, found: list[Statistic]) -> bool:
        """What is spelled as Kea does it; whether there was any."""
        text, position, match = self._text, self._position, _ENTRY.match
        while entry := match(text, position):
            found.append(entry.groups())  # type: ignore[arg-type]
            position = entry.end()
        is_any, self._position = position > self._position, position
        self._is_over = _END.match(text, position) is not None
        return is_any

    def _take_odd(self, found: list[Statistic]) -> bool:
        """One statistic of any other form, if it is whole."""
        begin = _ODD.match(self._text, self._position)
        if begin is None or self._is_over:
            return False
        try:
            name, after = _DECODER.raw_decode(self._text, begin.end())
            colon = _COLON.match(self._text, after)
            value, self._position = _DECODER.raw_decode(self._text, colon.end() if colon else after)
        except (JSONDecodeError, RecursionError):
            return False
        found.append(plain(name, value))
        return True


def plain(name: str, samples: Any) -> Statistic:
    """A statistic out of what the json module made of its samples."""
    newest = samples[0] if isinstance(samples, list) and samples else None
    value = newest[0] if isinstance(newest, list) and newest else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return name, repr(value) if is_number else ""
