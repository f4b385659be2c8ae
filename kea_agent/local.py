# SPDX-License-Identifier: MPL-2.0
"""/run/kea-agent/agent.sock: how the verbs that change something reach the running agent.

One JSON object on one line in, one out. Only root and the agent's own user are heard: the socket is 0600 and the
kernel's word on who is calling (SO_PEERCRED, unix(7)) is checked as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kea_agent import mistakes
from kea_agent.errors import AgentError, NoAgentError
from kea_agent.outcome import Outcome
from kea_agent.plain import is_time

logger = logging.getLogger(__name__)

SOCKET = Path("/run/kea-agent/agent.sock")
_MAX_REQUEST_BYTES = 65536
_REQUEST_TIMEOUT = 5.0
_CHUNK = 1 << 16
_MAX_ANSWER_BYTES = 1 << 28  # a scrape of a hundred thousand subnets takes a tenth
_UNTOLD = "it may have done what it was asked: kea-agent status tells"
_PEER = struct.Struct("iII")

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class LocalServer:
    """Listens for requests and hands each to `handle`, which may raise AgentError to refuse."""

    def __init__(self, path: Path, handle: Handler, *, request_timeout: float = _REQUEST_TIMEOUT) -> None:
        self._path = path
        self._handle = handle
        self._request_timeout = request_timeout
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that a killed agent left behind is replaced."""
        self._path.unlink(missing_ok=True)
        umask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_MAX_REQUEST_BYTES)
        finally:
            os.umask(umask)

    def stop(self) -> None:
        """Stop listening and take the socket away."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, writer)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except OSError:
            logger.debug("a client of %s went away", self._path)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        try:
            # First the request, whoever asks: a client that is still sending would not see the refusal.
            request = await self._request(reader)
            _check_peer(writer)
            return await self._handle(request)
        except AgentError as error:
            return {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - a mistake costs this answer, and nothing else
            return {"error": f"{mistakes.tell('a request', error)}; journalctl -u kea-agent has where"}

    async def _request(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), self._request_timeout))
        except TimeoutError as error:
            raise AgentError(f"no whole request within {self._request_timeout:g} s") from error
        except (ValueError, RecursionError) as error:
            raise AgentError(f"the request is not one line of JSON: {error}") from error
        if not isinstance(request, dict):
            raise AgentError("the request is not a JSON object")
        return request


def _check_peer(writer: asyncio.StreamWriter) -> None:
    _, uid, _ = _PEER.unpack(writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        raise AgentError(f"user {uid} may not ask the agent for anything: only root and the agent's own user")


def ask(request: dict[str, Any], *, timeout: float, path: Path = SOCKET) -> dict[str, Any]:
    """Ask the running agent; raises AgentError when there is none, it refuses, or `timeout` (seconds, for all) is over.

    Whoever listens there is Kea's user, or anybody that is it by now, so the answer is bounded and may be anything.
    """
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            line = _line(connection, deadline)
    except PermissionError as error:
        raise AgentError(f"{path}: only root and the agent's own user may ask the agent; try sudo") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoAgentError(f"{path}: the agent is not running; try: systemctl start kea-agent") from error
    except TimeoutError as error:
        raise AgentError(f"{path}: the agent did not answer within {timeout:g} s; {_UNTOLD}") from error
    except OSError as error:
        raise AgentError(f"{path}: the agent cannot be asked: {error.strerror or error}; {_UNTOLD}") from error
    if not line:
        raise AgentError(f"{path}: the agent did not answer within {timeout:g} s: it ended the connection; {_UNTOLD}")
    answer = _parsed(line, path)
    if "error" in answer:
        raise AgentError(str(answer["error"]))
    return answer


def _line(connection: socket.socket, deadline: float) -> bytes:
    """One line, or what there is of it where the agent ends or says too much; raises TimeoutError."""
    chunks, size = [b""], 0
    while size <= _MAX_ANSWER_BYTES and not chunks[-1].endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        if len(line) > _MAX_ANSWER_BYTES:
            raise ValueError(f"more than {_MAX_ANSWER_BYTES} bytes")  # noqa: TRY301
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise TypeError("no JSON object")  # noqa: TRY301
    except (ValueError, TypeError, RecursionError) as error:
        raise _malformed(path, str(error)) from error
    return answer


def _malformed(path: Path, why: str) -> AgentError:
    return AgentError(f"{path}: the agent's answer cannot be read: {why}; {_UNTOLD}")


@dataclass(frozen=True)
class Ended:
    """How a pass that was asked for ended, and when (Unix time)."""

    outcome: Outcome
    reason: str
    at: float


def ask_for_passes(
    daemons: Sequence[str], *, again: bool, force: bool = False, timeout: float, path: Path = SOCKET
) -> dict[str, Ended]:
    """Have the agent take files in, those of all its daemons where none is named; raises AgentError as `ask` does.

    Each daemon that was named is in the answer.
    """
    request = {"verb": "reload", "daemons": list(daemons), "again": again, "force": force}
    results = ask(request, timeout=timeout, path=path).get("results")
    if not isinstance(results, dict) or not set(daemons) <= results.keys():
        raise _malformed(path, "it does not tell how each pass ended")
    try:
        return {name: _ended(done) for name, done in results.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(path, "it tells of a pass that ended as none does") from error


def _ended(done: Mapping[str, Any]) -> Ended:
    if not is_time(done["at"]):
        raise ValueError("no time")
    return Ended(Outcome(done["outcome"]), str(done["reason"]), done["at"])
