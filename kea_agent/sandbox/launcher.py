# SPDX-License-Identifier: MPL-2.0
"""One rehearsal from request to answer, as root in the sandbox of kea-agent-rehearse@.service.

Two processes. This one keeps systemd's sandbox, reads what is to be known of the host, and waits: for the other to end,
or for the client to go away. The other is the first process of a new PID namespace, so that nothing outlives it; it
makes the world in which the daemon is started. That world's capabilities are worth nothing outside of it: they are those
of a new user namespace, which owns the new network.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from kea_agent import settings
from kea_agent.bus import Bus
from kea_agent.daemons import Daemon
from kea_agent.errors import BusError, SettingsError
from kea_agent.sandbox import files, kernel, network
from kea_agent.sandbox.identity import Identity, identity
from kea_agent.sandbox.plan import plan
from kea_agent.sandbox.request import Answer, NotRehearsedError, Request, Standing, receive_head, receive_text, send
from kea_agent.sandbox.trial import Trial
from kea_agent.settings import Settings

SETTINGS = Path("/etc/kea-agent")
_RECEIVE_SECONDS = 20.0
# What a rehearsal may take besides the daemon's own time.
_SPARE_SECONDS = 20.0
# Without a need to escape anything a configuration gets smaller; with one, not much larger.
_ROOM = 2


def main() -> int:
    """Serve the one connection that is standard input; 0 unless this program itself is broken."""
    connection = socket.socket(fileno=os.dup(0))
    try:
        rehearse(connection)
    except (NotRehearsedError, BusError, SettingsError, OSError) as error:
        send(connection, not_rehearsed(error))
    except BaseException:
        send(connection, Answer(Standing.NOT_REHEARSED, "the rehearsal is broken: journalctl -t kea-agent-rehearse"))
        raise
    return 0


def rehearse(connection: socket.socket) -> None:
    """Take the request and have it answered; raises what `main` answers."""
    found = settings.load(SETTINGS)
    head, rest = receive_head(connection, _RECEIVE_SECONDS, _ROOM * found.check.max_config_bytes)
    who = _identity(head.daemon, found)
    _check_peer(connection, who)
    request = receive_text(connection, _RECEIVE_SECONDS, head, rest)
    host = network.of_host(request.text.decode(errors="replace"))
    kernel.unshare(kernel.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        _inner(connection, request, who, host)
    _supervise(connection, child, request.seconds)


def not_rehearsed(error: BaseException) -> Answer:
    """The answer where there is no verdict."""
    if isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename else ""
        return Answer(Standing.NOT_REHEARSED, f"{what}{error.strerror or error}")
    return Answer(Standing.NOT_REHEARSED, str(error))


def _identity(daemon: Daemon, found: Settings) -> Identity:
    own = found.daemon[daemon.name]
    bus = Bus()
    try:
        return identity(bus, daemon, own.unit, own.config_file)
    finally:
        bus.close()


def _check_peer(connection: socket.socket, who: Identity) -> None:
    """Only root and the daemon's own user may have anything run as that user."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(raw[4:8], sys.byteorder)
    if uid not in (0, who.uid):
        raise NotRehearsedError(f"{who.unit} runs as {who.user}, and uid {uid} asks")


def _supervise(connection: socket.socket, child: int, seconds: float) -> None:
    """See the other process to its end; raises NotRehearsedError where it ends without having answered."""
    try:
        ended = _wait(connection, child, time.monotonic() + seconds + _SPARE_SECONDS)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not ended:
        raise NotRehearsedError(f"it took longer than {seconds + _SPARE_SECONDS:g} s and was ended")
    if status != 0:
        raise NotRehearsedError("the process that makes the sandbox was ended, for memory perhaps")


def _wait(connection: socket.socket, child: int, deadline: float) -> bool:
    """Until the child ends (True), time is up, or the client is gone, who gets no answer any more."""
    watcher = select.poll()
    ended = os.pidfd_open(child)
    watcher.register(ended, select.POLLIN)
    watcher.register(connection, select.POLLHUP)
    events = dict(watcher.poll(max(0.0, deadline - time.monotonic()) * 1000))
    return ended in events or connection.fileno() in events


def _inner(connection: socket.socket, request: Request, who: Identity, host: network.Network) -> None:
    """The first process of the new PID namespace: does not return, and ends everything in there with itself."""
    try:
        _make_world(request, who, host)
        answer, config = Trial(request, who, host.dark).run()
    except (NotRehearsedError, OSError) as error:
        answer, config = not_rehearsed(error), b""
    except BaseException:  # noqa: BLE001 - it must not return into the code of the process it was forked from
        traceback.print_exc()
        answer = Answer(Standing.NOT_REHEARSED, "the rehearsal is broken: journalctl -t kea-agent-rehearse")
        config = b""
    send(connection, answer, config)
    os._exit(0)


def _make_world(request: Request, who: Identity, host: network.Network) -> None:
    """The network first: it takes a program to make it, and none is run as root once the daemon's files are in view."""
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
    kernel.make_mounts_private()
    kernel.mount_proc()
    namespaces = network.isolated(host)
    kernel.make_proc_read_only()
    files.install(plan(request.root, who.environment, who.directories), who, request.text)
    namespaces.enter()


if __name__ == "__main__":
    sys.exit(main())
