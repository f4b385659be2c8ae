# SPDX-License-Identifier: MPL-2.0
"""Interfaces like the host's, in a network namespace with nothing behind them.

Each is one end of a veth pair (`dummy` is not in every kernel) whose other end stays in the namespace: it has the host's
name, flags, link and addresses. Read here and not sent by the client: names and addresses come from the kernel.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kea_agent.sandbox import kernel
from kea_agent.sandbox.request import NotRehearsedError

# A pair costs a millisecond. Beyond this many only those are made that the configuration speaks of, or could.
_MANY = 64
_TIMEOUT = 10.0
# What could mean something to `ip -batch` is left out; nobody names an interface so.
_NAME = re.compile(r"[A-Za-z0-9_.:@+-]{1,15}")
_SYSCTL = Path("/proc/sys/net")
# What decides whether a daemon can bind an address or a port; read on the host, written in the namespace.
_SETTINGS = (
    "ipv4/ip_unprivileged_port_start",
    "ipv4/ip_nonlocal_bind",
    "ipv6/ip_nonlocal_bind",
    "ipv6/conf/all/disable_ipv6",
    "ipv6/conf/default/disable_ipv6",
)
# No link-local addresses but the host's.
_NO_ADDRESSES = {"ipv6/conf/default/addr_gen_mode": "1"}
# user_namespaces(7): 1 to the last, each as itself.
_EVERYBODY_BUT_ROOT = "1 1 4294967294"


@dataclass(frozen=True)
class Interface:
    """An interface as the kernel has it; `addresses` as `ip address add` takes them."""

    name: str
    is_up: bool
    has_link: bool
    addresses: tuple[str, ...]
    is_loopback: bool = False


@dataclass(frozen=True)
class Network:
    """What of the host's network a daemon could notice."""

    interfaces: tuple[Interface, ...]
    settings: Mapping[str, str]

    @property
    def dark(self) -> frozenset[str]:
        """The interfaces on which no daemon could open a socket now, because they have no link."""
        return frozenset(each.name for each in self.interfaces if not (each.is_up and each.has_link))


def of_host(text: str) -> Network:
    """The network this process is in, as far as a configuration's text has to do with it; raises NotRehearsedError."""
    interfaces = needed(parsed(_ip(["-json", "address"])), text)
    values = {name: _read(_SYSCTL / name) for name in _SETTINGS}
    return Network(interfaces, {name: value for name, value in values.items() if value is not None})


def parsed(output: str) -> tuple[Interface, ...]:
    """What `ip -json address` printed."""
    found = [entry for entry in json.loads(output or "[]") if _NAME.fullmatch(str(entry.get("ifname", "")))]
    return tuple(_interface(entry) for entry in found)


def needed(interfaces: tuple[Interface, ...], text: str) -> tuple[Interface, ...]:
    """All, unless they are too many; then those whose name or address stands anywhere in the configuration.

    Raises NotRehearsedError where all of too many are wanted.
    """
    if len(interfaces) <= _MANY:
        return interfaces
    if '"*"' in text:
        raise NotRehearsedError(f'it listens on "*", and this host has {len(interfaces)} interfaces (at most {_MANY})')
    chosen = tuple(each for each in interfaces if each.is_loopback or _is_spoken_of(each, text))
    if len(chosen) > _MANY:
        raise NotRehearsedError(f"it speaks of {len(chosen)} interfaces (at most {_MANY})")
    return chosen


@dataclass(frozen=True)
class Namespaces:
    """A user namespace, and the network that it owns, as descriptors."""

    user: int
    network: int

    def enter(self) -> None:
        """With every capability in them, and none outside."""
        kernel.enter(self.user, kernel.CLONE_NEWUSER)
        kernel.enter(self.network, kernel.CLONE_NEWNET)


def isolated(network: Network) -> Namespaces:
    """Interfaces like the host's in new namespaces, made by a process that ends with that; raises NotRehearsedError, OSError.

    It runs ip(8), and so it has its turn before anything of the daemon's user comes into view. The users have the same
    numbers inside and outside, so that files are whose they are; root is none of them.
    """
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go[1])
        _build_and_end(network, ready[1], go[0])
    os.close(ready[1])
    os.close(go[0])
    try:
        return _given_users(child, ready[0], go[1])
    finally:
        os.close(ready[0])
        os.close(go[1])
        os.waitpid(child, 0)


def _given_users(child: int, ready: int, go: int) -> Namespaces:
    if not os.read(ready, 1):
        raise NotRehearsedError("the sandbox got no namespaces of its own")
    made = Namespaces(*(os.open(f"/proc/{child}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net")))
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(_EVERYBODY_BUT_ROOT)
    os.write(go, b"x")
    with open(ready, "rb", closefd=False) as file:
        if said := file.read().decode(errors="replace"):
            raise NotRehearsedError(said)
    return made


def _build_and_end(network: Network, ready: int, go: int) -> None:
    """In the child: says nothing when the network is there, else why it is not."""
    said = "the sandbox's network could not be made"
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
        os.write(ready, b"x")
        if os.read(go, 1):
            kernel.set_capabilities(1 << kernel.CAP_NET_ADMIN)  # root is nobody here: without it ip(8) would have none
            build(network)
        said = ""
    except (NotRehearsedError, OSError) as error:
        said = str(error)
    finally:
        os.write(ready, said.encode())
        os._exit(0)


def build(network: Network) -> None:
    """Make the interfaces in this process's own, empty namespace; raises NotRehearsedError."""
    for name, value in {**network.settings, **_NO_ADDRESSES}.items():
        _write(_SYSCTL / name, value)
    _ip(["-batch", "-"], "".join(f"{line}\n" for line in commands(network.interfaces)))


def commands(interfaces: Iterable[Interface]) -> Iterator[str]:
    """The lines for `ip -batch`."""
    known = list(interfaces)
    names = {each.name for each in known}
    yield "link set lo up"
    for number, interface in enumerate(known):
        if not interface.is_loopback:
            yield from _pair(interface, next(name for name in _peer_names(number) if name not in names))
        yield from (f"address add {address} dev {interface.name}" for address in interface.addresses)


def _pair(interface: Interface, peer: str) -> Iterator[str]:
    yield f"link add {interface.name} type veth peer name {peer}"
    if interface.has_link:
        yield f"link set {peer} up"
    if interface.is_up:
        yield f"link set {interface.name} up"


def _peer_names(number: int) -> Iterator[str]:
    return (f"peer{number}{letter}" for letter in ("", *"abcdefghijklmnopqrstuvwxyz"))


def _interface(entry: Mapping[str, Any]) -> Interface:
    flags = entry.get("flags", [])
    is_loopback = "LOOPBACK" in flags
    addresses = [_address(each) for each in entry.get("addr_info", []) if "local" in each]
    own = [address for address in addresses if not (is_loopback and address.startswith(("127.0.0.1/", "::1/")))]
    return Interface(entry["ifname"], "UP" in flags, "LOWER_UP" in flags, tuple(own), is_loopback)


def _address(entry: Mapping[str, Any]) -> str:
    # On a point-to-point link `local` is ours and `address` the other side's.
    peer = f" peer {entry['address']}" if "address" in entry else ""
    length = f"/{entry['prefixlen']}"
    ours = f"{entry['local']}{peer}{length}" if peer else f"{entry['local']}{length}"
    # Nobody else is there who could have the address already.
    return f"{ours} nodad" if entry.get("family") == "inet6" else ours


def _is_spoken_of(interface: Interface, text: str) -> bool:
    words = [interface.name, *(address.partition("/")[0].split()[0] for address in interface.addresses)]
    return any(word.lower() in text.lower() for word in words)


def _ip(arguments: list[str], lines: str | None = None) -> str:
    try:
        done = subprocess.run(
            ["/sbin/ip", *arguments], input=lines, capture_output=True, text=True, check=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise NotRehearsedError(f"ip {' '.join(arguments)}: {said[0] if said else 'failed'}") from error
    return done.stdout


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _write(path: Path, value: str) -> None:
    try:
        # Only what differs: most containers may not write here, and mostly nothing does.
        if _read(path) not in (None, value):
            path.write_text(value)
    except OSError as error:
        raise NotRehearsedError(f"{path} = {value}: {(error.strerror or str(error)).lower()}") from error
