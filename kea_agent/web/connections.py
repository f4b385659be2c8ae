# SPDX-License-Identifier: MPL-2.0
"""The connections that are open: how many there may be, for how long, and which of them go first.

A connection has one thread and one descriptor, so a bound on connections bounds both.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_CONNECTIONS = 64  # open at once on all addresses together; further ones wait in the kernel until one ends
REQUEST_SECONDS = 10.0  # for the handshake, the request line and the headers together
HURRY_SECONDS = 0.3  # the same while there is no room for others: silence must not keep out those who ask
CONNECTION_SECONDS = 30.0  # for everything, the answer included


@dataclass(eq=False)
class Connection:
    """One client. `socket` is replaced when TLS begins; `has_asked` when its request has come in as a whole."""

    socket: socket.socket
    peer: str
    opened: float
    has_asked: bool = False

    def is_overdue(self, now: float, is_full: bool) -> bool:
        """Whether it has been open for too long at `now` (monotonic)."""
        if self.has_asked:
            return now - self.opened >= CONNECTION_SECONDS
        return now - self.opened >= (HURRY_SECONDS if is_full else REQUEST_SECONDS)


class Connections:
    """All that are open. `freed` is called, in the thread of the connection, when there is room again."""

    def __init__(self, freed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._freed = freed
        self._clock = clock
        self._lock = threading.Lock()
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether another one has to wait."""
        return len(self._open) >= MAX_CONNECTIONS

    def add(self, accepted: socket.socket, peer: str) -> Connection:
        """Count a connection that was accepted."""
        connection = Connection(accepted, peer, self._clock())
        with self._lock:
            self._open.add(connection)
        return connection

    def end(self, connection: Connection) -> None:
        """Close a connection, answered or not."""
        with self._lock:
            was_full = self.is_full
            self._open.discard(connection)
            connection.socket.close()
        if was_full:
            self._freed()

    def hang_up(self, *, everybody: bool = False) -> None:
        """Have the overdue ones ended: their threads wake up, and close them."""
        now = self._clock()
        with self._lock:
            for connection in self._open:
                if everybody or connection.is_overdue(now, self.is_full):
                    # The kernel's socket alone: SSLSocket.shutdown() takes the TLS state from under its thread.
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
