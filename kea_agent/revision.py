# SPDX-License-Identifier: MPL-2.0
"""One configuration that was proven to run, as a file: a comment that tells what it is, then JSON on one line.

Kea reads such a file as it is (`//` starts a comment in src/bin/*/*_lexer.ll since 1.2). The first words of the
comment are the SHA-256 of all that follows them, so whatever happened to the file shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from kea_agent.files import entered
from kea_agent.plain import is_time

_HEAD = re.compile(rb"// kea-agent revision ([0-9a-f]{64}) ")
_MOST_BYTES = 1 << 30  # as much as the settings allow a configuration to have
_TEXTS = ("daemon", "meaning", "proof", "file_name")
_TEXTS_OR_NONE = ("hash", "kea_version")
_TIMES = ("at", "proven_at")


@dataclass(frozen=True)
class Revision:
    """What is known of one kept configuration; numbers grow by one and never come back.

    `at` and `proven_at` (Unix times): when it was first and when it was last proven to run. `meaning` is keaconf's,
    `hash` Kea's own (2.4 and later). `file_name`: the base name of the file that it was.
    """

    daemon: str
    number: int
    at: float
    proven_at: float
    meaning: str
    hash: str | None
    kea_version: str | None
    proof: str
    file_name: str


@dataclass(frozen=True)
class Kept:
    """A revision with its configuration as JSON."""

    revision: Revision
    body: bytes

    def tree(self) -> dict[str, Any]:
        """The configuration, as keaconf would read it; raises ValueError or RecursionError."""
        tree = json.loads(self.body.decode("utf-8", "surrogateescape"))
        if not isinstance(tree, dict):
            raise ValueError("it is no configuration")  # noqa: TRY004  # damage has one kind of error
        return tree

    def encoded(self) -> bytes:
        """The file's content."""
        rest = json.dumps(asdict(self.revision)).encode() + b"\n" + self.body
        return b"// kea-agent revision " + hashlib.sha256(rest).hexdigest().encode() + b" " + rest


def body_of(tree: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """A tree of keaconf's as Kea reads it: with the very bytes of its strings. Raises ValueError or RecursionError."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(dict(tree), ensure_ascii=False, allow_nan=False, separators=separators, indent=indent)
    return f"{text}\n".encode("utf-8", "surrogateescape")


def read(path: Path, owners: Collection[int], below: Path) -> Kept:
    """Read one that belongs to one of these users; FileNotFoundError, ValueError for damage, OSError for the rest.

    Never follows a symlink on the way from `below` nor waits: that may be a directory of somebody with fewer rights.
    """
    with entered(path.parent, below) as directory:
        _check(os.stat(path.name, dir_fd=directory, follow_symlinks=False), owners)
        stream = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(stream, "rb") as file:
        _check(os.fstat(stream), owners)
        return decoded(file.read(_MOST_BYTES + 1))


def _check(status: os.stat_result, owners: Collection[int]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a symlink" if stat.S_ISLNK(status.st_mode) else "it is not a regular file")
    if status.st_uid not in owners:
        raise ValueError(f"it belongs to user {status.st_uid}")


def decoded(data: bytes) -> Kept:
    """The file's content taken apart; ValueError for whatever `encoded` did not make."""
    head = _HEAD.match(data)
    if head is None:
        raise ValueError("it does not begin as it was written" if data else "it is empty")
    rest = memoryview(data)[head.end() :]
    if hashlib.sha256(rest).hexdigest().encode() != head[1]:
        raise ValueError("its checksum is wrong")
    end = data.index(b"\n", head.end())
    try:
        fields = json.loads(data[head.end() : end])
    except RecursionError as error:
        raise ValueError("its head is nested too deeply") from error
    return Kept(_revision(fields), data[end + 1 :])


def _revision(fields: Any) -> Revision:
    """A checksum is no proof of who made it."""
    try:
        revision = Revision(**fields)
    except TypeError as error:
        raise ValueError(f"it is from another version: {error}") from error
    texts = all(isinstance(fields[name], str) for name in _TEXTS)
    texts_or_none = all(isinstance(fields[name], (str, NoneType)) for name in _TEXTS_OR_NONE)
    times = all(is_time(fields[name]) for name in _TIMES)
    if not (texts and texts_or_none and times and _is_number(revision.number)):
        raise ValueError("its head has values that are none of a revision")
    return revision


def _is_number(value: object) -> bool:
    """As many digits as the name of its file may have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9
