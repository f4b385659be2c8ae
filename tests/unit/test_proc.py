# SPDX-License-Identifier: MPL-2.0
"""proc(5): captured pieces of it under tmp_path, and the real one of this very process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kea_agent import proc, sockets

PID = 4203
UDP_HEAD = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
TCP_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
PACKET_HEAD = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
IGMP_HEAD = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
FIXTURE = {
    "status": "Name:\tkea-dhcp4\nState:\tS (sleeping)\nUid:\t101\t101\t101\t101\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000004003\n",
    "comm": "kea-dhcp4\n",
    "cmdline": "/usr/sbin/kea-dhcp4\0-c\0/etc/kea/kea-dhcp4.conf\0",
    "net/udp": UDP_HEAD
    + "  123: 010200C0:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 23456 2 0000000000000000 0\n"
    + " 4711: 00000000:D109 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 23457 2 0000000000000000 0\n",
    "net/udp6": UDP_HEAD
    + "  222: 000080FE00000000FF0000FC010000FE:0223 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 34567 2 0000000000000000 0\n",
    "net/tcp": TCP_HEAD
    + "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 45678 1 0000000000000000 100 0 0 10 0\n"
    + "   1: 0100007F:1F41 0100007F:8000 01 00000000:00000000 00:00000000 00000000   101        0 45679 1 0000000000000000 100 0 0 10 0\n",
    "net/packet": PACKET_HEAD
    + "00000000a1b2c3d4 3      3    0003   2     1 0      101    56789\n"
    + "00000000a1b2c3d5 3      3    0003   3     1 0      101    56790\n"
    + "00000000a1b2c3d6 3      3    0003   4     1 0      0      56791\n"
    + "00000000a1b2c3d7 3      3    0003   9     1 0      101    56792\n",
    "net/igmp": IGMP_HEAD
    + "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
    + "2\teth0      :     2      V3\n\t\t\t\tFB0000E0     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
    + "3\tenx001122334455:     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n",
    "net/if_inet6": "fe80000000000000fc0000fffe000001 02 40 20 80     eth0\n"
    "20010db8000000000000000000000001 02 40 00 80     eth0\n"
    "00000000000000000000000000000001 01 80 10 80       lo\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FIXTURE.items():
        path = tmp_path / str(PID) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@contextmanager
def child(code: str) -> Iterator[int]:
    """A Python child that has run `code` and then waits for its standard input to end."""
    code += "\nimport sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_captured_sockets(root: Path) -> None:
    seen = sockets.sockets(PID, root, tcp=True)
    assert seen.udp == {
        ("192.0.2.1", 67): "23456",
        ("0.0.0.0", 53513): "23457",
        ("fe80::fc00:ff:fe00:1", 547): "34567",
    }
    assert seen.tcp == {("127.0.0.1", 8000): "45678"}
    assert seen.link_local == {"eth0": "fe80::fc00:ff:fe00:1"}


def test_packet_sockets_are_those_of_the_processs_user_by_name(root: Path) -> None:
    assert sockets.sockets(PID, root).packet == {"eth0", "enx001122334455", "9"}


def test_tcp_is_read_only_when_asked_for(root: Path) -> None:
    assert sockets.sockets(PID, root).tcp == {}


def test_listeners_of_other_users_are_told_from_the_processs_own(root: Path) -> None:
    assert sockets.taken(PID, root) == frozenset()
    tcp = root / str(PID) / "net/tcp"
    tcp.write_text(tcp.read_text().replace("   101        0 45678", "     0        0 45678"))
    assert sockets.taken(PID, root) == {("127.0.0.1", 8000)}
    assert sockets.taken(PID + 1, root) == frozenset()


def test_names_that_are_no_text_are_no_obstacle(root: Path) -> None:
    (root / str(PID) / "net/if_inet6").write_bytes(b"fe800000000000000000000000000001 05 40 20 80   br\xff\n")
    assert sockets.sockets(PID, root).link_local == {"br\ufffd": "fe80::1"}


def test_a_kernel_without_ipv6(root: Path) -> None:
    for name in ("udp6", "if_inet6"):
        (root / str(PID) / "net" / name).unlink()
    seen = sockets.sockets(PID, root)
    assert set(seen.udp) == {("192.0.2.1", 67), ("0.0.0.0", 53513)}
    assert seen.link_local == {}


def test_captured_process(root: Path) -> None:
    assert proc.catches_sighup(PID, root)
    assert proc.is_alive(PID, root)
    assert proc.command_name(PID, root) == "kea-dhcp4"
    assert proc.command_line(PID, root) == ("/usr/sbin/kea-dhcp4", "-c", "/etc/kea/kea-dhcp4.conf")


@pytest.mark.parametrize(
    ("mask", "caught"), [("0000000000000000", False), ("0000000000000001", True), ("fffffffffffffffe", False)]
)
def test_sighup_is_the_lowest_bit(root: Path, mask: str, caught: bool) -> None:
    (root / str(PID) / "status").write_text(f"SigIgn:\t0000000000000001\nSigCgt:\t{mask}\n")
    assert proc.catches_sighup(PID, root) is caught


@pytest.mark.parametrize("state", ["Z (zombie)", "X (dead)"])
def test_a_zombie_is_not_alive(root: Path, state: str) -> None:
    (root / str(PID) / "status").write_text(f"State:\t{state}\n")
    assert not proc.is_alive(PID, root)


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    assert not proc.catches_sighup(PID, tmp_path)
    assert not proc.is_alive(PID, tmp_path)
    assert proc.command_name(PID, tmp_path) == ""
    assert proc.command_line(PID, tmp_path) == ()
    assert proc.started_at(PID, tmp_path) is None
    assert sockets.sockets(PID, tmp_path, tcp=True) == sockets.Sockets({}, {}, frozenset(), {})


# -- the real one


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")],
)
def test_a_real_udp_socket_and_its_inode(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.bind((address, 0))
        port = opened.getsockname()[1]
        assert sockets.sockets(os.getpid()).udp[address, port] == str(os.fstat(opened.fileno()).st_ino)
    assert (address, port) not in sockets.sockets(os.getpid()).udp


def test_a_real_tcp_socket_counts_when_it_listens() -> None:
    with socket.socket() as opened, socket.socket() as client:
        opened.bind(("127.0.0.1", 0))
        endpoint = opened.getsockname()
        assert endpoint not in sockets.sockets(os.getpid(), tcp=True).tcp
        opened.listen()
        client.connect(endpoint)
        seen = sockets.sockets(os.getpid(), tcp=True).tcp
        assert endpoint in seen
        assert client.getsockname() not in seen


def test_a_real_packet_socket() -> None:
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    except PermissionError:
        pytest.skip("packet sockets need CAP_NET_RAW")
    with opened:
        opened.bind(("lo", 0x0800))
        assert "lo" in sockets.sockets(os.getpid()).packet


def test_a_real_child_with_a_handler_and_one_without() -> None:
    with child("import signal; signal.signal(signal.SIGHUP, print)") as handles, child("") as does_not:
        assert proc.catches_sighup(handles)
        assert not proc.catches_sighup(does_not)


def test_ignoring_sighup_is_not_handling_it() -> None:
    with child("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)") as pid:
        assert not proc.catches_sighup(pid)


def test_a_real_zombie() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not proc.is_alive(process.pid)
        assert proc.command_line(process.pid) == ()
        assert sockets.sockets(process.pid).udp == {}


def test_this_process() -> None:
    assert proc.is_alive(os.getpid())
    assert proc.command_line(os.getpid()) == tuple(sys.orig_argv)


def test_when_a_child_was_started() -> None:
    before = time.time()
    with child("") as pid:
        started = proc.started_at(pid)
        assert started is not None
        assert before - 0.05 <= started <= time.time() + 0.05


def test_a_process_name_cannot_break_the_reading_of_its_start(root: Path) -> None:
    fields = " ".join(["S", *["0"] * 18, "100", "0"])
    (root / str(PID) / "stat").write_text(f"{PID} (a) b (c) {fields}\n")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    started = proc.started_at(PID, root)
    assert started is not None
    assert abs(started - booted - 100 / os.sysconf("SC_CLK_TCK")) < 0.5


def test_what_this_process_uses() -> None:
    used = proc.usage(os.getpid())
    assert used is not None
    assert 1 << 20 < used.memory_bytes < 1 << 40
    assert 0 < used.cpu_seconds < 3600
    assert used.threads >= 1
    assert proc.usage(2**22 + 1) is None
