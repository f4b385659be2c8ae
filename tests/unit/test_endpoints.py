# SPDX-License-Identifier: MPL-2.0
"""What a configuration wants open, and which of it is missing."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kea_agent.control import Channel, HttpChannel, UnixChannel
from kea_agent.daemons import BY_NAME, CTRL_AGENT, DAEMONS, DDNS, DHCP4, DHCP6, Daemon
from kea_agent.endpoints import Endpoints, control_channel, wanted
from kea_agent.sockets import Sockets

SOCKET = {"socket-type": "unix", "socket-name": "/run/kea/s"}
HTTP = {"socket-type": "http", "socket-address": "127.0.0.1", "socket-port": 8000}


def sockets(
    *, udp: tuple[tuple[str, int], ...] = (), tcp: tuple[tuple[str, int], ...] = (), packet: tuple[str, ...] = ()
) -> Sockets:
    inodes = {endpoint: str(inode) for inode, endpoint in enumerate((*udp, *tcp))}
    return Sockets(
        {endpoint: inodes[endpoint] for endpoint in udp},
        {endpoint: inodes[endpoint] for endpoint in tcp},
        frozenset(packet),
        {"eth0": "fe80::1", "eth1": "fe80::2"},
    )


# -- the control channel


@pytest.mark.parametrize("daemon", [DHCP4, DHCP6, DDNS])
@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({}, None),
        ({"control-socket": SOCKET}, UnixChannel("/run/kea/s")),
        ({"control-socket": {"socket-name": "/run/kea/s"}}, UnixChannel("/run/kea/s")),
        ({"control-sockets": [SOCKET]}, UnixChannel("/run/kea/s")),
        ({"control-sockets": [HTTP, SOCKET]}, UnixChannel("/run/kea/s")),
        ({"control-sockets": [HTTP]}, None),
        ({"control-sockets": []}, None),
        ({"control-socket": SOCKET | {"socket-name": "kea4-ctrl-socket"}}, UnixChannel("/run/kea/kea4-ctrl-socket")),
        # Wrong types count as unset.
        ({"control-socket": "/run/kea/s"}, None),
        ({"control-socket": [SOCKET]}, None),
        ({"control-sockets": SOCKET}, None),
        ({"control-sockets": [None, 1, [], SOCKET]}, UnixChannel("/run/kea/s")),
        ({"control-socket": SOCKET | {"socket-name": 7}}, None),
        ({"control-socket": SOCKET | {"socket-name": ""}}, None),
        ({"control-socket": SOCKET | {"socket-type": 1}}, None),
    ],
)
def test_a_servers_unix_socket(daemon: Daemon, root: dict[str, Any], expected: Channel | None) -> None:
    assert control_channel(daemon, root, {}) == expected


def test_relative_names_stand_in_the_directory_of_the_units_environment() -> None:
    root = {"control-socket": {"socket-name": "kea4"}}
    assert control_channel(DHCP4, root, {"KEA_CONTROL_SOCKET_DIR": "/srv"}) == UnixChannel("/srv/kea4")


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({}, HttpChannel("127.0.0.1", 8000)),
        ({"http-host": "192.0.2.1", "http-port": 8080}, HttpChannel("192.0.2.1", 8080)),
        ({"http-host": "2001:DB8::0:1"}, HttpChannel("2001:db8::1", 8000)),
        ({"http-host": "", "http-port": "8080"}, HttpChannel("127.0.0.1", 8000)),
        ({"http-host": ["192.0.2.1"], "http-port": True}, HttpChannel("127.0.0.1", 8000)),
        # Its control-sockets lead to the other daemons.
        ({"control-sockets": {"dhcp4": SOCKET}}, HttpChannel("127.0.0.1", 8000)),
    ],
)
def test_the_control_agents_port(root: dict[str, Any], expected: Channel) -> None:
    assert control_channel(CTRL_AGENT, root, {}) == expected


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"user": "admin", "password": "s3cret"}, "admin:s3cret"),
        ({"user": "admin"}, "admin:"),
        ({"user-file": "user", "password-file": "password"}, "file-user:file-password"),
        ({"user": "admin", "password-file": "password"}, "admin:file-password"),
        ({"password-file": "both"}, "file-user:file-password"),
        ({"user": "admin", "password-file": "latin-1"}, "admin:\udcfc"),
        ({"user": "admin", "password-file": "none"}, "admin:"),
        ({"user": "admin", "password-file": "nul\0"}, "admin:"),
        ({"user": "admin", "password-file": 1}, "admin:"),
        ({"user": 1, "password": 2}, None),
        ({}, None),
    ],
)
def test_credentials(tmp_path: Path, client: dict[str, Any], expected: str | None) -> None:
    files = {"user": b"file-user\n", "password": b" file-password\nsecond line\n", "both": b"file-user:file-password\n"}
    for name, content in {**files, "latin-1": b"\xfc\n"}.items():
        (tmp_path / name).write_bytes(content)
    section = {"type": "basic", "directory": str(tmp_path), "clients": [client]}
    channel = control_channel(CTRL_AGENT, {"authentication": section}, {})
    assert isinstance(channel, HttpChannel)
    assert channel.credentials == expected


@pytest.mark.parametrize("section", [None, [], {}, {"clients": {}}, {"clients": []}, {"clients": [None]}, "basic"])
def test_no_credentials(section: object) -> None:
    assert control_channel(CTRL_AGENT, {"authentication": section}, {}) == HttpChannel("127.0.0.1", 8000)


# -- what is wanted


@pytest.mark.parametrize(
    ("name", "root", "argv", "expected"),
    [
        ("dhcp4", {}, [], Endpoints(None, 4, 67, raw=True)),
        (
            "dhcp4",
            {"interfaces-config": {"interfaces": ["eth0", "eth1/192.0.2.1"]}},
            ["kea-dhcp4", "-c", "f"],
            Endpoints(None, 4, 67, ("eth0", "eth1/192.0.2.1"), raw=True),
        ),
        (
            "dhcp4",
            {"interfaces-config": {"interfaces": ["*"], "dhcp-socket-type": "udp"}},
            ["kea-dhcp4", "-p", "6767"],
            Endpoints(None, 4, 6767, ("*",)),
        ),
        ("dhcp4", {"interfaces-config": {"interfaces": "eth0"}}, ["kea-dhcp4", "-p", "x"], Endpoints(None, 4, 67, raw=True)),
        ("dhcp4", {"interfaces-config": ["eth0"]}, ["kea-dhcp4", "-p", "\u00b2"], Endpoints(None, 4, 67, raw=True)),
        ("dhcp4", {"interfaces-config": {"interfaces": [1, "eth0", None]}}, [], Endpoints(None, 4, 67, ("eth0",), raw=True)),
        ("dhcp6", {"interfaces-config": {"interfaces": ["eth0"]}}, [], Endpoints(None, 6, 547, ("eth0",))),
        ("ddns", {}, [], Endpoints(None, None, 53001, udp=("127.0.0.1", 53001))),
        ("ddns", {"ip-address": "::0:1", "port": 5353}, [], Endpoints(None, None, 5353, udp=("::1", 5353))),
        ("ddns", {"ip-address": 1, "port": "5353"}, [], Endpoints(None, None, 53001, udp=("127.0.0.1", 53001))),
        (
            "ctrl-agent",
            {"http-port": 8001},
            [],
            Endpoints(HttpChannel("127.0.0.1", 8001), None, 8001, tcp=("127.0.0.1", 8001)),
        ),
    ],
)  # fmt: skip
def test_wanted(name: str, root: dict[str, Any], argv: list[str], expected: Endpoints) -> None:
    assert wanted(BY_NAME[name], root, argv, {}) == expected


KEYS = st.sampled_from(
    [
        "control-socket",
        "control-sockets",
        "socket-type",
        "socket-name",
        "interfaces-config",
        "interfaces",
        "dhcp-socket-type",
        "ip-address",
        "port",
        "http-host",
        "http-port",
        "authentication",
        "clients",
        "user",
        "user-file",
        "password",
        "password-file",
        "directory",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["unix", "raw", "eth0/::"])
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(root=st.dictionaries(KEYS, JSON), argv=st.lists(st.sampled_from(["-p", "-p67", "-c", "x"]) | st.text()))
def test_no_tree_is_too_wrong(root: dict[str, Any], argv: list[str]) -> None:
    for daemon in DAEMONS:
        endpoints = wanted(daemon, root, argv, {})
        assert isinstance(endpoints.port, int)
        assert isinstance(endpoints.missing(sockets()), list)


# -- what is missing


def dhcp4(*interfaces: str, raw: bool = True) -> Endpoints:
    return Endpoints(None, 4, 67, interfaces, raw)


def dhcp6(*interfaces: str) -> Endpoints:
    return Endpoints(None, 6, 547, interfaces)


@pytest.mark.parametrize(
    ("endpoints", "opened", "missing"),
    [
        # DHCPv4, raw
        (dhcp4("eth0"), sockets(udp=(("192.0.2.1", 67),), packet=("eth0",)), []),
        (dhcp4("eth0"), sockets(udp=(("192.0.2.1", 67),)), ["no packet socket on eth0"]),
        (dhcp4("eth0"), sockets(packet=("eth0",)), ["UDP port 67 is not open"]),
        (dhcp4("eth0"), sockets(udp=(("::", 67),), packet=("eth0",)), ["UDP port 67 is not open"]),
        (dhcp4("eth0"), sockets(udp=(("192.0.2.1", 68),), packet=("eth0",)), ["UDP port 67 is not open"]),
        (dhcp4("*"), sockets(udp=(("192.0.2.1", 67),)), []),
        (dhcp4("lo", "eth0"), sockets(udp=(("192.0.2.1", 67),), packet=("eth0",)), []),
        (dhcp4("eth0", "eth1"), sockets(udp=(("192.0.2.1", 67),), packet=("eth0",)), ["no packet socket on eth1"]),
        (dhcp4("eth0", "eth1"), sockets(), ["UDP port 67 is not open"]),
        (
            dhcp4("eth0/192.0.2.9"),
            sockets(udp=(("192.0.2.1", 67),), packet=("eth0",)),
            ["UDP port 67 is not open on eth0/192.0.2.9 (192.0.2.9)"],
        ),
        (dhcp4(), sockets(), []),
        # DHCPv4, udp
        (dhcp4("eth0", raw=False), sockets(udp=(("0.0.0.0", 67),)), []),
        (dhcp4("eth0/192.0.2.9", raw=False), sockets(udp=(("0.0.0.0", 67),)), []),
        # DHCPv6
        (dhcp6("eth0"), sockets(udp=(("fe80::1", 547), ("ff02::1:2", 547))), []),
        (dhcp6("eth0"), sockets(udp=(("::", 547),)), []),
        (dhcp6("eth0"), sockets(udp=(("192.0.2.1", 547),)), ["UDP port 547 is not open"]),
        (
            dhcp6("eth0", "eth1"),
            sockets(udp=(("fe80::1", 547),)),
            ["UDP port 547 is not open on eth1 (fe80::2)"],
        ),
        (dhcp6("eth0/2001:DB8:0::9"), sockets(udp=(("2001:db8::9", 547), ("fe80::1", 547))), []),
        (dhcp6("wlan0"), sockets(udp=(("fe80::1", 547),)), []),
        # DDNS and the Control Agent
        (Endpoints(None, None, 53001, udp=("127.0.0.1", 53001)), sockets(udp=(("127.0.0.1", 53001),)), []),
        (Endpoints(None, None, 53001, udp=("127.0.0.1", 53001)), sockets(), ["UDP 127.0.0.1:53001 is not open"]),
        (Endpoints(None, None, 8000, tcp=("127.0.0.1", 8000)), sockets(tcp=(("::", 8000),)), []),
        (
            Endpoints(None, None, 8000, tcp=("127.0.0.1", 8000)),
            sockets(tcp=(("192.0.2.1", 8000),)),
            ["TCP 127.0.0.1:8000 is not open"],
        ),
    ],
)
def test_missing(endpoints: Endpoints, opened: Sockets, missing: list[str]) -> None:
    assert endpoints.missing(opened) == missing


def test_against_the_kernel() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
        endpoints = wanted(DDNS, {"port": port}, [], {})
        assert endpoints.missing(endpoints.sockets(os.getpid())) == []
    assert endpoints.missing(endpoints.sockets(os.getpid())) == [f"UDP 127.0.0.1:{port} is not open"]


def test_tcp_against_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        endpoints = wanted(CTRL_AGENT, {"http-port": opened.getsockname()[1]}, [], {})
        assert endpoints.missing(endpoints.sockets(os.getpid())) == []
    assert len(endpoints.missing(endpoints.sockets(os.getpid()))) == 1
