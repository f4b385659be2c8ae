# SPDX-License-Identifier: MPL-2.0
"""A small web server on the standard library's HTTP parser, for a host that must go on serving DHCP whatever comes.

One thread accepts for all addresses and sleeps until there is something to accept; each connection has a daemon
thread. What the standard library does not bound is bounded in connections.py and request.py.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kea_agent.errors import AgentError
from kea_agent.web.connections import Connection, Connections
from kea_agent.web.live import LiveConfig
from kea_agent.web.request import serve
from kea_agent.web.sockets import Listener, again, listen

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5  # how exactly the time of a connection is kept
FULL_TICK_SECONDS = 0.05  # the same while others wait for room
RETRY_SECONDS = 15.0  # an address that could not be had: its interface may come up, its owner may go
BUSY_PAUSE_SECONDS = 1.0  # when accept() fails for want of descriptors the connection stays ready: do not spin


class WebServer:
    """Serves `app` on every address in `listen`, and on the sockets in `inherited`, between start and stop.

    An address that cannot be had is told and tried again by itself; the others are served meanwhile. `live` is asked
    for each connection whether it is to be encrypted. `app` is called from up to connections.MAX_CONNECTIONS threads.
    """

    def __init__(
        self, listen: Sequence[str], app: WSGIApplication, live: LiveConfig, inherited: Sequence[Listener] = ()
    ) -> None:
        self.listen = tuple(listen)
        self._app = app
        self._live = live
        self._inherited = inherited
        self._listeners: list[Listener] = []
        self._missing: list[str] = []
        self._connections = Connections(self._nudge)
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as in the settings, with the port that the kernel chose for port 0."""
        return tuple(listener.name for listener in self._listeners)

    @property
    def is_complete(self) -> bool:
        """Whether there is no address left to be had."""
        return not self._missing

    def start(self) -> None:
        """Listen where it is possible; what is not is logged as an error, each address by itself."""
        self._listeners = [again(each) for each in self._inherited]
        self._missing = [address for address in self.listen if not self._try(address, logging.ERROR)]
        if self._listeners or self._missing:
            self._wake, wake = socket.socketpair()
            self._wake.setblocking(False)
            self._thread = threading.Thread(target=self._accept, args=(wake,), name="web", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop listening and end what is open; threads that are answering end by themselves. Harmless if not started."""
        if self._wake is not None and self._thread is not None:
            self._wake.close()
            self._thread.join()
            self._wake = self._thread = None
        for listener in self._listeners:
            listener.close()
        self._listeners, self._missing = [], []
        self._connections.hang_up(everybody=True)

    def _try(self, address: str, level: int) -> bool:
        try:
            self._listeners.append(listen(address))
        except AgentError as error:
            words = "no metrics and no status page there; tried again every"
            logger.log(level, "%s; %s %g s", error, words, RETRY_SECONDS)
            return False
        return True

    def _nudge(self) -> None:
        """Have the accepting thread look again; it is awake already if its pipe is full."""
        with contextlib.suppress(OSError, AttributeError):
            self._wake.send(b".")  # type: ignore[union-attr]  # gone while stopping

    # -- the accepting thread

    def _accept(self, wake: socket.socket) -> None:
        """Take connections until the other end of `wake` is closed. Sleeps for good while there is nothing to do."""
        next_try = time.monotonic() + RETRY_SECONDS
        with wake, selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ, None)
            while True:
                self._offer(selector)
                ready = [key.data for key, _ in selector.select(self._patience())]
                if None in ready and not wake.recv(4096):
                    return
                for listener in filter(None, ready):
                    self._take(listener)
                self._connections.hang_up()
                if self._missing and time.monotonic() >= next_try:
                    self._retry()
                    next_try = time.monotonic() + RETRY_SECONDS

    def _offer(self, selector: selectors.BaseSelector) -> None:
        """Hear of new connections as long as there is room; the kernel keeps the others."""
        heard = {key.data for key in selector.get_map().values() if key.data}
        wanted: set[Listener] = set() if self._connections.is_full else set(self._listeners)
        for listener in heard - wanted:
            selector.unregister(listener.socket)
        for listener in wanted - heard:
            selector.register(listener.socket, selectors.EVENT_READ, listener)

    def _patience(self) -> float | None:
        if self._connections.is_full:
            return FULL_TICK_SECONDS
        return TICK_SECONDS if self._connections else RETRY_SECONDS if self._missing else None

    def _take(self, listener: Listener) -> None:
        for accepted, peer in _waiting(listener):
            connection = self._connections.add(accepted, peer)
            try:
                threading.Thread(target=self._serve, args=(connection,), name="request", daemon=True).start()
            except RuntimeError as error:  # TasksMax=
                logger.warning("no thread for a connection: %s", error)
                self._connections.end(connection)
            if self._connections.is_full:
                return

    def _serve(self, connection: Connection) -> None:
        try:
            loaded = self._live.current()
            serve(connection, self._app, loaded.tls, loaded.is_welcome)
        finally:
            self._connections.end(connection)

    def _retry(self) -> None:
        for address in tuple(self._missing):
            if self._try(address, logging.DEBUG):
                self._missing.remove(address)
                logger.info("now listening on %s", self._listeners[-1].name)


def _waiting(listener: Listener) -> Iterator[tuple[socket.socket, str]]:
    """The connections that wait to be accepted, with the client's address ("" on a unix socket)."""
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                accepted, peer = listener.socket.accept()
            except BlockingIOError:
                raise
            except ConnectionError:  # taken back before it was accepted
                continue
            except OSError as error:
                logger.warning("accept a connection: %s", error.strerror)
                time.sleep(BUSY_PAUSE_SECONDS)
                return
            yield accepted, str(peer[0]) if isinstance(peer, tuple) else "local"
