# SPDX-License-Identifier: MPL-2.0
"""Rehearsal: the real daemon is started on a configuration before the one that serves gets it.

What does it is the service behind a socket (kea_agent.sandbox, kea-agent-rehearse@.service): this module asks it.
Nothing that happens over there is an error here, it is `not rehearsed`, and the settings say what that means.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kea_agent import databases, redact
from kea_agent.control import MAX_REPLY_BYTES
from kea_agent.daemons import Daemon
from kea_agent.keaconf import Document, json_text
from kea_agent.sandbox.request import NotRehearsedError, Standing
from kea_agent.verdict import Rehearsal

__all__ = ["SOCKET", "Rehearsal", "Standing", "rehearse"]

SOCKET = "/run/kea-agent-rehearse.sock"
# What a rehearsal may take besides the daemon's own time, with a machine that is busy.
_SPARE_SECONDS = 30.0
_CHUNK = 1 << 18
# Seconds between two questions whether the answer is still wanted.
_LOOK = 0.5
_UNANSWERED = (
    "the rehearsal ended without an answer: too many at once, or out of memory; journalctl -t kea-agent-rehearse"
)


def unhindered() -> None:
    """Nothing else matters more."""


def rehearse(
    daemon: Daemon,
    document: Document,
    *,
    timeout: float,
    go_on: Callable[[], object] = unhindered,
    socket_path: str = SOCKET,
) -> Rehearsal:
    """Have a daemon started on a configuration; `timeout` (seconds) is for it to serve. Never raises for the other side.

    `go_on` is called now and then while the answer is out; what it raises comes from here, and is the rehearsal's end.
    """
    started = time.monotonic()
    # What cannot be reached from in there is asked apart.
    tree = databases.without_databases(daemon.name, document.tree)
    try:
        head, config = _exchange(daemon, json_text(tree), timeout, go_on, socket_path)
        standing, reason = Standing(head["standing"]), redact.cleaned(str(head["reason"]), document.tree)
    except (NotRehearsedError, OSError, ValueError, KeyError, RecursionError) as error:
        standing, reason, head, config = Standing.NOT_REHEARSED, _explained(error, socket_path), {}, None
    digest = head.get("hash")
    return Rehearsal(
        standing,
        reason,
        time.monotonic() - started,
        digest if isinstance(digest, str) else None,
        config,
        is_whole=tree is document.tree,
        may_pass_later=head.get("may_pass_later") is True,
        cpu_seconds=_number(head.get("cpu_seconds")),
    )


def _exchange(
    daemon: Daemon, text: bytes, timeout: float, go_on: Callable[[], object], path: str
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    deadline = time.monotonic() + timeout + _SPARE_SECONDS
    head = {"daemon": daemon.name, "bytes": len(text), "seconds": timeout}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout + _SPARE_SECONDS)
        connection.connect(path)
        # It may have answered without having read all of it.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(json.dumps(head).encode() + b"\n" + text)
        return _answer(connection, deadline, go_on)


def _answer(
    connection: socket.socket, deadline: float, go_on: Callable[[], object]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    raw = bytearray()
    while chunk := _some(connection, deadline, go_on):
        raw += chunk
        if len(raw) > MAX_REPLY_BYTES:
            raise NotRehearsedError(f"the answer is larger than {MAX_REPLY_BYTES} bytes")
    first, separator, rest = bytes(raw).partition(b"\n")
    if not separator:
        raise NotRehearsedError(_UNANSWERED)
    head = _parsed(first)
    if head.get("config_bytes") != len(rest):
        raise NotRehearsedError(_UNANSWERED)
    return head, _config(rest) if rest else None


def _some(connection: socket.socket, deadline: float, go_on: Callable[[], object]) -> bytes:
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(min(left, _LOOK))
        try:
            return connection.recv(_CHUNK)
        except TimeoutError:
            go_on()
        except ConnectionResetError:
            return b""
    raise TimeoutError


def _config(raw: bytes) -> dict[str, Any] | None:
    """config-get's arguments, out of Kea's answer as it came (a list of one over HTTP); None where Kea would not tell.

    It serves, and refuses config-get, with a logger that has no severity ("illegal severity: 0", 2.6.3).
    """
    answer = _only(json.loads(raw))
    return None if answer.get("result") else _parsed_map(answer["arguments"])


def _only(answer: Any) -> dict[str, Any]:
    return _parsed_map(answer[0] if isinstance(answer, list) and len(answer) == 1 else answer)


def _parsed(raw: bytes) -> dict[str, Any]:
    return _parsed_map(json.loads(raw))


def _parsed_map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotRehearsedError("the answer is not a JSON object")
    return value


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _explained(error: Exception, path: str) -> str:
    if isinstance(error, NotRehearsedError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"{path} is not there: systemctl start kea-agent-rehearse.socket"
    if isinstance(error, PermissionError):
        return f"{path}: only root and Kea's own user may ask; try sudo"
    if isinstance(error, TimeoutError):
        return f"no answer on {path} in time"
    if isinstance(error, OSError):
        return f"{path}: {os.strerror(error.errno or 0).lower()}"
    return f"{path}: an answer that is none"
