# SPDX-License-Identifier: MPL-2.0
"""What the kernel says of a process and its sockets: proc(5), nothing else.

Everything read here is open to every user. /proc/PID/fd, exe and environ are not: Kea holds capabilities that
the agent lacks, and ptrace(2) rules keep them shut even for the same user. /proc/PID/net is the process's own
network namespace, so a Kea in another one is seen as it is there.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TCP_LISTEN = "0A"


@dataclass(frozen=True)
class Sockets:
    """Open sockets in a process's network namespace: (address, port) to inode.

    An inode that changed is a socket that was closed and opened again. `packet` holds the interface names with an AF_PACKET socket of the process's user.
    """

    udp: Mapping[tuple[str, int], str]
    tcp: Mapping[tuple[str, int], str]
    packet: frozenset[str]
    link_local: Mapping[str, str]


@dataclass(frozen=True)
class Usage:
    """What a process has of the machine: resident memory, CPU time in user and kernel mode, threads."""

    memory_bytes: int
    cpu_seconds: float
    threads: int


def catches_sighup(pid: int, proc: Path = PROC) -> bool:
    """Whether the process handles SIGHUP; Kea installs the handler when its first configuration is loaded.

    Before that moment SIGHUP kills it (measured on 2.2.0, 2.6.3 and 3.0.4). A process that is gone catches nothing.
    """
    caught = _status_field(pid, "SigCgt", proc)
    return bool(caught and int(caught, 16) >> (signal.SIGHUP - 1) & 1)


def sockets(pid: int, proc: Path = PROC, *, tcp: bool = False) -> Sockets:
    """The sockets that are open where the process lives; a process that is gone has none.

    TCP only when asked for: the kernel walks its whole table for it, 4 ms a family on an idle host.
    """
    net = proc / str(pid) / "net"
    uid = (_status_field(pid, "Uid", proc) or "-1").split()[0]
    return Sockets(
        udp=_inet(net / "udp") | _inet(net / "udp6"),
        tcp=_inet(net / "tcp", _TCP_LISTEN) | _inet(net / "tcp6", _TCP_LISTEN) if tcp else {},
        packet=_packet(net, uid),
        link_local=_link_local(net / "if_inet6"),
    )


def command_name(pid: int, proc: Path = PROC) -> str:
    """The process's name as the kernel keeps it (15 bytes at most), empty when it is gone."""
    try:
        return (proc / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def command_line(pid: int, proc: Path = PROC) -> tuple[str, ...]:
    """The words the process was started with; empty when it is gone."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in raw.split(b"\0")[:-1])


def is_alive(pid: int, proc: Path = PROC) -> bool:
    """Whether the process is there and not a zombie."""
    return (_status_field(pid, "State", proc) or "Z")[0] not in "ZX"


def started_at(pid: int, proc: Path = PROC) -> float | None:
    """When the process was started (Unix time, to a hundredth of a second); None when it is gone."""
    try:
        after_name = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # Field 22 counts clock ticks since boot; /proc/stat's btime would be whole seconds only.
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def usage(pid: int, proc: Path = PROC) -> Usage | None:
    """What the process uses at this moment; None when it is gone."""
    try:
        after_name = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # Fields 14 and 15 are CPU time in clock ticks, 20 the threads, 24 the resident pages.
    ticks = int(after_name[11]) + int(after_name[12])
    memory = int(after_name[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(memory, ticks / os.sysconf("SC_CLK_TCK"), int(after_name[17]))


def _status_field(pid: int, name: str, proc: Path) -> str | None:
    try:
        lines = (proc / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":")), None)


def _rows(path: Path, *, header: bool = True) -> list[list[str]]:
    try:
        rows = [line.split() for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return []
    return rows[1:] if header else rows


def _inet(path: Path, state: str | None = None) -> dict[tuple[str, int], str]:
    return {_endpoint(row[1]): row[9] for row in _rows(path) if state is None or row[3] == state}


def _endpoint(text: str) -> tuple[str, int]:
    """`0100007F:0035` -> 127.0.0.1, 53: the address is 32-bit words in the machine's byte order."""
    address, port = text.split(":")
    raw = bytes.fromhex(address)
    words = (int.from_bytes(raw[i : i + 4], sys.byteorder).to_bytes(4, "big") for i in range(0, len(raw), 4))
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)


def _packet(net: Path, uid: str) -> frozenset[str]:
    # Columns: sk RefCnt Type Proto Iface R Rmem User Inode; Iface is the interface's index.
    names = {row[0]: row[1] for row in _interface_indexes(net)}
    return frozenset(names.get(row[4], row[4]) for row in _rows(net / "packet") if row[7] == uid)


def _interface_indexes(net: Path) -> list[list[str]]:
    # igmp lists every interface that speaks IPv4 as "INDEX NAME : ...", if_inet6 the IPv6 ones as hex indexes.
    # igmp pads names to ten characters, so the colon sticks to longer ones; no name may hold a colon.
    four = [[row[0], row[1].rstrip(":")] for row in _rows(net / "igmp") if row and row[0].isdigit()]
    six = [[str(int(row[1], 16)), row[5]] for row in _rows(net / "if_inet6", header=False)]
    return four + six


def _link_local(path: Path) -> dict[str, str]:
    found = ((row[5], ipaddress.ip_address(bytes.fromhex(row[0]))) for row in _rows(path, header=False))
    return {name: str(address) for name, address in found if address.is_link_local}
