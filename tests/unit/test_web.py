# SPDX-License-Identifier: MPL-2.0
"""The web server over real sockets: what each path answers, and what it does with clients that mean no good."""

from __future__ import annotations

import contextlib
import errno
import html.parser
import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kea_agent import __version__
from kea_agent import web as kea_web
from kea_agent.outcome import DaemonStatus, Outcome, Pass
from kea_agent.web import app, connections, request, server
from kea_agent.web.pages import status_page

NOW = 1767323045.0
EVIL = "<script>alert('x')</script>&\"<b>"
STATUSES = [
    DaemonStatus(
        "dhcp4",
        unit="isc-kea-dhcp4-server.service",
        unit_state="active (running)",
        main_pid=1234,
        config_file="/etc/kea/kea-dhcp4.conf",
        included_files=("/etc/kea/subnets.json",),
        config_valid=True,
        config_in_sync=True,
        reloaded_at=NOW - 130,
        last=Pass(Outcome.APPLIED, "hash 6A1C runs", NOW - 130),
    ),
    DaemonStatus("dhcp6", unit="b.service", retry_at=NOW + 5, last=Pass(Outcome.DEFERRED, "later", NOW - 3)),
    DaemonStatus("ddns", last=Pass(Outcome.DEFERRED, "no unit of ddns is installed", NOW)),
]


class Handlers:
    """What the handlers of a test get: a scrape that can be held up and a readiness that can be set."""

    def __init__(self) -> None:
        self.is_ready = True
        self.gate = threading.Event()
        self.gate.set()
        self.rendering = threading.Semaphore(0)

    def render(self) -> tuple[bytes, str]:
        self.rendering.release()
        self.gate.wait(5)
        return b"kea_up 1.0\n", "text/plain; version=0.0.4; charset=utf-8"

    def open(self, *listen: str) -> kea_web.Site:
        web = kea_web.Site(
            render=self.render,
            statuses=lambda: STATUSES,
            ready=lambda: self.is_ready,
            host="host<1>",
            clock=lambda: NOW,
            environ={},
        )
        web.open(listen)
        return web


@pytest.fixture
def site() -> Handlers:
    return Handlers()


@pytest.fixture
def port(site: Handlers) -> Iterator[int]:
    web = site.open("127.0.0.1:0")
    yield int(web.addresses[0].rpartition(":")[2])
    site.gate.set()
    web.stop()


def ask(
    port: int, path: str, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, dict[str, str], str]:  # fmt: skip
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=5)) as client:
        client.request(method, path)
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # what it did not want to read it does not read
            while more := client.recv(65536):
                answer += more
        return answer


# -- paths and methods


def test_the_metrics(port: int) -> None:
    status, headers, body = ask(port, "/metrics")
    assert (status, body) == (200, "kea_up 1.0\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Content-Length"] == "11"


def test_a_query_is_ignored(port: int) -> None:
    assert ask(port, "/metrics?name[]=x")[0] == 200


def test_healthy(port: int, site: Handlers) -> None:
    site.is_ready = False
    assert ask(port, "/-/healthy")[::2] == (200, "healthy\n")


def test_ready(port: int, site: Handlers) -> None:
    assert ask(port, "/-/ready")[::2] == (200, "ready\n")
    site.is_ready = False
    assert ask(port, "/-/ready")[::2] == (503, "not ready\n")


@pytest.mark.parametrize(
    "path", ["/metric", "/metrics/", "/favicon.ico", "/-/", "/-/reload", "/%2e%2e/etc/passwd", "*"]
)
def test_everything_else_is_not_found(port: int, path: str) -> None:
    assert ask(port, path)[::2] == (404, "404 Not Found\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy"])
def test_only_get_and_head(port: int, path: str, method: str) -> None:
    status, headers, _ = ask(port, path, method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/absent"])
def test_head_is_get_without_the_body(port: int, path: str) -> None:
    status, headers, body = ask(port, path)
    bare = ask(port, path, "HEAD")
    assert bare[0] == status
    assert bare[1] | {"Date": ""} == headers | {"Date": ""}
    assert body
    assert bare[2] == ""


@pytest.mark.parametrize("path", ["/", "/metrics", "/absent"])
def test_the_headers_give_away_nothing_and_forbid_everything(port: int, path: str) -> None:
    headers = ask(port, path)[1]
    assert headers["Server"] == f"kea-agent/{__version__}"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'; ")


# -- the page


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text, and that every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_tells_what_there_is_to_tell(port: int) -> None:
    status, headers, body = ask(port, "/")
    words = Reader(body).words
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for word in (
        "dhcp6 wants a look",
        "isc-kea-dhcp4-server.service",
        "active (running), pid 1234",
        "applied",
        "hash 6A1C runs",
        "2 min ago, 2026-01-02 03:01:55 UTC",
        "yes: the server runs this file",
        "/etc/kea/kea-dhcp4.conf and 1 included file",
        "The server runs the new configuration, proven to serve.",
        "in 5 s, 2026-01-02 03:04:10 UTC",
        "ddns: no unit of ddns is installed",
        "host<1>",
    ):
        assert word in words, word


def test_the_page_needs_nothing_but_itself(port: int) -> None:
    page = Reader(ask(port, "/")[2])
    assert page.open == []
    assert not {"script", "link", "img", "form", "iframe", "object"} & set(page.tags)
    assert page.links == ["/metrics", "/-/healthy", "/-/ready"]


def test_everything_from_outside_is_escaped() -> None:
    evil = DaemonStatus(
        EVIL,
        unit=EVIL,
        unit_state=EVIL,
        config_file=EVIL,
        last=Pass(Outcome.FAILED, EVIL, NOW),
    )
    absent = DaemonStatus(EVIL, last=Pass(Outcome.DEFERRED, EVIL, NOW))
    page = status_page([evil, absent], version=EVIL, host=EVIL, now=NOW)
    assert "<script" not in page
    assert "<b>" not in page
    assert Reader(page).words.count(EVIL) == 11


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([], "No Kea daemon runs here yet"),
        ([DaemonStatus("dhcp4")], "No Kea daemon runs here yet"),
        ([STATUSES[0]], "dhcp4 runs what its file says"),
        (STATUSES, "dhcp6 wants a look"),
        ([*STATUSES, DaemonStatus("x", unit="x", unit_state="failed (failed)")], "x needs a person"),
        ([DaemonStatus(n, unit=n, last=Pass(Outcome.BROKEN, "", NOW)) for n in "ab"], "a, b need a person"),
    ],
)
def test_the_heading_is_the_worst_there_is(statuses: list[DaemonStatus], words: str) -> None:
    assert f"<h1>{words}</h1>" in status_page(statuses, version="1", host="h", now=NOW)


@pytest.mark.parametrize("state", ["failed (failed)", "inactive (dead)", "masked"])
def test_a_unit_that_is_down_is_not_said_to_run(state: str) -> None:
    down = DaemonStatus("x", unit="x", unit_state=state, last=Pass(Outcome.APPLIED, "", NOW))
    assert "proven to serve" not in status_page([down], version="1", host="h", now=NOW)


# -- clients that mean no good


def test_sixteen_at_a_time_and_no_more(port: int, site: Handlers) -> None:
    site.gate.clear()
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(port, "/metrics")[0])) for _ in range(16)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert site.rendering.acquire(timeout=5)
    assert ask(port, "/metrics")[::2] == (503, "503 Service Unavailable\n")
    assert app.MAX_REQUESTS == 16
    site.gate.set()
    for thread in threads:
        thread.join(5)
    assert answers == [200] * 16
    assert ask(port, "/metrics")[0] == 200


def test_a_silent_client_is_dropped_and_keeps_nobody_waiting(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "SILENCE_SECONDS", 0.3)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(40)]
        assert ask(port, "/metrics")[0] == 200
        started = time.monotonic()
        assert [client.recv(1) for client in silent] == [b""] * 40
        assert time.monotonic() - started < 3


def test_a_client_that_dribbles_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as client:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while not _is_closed(client):
                client.sendall(b"G")
        assert 0.2 < time.monotonic() - started < 4


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_more_connections_than_there_is_room_for_wait(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(connections, "HURRY_SECONDS", 60.0)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(3)]
        clients[2].sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        clients[2].settimeout(0.3)
        with pytest.raises(TimeoutError):
            clients[2].recv(1)
        clients[0].close()
        clients[2].settimeout(5)
        assert clients[2].recv(12) == b"HTTP/1.0 200"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 65536, b"414"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 65537, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n", b"431"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"\x16\x03\x01 hello tls\r\n\r\n", b"400"),
        (b"GET <script> nonsense HTTP/1.0\r\n\r\n", b"400"),
    ],
)
def test_nonsense_is_refused_and_named_without_versions(port: int, request_bytes: bytes, status: bytes) -> None:
    answer = raw(port, request_bytes)
    assert status in answer[:200]
    assert b"Python" not in answer
    assert b"script" not in answer
    assert ask(port, "/-/healthy")[0] == 200


def test_a_client_that_leaves_early_is_no_news(port: int, site: Handlers, caplog: pytest.LogCaptureFixture) -> None:
    site.gate.clear()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert site.rendering.acquire(timeout=5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close() resets
    site.gate.set()
    assert ask(port, "/-/healthy")[0] == 200
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_handler_that_fails_is_our_error_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> tuple[bytes, str]:
        raise RuntimeError("a mistake")

    web = kea_web.Site(render=fail, statuses=list, ready=lambda: True, environ={})
    web.open(["127.0.0.1:0"])
    try:
        port = int(web.addresses[0].rpartition(":")[2])
        status, _, body = ask(port, "/metrics")
        assert (status, "a mistake" in body) == (500, False)
        assert ask(port, "/-/healthy")[0] == 200
    finally:
        web.stop()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
        "answering a request failed"
    ]


def test_requests_are_logged_at_debug_only(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask(port, "/metrics")
    patience = time.monotonic() + 5
    while not caplog.records and time.monotonic() < patience:  # the line comes after the answer
        time.sleep(0.01)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.DEBUG, '127.0.0.1: "GET /metrics HTTP/1.1" 200 11')
    ]


# -- addresses


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
def test_every_address_is_served(site: Handlers) -> None:
    web = site.open("127.0.0.1:0", "[::1]:0")
    try:
        four, six = web.addresses
        assert six.startswith("[::1]:")
        assert ask(int(four.rpartition(":")[2]), "/-/healthy")[0] == 200
        assert ask(int(six.rpartition(":")[2]), "/-/healthy", host="::1")[0] == 200
    finally:
        web.stop()


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
def test_ipv6_leaves_the_port_to_ipv4(site: Handlers, port: int) -> None:
    first = site.open("[::]:0")
    second = site.open("0.0.0.0:" + first.addresses[0].rpartition(":")[2])
    assert second.addresses
    second.stop()
    first.stop()


def test_localhost_is_127_0_0_1(site: Handlers) -> None:
    web = site.open("localhost:0")
    assert web.addresses[0].startswith("127.0.0.1:")
    web.stop()


def test_no_address_is_no_server(site: Handlers) -> None:
    web = site.open()
    assert web.addresses == ()
    web.stop()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_a_port_that_is_taken_is_named_and_the_others_are_served(
    site: Handlers, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    other = free_port()
    web = site.open(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
    try:
        [told] = errors(caplog)
        assert told.startswith(f"listen on 127.0.0.1:{port}: Address already in use; no metrics and no status page")
        assert web.addresses == (f"127.0.0.1:{other}",)
        assert ask(other, "/-/healthy")[0] == 200
    finally:
        web.stop()


def test_a_port_that_was_taken_is_served_when_it_is_free(
    site: Handlers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as thief:
        number = int(thief.getsockname()[1])
        web = site.open(f"127.0.0.1:{number}")
        time.sleep(0.5)
        assert web.addresses == ()
    try:
        patience = time.monotonic() + 5
        while not web.addresses and time.monotonic() < patience:
            time.sleep(0.05)
        assert ask(number, "/-/healthy")[0] == 200
        assert len(errors(caplog)) == 1
        assert caplog.messages[-1] == f"now listening on 127.0.0.1:{number}"
    finally:
        web.stop()


@pytest.mark.parametrize("address", ["[2001:db8::1]:9", "192.0.2.1:9", "name.invalid:9", "nonsense"])
def test_an_address_that_cannot_be_had_is_named(site: Handlers, address: str, caplog: pytest.LogCaptureFixture) -> None:
    site.open(address).stop()
    [told] = errors(caplog)
    assert told.startswith(f"listen on {address}: ")


def test_a_host_without_ipv6_is_told_so(
    site: Handlers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without(family: int = -1, *rest: int, **more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **more)

    real = socket.socket
    monkeypatch.setattr(socket, "socket", without)
    site.open("[::1]:9673").stop()
    assert errors(caplog)[0].startswith("listen on [::1]:9673: Address family not supported by protocol")


def test_new_addresses_replace_the_old_ones(site: Handlers) -> None:
    old, new = free_port(), free_port()
    web = site.open(f"127.0.0.1:{old}")
    try:
        web.open([f"127.0.0.1:{new}", f"127.0.0.1:{old}"])
        assert [ask(each, "/-/healthy")[0] for each in (old, new)] == [200, 200]
        web.open([f"127.0.0.1:{new}"])
        with pytest.raises(ConnectionRefusedError):
            ask(old, "/")
    finally:
        web.stop()


def test_when_no_new_address_can_be_had_the_old_ones_stay(
    site: Handlers, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    old = free_port()
    web = site.open(f"127.0.0.1:{old}")
    try:
        web.open([f"127.0.0.1:{port}"])
        assert web.addresses == (f"127.0.0.1:{old}",)
        assert ask(old, "/-/healthy")[0] == 200
        assert errors(caplog)[-1] == "none of the new addresses can be had; listening on the old ones again"
    finally:
        web.stop()


def test_it_starts_again_on_the_same_port_at_once(site: Handlers, port: int) -> None:
    web = site.open("127.0.0.1:0")
    address = web.addresses[0]
    assert ask(int(address.rpartition(":")[2]), "/")[0] == 200
    web.stop()
    again = site.open(address)
    assert again.addresses == (address,)
    again.stop()


def test_stopping_leaves_no_thread_and_no_connection(site: Handlers) -> None:
    before = set(threading.enumerate())
    web = site.open("127.0.0.1:0")
    port = int(web.addresses[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        assert ask(port, "/-/healthy")[0] == 200
        web.stop()
        assert client.recv(1) == b""
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) == before
    web.stop()


def test_it_sleeps_while_nobody_asks(site: Handlers) -> None:
    web = site.open("127.0.0.1:0")
    try:
        ask(int(web.addresses[0].rpartition(":")[2]), "/-/healthy")
        [thread] = [each for each in threading.enumerate() if each.name == "web"]
        time.sleep(1.2)
        before = _switches(thread)
        time.sleep(0.5)
        assert _switches(thread) == before
    finally:
        web.stop()


def _switches(thread: threading.Thread) -> str:
    with open(f"/proc/self/task/{thread.native_id}/status") as status:
        return next(line for line in status if line.startswith("voluntary"))
