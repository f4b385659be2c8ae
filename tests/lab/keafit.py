# SPDX-License-Identifier: MPL-2.0
"""Kea's examples and a host made to fit each other: interfaces and addresses on the host, paths and databases in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dbserver import HOST, NAME, PASSWORD
from labkit.nodes import Node

Tree = dict[str, Any]
# What the examples listen on, with the addresses that they speak of.
INTERFACES: Final[Mapping[str, tuple[str, ...]]] = {
    "eth0": ("192.0.2.1/24", "192.168.56.33/24", "192.168.56.66/24", "2001:db8:1::1/64", "3001::2/64"),
    "eth1": ("192.0.3.1/24",),
    "eth1961": ("192.0.4.1/24",),
    "enp0s8": ("192.168.1.2/24", "192.168.1.3/24"),
    # And the names that people meet.
    "eth0.100": ("192.0.5.1/24",),
    "enx001122334455": ("192.0.6.1/24",),
    "lan-1_b@x": ("192.0.7.1/24",),
}
OWN: Final = "/etc/kea/lab-own"
KEYS: Final = {"trust-anchor": f"{OWN}/cert.pem", "cert-file": f"{OWN}/cert.pem", "key-file": f"{OWN}/key.pem"}
_DATABASE: Final = {"host": HOST, "name": NAME, "user": NAME, "password": PASSWORD}
_MAKE: Final = f"""
mkdir -p {OWN}; cd {OWN}
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -keyout key.pem -out cert.pem 2>/dev/null
printf lab > hiddenu; printf secret > hiddenp; printf lab:secret > hiddens; printf LSWXnfkKZjdPJI5QxlpnfQ== > secret
chown -R _kea:_kea {OWN}
"""
_BRIDGE: Final = """
link add br-lan type bridge
link set p-eth1 master br-lan
link set br-lan addrgenmode none up
address add 192.0.8.1/24 dev br-lan
address add fe80::8/64 dev br-lan nodad
"""


def fit_host(node: Node) -> None:
    """Interfaces with a link, keys and passwords; until the node is gone."""
    node.run(["sh", "-ec", _MAKE])
    for name, addresses in INTERFACES.items():
        _plug_in(node, name, *addresses)
    node.run(["ip", "-batch", "-"], stdin=_BRIDGE)


def _plug_in(node: Node, name: str, *addresses: str) -> None:
    """An interface with a link and these addresses, and its link-local one at once."""
    peer = f"p-{name}"[:15]
    lines = [
        f"link add {name} type veth peer name {peer}",
        f"link set {peer} addrgenmode none up",
        f"link set {name} addrgenmode none up",
        *(f"address add {address} dev {name}{' nodad' if ':' in address else ''}" for address in addresses),
        f"address add fe80::{sum(name.encode()):x}/64 dev {name} nodad",
    ]
    node.run(["ip", "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def fit(tree: object, libraries: Mapping[str, str]) -> Any:
    """A configuration with this host's paths; hook libraries that the host has not are left out."""
    if isinstance(tree, list):
        return [fit(value, libraries) for value in tree if _is_here(value, libraries)]
    if not isinstance(tree, dict):
        return tree
    fitted = {key: _value(key, value, libraries) for key, value in tree.items()}
    return _database(fitted) if fitted.get("type") in ("mysql", "postgresql") else fitted


def _is_here(entry: object, libraries: Mapping[str, str]) -> bool:
    return not (isinstance(entry, dict) and "library" in entry) or Path(entry["library"]).name in libraries


def _value(key: str, value: object, libraries: Mapping[str, str]) -> Any:
    if key == "library" and isinstance(value, str):
        return libraries[Path(value).name]
    if key == "directory":
        return OWN
    if key == "secret-file":
        return f"{OWN}/secret"
    if key == "password" and value == "1234":
        # Kea 3 knows it from its own manual, and refuses it.
        return "lab-1234"
    if key == "output" and isinstance(value, str) and value.startswith("/") and value != "/dev/null":
        return f"/var/log/kea/{Path(value).name}"
    return KEYS[key] if key in KEYS else fit(value, libraries)


def _database(tree: Tree) -> Tree:
    """One that is there, on its own port and without TLS."""
    kept = {key: value for key, value in tree.items() if key not in (*KEYS, "port", "cipher-list")}
    return {**kept, **_DATABASE}
