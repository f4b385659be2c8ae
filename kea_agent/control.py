# SPDX-License-Identifier: MPL-2.0
"""Kea's control channel: a unix socket, or the Control Agent's HTTP or HTTPS port.

Unix: one JSON object in, one out, then Kea closes; there is no framing and one command a connection (measured on
2.2.0, 2.6.3 and 3.0.4). HTTP: a POST of the same object, the answer in a list of one. Commands run on Kea's main
thread: while it loads a configuration, nothing answers.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import os
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from kea_agent import redact
from kea_agent.accounts import Account, read_as
from kea_agent.errors import ControlError
from kea_agent.files import in_memory

MAX_REPLY_BYTES = 128 << 20
_CHUNK = 1 << 18
_MAX_HEAD_BYTES = 1 << 16
_MOST_OF_A_CERTIFICATE = 1 << 20
_MOST_ANCHORS = 256
# Deeper than Kea's own configuration is nobody's; whoever walks an answer may recurse.
MAX_DEPTH = 200


@dataclass(frozen=True)
class Reply:
    """Kea's answer: `result` 0 success, 1 error, 2 unsupported, 3 empty, 4 conflict, 5 unrecoverable."""

    result: int
    text: str
    arguments: dict[str, Any]


class AbsentError(ControlError):
    """Nobody listens there: no such socket, or nothing behind it."""


class SilentError(ControlError):
    """Somebody listens there and does not answer in time: busy, or hanging."""


@dataclass(frozen=True)
class UnixChannel:
    """A daemon's unix control socket."""

    path: str

    def __str__(self) -> str:
        return self.path

    def exchange(self, request: bytes, deadline: float) -> Iterator[bytes]:
        """Send the request, give what comes back as it comes, until Kea closes."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_left(deadline))
            connection.connect(self.path)
            connection.sendall(request)
            yield from _chunks(connection, deadline)


@dataclass(frozen=True)
class TlsFiles:
    """The daemon's own TLS files: its partner, too, has to be signed by `trust_anchor` (a file or a directory).

    They are read with the rights of `account`, the daemon's user, or with ours.
    """

    trust_anchor: str
    cert_file: str
    key_file: str
    account: Account | None = None

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Speak TLS, showing the daemon's own certificate; the chain is verified, the name on it need not be ours."""
        import ssl  # noqa: PLC0415 - 15 ms that only this needs

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata="".join(map(self._text, self._anchors())))
        certificate, key = (self._text(name).encode() for name in (self.cert_file, self.key_file))
        # From memory: what is at a path may have become anything since it was looked at.
        with in_memory(certificate) as cert_path, in_memory(key) as key_path:
            context.load_cert_chain(cert_path, key_path, password=_no_passphrase)
        return context.wrap_socket(connection)

    def _anchors(self) -> list[str]:
        if not os.path.isdir(self.trust_anchor):
            return [self.trust_anchor]
        names = sorted(os.listdir(self.trust_anchor))[:_MOST_ANCHORS]
        return [path for name in names if os.path.isfile(path := os.path.join(self.trust_anchor, name))]

    def _text(self, path: str) -> str:
        return read_as(self.account, path, _MOST_OF_A_CERTIFICATE).decode("ascii", "replace")


def _no_passphrase() -> str:
    raise OSError("the key has a passphrase, and there is nobody to ask for it")


@dataclass(frozen=True)
class HttpChannel:
    """A daemon's HTTP(S) control port; `credentials` is `user:password` for basic authentication."""

    host: str
    port: int
    credentials: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self._authority}/"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def exchange(self, request: bytes, deadline: float) -> Iterator[bytes]:
        """Post the request, give the body of the answer as it comes; its status adds nothing to Kea's own result."""
        with self._connect(deadline) as connection:
            connection.sendall(self._head(len(request)) + request)
            yield from _body(_chunks(connection, deadline))

    def _connect(self, deadline: float) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), _left(deadline))
        try:
            _ensure_own_address(connection)
            return self.tls.wrap(connection) if self.tls else connection
        except BaseException:
            connection.close()
            raise

    def _head(self, length: int) -> bytes:
        lines = [f"POST / HTTP/1.1\r\nHost: {self._authority}", "Content-Type: application/json"]
        if self.credentials is not None:
            credentials = self.credentials.encode(errors="surrogateescape")
            lines.append("Authorization: Basic " + base64.b64encode(credentials).decode())
        return "\r\n".join([*lines, f"Content-Length: {length}", "Connection: close", "", ""]).encode()


Channel = UnixChannel | HttpChannel


def _ensure_own_address(connection: socket.socket) -> None:
    """A daemon of this host is on this host: whatever address a file names, no password goes to another one.

    The kernel gives a connection to an address of this host that very address on this end, too.
    """
    there, here = connection.getpeername()[0], connection.getsockname()[0]
    if there != here and not ipaddress.ip_address(there.partition("%")[0]).is_loopback:
        raise OSError(f"{there} is no address of this host: nothing was sent there")


def ask(
    channel: Channel,
    command: str,
    arguments: dict[str, Any] | None = None,
    *,
    timeout: float = 5.0,
    max_bytes: int = MAX_REPLY_BYTES,
) -> Reply:
    """Ask the daemon behind a channel; the timeout (seconds) bounds the whole exchange, `max_bytes` the answer.

    Raises AbsentError where nobody listens, SilentError when time is up, ControlError for refusal and nonsense.
    """
    raw = bytearray()
    with closing(stream(channel, command, arguments, timeout=timeout, max_bytes=max_bytes)) as chunks:
        for chunk in chunks:
            raw += chunk
    return _reply(bytes(raw), f"{command}: {channel}")


def stream(
    channel: Channel,
    command: str,
    arguments: dict[str, Any] | None = None,
    *,
    timeout: float = 5.0,
    max_bytes: int = MAX_REPLY_BYTES,
) -> Generator[bytes, None, None]:
    """Ask, and give the answer piece by piece as it comes; raises what `ask` does, but nothing for a refusal by Kea.

    Close it if it is not read to its end: the connection is.
    """
    request: dict[str, Any] = {"command": command} | ({"arguments": arguments} if arguments is not None else {})
    received = 0
    with _explained(command, channel, timeout):
        for chunk in channel.exchange(json.dumps(request).encode(), time.monotonic() + timeout):
            received += len(chunk)
            if received > max_bytes:
                raise OSError(f"answer is larger than {max_bytes} bytes")
            yield chunk


@contextmanager
def _explained(command: str, channel: Channel, timeout: float) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise AbsentError(f"{command}: nobody listens on {channel}: {os.strerror(error.errno or 0).lower()}") from error
    except TimeoutError as error:
        raise SilentError(f"{command}: no answer on {channel} within {timeout:g} s") from error
    except OSError as error:
        raise ControlError(f"{command}: {channel}: {error.strerror or error}") from error
    except (ValueError, OverflowError) as error:
        # No address at all: a host name that cannot be encoded, a port beyond 65535, a null character.
        raise ControlError(f"{command}: {channel}: {error}") from error


def _chunks(connection: socket.socket, deadline: float) -> Iterator[bytes]:
    while True:
        connection.settimeout(_left(deadline))
        chunk = connection.recv(_CHUNK)
        if not chunk:
            return
        yield chunk


def _body(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What comes after the head of an HTTP answer."""
    head = bytearray()
    for chunk in chunks:
        begin = max(0, len(head) - 3)
        head += chunk
        end = head.find(b"\r\n\r\n", begin)
        if end >= 0:
            yield bytes(head[end + 4 :])
            yield from chunks
        elif len(head) > _MAX_HEAD_BYTES:
            raise OSError(f"no end of the answer's head in {_MAX_HEAD_BYTES} bytes")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _quoted(raw: bytes) -> str:
    """The beginning of an answer; that of config-get may have a password in it."""
    return repr(redact.cleaned(raw[:80].decode("latin-1"), {}).encode("latin-1"))


def _reply(raw: bytes, where: str) -> Reply:
    try:
        answer = json.loads(raw, parse_int=_int64, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"{where}: answer is not JSON: {_quoted(raw)}") from error
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), int):
        raise ControlError(f"{where}: answer has no result: {_quoted(raw)}")
    if is_deeper_than(answer, MAX_DEPTH):
        raise ControlError(f"{where}: answer is nested deeper than {MAX_DEPTH}")
    arguments = answer.get("arguments")
    return Reply(answer["result"], str(answer.get("text", "")), arguments if isinstance(arguments, dict) else {})


def is_deeper_than(value: Any, depth: int) -> bool:
    """Whether lists and maps stand in one another more often; by levels, so that nothing is too deep for it."""
    level = [value]
    for _ in range(depth + 1):
        inner = (item for node in level for item in (node.values() if isinstance(node, dict) else node))
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _int64(token: str) -> int:
    """Kea's integers have 64 bits, and its large counters as many without a sign."""
    if len(token) > 20 or not -(2**63) <= int(token) < 2**64:
        raise ValueError("number beyond 64 bits")
    return int(token)


def _finite(token: str) -> float:
    number = float(token)
    if not math.isfinite(number):
        raise ValueError("number beyond a double")
    return number
