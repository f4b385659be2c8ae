# SPDX-License-Identifier: MPL-2.0
"""The client of the rehearsal's socket, with every kind of server behind it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kea_agent import keaconf, rehearsal
from kea_agent.candidate import SupersededError
from kea_agent.daemons import DHCP4
from kea_agent.rehearsal import Rehearsal, Standing

PASSED = {"standing": "passed", "reason": "it serves", "hash": "AB", "may_pass_later": False, "config_bytes": 0}
CONFIG = json.dumps({"result": 0, "arguments": {"Dhcp4": {"a": 1}}}).encode()


def document(tmp_path: Path, text: str = '{"Dhcp4": {}}') -> keaconf.Document:
    path = tmp_path / "kea-dhcp4.conf"
    path.write_text(text, errors="surrogateescape")
    return keaconf.read(str(path), DHCP4.root_key)


@contextmanager
def served(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[list[bytes]]:
    """A server for one connection; what it was sent is in the list afterwards."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                seen.append(_request(connection))
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield seen
        thread.join(10)
        assert not thread.is_alive()


def _request(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    head, _, rest = received.partition(b"\n")
    while len(rest) < json.loads(head)["bytes"]:
        rest += connection.recv(65536)
    return head + b"\n" + rest


def says(head: dict[str, Any], config: bytes = b"") -> Callable[[socket.socket], None]:
    line = json.dumps({**head, "config_bytes": len(config)}).encode() + b"\n" + config
    return lambda connection: connection.sendall(line)


def ask(tmp_path: Path, answer: Callable[[socket.socket], None], timeout: float = 5.0) -> Rehearsal:
    path = tmp_path / "socket"
    with served(path, answer):
        return rehearsal.rehearse(DHCP4, document(tmp_path), timeout=timeout, socket_path=str(path))


def test_what_passed_has_hash_and_config(tmp_path: Path) -> None:
    found = ask(tmp_path, says(PASSED, CONFIG))
    assert (found.standing, found.reason, found.hash) == (Standing.PASSED, "it serves", "AB")
    assert found.config == {"Dhcp4": {"a": 1}}
    assert found.is_whole
    assert not found.may_pass_later


def test_a_server_that_does_not_tell_its_configuration_has_passed(tmp_path: Path) -> None:
    refusal = json.dumps([{"result": 1, "text": "illegal severity: 0"}]).encode()
    found = ask(tmp_path, says(PASSED, refusal))
    assert (found.standing, found.config) == (Standing.PASSED, None)


@pytest.mark.parametrize(("said", "meant"), [(2.5, 2.5), (3, 3.0), (None, 0.0), ("long", 0.0)])
def test_what_loading_took(tmp_path: Path, said: object, meant: float) -> None:
    assert ask(tmp_path, says({**PASSED, "cpu_seconds": said}, CONFIG)).cpu_seconds == meant


def test_an_answer_that_is_wanted_no_more_is_not_waited_for(tmp_path: Path) -> None:
    path, gone = tmp_path / "socket", threading.Event()

    def keep_waiting(connection: socket.socket) -> None:
        connection.settimeout(10)
        if connection.recv(1) == b"":
            gone.set()

    def stop() -> None:
        raise SupersededError("something else matters more")

    with served(path, keep_waiting), pytest.raises(SupersededError):
        rehearsal.rehearse(DHCP4, document(tmp_path), timeout=30.0, go_on=stop, socket_path=str(path))
    assert gone.is_set(), "whoever rehearses sees that the client went, and stops"


def test_a_list_of_one_is_what_http_gives(tmp_path: Path) -> None:
    assert ask(tmp_path, says(PASSED, b"[" + CONFIG + b"]")).config == {"Dhcp4": {"a": 1}}


def test_what_was_refused_says_why(tmp_path: Path) -> None:
    found = ask(tmp_path, says({**PASSED, "standing": "refused", "reason": "no", "hash": None, "may_pass_later": True}))
    assert (found.standing, found.reason, found.hash, found.config) == (Standing.REFUSED, "no", None, None)
    assert found.may_pass_later


def test_the_request_has_the_files_own_bytes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    text = b'{"Dhcp4": {"user-context": {"a": "\xe9\xc3\xa9"}}}'.decode(errors="surrogateescape")
    with served(path, says(PASSED)) as seen:
        rehearsal.rehearse(DHCP4, document(tmp_path, text), timeout=7.0, socket_path=str(path))
    head, _, rest = seen[0].partition(b"\n")
    assert json.loads(head) == {"daemon": "dhcp4", "bytes": len(rest), "seconds": 7.0}
    assert b"\xe9\xc3\xa9" in rest


def test_secrets_of_the_file_are_not_in_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    text = '{"Dhcp4": {"hosts-database": {"type": "memfile", "password": "verysecret"}}}'
    refusal = says({**PASSED, "standing": "refused", "reason": "verysecret is wrong", "hash": None})
    with served(path, refusal):
        found = rehearsal.rehearse(DHCP4, document(tmp_path, text), timeout=5.0, socket_path=str(path))
    assert found.reason == "***** is wrong"


def test_what_had_a_database_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    text = '{"Dhcp4": {"lease-database": {"type": "mysql", "name": "kea"}}}'
    with served(path, says(PASSED)) as seen:
        found = rehearsal.rehearse(DHCP4, document(tmp_path, text), timeout=5.0, socket_path=str(path))
    assert b"mysql" not in seen[0]
    assert not found.is_whole


STRANGE: dict[str, bytes] = {
    "nothing": b"",
    "half a line": b'{"standing": "pas',
    "no JSON": b"hello\n",
    "a number": b"7\n",
    "no standing": b'{"reason": "x", "config_bytes": 0}\n',
    "another standing": b'{"standing": "maybe", "reason": "x", "config_bytes": 0}\n',
    "less than announced": json.dumps({**PASSED, "config_bytes": 9}).encode() + b"\n{}",
    "a configuration that is none": json.dumps({**PASSED, "config_bytes": 2}).encode() + b"\n[]",
    "a configuration without arguments": json.dumps({**PASSED, "config_bytes": 2}).encode() + b"\n{}",
    "deep": b"[" * 200000 + b"\n",
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_answer_is_no_verdict(tmp_path: Path, name: str) -> None:
    found = ask(tmp_path, lambda connection: connection.sendall(STRANGE[name]))
    assert found.standing is Standing.NOT_REHEARSED
    assert (found.hash, found.config) == (None, None)
    assert found.reason


def test_a_silent_server_is_not_waited_for_beyond_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_SPARE_SECONDS", 0.1)
    silence = threading.Event()
    path = tmp_path / "socket"

    def wait(_: socket.socket) -> None:
        silence.wait(10)

    with served(path, wait):
        found = rehearsal.rehearse(DHCP4, document(tmp_path), timeout=0.1, socket_path=str(path))
        silence.set()
    assert found.standing is Standing.NOT_REHEARSED
    assert "in time" in found.reason
    assert found.seconds < 5


def test_an_endless_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MAX_REPLY_BYTES", 1 << 20)

    def endless(connection: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection.sendall(b"x" * 65536)

    found = ask(tmp_path, endless)
    assert found.standing is Standing.NOT_REHEARSED
    assert "larger than" in found.reason


def test_no_socket(tmp_path: Path) -> None:
    found = rehearsal.rehearse(DHCP4, document(tmp_path), timeout=1.0, socket_path=str(tmp_path / "none"))
    assert found.standing is Standing.NOT_REHEARSED
    assert "systemctl start kea-agent-rehearse.socket" in found.reason


def test_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    found = rehearsal.rehearse(DHCP4, document(tmp_path), timeout=1.0, socket_path=str(path))
    assert (found.standing, "connection refused" in found.reason) == (Standing.NOT_REHEARSED, True)
