# SPDX-License-Identifier: MPL-2.0
"""Kea's control channel against a server that behaves, and one that does not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import fakes
import pytest
from fakes import HASH, FakeKea, Manner

from kea_agent.control import AbsentError, Channel, HttpChannel, TlsFiles, UnixChannel, _ensure_own_address, ask
from kea_agent.errors import ControlError

PAGE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html><h1>502 Bad Gateway</h1></html>"


@pytest.fixture(params=["unix", "http"])
def kea(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeKea]:
    with FakeKea.unix(tmp_path / "kea.sock") if request.param == "unix" else FakeKea.http() as server:
        yield server


def test_an_answer(kea: FakeKea) -> None:
    reply = ask(kea.channel, "status-get")
    assert reply.result == 0
    assert reply.arguments["reload"] == 1000
    assert ask(kea.channel, "config-hash-get").arguments == {"hash": HASH}
    assert kea.asked == ["status-get", "config-hash-get"]


def test_an_unknown_command_is_an_answer(kea: FakeKea) -> None:
    reply = ask(kea.channel, "no-such", {"a": 1})
    assert (reply.result, reply.text, reply.arguments) == (2, "'no-such' command not supported.", {})


def test_a_version_without_hashes(tmp_path: Path) -> None:
    with FakeKea.unix(tmp_path / "kea.sock", version=(2, 2, 0)) as kea:
        assert ask(kea.channel, "config-hash-get").result == 2


def test_a_slow_writer_is_waited_for(kea: FakeKea) -> None:
    kea.manner = fakes.byte_by_byte
    assert ask(kea.channel, "config-get").arguments["hash"] == HASH


def test_a_big_answer(kea: FakeKea) -> None:
    kea.config = {"Dhcp4": {"subnet4": [{"id": number, "subnet": "192.0.2.0/24"} for number in range(50_000)]}}
    assert ask(kea.channel, "config-get").arguments["Dhcp4"] == kea.config["Dhcp4"]


def test_silence_ends_with_the_timeout(kea: FakeKea) -> None:
    kea.manner = fakes.silent
    started = time.monotonic()
    with pytest.raises(ControlError, match=r"^status-get: no answer on .* within 0\.1 s$") as caught:
        ask(kea.channel, "status-get", timeout=0.1)
    assert not isinstance(caught.value, AbsentError)
    assert 0.1 <= time.monotonic() - started < 2


def test_an_endless_trickle_ends_with_the_timeout(kea: FakeKea) -> None:
    def trickle(connection: socket.socket, answer: bytes) -> None:
        connection.sendall(answer[:1])
        fakes.silent(connection, answer)

    kea.manner = trickle
    with pytest.raises(ControlError, match="no answer"):
        ask(kea.channel, "status-get", timeout=0.1)


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        pytest.param(fakes.truncated, "is not JSON", id="truncated"),
        pytest.param(fakes.early, "is not JSON: b''", id="closed early"),
        pytest.param(fakes.saying(b"\xff\xfe\x00garbage"), "is not JSON", id="garbage"),
        pytest.param(fakes.saying(PAGE), "is not JSON", id="a page"),
        pytest.param(fakes.saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000), "is not JSON", id="too deep"),
    ],
)
def test_nonsense(kea: FakeKea, manner: Manner, words: str) -> None:
    kea.manner = manner
    with pytest.raises(ControlError, match=words):
        ask(kea.channel, "status-get")


@pytest.mark.parametrize("words", [b"[]", b"null", b"3", b'"text"', b"{}", b'{"result": "0"}', b'[{"result": 0}, 1]'])
def test_json_that_is_no_answer(tmp_path: Path, words: bytes) -> None:
    with FakeKea.unix(tmp_path / "kea.sock") as kea:
        kea.manner = fakes.saying(words)
        with pytest.raises(ControlError, match="answer has no result"):
            ask(kea.channel, "status-get")


def nested(depth: int) -> bytes:
    return b'{"result": 0, "arguments": {"a": ' + b"[" * depth + b"]" * depth + b"}}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (nested(199), None),
        (nested(200), "nested deeper than 200"),
        (nested(600), "nested deeper than 200"),
        (nested(100_000), "nested deeper than 200|not JSON"),
        (b'{"result": 0, "arguments": {"a": 18446744073709551615, "b": -9223372036854775808}}', None),
        (b'{"result": 0, "arguments": {"a": 18446744073709551616}}', "not JSON"),
        (b'{"result": 0, "arguments": {"a": 1' + b"0" * 5000 + b"}}", "not JSON"),
        (b'{"result": 0, "arguments": {"a": 1e400}}', "not JSON"),
        (b'{"result": 0, "arguments": {"a": NaN}}', "not JSON"),
        (b'{"result": 0, "arguments": {"a": -Infinity}}', "not JSON"),
    ],
)
def test_answers_that_would_break_whoever_reads_them(tmp_path: Path, answer: bytes, words: str | None) -> None:
    with FakeKea.unix(tmp_path / "kea.sock") as kea:
        kea.manner = fakes.saying(answer)
        if words is None:
            assert ask(kea.channel, "status-get").result == 0
            return
        with pytest.raises(ControlError, match=words):
            ask(kea.channel, "status-get")


class Connection:
    """The two ends of one, as the kernel has them."""

    def __init__(self, there: str, here: str) -> None:
        self._there, self._here = there, here

    def getpeername(self) -> tuple[str, int]:
        return self._there, 8000

    def getsockname(self) -> tuple[str, int]:
        return self._here, 40000


@pytest.mark.parametrize(
    ("there", "here", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", True),
        ("::1", "::1", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("192.0.2.2", "192.0.2.1", False),
        ("2001:db8::2", "2001:db8::1", False),
        ("fe80::2%eth0", "fe80::1%eth0", False),
    ],
)
def test_nothing_is_sent_to_another_host(there: str, here: str, is_own: bool) -> None:
    connection = cast("socket.socket", Connection(there, here))
    with contextlib.nullcontext() if is_own else pytest.raises(OSError, match="no address of this host"):
        _ensure_own_address(connection)


def test_arguments_that_are_no_map_count_as_none(tmp_path: Path) -> None:
    with FakeKea.unix(tmp_path / "kea.sock") as kea:
        kea.manner = fakes.saying(b'{"result": 0, "arguments": [1, 2]}')
        assert ask(kea.channel, "list-commands").arguments == {}


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match=r"nobody listens on .*/none: no such file or directory$"):
        ask(UnixChannel(str(tmp_path / "none")), "status-get")


def test_a_socket_file_that_a_dead_server_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    with pytest.raises(AbsentError, match="connection refused"):
        ask(UnixChannel(str(tmp_path / "left")), "status-get")


def test_a_closed_port() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(AbsentError, match="connection refused"):
            ask(HttpChannel(*bound.getsockname()), "status-get")


@pytest.mark.parametrize(
    "channel",
    [
        pytest.param(UnixChannel("/run/kea/" + "x" * 120), id="path too long"),
        pytest.param(UnixChannel("/run/kea/\ud800"), id="no file name"),
        pytest.param(UnixChannel("/dev/null/kea"), id="not a directory"),
        pytest.param(HttpChannel("127.0.0.1", 70000), id="port too high"),
        pytest.param(HttpChannel("127.0.0.1", -1), id="port too low"),
        pytest.param(HttpChannel("a..b", 8000), id="no host name"),
        pytest.param(HttpChannel("x" * 70, 8000), id="label too long"),
        pytest.param(HttpChannel("127.0.0.1\0", 8000), id="null character"),
    ],
)
def test_addresses_that_are_none_are_control_errors(channel: Channel) -> None:
    with pytest.raises(ControlError, match=r"^status-get: "):
        ask(channel, "status-get", timeout=1)


@pytest.mark.parametrize("credentials", ["admin:s3cret", "admin:gr\u00fc\u00df", "admin:\udcfc\udcdf"])
def test_basic_authentication(credentials: str) -> None:
    with FakeKea.http(credentials=credentials) as kea:
        assert ask(kea.channel, "status-get").result == 0


def test_wrong_credentials_are_an_answer() -> None:
    with FakeKea.http(credentials="admin:s3cret") as kea:
        assert isinstance(kea.channel, HttpChannel)
        reply = ask(HttpChannel(kea.channel.host, kea.channel.port, "admin:wrong"), "status-get")
    assert (reply.result, reply.text) == (401, "Unauthorized")


def test_credentials_are_never_shown() -> None:
    channel = HttpChannel("127.0.0.1", 8000, "admin:s3cret")
    assert "s3cret" not in repr(channel) + str(channel)


def test_ipv6() -> None:
    with FakeKea.http(host="::1") as kea:
        assert ask(kea.channel, "status-get").result == 0
        assert str(kea.channel).startswith("http://[::1]:")


# -- TLS


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """An authority and a certificate that it signed."""
    directory = tmp_path_factory.mktemp("tls")
    script = """
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2
        openssl req -newkey rsa:2048 -nodes -keyout kea.key -out kea.csr -subj /CN=kea
        openssl x509 -req -in kea.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out kea.pem -days 2
    """
    subprocess.run(["sh", "-ec", script], cwd=directory, check=True, capture_output=True)
    return TlsFiles(str(directory / "ca.pem"), str(directory / "kea.pem"), str(directory / "kea.key"))


@contextlib.contextmanager
def tls_server(files: TlsFiles) -> Iterator[int]:
    """The Control Agent with `cert-required`: one answer to a client that shows a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert_file, files.key_file)
    context.load_verify_locations(files.trust_anchor)
    context.verify_mode = ssl.CERT_REQUIRED

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as raw:
            raw.settimeout(5)
            with context.wrap_socket(raw, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n[ { "result": 0, "text": "3.0.4" } ]')

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_tls_shows_the_certificate_and_verifies_the_chain(tls_files: TlsFiles) -> None:
    with tls_server(tls_files) as port:
        assert ask(HttpChannel("127.0.0.1", port, tls=tls_files), "version-get").text == "3.0.4"


def test_tls_of_another_authority_is_refused(tls_files: TlsFiles) -> None:
    stranger = replace(tls_files, trust_anchor="/etc/ssl/certs")
    with tls_server(tls_files) as port, pytest.raises(ControlError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(HttpChannel("127.0.0.1", port, tls=stranger), "version-get")
