# SPDX-License-Identifier: MPL-2.0
"""The agent's own socket: real clients, real credentials."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kea_agent import local
from kea_agent.cli import main as kea_agent
from kea_agent.daemons import DHCP4
from kea_agent.errors import AgentError
from kea_agent.local import Ended, Handler, LocalServer, ask, ask_for_passes
from kea_agent.outcome import Outcome
from kea_agent.verbs import changing

NOBODY = 65534
CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(b'{"verb": "reload"}\\n')
    print(connection.makefile().readline(), end="")
"""


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"heard": request}


def serve(path: Path, client: Callable[[], Any], handle: Handler = echo, *, request_timeout: float = 5.0) -> Any:
    """Run the server for as long as a client, in a thread of its own, speaks to it."""

    async def run() -> Any:
        server = LocalServer(path, handle, request_timeout=request_timeout)
        await server.start()
        try:
            return await asyncio.to_thread(client)
        finally:
            server.stop()
            await quiet()

    return asyncio.run(run())


async def quiet() -> None:
    """Let the connections' tasks end."""
    others: set[Awaitable[Any]] = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def raw(path: Path, request: bytes, *, end: bool = False) -> dict[str, Any]:
    """Send bytes and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as reader:
            return dict(json.loads(reader.readline()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


def test_asking(path: Path) -> None:
    request = {"verb": "reload", "daemons": ["dhcp4"], "path": "/etc/kea/gr\u00fc\u00df\udcfc"}
    assert serve(path, lambda: ask(request, timeout=5, path=path)) == {"heard": request}


def test_only_the_owner_may_connect_and_the_umask_is_as_it_was(path: Path) -> None:
    umask = os.umask(0o022)
    try:
        mode = serve(path, path.stat).st_mode
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(umask)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_the_socket_is_taken_away(path: Path) -> None:
    serve(path, lambda: None)
    assert not path.exists()


def test_what_a_killed_agent_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert serve(path, lambda: ask({}, timeout=5, path=path)) == {"heard": {}}


def test_stopping_what_never_started(path: Path) -> None:
    LocalServer(path, echo).stop()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"garbage\n", "not one line of JSON"),
        (b"\xff\xfe\n", "not one line of JSON"),
        (b"\n", "not one line of JSON"),
        (b"[" * 50_000 + b"\n", "not one line of JSON"),
        (b'"' + b"x" * 200_000 + b'"\n', "not one line of JSON"),
        (b"[1]\n", "the request is not a JSON object"),
        (b"null\n", "the request is not a JSON object"),
    ],
)
def test_requests_that_are_none(path: Path, request_: bytes, words: str) -> None:
    assert words in serve(path, lambda: raw(path, request_))["error"]


def test_a_request_cut_off(path: Path) -> None:
    assert "not one line of JSON" in serve(path, lambda: raw(path, b'{"verb', end=True))["error"]


def test_a_request_that_never_ends(path: Path) -> None:
    answer = serve(path, lambda: raw(path, b'{"verb'), request_timeout=0.1)
    assert answer == {"error": "no whole request within 0.1 s"}


def test_a_client_that_goes_away_hurts_nobody(path: Path) -> None:
    def rude() -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
        return ask({}, timeout=5, path=path)

    assert serve(path, rude) == {"heard": {}}


def test_a_refusal_reaches_the_client_as_an_error(path: Path) -> None:
    async def refuse(request: dict[str, Any]) -> dict[str, Any]:
        raise AgentError("no daemon is called dhcp5")

    with pytest.raises(AgentError, match=r"^no daemon is called dhcp5$"):
        serve(path, lambda: ask({}, timeout=5, path=path), refuse)


@pytest.mark.parametrize("error", [ValueError("handler"), TimeoutError("handler")])
def test_a_bug_in_the_handler_is_not_blamed_on_the_request(path: Path, error: Exception) -> None:
    async def fail(request: dict[str, Any]) -> dict[str, Any]:
        raise error

    with pytest.raises(AgentError, match=r"a mistake in the agent .* ended a request"):
        serve(path, lambda: ask({}, timeout=5, path=path), fail)


def test_no_agent(path: Path) -> None:
    with pytest.raises(AgentError, match="the agent is not running"):
        ask({}, timeout=1, path=path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(AgentError, match="the agent is not running"):
        ask({}, timeout=1, path=path)


def test_an_agent_that_hangs(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        started = time.monotonic()
        with pytest.raises(AgentError, match=r"did not answer within 0\.1 s"):
            ask({}, timeout=0.1, path=path)
        assert time.monotonic() - started < 5


@contextlib.contextmanager
def answering(path: Path, *pieces: bytes, pause: float = 0.0, ends: bool = True) -> Iterator[None]:
    """Somebody else in the agent's place, who says this whatever he is asked."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            if not ends:
                connection.recv(1)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def test_an_answer_that_trickles_in_has_one_deadline_for_all_of_it(path: Path) -> None:
    with answering(path, *[b" "] * 40, pause=0.05), pytest.raises(AgentError, match=r"did not answer within 0\.5 s"):
        ask({}, timeout=0.5, path=path)


def test_an_answer_without_an_end_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MAX_ANSWER_BYTES", 1 << 20)
    with answering(path, *[b" " * 65536] * 1000), pytest.raises(AgentError, match="more than 1048576 bytes"):
        ask({}, timeout=60, path=path)


def test_an_answer_in_pieces_is_put_together(path: Path) -> None:
    with answering(path, b'{"a"', b": 1", b"}\n", pause=0.05, ends=False):
        assert ask({}, timeout=60, path=path) == {"a": 1}


@pytest.mark.parametrize("answer", [b"[]\n", b"null\n", b"{\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"a": 1}{}\n'])
def test_answers_that_are_none(path: Path, answer: bytes) -> None:
    with answering(path, answer), pytest.raises(AgentError, match=r"answer cannot be read: .*kea-agent status tells"):
        ask({}, timeout=60, path=path)


GOOD = {"outcome": "applied", "reason": "it serves", "at": 1.0}


@pytest.mark.parametrize(
    "results",
    [
        None,
        [],
        {},
        {"dhcp6": GOOD},
        {"dhcp4": None},
        {"dhcp4": []},
        {"dhcp4": {}},
        {"dhcp4": GOOD | {"outcome": "new"}},
        {"dhcp4": GOOD | {"outcome": []}},
        {"dhcp4": GOOD | {"at": 1e300}},
        {"dhcp4": {"outcome": "applied", "at": 1}},
        {"dhcp4": GOOD, "dhcp6": 1},
    ],
)
def test_answers_that_do_not_tell_how_a_pass_ended(path: Path, results: Any) -> None:
    answer = json.dumps({"results": results}).encode() + b"\n"
    with answering(path, answer), pytest.raises(AgentError, match="answer cannot be read"):
        ask_for_passes(["dhcp4"], again=False, timeout=60, path=path)


def test_how_a_pass_ended(path: Path) -> None:
    async def handle(request: dict[str, Any]) -> dict[str, Any]:
        assert request == {"verb": "reload", "daemons": [], "again": True, "force": False}
        return {"results": {"dhcp4": GOOD}}

    ended = serve(path, lambda: ask_for_passes([], again=True, timeout=60, path=path), handle)
    assert ended == {"dhcp4": Ended(Outcome.APPLIED, "it serves", 1.0)}


def everybody_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs, too, find the agent there."""
    for function in (ask, ask_for_passes):
        assert function.__kwdefaults__
        monkeypatch.setitem(function.__kwdefaults__, "path", path)


@pytest.mark.parametrize("answer", [b"{}\n", b'{"results": {"dhcp4": 1}}\n', b"[]\n", b""])
@pytest.mark.parametrize("words", [["reload", "dhcp4"], ["metrics"]])
def test_verbs_tell_what_cannot_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], answer: bytes
) -> None:
    everybody_asks(path, monkeypatch)
    with answering(path, answer):
        assert kea_agent(words) == 3
    assert capsys.readouterr().err.startswith("kea-agent: ")


def test_a_file_that_was_written_is_told_of_whatever_the_agent_answers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody_asks(path, monkeypatch)
    with answering(path, b'{"results": {}}\n'):
        result = changing.ask_for_pass(changing.Subject(DHCP4, None, Path("/etc/kea/kea-dhcp4.conf")))
    assert (result.outcome, result.is_good) == (None, False)
    assert "it may have done what it was asked" in str(result)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """In a directory that everybody can enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "agent.sock")


def as_nobody(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["/usr/bin/python3", "-I", "-S", "-c", CLIENT, str(path)]
    return subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_else_cannot_connect(open_path: Path) -> None:
    assert "PermissionError" in serve(open_path, lambda: as_nobody(open_path)).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_else_is_not_heard_even_if_the_mode_is_wrong(open_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    async def listen(request: dict[str, Any]) -> dict[str, Any]:
        heard.append(request)
        return {}

    def client() -> subprocess.CompletedProcess[str]:
        open_path.chmod(0o666)
        return as_nobody(open_path)

    answer = json.loads(serve(open_path, client, listen).stdout)
    reason = "may not ask the agent for anything: only root and the agent's own user"
    assert answer == {"error": f"user {NOBODY} {reason}"}
    assert heard == []
