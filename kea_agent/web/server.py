# SPDX-License-Identifier: MPL-2.0
"""A small web server on the standard library's WSGI one, for a host that must go on serving DHCP whatever is sent to it.

What socketserver and wsgiref do not bound is bounded here: connections, requests at once, and how long one may take.
One thread accepts for all addresses and sleeps until there is something to accept; each connection has a daemon
thread. HTTP/1.0 and no keep-alive, so a connection is a request. Lines and headers are bounded by http.server
(64 KiB a line, 100 headers).
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from kea_agent import __version__
from kea_agent.errors import AgentError
from kea_agent.outcome import DaemonStatus
from kea_agent.settings_kinds import split_address
from kea_agent.web.app import App

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64  # open at once, so that silent clients do not take the place of those who ask; beyond, closed
SILENCE_SECONDS = 10.0  # a client that neither sends nor takes anything
CONNECTION_SECONDS = 30.0  # a client that is not silent but slow
BUSY_PAUSE_SECONDS = 1.0  # when accept() fails for want of descriptors the connection stays ready: do not spin


class _Response(ServerHandler):
    server_software = f"kea-agent/{__version__}"  # instead of the versions of wsgiref and Python

    def log_exception(self, exc_info: Any) -> None:
        """To our log instead of stderr; a client that went away is not an error of ours."""
        level = logging.DEBUG if isinstance(exc_info[1], OSError) else logging.ERROR
        logger.log(level, "answering a request failed", exc_info=exc_info)


class _Request(WSGIRequestHandler):
    timeout = SILENCE_SECONDS
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def version_string(self) -> str:
        """The Server header of what http.server refuses by itself."""
        return _Response.server_software

    def handle(self) -> None:
        """What WSGIRequestHandler.handle does, with our response class."""
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self.parse_request():
            response = _Response(self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=True)  # type: ignore[arg-type]
            response.request_handler = self  # type: ignore[attr-defined]  # for its log
            response.run(self.server.get_app())  # type: ignore[attr-defined]

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As http.server does it, without repeating what the client sent."""
        super().send_error(code)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Requests are not news."""
        logger.debug("%s: %s", self.client_address[0], format % args)


class _Listener(socketserver.ThreadingMixIn, WSGIServer):
    """One address: bound by the constructor, served by `handle_request` whenever its socket is readable."""

    daemon_threads = True
    block_on_close = False  # stopping does not wait for a client
    allow_reuse_address = True
    request_queue_size = 64
    timeout = 0.0

    def __init__(self, family: int, address: tuple[Any, ...]) -> None:
        self.address_family = family
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        """As in TCPServer: HTTPServer's looks its own name up in DNS, which may hang on a host that boots."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setblocking(False)  # a connection that is taken back before accept() must not hold up the others
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept one connection."""
        try:
            return super().get_request()
        except BlockingIOError:
            raise
        except OSError as error:
            logger.warning("accept a connection: %s", error.strerror)
            time.sleep(BUSY_PAUSE_SECONDS)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection; a false one is closed by socketserver."""
        with self._lock:
            if len(self._deadlines) >= MAX_CONNECTIONS:
                return False
            self._deadlines[request] = time.monotonic() + CONNECTION_SECONDS
            return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, answered or not."""
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def hang_up(self, now: float) -> bool:
        """End connections that are open for too long at `now` (monotonic); whether there are others left."""
        with self._lock:
            for connection in [each for each, deadline in self._deadlines.items() if deadline <= now]:
                del self._deadlines[connection]
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # its thread wakes up and closes it
            return bool(self._deadlines)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection ended badly; called by socketserver inside its `except`."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        logger.log(level, "a connection of %s failed", client_address, exc_info=error)


class WebServer:
    """Serves `/`, `/metrics`, `/-/healthy` and `/-/ready` on every address in `listen` between start and stop.

    `render` makes a scrape and its content type, `statuses` what the page shows, `ready` whether the agent is; all
    are called from other threads. `host` is the name on the page, `clock` gives Unix time.
    """

    def __init__(
        self,
        listen: Sequence[str],
        *,
        render: Callable[[], tuple[bytes, str]],
        statuses: Callable[[], Iterable[DaemonStatus]],
        ready: Callable[[], bool],
        host: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.listen = tuple(listen)
        self._app = App(render=render, statuses=statuses, ready=ready, host=host or socket.gethostname(), clock=clock)
        self._listeners: list[_Listener] = []
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as `host:port`, with the port that the kernel chose for port 0."""
        return tuple(_spelt(listener.server_name, listener.server_port) for listener in self._listeners)

    def start(self) -> None:
        """Listen on every address, or on none and raise AgentError naming the one that could not be had."""
        try:
            for address in self.listen:
                self._listeners.append(_bind(address))
        except AgentError:
            self._close()
            raise
        if self._listeners:
            self._serve()

    def stop(self) -> None:
        """Stop listening; requests that are being answered end by themselves. Harmless if not started."""
        if self._wake is not None and self._thread is not None:
            self._wake.close()
            self._thread.join()
            self._wake = self._thread = None
        self._close()

    def _serve(self) -> None:
        for listener in self._listeners:
            listener.set_app(self._app)
        self._wake, wake = socket.socketpair()
        self._thread = threading.Thread(target=_accept, args=(self._listeners, wake), name="web", daemon=True)
        self._thread.start()

    def _close(self) -> None:
        for listener in self._listeners:
            listener.server_close()
            listener.hang_up(float("inf"))
        self._listeners = []


def _accept(listeners: Iterable[_Listener], wake: socket.socket) -> None:
    """Take connections until the other end of `wake` is closed. Sleeps for good while no connection is open."""
    with wake, selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ, None)
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ, listener)
        patience: float | None = None
        while True:
            ready = [key.data for key, _ in selector.select(patience)]
            if None in ready:
                return
            for listener in ready:
                listener.handle_request()
            still_open = [listener.hang_up(time.monotonic()) for listener in listeners]
            patience = 1.0 if any(still_open) else None


def _bind(address: str) -> _Listener:
    try:
        host, port = split_address(address)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name may have several addresses: the first one, IPv4 before IPv6, and who wants more lists them.
        family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
        return _Listener(family, where)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AgentError(f"listen on {address}: {reason}; no metrics and no status page") from error


def _spelt(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
