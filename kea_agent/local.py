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
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from kea_agent import mistakes
from kea_agent.errors import AgentError, NoAgentError
from kea_agent.foreign import printable

logger = logging.getLogger(__name__)

SOCKET = Path("/run/kea-agent/agent.sock")
_MAX_REQUEST_BYTES = 65536
_MAX_ANSWER_BYTES = 256 << 20  # a scrape of many subnets
_REQUEST_TIMEOUT = 5.0
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
    """Ask the running agent; raises AgentError when there is none, it refuses, or `timeout` (seconds) is over."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(connection, time.monotonic() + timeout))
    except PermissionError as error:
        raise AgentError(f"{path}: only root and the agent's own user may ask the agent; try sudo") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoAgentError(f"{path}: the agent is not running; try: systemctl start kea-agent") from error
    except (OSError, ValueError, RecursionError) as error:
        raise AgentError(f"{path}: the agent did not answer within {timeout:g} s: {error}") from error
    if not isinstance(answer, dict):
        raise AgentError(f"{path}: the agent's answer is not a JSON object")
    if "error" in answer:
        raise AgentError(printable(str(answer["error"])))
    return answer


def _line(connection: socket.socket, deadline: float) -> bytes:
    """One line by then (monotonic seconds); raises OSError when it is late or too long."""
    received = bytearray()
    while not received.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("time is up")
        connection.settimeout(left)
        chunk = connection.recv(1 << 16)
        if not chunk:
            break
        received += chunk
        if len(received) > _MAX_ANSWER_BYTES:
            raise OSError(f"more than {_MAX_ANSWER_BYTES} bytes")
    return bytes(received)
