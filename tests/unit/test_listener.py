# SPDX-License-Identifier: MPL-2.0
"""Where the web listens besides TCP (unix sockets, systemd's), and what it bears: floods, silence, dribble, sizes."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kea_agent.settings_kinds import addresses
from kea_agent.web import Site, connections, request

TOP = Path(__file__).parents[2]
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
PAGE = b"kea_up 1.0\n" * 1000

# Opens a socket, puts it where systemd would and becomes a process that serves it.
PARENT = """
import os, socket, sys
made = socket.create_server(("127.0.0.1", 0)) if sys.argv[1] == "tcp" else socket.socket(socket.AF_UNIX)
if sys.argv[1] == "unix":
    made.bind(sys.argv[2])
    made.listen(5)
if sys.argv[1] == "udp":
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(made.getsockname()[1] if sys.argv[1] == "tcp" else 0, flush=True)
os.dup2(made.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="kea-agent.socket", LISTEN_PID=str(os.getpid() + int(sys.argv[3])))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[4]])
"""
CHILD = """
import logging, os, sys
from kea_agent.web import Site
logging.basicConfig(stream=sys.stdout, format="%(message)s")
site = Site(render=lambda: (b"kea_up 1\\n", "text/plain"), statuses=list, ready=lambda: True)
site.open([])
site.open(["127.0.0.1:1"])
site.configure("")
print(site.addresses, sorted(name for name in os.environ if name.startswith("LISTEN_")), flush=True)
sys.stdin.read()
site.stop()
"""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(render=lambda: (PAGE, "text/plain"), statuses=list, ready=lambda: True, environ={})
    yield made
    made.stop()


@pytest.fixture
def port(site: Site) -> int:
    site.open(["127.0.0.1:0"])
    return int(site.addresses[0].rpartition(":")[2])


def talk(client: socket.socket, sent: bytes = REQUEST) -> bytes:
    client.settimeout(10)
    answer = b""
    with contextlib.suppress(ConnectionError):
        client.sendall(sent)
        while more := client.recv(65536):
            answer += more
    return answer


def ask_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return talk(client)


def ask_tcp(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        return talk(client)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# -- unix sockets


def test_a_unix_socket_and_a_port_at_once(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    site.open([f"unix:{path}", "127.0.0.1:0"])
    assert ask_unix(path).startswith(b"HTTP/1.0 200")
    assert ask_tcp(int(site.addresses[1].rpartition(":")[2])).endswith(PAGE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    site.stop()
    assert not path.exists()


def test_a_socket_that_a_killed_agent_left_is_replaced(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    site.open([f"unix:{path}"])
    assert ask_unix(path).startswith(b"HTTP/1.0 200")


def test_a_socket_that_somebody_else_serves_is_left_to_them(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        site.open([f"unix:{path}"])
        assert errors(caplog)[0].startswith(f"listen on unix:{path}: somebody else listens there; no metrics")
        site.stop()
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "no directory"])
def test_what_is_not_a_socket_is_never_removed(
    site: Site, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "web.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("elsewhere")
    else:
        path = tmp_path / "absent/web.sock"
    site.open([f"unix:{path}"])
    assert len(errors(caplog)) == 1
    assert path.is_symlink() or path.exists() or kind == "no directory"


def test_a_socket_that_replaced_ours_stays(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    site.open([f"unix:{path}"])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        site.stop()
        assert path.exists()


@pytest.mark.parametrize("text", ["unix:", "unix:web.sock", "unix:/" + "x" * 107, "unix:/a\nb", "unix:@abstract"])
def test_not_a_unix_address(text: str) -> None:
    with pytest.raises(ValueError, match="has"):
        addresses().accept([text])
    assert addresses().accept(["unix:/run/kea-agent/web.sock"]) == ("unix:/run/kea-agent/web.sock",)


# -- systemd's sockets


@contextlib.contextmanager
def activated(kind: str, path: Path, shift: int = 0) -> Iterator[tuple[int, str]]:
    """A process that was started with a socket; its port and what it says of its addresses."""
    command = [sys.executable, "-c", PARENT, kind, str(path), str(shift), CHILD]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        number = int(process.stdout.readline())
        yield number, process.stdout.readline()
        process.communicate(timeout=10)


def test_a_port_from_systemd_is_served_instead_of_the_addresses(tmp_path: Path) -> None:
    with activated("tcp", tmp_path / "s") as (number, told):
        assert told == f"('127.0.0.1:{number}',) []\n"
        assert ask_tcp(number).endswith(b"kea_up 1\n")


def test_a_unix_socket_from_systemd_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with activated("unix", path) as (_, told):
        assert told == f"('unix:{path}',) []\n"
        assert ask_unix(path).endswith(b"kea_up 1\n")
    assert path.exists()


def test_a_socket_for_another_process_is_not_taken(tmp_path: Path) -> None:
    with activated("tcp", tmp_path / "s", shift=1) as (number, told):
        assert not told.startswith(f"('127.0.0.1:{number}'")


def test_a_socket_that_does_not_listen_is_said_and_left(tmp_path: Path) -> None:
    with activated("udp", tmp_path / "s") as (_, told):
        assert told == "descriptor 3 from systemd is not a listening socket, as ListenStream= makes one\n"


# -- what it bears


# A thread that has given its place to the next one is counted until it is gone.
MOST_THREADS = connections.MAX_CONNECTIONS + 4


class Watch:
    """The most threads for requests that this process has had since."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self.threads = 0
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.002):
            names = [thread.name for thread in threading.enumerate()]
            self.threads = max(self.threads, names.count("request"))


def flood(port: int, count: int, sent: bytes, seconds: float = 30) -> tuple[list[bytes], float]:
    """`count` clients at once in one thread: what each was answered, and how long all of it took."""
    answers = dict.fromkeys(range(count), b"")
    begin = time.monotonic()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number in range(count):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            selector.register(client, selectors.EVENT_WRITE, number)
        while selector.get_map() and time.monotonic() - begin < seconds:
            for key, events in selector.select(1):
                client = key.fileobj  # type: ignore[assignment]
                if events & selectors.EVENT_WRITE:
                    with contextlib.suppress(OSError):
                        client.send(sent)
                    selector.modify(client, selectors.EVENT_READ, key.data)
                elif _received(client, answers, key.data):
                    selector.unregister(client)
    return list(answers.values()), time.monotonic() - begin


def _received(client: socket.socket, answers: dict[int, bytes], number: int) -> bool:
    """Whether that was the end."""
    try:
        more = client.recv(65536)
    except OSError:
        return True
    answers[number] += more
    return not more


@pytest.fixture
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_files")
def test_a_thousand_scrapers_at_once_are_all_served(port: int) -> None:
    with Watch() as watch:
        answers, seconds = flood(port, 1000, REQUEST)
    assert sum(answer.endswith(PAGE) for answer in answers) == 1000
    assert watch.threads <= MOST_THREADS
    print(f"1,000 scrapers: {seconds:.2f} s, at most {watch.threads} threads")


@pytest.mark.usefixtures("_many_files")
def test_a_thousand_silent_ones_do_not_keep_a_scraper_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HURRY_SECONDS", 0.1)
    monkeypatch.setattr("kea_agent.web.server.TICK_SECONDS", 0.05)
    with Watch() as watch, contextlib.ExitStack() as stack:
        for _ in range(1000):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        begin = time.monotonic()
        assert ask_tcp(port).endswith(PAGE)
        assert time.monotonic() - begin < 8
    assert watch.threads <= MOST_THREADS


def test_a_client_of_one_byte_a_second(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 2.5)
    with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in REQUEST:
                client.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if client.recv(1) == b"":
                        break
        assert 2 < time.monotonic() - begin < 5


def test_a_client_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTION_SECONDS", 1.0)
    big = Site(render=lambda: (b"x" * 50_000_000, "text/plain"), statuses=list, ready=lambda: True, environ={})
    big.open(["127.0.0.1:0"])
    try:
        number = int(big.addresses[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", number), timeout=5) as client:
            client.sendall(REQUEST)
            time.sleep(2)
            with contextlib.suppress(ConnectionError):
                taken = sum(len(more) for more in iter(lambda: client.recv(1 << 20), b""))
                assert taken < 50_000_000
        assert [thread.name for thread in threading.enumerate() if thread.name == "request"] == []
    finally:
        big.stop()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * request.MAX_HEAD_BYTES, b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 99 + b"C: " + b"x" * 16000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * request.MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * (request.MAX_HEAD_BYTES - 100) + b"\r\n\r\n", b"200"),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000, b"200"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * 500_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_sizes(port: int, sent: bytes, status: bytes) -> None:
    """The answer arrives although what was sent is not read to its end."""
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert talk(client, sent).split(b" ")[1] == status


def test_nothing_is_left_behind(port: int) -> None:
    ask_tcp(port)
    time.sleep(0.2)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        ask_tcp(port)
    time.sleep(0.2)
    assert len(os.listdir("/proc/self/fd")) == before
