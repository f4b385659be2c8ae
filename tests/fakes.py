# SPDX-License-Identifier: MPL-2.0
"""Stand-ins for what the agent speaks to, written by hand and shared by the tests: Kea's control channel, systemd."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kea_agent.control import Channel, HttpChannel, UnixChannel
from kea_agent.errors import BusError

Manner = Callable[[socket.socket, bytes], None]
Version = tuple[int, int, int]

# CLOCK_REALTIME_COARSE: the clock of time(2), which is Kea's.
KEAS_CLOCK = 5
HASH = "661C0F" + "0" * 58
NEW_HASH = "B0B0" + "1" * 60


# -- manners of answering


def whole(connection: socket.socket, answer: bytes) -> None:
    """As Kea does: everything at once."""
    connection.sendall(answer)


def byte_by_byte(connection: socket.socket, answer: bytes) -> None:
    """Everything, each byte for itself."""
    for byte in answer:
        connection.send(bytes([byte]))


def truncated(connection: socket.socket, answer: bytes) -> None:
    """Half of it, then close."""
    connection.sendall(answer[: len(answer) // 2])


def early(connection: socket.socket, answer: bytes) -> None:
    """Close without a word."""


def silent(connection: socket.socket, answer: bytes) -> None:
    """Say nothing until the client gives up."""
    while connection.recv(4096):
        pass


def saying(words: bytes) -> Manner:
    """Answer these bytes, whatever was asked."""

    def say(connection: socket.socket, answer: bytes) -> None:
        connection.sendall(words)

    return say


class FakeKea:
    """A Kea daemon's control channel in a thread: one command a connection, one connection after the other.

    Change `hash`, `status`, `config` and `manner` at any time; `commit` is what a successful reload does. `manners` are
    for single commands. `statistics` are by name, a value stands for one sample; `rows` are what libdhcp_stat_cmds.so
    tells, the names of its columns first; `unsent_updates` by server's name.
    `on_ask` is called with each command before it is answered. `asked` are the commands that came.
    """

    def __init__(
        self, listener: socket.socket, channel: Channel, *, version: Version = (3, 0, 4), credentials: str | None = None
    ) -> None:
        self.channel = channel
        self.version = version
        self.credentials = credentials
        self.hash = HASH
        self.status: dict[str, Any] = {"sockets": {"status": "ready"}}
        if version >= (2, 6, 2):
            self.status["dhcp-state"] = {"globally-disabled": False, "disabled-by-user": False}
        self.config: dict[str, Any] = {"Dhcp4": {}}
        self.committed = time.clock_gettime(KEAS_CLOCK) - 1000
        self.manner: Manner = whole
        self.manners: dict[str, Manner] = {}
        self.statistics: dict[str, Any] = {}
        self.rows: list[list[Any]] = []
        self.unsent_updates: dict[str | None, int] = {}
        self.on_ask: Callable[[str], object] = lambda _: None
        self.asked: list[str] = []
        self._listener = listener
        self._connection: socket.socket | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve, name="FakeKea", daemon=True)
        self._thread.start()

    @classmethod
    def unix(cls, path: Path, *, version: Version = (3, 0, 4)) -> Self:
        """On a unix socket."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen()
        return cls(listener, UnixChannel(str(path)), version=version)

    @classmethod
    def http(cls, *, host: str = "127.0.0.1", version: Version = (3, 0, 4), credentials: str | None = None) -> Self:
        """On a TCP port of the loopback interface, as the Control Agent."""
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        channel = HttpChannel(host, listener.getsockname()[1], credentials)
        return cls(listener, channel, version=version, credentials=credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def commit(self, new_hash: str | None = None) -> None:
        """A reload that worked."""
        self.hash = new_hash or self.hash
        self.committed = time.clock_gettime(KEAS_CLOCK)

    def close(self) -> None:
        """Be gone, socket file and all."""
        self._is_closing = True
        for wakened in (self._listener, self._connection):
            with contextlib.suppress(OSError):
                if wakened is not None:
                    wakened.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        if isinstance(self.channel, UnixChannel):
            Path(self.channel.path).unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._is_closing:
            try:
                self._connection = self._listener.accept()[0]
            except OSError:
                return
            with self._connection, contextlib.suppress(OSError):
                self._connection.settimeout(10)
                if not self._is_closing:
                    self._converse(self._connection)

    def _converse(self, connection: socket.socket) -> None:
        if isinstance(self.channel, HttpChannel):
            head, request = _http_request(connection)
            answer = self._http_answer(head, self._reply(request))
        else:
            request = _json_request(connection)
            answer = json.dumps(self._reply(request)).encode()
        self.manners.get(request["command"], self.manner)(connection, answer)

    def _http_answer(self, head: str, reply: dict[str, Any]) -> bytes:
        status, body = "200 OK", json.dumps([reply])
        if self.credentials is not None:
            expected = base64.b64encode(self.credentials.encode(errors="surrogateescape")).decode()
            if f"\r\nAuthorization: Basic {expected}\r\n" not in head:
                status, body = "401 Unauthorized", '{ "result": 401, "text": "Unauthorized" }'
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nServer: Kea\r\n\r\n{body}".encode()

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request["command"]
        self.asked.append(command)
        self.on_ask(command)
        if command == "status-get":
            age = int(time.clock_gettime(KEAS_CLOCK)) - int(self.committed)
            return {"result": 0, "arguments": {"pid": os.getpid(), "uptime": age, "reload": age, **self.status}}
        if command == "config-hash-get" and self.version >= (2, 4, 0):
            return {"result": 0, "arguments": {"hash": self.hash}}
        if command == "config-get":
            own_hash = {"hash": self.hash} if self.version >= (2, 4, 0) else {}
            return {"result": 0, "arguments": {**self.config, **own_hash}}
        if command == "config-set":
            self.config = request["arguments"]
            self.commit()
            return {"result": 0, "text": "Configuration applied successfully."}
        if command == "version-get":
            return {"result": 0, "text": ".".join(map(str, self.version)), "arguments": {"extended": "all of it"}}
        if command == "statistic-get-all":
            return {"arguments": {name: samples(value) for name, value in self.statistics.items()}, "result": 0}
        if command == "statistic-global-get-all" and self.version >= (3, 1, 2):
            own = {name: value for name, value in self.statistics.items() if not name.startswith("subnet")}
            return {"arguments": {name: samples(value) for name, value in own.items()}, "result": 0}
        if command == "statistic-get":
            asked = request["arguments"]["name"]
            found = {asked: samples(self.statistics[asked])} if asked in self.statistics else {}
            return {"arguments": found, "result": 0}
        if command in ("stat-lease4-get", "stat-lease6-get") and self.rows:
            columns, *rows = self.rows
            return {"arguments": {"result-set": {"columns": columns, "rows": rows}}, "result": 0}
        name = request.get("arguments", {}).get("server-name")
        if command == "ha-heartbeat" and name in self.unsent_updates:
            return {"result": 0, "arguments": {"unsent-update-count": self.unsent_updates[name]}}
        return {"result": 2, "text": f"'{command}' command not supported."}


def samples(value: object) -> object:
    """One sample as Kea tells it; a list is told as it is."""
    return value if isinstance(value, list) else [[value, "2026-11-21 09:03:00.221959"]]


def _json_request(connection: socket.socket) -> dict[str, Any]:
    received = b""
    while chunk := connection.recv(4096):
        received += chunk
        with contextlib.suppress(ValueError):
            return dict(json.loads(received))
    raise ConnectionError("no whole request")


def _http_request(connection: socket.socket) -> tuple[str, dict[str, Any]]:
    received = b""
    while chunk := connection.recv(4096):
        received += chunk
        head, separator, body = received.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head.decode()):
            return head.decode() + "\r\n", json.loads(body)
    raise ConnectionError("no whole request")


def _content_length(head: str) -> int:
    return next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("Content-Length:"))


# -- systemd

_SIGNATURES = {
    "Unit.LoadState": "s",
    "Unit.Id": "s",
    "Unit.ActiveState": "s",
    "Unit.SubState": "s",
    "Unit.CanReload": "b",
    "Unit.UnitFileState": "s",
    "Service.MainPID": "u",
    "Service.Result": "s",
    "Service.ExecMainStartTimestamp": "t",
    "Service.User": "s",
    "Service.ExecStart": "a(sasbttttuii)",
    "Service.Environment": "as",
    "Service.EnvironmentFiles": "a(sb)",
}


def exec_start(*argv: str, path: str | None = None) -> list[Any]:
    """ExecStart as systemd tells it; `path` is what is executed when the unit has another first word."""
    return [[path or argv[0], list(argv), False, 0, 0, 0, 0, 0, 0, 0]]


def running(*argv: str, pid: int = 4203, **more: Any) -> dict[str, Any]:
    """The properties of a unit that runs; keys of `more` are property names with `_` for the dot."""
    properties = {
        "Unit.LoadState": "loaded",
        "Unit.ActiveState": "active",
        "Unit.SubState": "running",
        "Service.MainPID": pid,
        "Service.ExecStart": exec_start(*argv),
    }
    return properties | {name.replace("_", ".", 1): value for name, value in more.items()}


class FakeBus:
    """systemd with these units (properties by name as in `running`); what it is told to do is in `done`."""

    def __init__(self, units: Mapping[str, Mapping[str, Any]], aliases: Mapping[str, str] | None = None) -> None:
        self.units = units
        self.aliases = aliases or {}
        self.done: list[tuple[object, ...]] = []
        self.reload_error: BusError | None = None

    def load_unit(self, name: str) -> str:
        """An unknown name has a path too."""
        return f"/org/freedesktop/systemd1/unit/{self.aliases.get(name, name)}"

    def loaded_unit(self, name: str) -> str | None:
        """One that is there is in memory."""
        path = self.load_unit(name)
        return None if self.get(path, "Unit", "LoadState", "s") == "not-found" else path

    def get(self, path: str, interface: str, name: str, signature: str) -> Any:
        """What systemd answers for this property; an unknown unit is `not-found`."""
        key, unit = f"{interface}.{name}", path.rpartition("/")[2]
        assert signature == _SIGNATURES[key]
        nothing: dict[str, Any] = {"s": "", "b": False, "u": 0, "t": 0}
        known = self.units.get(unit, {"Unit.LoadState": "not-found", "Unit.ActiveState": "inactive"})
        return {"Unit.Id": unit, **known}.get(key, nothing.get(signature, []))

    def reload_unit(self, name: str) -> str:
        """Queue a job, or fail as told by `reload_error`."""
        if self.reload_error is not None:
            raise self.reload_error
        self.done.append(("reload", name))
        return f"/org/freedesktop/systemd1/job/{len(self.done)}"

    def job(self, method: str, name: str) -> str:
        """Queue a job, or fail as told by `reload_error`."""
        if self.reload_error is not None:
            raise self.reload_error
        self.done.append((method, name))
        return f"/org/freedesktop/systemd1/job/{len(self.done)}"

    def kill_main(self, name: str, signal_number: int) -> None:
        """Send nobody a signal."""
        self.done.append(("kill", name, signal_number))
