# SPDX-License-Identifier: MPL-2.0
"""sd_notify against a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kea_agent.notify import Notifier

# sdnotify never closes its socket; the agent has one for as long as it lives.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        yield listening


def heard(manager: socket.socket) -> str:
    return manager.recv(65536).decode()


def test_what_is_said(manager: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("watching 4 files")
    assert heard(manager) == "READY=1\nSTATUS=watching 4 files"
    notifier.status("dhcp4: applied")
    assert heard(manager) == "STATUS=dhcp4: applied"
    notifier.alive()
    assert heard(manager) == "WATCHDOG=1"
    notifier.stopping()
    assert heard(manager) == "STOPPING=1\nSTATUS="


def test_reloading_tells_the_time(manager: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier().reloading()
    first, second = heard(manager).split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/etc/kea/gr\u00fc\u00df.conf \u2192 \U0001f427", "/etc/kea/gr\u00fc\u00df.conf \u2192 \U0001f427"),
        ("two\nREADY=1\r\n\tlines ", "two READY=1 lines"),
        ("/etc/kea/\udcfc.conf", "/etc/kea/\\xfc.conf"),
        ("", ""),
    ],
)
def test_text(manager: socket.socket, text: str, said: str) -> None:
    Notifier().status(text)
    assert heard(manager) == f"STATUS={said}"


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0kea-agent-test-{os.getpid()}")
        listening.settimeout(5)
        os.environ["NOTIFY_SOCKET"] = f"@kea-agent-test-{os.getpid()}"
        Notifier().alive()
        assert heard(listening) == "WATCHDOG=1"


def test_without_a_service_manager_nothing_happens() -> None:
    notifier = Notifier()
    assert notifier.watchdog_seconds is None
    notifier.ready("x")
    notifier.stopping()


def test_a_service_manager_that_went_away(manager: socket.socket) -> None:
    notifier = Notifier()
    manager.close()
    notifier.alive()


def test_children_do_not_inherit_it(manager: socket.socket) -> None:
    os.environ["WATCHDOG_USEC"] = "1000000"
    Notifier()
    assert [name for name in VARIABLES if name in os.environ] == []


@pytest.mark.parametrize(
    ("usec", "pid_offset", "seconds"),
    [
        ("30000000", None, 30.0),
        ("1500000", 0, 1.5),
        ("30000000", 1, None),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
        ("-5", None, None),
        ("\u00b2", None, None),
    ],
)
def test_the_watchdog(usec: str, pid_offset: int | None, seconds: float | None) -> None:
    os.environ["WATCHDOG_USEC"] = usec
    if pid_offset is not None:
        os.environ["WATCHDOG_PID"] = str(os.getpid() + pid_offset)
    assert Notifier().watchdog_seconds == seconds
