# SPDX-License-Identifier: MPL-2.0
"""The sockets of a process as the kernel has them: /proc/PID/net, nothing else (proc(5)).

Open to every user; /proc/PID/net is the process's own network namespace, so a Kea in another one is seen as it is there.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kea_agent.proc import PROC, status_field

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


def sockets(pid: int, proc: Path = Path(PROC), *, tcp: bool = False) -> Sockets:
    """The sockets that are open where the process lives; a process that is gone has none.

    TCP only when asked for: the kernel walks its whole table for it, 4 ms a family on an idle host.
    """
    net = proc / str(pid) / "net"
    uid = (status_field(pid, "Uid", proc) or "-1").split()[0]
    return Sockets(
        udp=_inet(net / "udp") | _inet(net / "udp6"),
        tcp=_inet(net / "tcp", _TCP_LISTEN) | _inet(net / "tcp6", _TCP_LISTEN) if tcp else {},
        packet=_packet(net, uid),
        link_local=_link_local(net / "if_inet6"),
    )


def taken(pid: int, proc: Path = Path(PROC)) -> frozenset[tuple[str, int]]:
    """Address and port of every TCP listener where the process lives that belongs to another user than its own."""
    net = proc / str(pid) / "net"
    uid = status_field(pid, "Uid", proc)
    rows = [*_rows(net / "tcp"), *_rows(net / "tcp6")] if uid else []
    return frozenset(_endpoint(row[1]) for row in rows if row[3] == _TCP_LISTEN and row[7] != str(uid).split()[0])


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
    return frozenset(names.get(row[4]) or _name(row[4]) for row in _rows(net / "packet") if row[7] == uid)


def _name(index: str) -> str:
    """Of an interface that is down, which speaks nothing: as it is called in our own network namespace."""
    try:
        return socket.if_indextoname(int(index))
    except OSError:
        return index


def _interface_indexes(net: Path) -> list[list[str]]:
    # igmp lists every interface that speaks IPv4 as "INDEX NAME : ...", if_inet6 the IPv6 ones as hex indexes.
    # igmp pads names to ten characters, so the colon sticks to longer ones; no name may hold a colon.
    four = [[row[0], row[1].rstrip(":")] for row in _rows(net / "igmp") if row and row[0].isdigit()]
    six = [[str(int(row[1], 16)), row[5]] for row in _rows(net / "if_inet6", header=False)]
    return four + six


def _link_local(path: Path) -> dict[str, str]:
    found = ((row[5], ipaddress.ip_address(bytes.fromhex(row[0]))) for row in _rows(path, header=False))
    return {name: str(address) for name, address in found if address.is_link_local}
