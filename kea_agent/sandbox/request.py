# SPDX-License-Identifier: MPL-2.0
"""What is said on the rehearsal's socket: one request, one answer, both a line of JSON with bytes after it.

    {"daemon": "dhcp4", "bytes": 512, "seconds": 30}          and as many bytes: the configuration as JSON
    {"standing": "passed", "reason": "...", "hash": "..."}    and, when it passed, what config-get answered

The configuration's own bytes go on to Kea. Whoever may connect is Kea's user, who may be anybody: nothing here names a path, a
user or an environment.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from kea_agent.daemons import BY_NAME, Daemon

MOST_HEAD_BYTES = 4096
LONGEST_SECONDS = 600.0
_CHUNK = 1 << 18


class Standing(StrEnum):
    """How a rehearsal ended; `refused` is certain to be the configuration's fault."""

    PASSED = "passed"
    REFUSED = "refused"
    NOT_REHEARSED = "not rehearsed"


class NotRehearsedError(Exception):
    """There can be no verdict on the configuration; the message says why."""


@dataclass(frozen=True)
class Request:
    """A configuration to be tried: its own bytes, and the tree in them; `seconds` is how long it may take to serve."""

    daemon: Daemon
    text: bytes
    tree: dict[str, Any]
    seconds: float

    @property
    def root(self) -> dict[str, Any]:
        """The map under the daemon's root key."""
        found = self.tree[self.daemon.root_key]
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Answer:
    """The verdict; `reason` a sentence, `hash` Kea's own (2.4 and later), `config_bytes` how much comes after this line.

    `may_pass_later`: refused for what the host lacks at this moment, so the same file may pass another time.
    `cpu_seconds`: what the daemon needed until it served; time by the clock says little beside a busy server.
    """

    standing: str
    reason: str
    hash: str | None = None
    may_pass_later: bool = False
    cpu_seconds: float = 0.0
    config_bytes: int = 0


@dataclass(frozen=True)
class Head:
    """The first line of a request: for whom, how many bytes come after it, and how long the daemon may take (seconds)."""

    daemon: Daemon
    size: int
    seconds: float


def receive_head(connection: socket.socket, timeout: float, most: int) -> tuple[Head, bytes]:
    """The first line, and what came with it; NotRehearsedError where it is not one or announces more than `most` bytes."""
    line, rest = _line(connection, time.monotonic() + timeout)
    return _checked_head(line, most), rest


def receive_text(connection: socket.socket, timeout: float, head: Head, rest: bytes) -> Request:
    """What the first line announced; raises NotRehearsedError for anything else."""
    deadline = time.monotonic() + timeout
    text = bytearray(rest)
    while len(text) < head.size:
        text += _some(connection, deadline, min(_CHUNK, head.size - len(text)))
    if len(text) != head.size:
        raise NotRehearsedError(f"the request is longer than the {head.size} bytes that it announced")
    return Request(head.daemon, bytes(text), _tree(bytes(text), head.daemon), head.seconds)


def send(connection: socket.socket, answer: Answer, config: bytes = b"") -> None:
    """Answer, and nothing after it. A client that is gone is no error."""
    connection.settimeout(LONGEST_SECONDS)
    try:
        head = asdict(replace(answer, config_bytes=len(config)))
        connection.sendall(json.dumps(head).encode() + b"\n" + config)
    except OSError:
        return


def _line(connection: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    received = b""
    while b"\n" not in received[:MOST_HEAD_BYTES]:
        if len(received) >= MOST_HEAD_BYTES:
            raise NotRehearsedError(f"no end of the request's first line in {MOST_HEAD_BYTES} bytes")
        received += _some(connection, deadline, MOST_HEAD_BYTES)
    head, _, rest = received.partition(b"\n")
    return head, rest


def _some(connection: socket.socket, deadline: float, most: int) -> bytes:
    try:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = connection.recv(most)
    except OSError as error:
        raise NotRehearsedError("the request did not come in time") from error
    if not chunk:
        raise NotRehearsedError("the request ended early")
    return chunk


def _checked_head(head: bytes, most: int) -> Head:
    try:
        words = json.loads(head)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise NotRehearsedError("the request's first line is not a JSON object")
    name, size, seconds = words.get("daemon"), words.get("bytes"), words.get("seconds")
    if not isinstance(name, str) or name not in BY_NAME:
        raise NotRehearsedError(f"the request names none of the daemons {', '.join(BY_NAME)}")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= most:
        raise NotRehearsedError(f"the request's configuration has to have 1 to {most} bytes")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= LONGEST_SECONDS:
        raise NotRehearsedError(f"the request's seconds have to be above 0 and at most {LONGEST_SECONDS:g}")
    return Head(BY_NAME[name], size, float(seconds))


def _tree(text: bytes, daemon: Daemon) -> dict[str, Any]:
    try:
        tree = json.loads(text.decode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise NotRehearsedError("the request's configuration is not JSON") from error
    if not isinstance(tree, dict) or set(tree) != {daemon.root_key} or not isinstance(tree[daemon.root_key], dict):
        raise NotRehearsedError(
            f'the request\'s configuration is not a JSON object with the one key "{daemon.root_key}"'
        )
    return tree
