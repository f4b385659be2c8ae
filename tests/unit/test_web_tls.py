# SPDX-License-Identifier: MPL-2.0
"""TLS, client certificates and passwords over real sockets, and what happens when their files change."""

from __future__ import annotations

import base64
import contextlib
import http.client
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kea_agent.errors import SettingsError
from kea_agent.web import Site, connections, passwords, request
from kea_agent.web.config import RateLimit
from kea_agent.web.guard import _Bucket
from kea_agent.web.passwords import Passwords
from unit.pki import Authority, Pair, replace

SECRET = "$2y$04$2pJQ5FJGZbgBH8aYpp8uLek5zKwT86m9nWltgSuKEaioJQsA530WK"  # "s3cret"
OTHER = "$2b$04$jUBY6f5aRe9rmqJ6HUPppeotO1I6Rl/86pzX4ABlPTDZjy5vEyjdW"  # "other"
SLOW = "$2y$10$qs23MUhQshjWvw.4cQRyM.YFbZ6lkKyYt6zn79fc2aKCiibPX90H2"  # "s3cret", 70 ms
ODD = "$2a$04$STPx7V2.XDx7YVLAIl9VDOf.Ro2TYHLNuFLHN2ZYRXdnhSsRD/St6"  # "päss:wörd"

Open = Callable[[str], int]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    """The server's own, in files that a test may replace."""
    issued = authority.issue("server")
    mine = Pair(tmp_path / "s.pem", tmp_path / "s.key")
    replace(mine, issued)
    return mine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "web.yml"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(render=lambda: (b"kea_up 1\n", "text/plain"), statuses=list, ready=lambda: True, environ={})
    yield made
    made.stop()


@pytest.fixture
def serve(site: Site, config: Path) -> Open:
    """Write the configuration and open; returns the port."""

    def opened(text: str) -> int:
        config.write_text(text)
        site.configure(str(config))
        site.open(["127.0.0.1:0"])
        return int(site.addresses[0].rpartition(":")[2])

    return opened


def tls(pair: Pair, *more: str) -> str:
    return "\n  ".join(["tls_server_config:", f"cert_file: {pair.cert.name}", f"key_file: {pair.key.name}", *more])


def ask(
    port: int, context: ssl.SSLContext | None = None, login: str = "", path: str = "/metrics"
) -> tuple[int, dict[str, str]]:
    client = (
        http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    )
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
    with contextlib.closing(client):
        client.request("GET", path, headers=headers)
        answer = client.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())


def serial(port: int, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("localhost", port), timeout=5) as client,
        context.wrap_socket(client, server_hostname="localhost") as encrypted,
    ):
        found = encrypted.getpeercert()
        assert found
        return str(found["serialNumber"])


def told(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# -- TLS


def test_a_scrape_over_tls(serve: Open, pair: Pair, authority: Authority) -> None:
    port = serve(tls(pair))
    assert ask(port, authority.client())[0] == 200


def test_plain_http_on_a_tls_port_gets_nothing(serve: Open, pair: Pair, authority: Authority) -> None:
    port = serve(tls(pair))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"kea_up" not in client.recv(4096)
    assert ask(port, authority.client())[0] == 200


def test_a_client_that_never_says_hello_is_dropped(
    serve: Open, pair: Pair, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "SILENCE_SECONDS", 0.3)
    port = serve(tls(pair))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        assert ask(port, authority.client())[0] == 200
        assert client.recv(1) == b""


def test_a_handshake_that_dribbles_is_dropped(
    serve: Open, pair: Pair, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    port = serve(tls(pair))
    hello = b"\x16\x03\x01\x40\x00\x01" + bytes(100)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in hello:
                client.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - begin < 4
    assert ask(port, authority.client())[0] == 200


@pytest.mark.parametrize(
    ("lines", "version", "is_served"),
    [
        ((), ssl.TLSVersion.TLSv1_2, True),
        ((), ssl.TLSVersion.TLSv1_3, True),
        (("min_version: TLS13",), ssl.TLSVersion.TLSv1_2, False),
        (("max_version: TLS12",), ssl.TLSVersion.TLSv1_3, False),
        (("cipher_suites: [TLS_AES_128_GCM_SHA256]",), ssl.TLSVersion.TLSv1_2, False),
        (("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",), ssl.TLSVersion.TLSv1_2, False),
        (("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]",), ssl.TLSVersion.TLSv1_2, True),
        (("curve_preferences: [CurveP256]", "prefer_server_cipher_suites: false"), ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_versions_and_ciphers(
    serve: Open, pair: Pair, authority: Authority, lines: tuple[str, ...], version: ssl.TLSVersion, is_served: bool
) -> None:
    port = serve(tls(pair, *lines))
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    if is_served:
        assert ask(port, context)[0] == 200
    else:
        with pytest.raises(ssl.SSLError):
            ask(port, context)


def test_certificate_and_key_in_the_file_itself(serve: Open, pair: Pair, authority: Authority) -> None:
    def block(name: str, path: Path) -> str:
        return f"  {name}: |\n" + "".join(f"    {line}\n" for line in path.read_text().splitlines())

    port = serve("tls_server_config:\n" + block("cert", pair.cert) + block("key", pair.key))
    assert ask(port, authority.client())[0] == 200


def test_what_is_wrong_with_the_files_is_said(site: Site, config: Path, pair: Pair, authority: Authority) -> None:
    other = authority.issue("other")
    locked = config.with_name("locked.key")
    words = ["openssl", "pkcs8", "-topk8", "-in", str(pair.key), "-out", str(locked), "-passout", "pass:x"]
    subprocess.run(words, check=True, capture_output=True)
    verify = "client_auth_type: RequireAndVerifyClientCert"
    for text, problem in (
        (tls(Pair(Path("absent"), pair.key)), "cert_file: {}/absent: cannot be read: No such file or directory"),
        (tls(Pair(pair.key, pair.key)), "cert_file: {}/s.key: is not a certificate in PEM"),
        (tls(Pair(pair.cert, pair.cert)), "key_file: {}/s.pem: is not a private key in PEM"),
        (f"tls_server_config: {{cert_file: s.pem, key_file: {other.key}}}", f"key_file: {other.key}: does not belong"),
        (tls(Pair(pair.cert, locked)), "key_file: is encrypted, and there is nobody to ask for the passphrase"),
        (tls(pair, verify, "client_ca_file: s.key"), "client_ca_file: {}/s.key: is not certificates in PEM"),
    ):
        config.write_text(text)
        with pytest.raises(SettingsError) as caught:
            site.configure(str(config))
        assert str(caught.value).startswith(f"{config}: tls_server_config.{problem.format(config.parent)}")


# -- client certificates


@pytest.fixture
def strict(serve: Open, pair: Pair, authority: Authority) -> Callable[..., int]:
    def opened(kind: str, *more: str) -> int:
        return serve(tls(pair, f"client_ca_file: {authority.pair.cert}", f"client_auth_type: {kind}", *more))

    return opened


def is_let_in(port: int, context: ssl.SSLContext) -> bool:
    try:
        return ask(port, context)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_only_who_has_a_certificate_is_let_in(strict: Callable[..., int], authority: Authority, tmp_path: Path) -> None:
    port = strict("RequireAndVerifyClientCert")
    stranger = Authority(tmp_path / "stranger").issue("client")
    assert is_let_in(port, authority.client(authority.issue("client")))
    assert not is_let_in(port, authority.client())
    assert not is_let_in(port, authority.client(stranger))


def test_a_certificate_that_need_not_be_there_must_be_good(
    strict: Callable[..., int], authority: Authority, tmp_path: Path
) -> None:
    port = strict("VerifyClientCertIfGiven")
    stranger = Authority(tmp_path / "stranger").issue("client")
    assert is_let_in(port, authority.client())
    assert not is_let_in(port, authority.client(stranger))


@pytest.mark.parametrize(
    ("sans", "is_welcome"),
    [
        ("DNS:scraper.example", True),
        ("DNS:other.example,email:ops@example.org", True),
        ("IP:2001:db8::1", True),
        ("URI:spiffe://example/scraper", True),
        ("IP:192.0.2.9", False),
        ("DNS:xscraper.example", False),
    ],
)
def test_only_certain_names_are_let_in(
    strict: Callable[..., int], authority: Authority, sans: str, is_welcome: bool
) -> None:
    allowed = '["scraper.example", "ops@example.org", "2001:db8::1", "spiffe://example/scraper"]'
    port = strict("RequireAndVerifyClientCert", f"client_allowed_sans: {allowed}")
    context = authority.client(authority.issue("client", sans))
    assert is_let_in(port, context) is is_welcome
    assert is_let_in(port, context) is is_welcome  # and when the session is taken up again


# -- what changes while it runs


def test_a_renewed_certificate_is_used_for_the_next_connection(
    serve: Open, pair: Pair, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    port, context = serve(tls(pair)), authority.client()
    before = serial(port, context)
    replace(pair, authority.issue("renewed"))
    assert serial(port, context) != before
    assert ask(port, context)[0] == 200
    assert told(caplog) == []


def test_a_key_without_its_certificate_leaves_the_old_ones(
    serve: Open, pair: Pair, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    port, context = serve(tls(pair)), authority.client()
    before, fresh = serial(port, context), authority.issue("renewed")
    pair.key.write_bytes(fresh.key.read_bytes())
    assert [serial(port, context) for _ in range(3)] == [before] * 3
    [line] = told(caplog)
    assert line.endswith("s.key: does not belong to the certificate; the web configuration from before goes on")
    pair.cert.write_bytes(fresh.cert.read_bytes())
    assert serial(port, context) != before


def test_a_symlink_that_moves_is_a_change(serve: Open, pair: Pair, authority: Authority, tmp_path: Path) -> None:
    replace(Pair(tmp_path / "one.pem", tmp_path / "one.key"), pair)
    for path in (pair.cert, pair.key):
        path.unlink()
        path.symlink_to(f"one{path.suffix}")
    port, context = serve(tls(pair)), authority.client()
    before = serial(port, context)
    replace(Pair(tmp_path / "two.pem", tmp_path / "two.key"), authority.issue("two"))
    for path in (pair.key, pair.cert):
        fresh = path.with_suffix(".link")
        fresh.symlink_to(f"two{path.suffix}")
        fresh.replace(path)
    assert serial(port, context) != before


@pytest.mark.parametrize("text", ["", "nonsense: 1", None, "basic_auth_users: {a: b}"])
def test_a_wrong_file_leaves_the_old_one_and_is_said_once(
    serve: Open, config: Path, text: str | None, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    port = serve(f"basic_auth_users: {{alice: {SECRET}}}")
    config.unlink() if text is None else config.write_text(text)
    for _ in range(3):
        assert ask(port)[0] == 401
        assert ask(port, login="alice:s3cret")[0] == 200
    [line] = told(caplog)
    assert line.startswith(f"{config}: ")
    assert line.endswith("; the web configuration from before goes on")
    with pytest.raises(SettingsError):
        site.configure(str(config))
    assert ask(port)[0] == 401
    assert len(told(caplog)) == 1
    config.write_text(f"basic_auth_users: {{alice: {OTHER}}}")
    assert [ask(port, login=f"alice:{word}")[0] for word in ("s3cret", "other")] == [401, 200]


def test_tls_and_passwords_come_and_go(serve: Open, config: Path, pair: Pair, authority: Authority, site: Site) -> None:
    port = serve("http_server_config: {http2: true}")
    assert ask(port)[0] == 200
    config.write_text(tls(pair) + f"\nbasic_auth_users: {{alice: {SECRET}}}")
    assert ask(port, authority.client())[0] == 401
    assert ask(port, authority.client(), "alice:s3cret")[0] == 200
    site.configure("")
    assert ask(port)[0] == 200


# -- passwords


@pytest.mark.parametrize(
    ("login", "status"),
    [
        ("", 401),
        ("alice:s3cret", 200),
        ("alice:S3cret", 401),
        ("alice:other", 401),
        ("bob:other", 200),
        ("eve:päss:wörd", 200),
        ("mallory:s3cret", 401),
        ("alice:", 401),
        (":", 401),
        ("alice:s3cret\0", 401),
        ("alice:" + "x" * 5000, 401),
    ],
)
@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/absent"])
def test_nothing_without_the_password(serve: Open, login: str, status: int, path: str) -> None:
    port = serve(f"basic_auth_users: {{alice: {SECRET}, bob: {OTHER}, eve: {ODD}}}")
    for _ in range(2):  # the second answer is from memory
        answered, headers = ask(port, login=login, path=path)
        assert answered == (404 if status == 200 and path == "/absent" else status)
        assert ("WWW-Authenticate" in headers) is (status == 401)


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic YWxpY2U=", "Bearer x", "Basic YWxp Y2U6", "x" * 8000])
def test_a_header_that_is_not_a_password(serve: Open, header: str) -> None:
    port = serve(f"basic_auth_users: {{alice: {SECRET}}}")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
        client.request("GET", "/metrics", headers={"Authorization": header})
        assert client.getresponse().status == 401


def test_a_password_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Passwords({"alice": SLOW})
    computed: list[str] = []
    check = door._check

    def counted(password: str, hashed: str) -> bool:
        computed.append(password)
        return check(password, hashed)

    monkeypatch.setattr(door, "_check", counted)
    assert [door.are_right("alice", "s3cret") for _ in range(100)] == [True] * 100
    assert [door.are_right("alice", "wrong") for _ in range(100)] == [False] * 100
    assert computed == ["s3cret", "wrong"]
    begin = time.thread_time()
    door.are_right("alice", "s3cret")
    assert time.thread_time() - begin < 0.01


def test_guesses_do_not_push_the_right_password_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WRONG", 3)
    door = Passwords({"alice": SECRET})
    assert door.are_right("alice", "s3cret")
    assert [door.are_right("alice", str(guess)) for guess in range(10)] == [False] * 10
    assert len(door._wrong) == 3
    monkeypatch.setattr(door, "_check", lambda *_: pytest.fail("computed again"))
    assert door.are_right("alice", "s3cret")


def test_who_knows_the_password_does_not_wait_for_who_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.1)
    door = Passwords({"alice": SECRET})
    assert door.are_right("alice", "s3cret")
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: str) -> bool:
        begun.set()
        return go_on.wait(5) and False

    monkeypatch.setattr(door, "_check", slow)
    guesser = threading.Thread(target=door.are_right, args=("alice", "guess"))
    guesser.start()
    assert begun.wait(5)
    assert door.are_right("alice", "s3cret")
    with pytest.raises(passwords.BusyError):
        door.are_right("alice", "another guess")
    go_on.set()
    guesser.join()


def test_a_name_that_is_not_there_takes_as_long_as_one_that_is() -> None:
    door = Passwords({"alice": SLOW})
    took = []
    for name in ("alice", "nobody"):
        begin = time.process_time()
        assert not door.are_right(name, "wrong")
        took.append(time.process_time() - begin)
    assert min(took) > max(took) / 3


def test_no_password_is_kept() -> None:
    door = Passwords({"alice": SECRET})
    door.are_right("alice", "s3cret")
    door.are_right("alice", "wrong password")
    assert "s3cret" not in repr(vars(door))
    assert "wrong password" not in repr(vars(door))


# -- headers and the rate limit


def test_headers_are_added_replaced_and_left_out(serve: Open) -> None:
    port = serve(
        'http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: "", X-XSS-Protection: "0"}}'
    )
    for path in ("/metrics", "/absent"):
        headers = ask(port, path=path)[1]
        assert (headers["X-Frame-Options"], headers["X-XSS-Protection"]) == ("deny", "0")
        assert "Content-Security-Policy" not in headers
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_more_requests_than_the_limit_are_refused(serve: Open) -> None:
    port = serve("rate_limit: {interval: 1h, burst: 3}")
    assert [ask(port)[0] for _ in range(5)] == [200, 200, 200, 429, 429]


def test_the_bucket_fills_with_time() -> None:
    now = 0.0
    bucket, limit = _Bucket(lambda: now), RateLimit(10.0, 2)
    assert [bucket.has_one(limit) for _ in range(3)] == [True, True, False]
    now = 10.0
    assert [bucket.has_one(limit) for _ in range(2)] == [True, False]
    now = 1000.0
    assert [bucket.has_one(limit) for _ in range(3)] == [True, True, False]
    assert [bucket.has_one(None) for _ in range(9)] == [True] * 9
