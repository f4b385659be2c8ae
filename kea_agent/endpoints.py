# SPDX-License-Identifier: MPL-2.0
"""What a configuration says its daemon will have open, and what of it the kernel does not show.

Facts: a raw DHCPv4 socket (the default) is an AF_PACKET socket on each interface plus a UDP socket on the port
(pkt_filter_lpf.cc, Kea 2.2 to 3.3), never on a loopback interface; DHCPv6 listens on each interface's link-local
address; the DDNS daemon answers success to a reload although it could not bind its port (measured, 2.2.0, 3.0.4).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kea_agent.accounts import Account, read_as
from kea_agent.control import Channel, HttpChannel, TlsFiles, UnixChannel
from kea_agent.daemons import Daemon, option
from kea_agent.sockets import Sockets, sockets

RUN_DIRECTORY = "/run/kea"
_MOST_OF_A_SECRET = 4096  # bytes of a file with a user or a password


@dataclass(frozen=True)
class Endpoints:
    """The sockets that a configuration wants. `interfaces` as Kea spells them: `eth0`, `eth0/192.0.2.1`, `*`."""

    control: Channel | None
    family: int | None
    port: int
    interfaces: tuple[str, ...] = ()
    raw: bool = False
    udp: tuple[str, int] | None = None
    tcp: tuple[str, int] | None = None

    @property
    def is_anything(self) -> bool:
        """Whether there is a socket at all by which the server could be seen to run its configuration."""
        return bool(self.control or self.interfaces or self.udp or self.tcp)

    def sockets(self, pid: int) -> Sockets:
        """The open sockets of the process that these endpoints can be compared with."""
        return sockets(pid, tcp=self.tcp is not None)

    @property
    def wants_port(self) -> bool:
        """Whether a server with them has its port open."""
        return bool(self.interfaces or self.udp or self.tcp)

    def is_closed(self, sockets: Sockets) -> bool:
        """Whether no socket has the port: such a server serves nobody."""
        return not any(port == self.port for _, port in [*sockets.udp, *sockets.tcp])

    def missing(self, sockets: Sockets) -> list[str]:
        """One phrase for each socket that should be open and is not."""
        wanted = [self._interface_gap(name, sockets) for name in self.interfaces]
        wanted.append(_gap("UDP", self.udp, sockets.udp))
        wanted.append(_gap("TCP", self.tcp, sockets.tcp))
        return list(dict.fromkeys(phrase for phrase in wanted if phrase))

    def _interface_gap(self, spelled: str, sockets: Sockets) -> str | None:
        name, _, address = spelled.partition("/")
        bound = {host for host, port in sockets.udp if port == self.port and (":" in host) == (self.family == 6)}
        if not bound:
            return f"UDP port {self.port} is not open"
        if self.raw and name not in ("*", "lo") and name not in sockets.packet:
            return f"no packet socket on {name}"
        expected = _canonical(address) or (sockets.link_local.get(name) if self.family == 6 else None)
        if expected and not bound & {expected, "0.0.0.0", "::"}:  # noqa: S104 - compared with, not bound to
            return f"UDP port {self.port} is not open on {spelled} ({expected})"
        return None


def wanted(
    daemon: Daemon,
    root: Mapping[str, Any],
    argv: Sequence[str],
    environment: Mapping[str, str],
    account: Account | None = None,
) -> Endpoints:
    """Read the endpoints out of a daemon's configuration (the map under its root key); wrong types count as unset.

    Files that it names are read with the rights of `account`, the daemon's user: root has to say so.
    """
    control = control_channel(daemon, root, environment, account)
    if daemon.name == "ddns":
        udp = _address(root.get("ip-address"), root.get("port"), daemon.udp_port)
        return Endpoints(control, None, udp[1], udp=udp)
    if daemon.tcp_port is not None:
        tcp = _address(root.get("http-host"), root.get("http-port"), daemon.tcp_port)
        return Endpoints(control, None, tcp[1], tcp=tcp)
    return _dhcp(daemon, root, argv, control)


def control_channel(
    daemon: Daemon, root: Mapping[str, Any], environment: Mapping[str, str], account: Account | None = None
) -> Channel | None:
    """Where the daemon takes commands: the Control Agent over its own HTTP port, the others over a unix socket."""
    if daemon.tcp_port is not None:
        address = _address(root.get("http-host"), root.get("http-port"), daemon.tcp_port)
        return HttpChannel(*address, _credentials(root, account), _tls(root, account))
    name = _socket_name(root)
    # Relative names since 2.4.2, 2.6.3 and 2.7.9.
    return UnixChannel(os.path.join(environment.get("KEA_CONTROL_SOCKET_DIR", RUN_DIRECTORY), name)) if name else None


def _socket_name(root: Mapping[str, Any]) -> str | None:
    """From `control-sockets` (Kea 2.7.2 and later) or `control-socket` (until 3.3.0)."""
    listed = root.get("control-sockets")
    candidates = [*(listed if isinstance(listed, list) else []), root.get("control-socket")]
    names = [
        entry.get("socket-name")
        for entry in candidates
        if isinstance(entry, dict) and entry.get("socket-type", "unix") == "unix"
    ]
    return next((name for name in names if isinstance(name, str) and name), None)


def _tls(root: Mapping[str, Any], account: Account | None) -> TlsFiles | None:
    """The Control Agent speaks TLS when all three are there (Kea 1.9.6 and later)."""
    names = [root.get(key) for key in ("trust-anchor", "cert-file", "key-file")]
    files = [name for name in names if isinstance(name, str) and name]
    return TlsFiles(files[0], files[1], files[2], account) if len(files) == len(names) else None


def _credentials(root: Mapping[str, Any], account: Account | None) -> str | None:
    """`user:password` of the first basic-auth client; values may stand in files (Kea 2.2 and later)."""
    section = root.get("authentication")
    clients = section.get("clients") if isinstance(section, dict) else None
    if (
        not isinstance(section, dict)
        or not isinstance(clients, list)
        or not clients
        or not isinstance(clients[0], dict)
    ):
        return None
    directory = str(section.get("directory", "/"))
    user = _inline_or_file(clients[0], "user", directory, account)
    password = _inline_or_file(clients[0], "password", directory, account) or ""
    # Without a user the password file holds both, already joined by a colon.
    return f"{user}:{password}" if user else password or None


def _inline_or_file(client: Mapping[str, Any], key: str, directory: str, account: Account | None) -> str | None:
    if isinstance(client.get(key), str):
        return str(client[key])
    name = client.get(f"{key}-file")
    try:
        # Kea takes the first word (src/lib/util/filesystem.cc, getContent).
        data = read_as(account, os.path.join(directory, name), _MOST_OF_A_SECRET) if isinstance(name, str) else b""
    except (OSError, ValueError):
        return None
    words = data.decode(errors="surrogateescape").split()
    return words[0] if words else None


def _dhcp(daemon: Daemon, root: Mapping[str, Any], argv: Sequence[str], control: Channel | None) -> Endpoints:
    section = root.get("interfaces-config")
    section = section if isinstance(section, dict) else {}
    listed = section.get("interfaces")
    names = tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()
    is_four = daemon.name == "dhcp4"
    port = option(argv, "-p")
    return Endpoints(
        control,
        4 if is_four else 6,
        int(port) if port and port.isdecimal() else daemon.udp_port or 0,
        interfaces=names,
        raw=is_four and section.get("dhcp-socket-type", "raw") == "raw",
    )


def _address(host: object, port: object, default_port: int | None) -> tuple[str, int]:
    return (
        _canonical(host) if isinstance(host, str) and host else "127.0.0.1",
        port if isinstance(port, int) and not isinstance(port, bool) else default_port or 0,
    )


def _canonical(address: str) -> str:
    """The spelling that the kernel's tables are read into (`2001:DB8::0:1` -> `2001:db8::1`)."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _gap(kind: str, endpoint: tuple[str, int] | None, bound: Mapping[tuple[str, int], str]) -> str | None:
    if endpoint is None:
        return None
    host, port = endpoint
    everywhere = {(host, port), ("0.0.0.0", port), ("::", port)}  # noqa: S104 - compared with, not bound to
    return None if everywhere & bound.keys() else f"{kind} {host}:{port} is not open"
