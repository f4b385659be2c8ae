# SPDX-License-Identifier: MPL-2.0
"""What a broken thing is, and the ways to break a file and a host; `broken_things.py` has the things."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from labkit import Node, images
from labkit.keaconfigs import FILES, find_hooks
from labkit.spec import Daemon, Suite

Moment = Literal["reload", "restart", "boot"]
Edit = Callable[[str], str]
Act = Callable[[Node, Daemon], None]

ANOTHER: Final[Mapping[Suite, Suite]] = {"bookworm": "trixie", "trixie": "sid", "sid": "bookworm"}


@dataclass(frozen=True)
class Broken:
    """One broken thing. `name` is for machines, `title` goes into the document.

    `breaks` and `mends` are done to the host; the new file lies ready at $NEXT while the host is broken, and is renamed
    over the old one right after. Mending what is whole does no harm. `moment`: what then makes Kea read it. `passes`: nobody could serve while the cause is
    there, so what counts is how the server stands once the cause has gone. `needs_pair`: it is about High Availability.
    """

    name: str
    title: str
    edit: Edit
    daemon: Daemon = "dhcp4"
    breaks: Act | None = None
    mends: Act | None = None
    moment: Moment = "reload"
    passes: bool = False
    needs_pair: bool = False

    @property
    def path(self) -> str:
        """The daemon's file."""
        return f"/etc/kea/{FILES[self.daemon]}"


# Ways to break a file.


def change(pattern: str, replacement: str) -> Edit:
    """The first place where a regular expression fits."""

    def edit(text: str) -> str:
        changed, times = re.subn(pattern, replacement, text, count=1)
        assert times, f"nothing in the file looks like {pattern}"
        return changed

    return edit


def add(statement: str) -> Edit:
    """One more statement in the daemon's map."""
    return change(r'"(Dhcp4|Dhcp6|DhcpDdns|Control-agent)": \{', rf"\g<0> {statement},")


def as_it_is(text: str) -> str:
    """Nothing is wrong with the file."""
    return text


def half(text: str) -> str:
    """What is left of an upload that was cut off."""
    return text[: len(text) // 2]


# Ways to break a host.


def script(text: str) -> Act:
    """A shell script on the node; $UNIT, $FILE and $NEXT are of the daemon, $HOOKS is where the hook libraries are."""

    def act(node: Node, daemon: Daemon) -> None:
        file = f"/etc/kea/{FILES[daemon]}"
        words = [f"UNIT={node.unit(daemon)}", f"FILE={file}", f"NEXT={file}.next", f"HOOKS={find_hooks(node.root)}"]
        node.run(["env", *words, "sh", "-ec", text])

    return act


def foreign_library(node: Node, _: Daemon) -> None:
    """libdhcp_foreign.so is a hook library of another Debian's Kea."""
    image = images.path(ANOTHER[node.spec.suite])
    library = image / find_hooks(image).lstrip("/") / "libdhcp_stat_cmds.so"
    target = f"{find_hooks(node.root)}/libdhcp_foreign.so"
    node.run(["sh", "-c", f"base64 -d > {target}"], stdin=base64.b64encode(library.read_bytes()).decode())


def thief(kind: Literal["udp", "tcp"], address: str, port: int, *, first: str = "") -> Act:
    """Another process takes a port; `first` is done before that."""
    family = "AF_INET6" if ":" in address else "AF_INET"
    sort = "SOCK_DGRAM" if kind == "udp" else "SOCK_STREAM"
    python = (
        f"import socket, time; taken = socket.socket(socket.{family}, socket.{sort}); "
        f"taken.bind(('{address}', {port})); {'taken.listen(); ' if kind == 'tcp' else ''}time.sleep(3600)"
    )
    waits = f"for _ in $(seq 100); do ss -Hln --{kind} | grep -q ':{port} ' && exit; sleep 0.05; done; exit 1"
    return script(f'{first}\nsystemd-run --quiet --collect --unit=thief python3 -c "{python}"\n{waits}')
