# SPDX-License-Identifier: MPL-2.0
"""One connection, in its thread: TLS if it is wanted, one request, one answer.

HTTP/1.0 and no keep-alive, so a connection is a request. Bodies are never read: nothing here takes one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler

from kea_agent import __version__
from kea_agent.web.connections import Connection

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 10.0  # a client that neither sends nor takes anything
MAX_HEAD_BYTES = 16 * 1024  # request line and headers together; Prometheus sends less than 1 KiB
LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024


class _Response(ServerHandler):
    server_software = f"kea-agent/{__version__}"  # instead of the versions of wsgiref and Python

    def log_exception(self, exc_info: Any) -> None:
        """To our log instead of stderr; a client that went away is not an error of ours."""
        level = logging.DEBUG if isinstance(exc_info[1], OSError) else logging.ERROR
        logger.log(level, "answering a request failed", exc_info=exc_info)


class _Request(WSGIRequestHandler):
    """http.server's reading of a request, with its size bounded and its answers short."""

    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, connection: Connection, app: WSGIApplication) -> None:
        self._connection = connection
        self._app = app
        self.has_more = True  # until a request is known to have come in as a whole
        server: Any = SimpleNamespace(base_environ=_environ(connection.socket))
        super().__init__(connection.socket, (connection.peer, 0), server)

    def version_string(self) -> str:
        """The Server header of what http.server refuses by itself."""
        return _Response.server_software

    def handle(self) -> None:
        """Read the request as a whole, then answer it."""
        head = self._head()
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        self._connection.has_asked = True
        self.raw_requestline = self.rfile.readline()
        if len(head) > MAX_HEAD_BYTES:
            self._refuse_size()
        elif head and self.parse_request():
            self.has_more = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
            self._respond()

    def _head(self) -> bytes:
        """Up to the empty line; what is longer than allowed is cut off one byte later."""
        head = b""
        while len(head) <= MAX_HEAD_BYTES:
            line = self.rfile.readline(MAX_HEAD_BYTES + 1 - len(head))
            head += line
            if line in (b"\r\n", b"\n", b""):
                break
        return head

    def _refuse_size(self) -> None:
        self.requestline = self.request_version = self.command = ""
        is_line = not self.raw_requestline.endswith(b"\n")
        self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG if is_line else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _respond(self) -> None:
        response = _Response(self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=True)  # type: ignore[arg-type]
        response.request_handler = self  # type: ignore[attr-defined]  # for its log
        response.run(self._app)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As http.server does it, without repeating what the client sent."""
        super().send_error(code)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Requests are not news."""
        logger.debug("%s: %s", self.client_address[0], format % args)


def serve(
    connection: Connection,
    app: WSGIApplication,
    tls: ssl.SSLContext | None,
    is_welcome: Callable[[ssl.SSLSocket], bool],
) -> None:
    """Answer one connection; `is_welcome` judges a client after its handshake. Whatever goes wrong ends here."""
    try:
        connection.socket.settimeout(SILENCE_SECONDS)
        if tls is None or _is_admitted(connection, tls, is_welcome):
            asked = _Request(connection, app)
            _say_goodbye(connection.socket, has_more=asked.has_more)
    except OSError as error:
        logger.debug("the connection of %s failed: %s", connection.peer, error)
    except Exception:  # a mistake in here must not take the thread's traceback to stderr, nor anything else with it
        logger.exception("the connection of %s failed", connection.peer)


def _is_admitted(connection: Connection, tls: ssl.SSLContext, is_welcome: Callable[[ssl.SSLSocket], bool]) -> bool:
    wrapped = tls.wrap_socket(connection.socket, server_side=True, do_handshake_on_connect=False)
    connection.socket = wrapped
    wrapped.do_handshake()
    return is_welcome(wrapped)


def _say_goodbye(client: socket.socket, *, has_more: bool) -> None:
    """Closing with unread input would reset the connection, and take the answer with it that is on its way."""
    with contextlib.suppress(OSError, ValueError):
        client.settimeout(0)
        if isinstance(client, ssl.SSLSocket):
            client.unwrap()  # sends close_notify; never waits for the client's
    with contextlib.suppress(OSError):
        socket.socket.shutdown(client, socket.SHUT_WR)
        if has_more:
            _drain(client)


def _drain(client: socket.socket) -> None:
    until, left = time.monotonic() + LINGER_SECONDS, LINGER_BYTES
    while left > 0 and (patience := until - time.monotonic()) > 0:
        client.settimeout(patience)
        received = socket.socket.recv(client, 65536)
        if not received:
            return
        left -= len(received)


def _environ(client: socket.socket) -> dict[str, str]:
    """What WSGI wants to know of the server; nothing of it depends on what the client says."""
    where = client.getsockname()
    host, port = (where[0], where[1]) if isinstance(where, tuple) else ("localhost", "")
    return {"SERVER_NAME": str(host), "SERVER_PORT": str(port), "GATEWAY_INTERFACE": "CGI/1.1", "SCRIPT_NAME": ""}
