# SPDX-License-Identifier: MPL-2.0
"""Listening sockets: TCP, unix, and those that systemd opened for the agent (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from kea_agent.errors import AgentError
from kea_agent.settings_kinds import UNIX_PREFIX, split_address

logger = logging.getLogger(__name__)

# Scrapers that come while every thread is busy wait in the kernel; it cuts this down to net.core.somaxconn.
BACKLOG = 1024
FIRST_PASSED = 3  # SD_LISTEN_FDS_START
# Whoever reaches 127.0.0.1:9673 may read it, and so may whoever reaches the path. Its directory can be closed.
UNIX_MODE = 0o666


@dataclass(frozen=True)
class Listener:
    """A socket that is listening and never blocks; `name` is for people, `path` and `inode` are the file it made."""

    socket: socket.socket
    name: str
    path: Path | None = None
    inode: int | None = None

    def close(self) -> None:
        """Stop listening. The file of a unix socket goes, unless somebody else has put another one there."""
        if self.path is not None and _inode(self.path) == self.inode:
            self.path.unlink(missing_ok=True)
        self.socket.close()


def listen(address: str) -> Listener:
    """Listen on `host:port`, `[IPv6]:port` or `unix:/path`; AgentError names the address and what is wrong."""
    try:
        if address.startswith(UNIX_PREFIX):
            return _listen_unix(Path(address.removeprefix(UNIX_PREFIX)))
        return _listen_tcp(*split_address(address))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AgentError(f"listen on {address}: {reason}") from error


def passed(environ: MutableMapping[str, str]) -> tuple[Listener, ...]:
    """The sockets that systemd opened for this process; children must not take them for theirs.

    To be called once, at the start. What is not a listening stream socket is said and left alone.
    """
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return ()
    adopted = (_adopt(descriptor) for descriptor in range(FIRST_PASSED, FIRST_PASSED + int(count)))
    return tuple(each for each in adopted if each)


def again(listener: Listener) -> Listener:
    """The same socket once more, so that closing the one leaves the other listening."""
    return Listener(listener.socket.dup(), listener.name)


def _adopt(descriptor: int) -> Listener | None:
    found: socket.socket | None = None
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
        if found.type == socket.SOCK_STREAM and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.setblocking(False)
            return Listener(found, _name(found))
    except OSError:
        pass  # a FIFO or a file: ListenFIFO= and others
    if found is not None:
        found.close()
    logger.error("descriptor %d from systemd is not a listening socket, as ListenStream= makes one", descriptor)
    return None


def _listen_tcp(host: str, port: int) -> Listener:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have several addresses: the first one, IPv4 before IPv6, and who wants more lists them.
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    with contextlib.ExitStack() as undo:
        made = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
        _begin(made)
        undo.pop_all()
    return Listener(made, _name(made))


def _listen_unix(path: Path) -> Listener:
    _remove_stale(path)
    with contextlib.ExitStack() as undo:
        made = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        made.bind(str(path))
        path.chmod(UNIX_MODE)
        _begin(made)
        undo.pop_all()
    return Listener(made, _name(made), path, _inode(path))


def _begin(made: socket.socket) -> None:
    made.setblocking(False)  # a connection that is taken back before accept() must not hold up the others
    made.listen(BACKLOG)


def _remove_stale(path: Path) -> None:
    """A socket that nobody listens on is from an agent that was killed; anything else is not ours to remove."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(None, "a file that is not a socket is there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise OSError(None, "somebody else listens there")


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def _name(bound: socket.socket) -> str:
    where = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        text = os.fsdecode(where)
        return UNIX_PREFIX + text.replace("\0", "@")
    return f"[{where[0]}]:{where[1]}" if bound.family == socket.AF_INET6 else f"{where[0]}:{where[1]}"
