# SPDX-License-Identifier: MPL-2.0
"""A node: one booted host of a lab, and what can be done in it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import cgroups
from .network import Network, address4, address6
from .spec import Daemon, LabError, LabSpec

SOCKETS: Final[Mapping[Daemon, str]] = {
    "dhcp4": "run/kea/kea4-ctrl-socket",
    "dhcp6": "run/kea/kea6-ctrl-socket",
    "ddns": "run/kea/kea-ddns-ctrl-socket",
}
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True, slots=True)
class Node:
    """Node `number` of a lab. Nothing about it is kept in memory: ask, and it looks."""

    spec: LabSpec
    number: int
    state: Path

    @property
    def name(self) -> str:
        """Its hostname: node1 or node2."""
        return f"node{self.number}"

    @property
    def machine(self) -> str:
        """Its name on the machine that carries the lab."""
        return f"{self.spec.name}-{self.name}"

    @property
    def address(self) -> str:
        """Its IPv4 address in the lab's network."""
        return address4(self.number)

    @property
    def address6(self) -> str:
        """Its IPv6 address in the lab's network."""
        return address6(self.number)

    @property
    def machine_id(self) -> str:
        """The same at every boot of the same node of the same lab."""
        return hashlib.sha256(self.machine.encode()).hexdigest()[:32]

    @property
    def home(self) -> Path:
        """Where its file systems are mounted."""
        return self.state / self.name

    @property
    def root(self) -> Path:
        """Its root file system before it boots; later, what is below its /run and /tmp is not to be seen here."""
        return self.home / "root"

    @property
    def console(self) -> Path:
        """What systemd-nspawn and the booting system wrote."""
        return self.state / f"{self.name}.console"

    @property
    def cgroup(self) -> Path:
        """The cgroup of its supervisor and of everything in it."""
        return cgroups.of_lab(self.spec.name) / self.name

    @property
    def payload(self) -> Path:
        """The cgroup that the node sees as the top of all."""
        return self.cgroup / "host" / "payload"

    def unit(self, daemon: Daemon) -> str:
        """The systemd unit of a daemon, in this lab's naming."""
        return self.spec.unit_names[daemon]

    def leader(self) -> int | None:
        """The process that is PID 1 in the node, or None when the node does not run."""
        payload = self.payload  # systemd soon moves itself from here to init.scope
        candidates = cgroups.pids(payload / "init.scope") + cgroups.pids(payload)
        return next((pid for pid in candidates if _is_init(pid)), None)

    def command(self, argv: Sequence[str], *, terminal: str = "dumb") -> list[str]:
        """The command line for this machine that runs a command in the node, as root, with a clean environment.

        It runs in a cgroup of the node, so that what looks there (polkit, journald) knows it as a process of the
        node, and it dies with the caller.
        """
        leader = self.leader()
        if leader is None:
            raise LabError(f"{self.name} of lab {self.spec.name!r} does not run")
        environment = [f"{key}={value}" for key, value in {**ENVIRONMENT, "TERM": terminal}.items()]
        inside = ["setpriv", "--pdeathsig", "KILL", "--", "env", "-i", *environment, *argv]
        group = self.payload / "lab-exec"
        group.mkdir(exist_ok=True)
        return cgroups.enter_and_exec(group, "nsenter", "-t", str(leader), "-a", "--root", "--", *inside)

    def run(
        self, argv: Sequence[str], *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node. With `check`, a failure raises subprocess.CalledProcessError."""
        return subprocess.run(
            self.command(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=check,
            timeout=timeout,
        )

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command in the node that goes on beside the test; killing it here kills it there."""
        return subprocess.Popen(
            self.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def exec(self, argv: Sequence[str]) -> None:
        """Become a command in the node, with this process's terminal and streams."""
        words = self.command(argv, terminal=os.environ.get("TERM") or "dumb")
        os.execvp(words[0], words)

    def write(self, path: str, text: str) -> None:
        """Write a file in place, as `cat > file` does: the file keeps its inode, owner and mode."""
        self.run(["sh", "-c", 'cat > "$1"', "sh", path], stdin=text)

    def replace(self, path: str, text: str) -> None:
        """Write a file as editors do: a new one beside it, renamed over it."""
        self.run(["sh", "-c", 'umask 022; cat > "$1.lab-new" && mv "$1.lab-new" "$1"', "sh", path], stdin=text)

    def read(self, path: str) -> str:
        """The text of a file."""
        return self.run(["cat", path]).stdout

    def version_of(self, path: str) -> tuple[int, int] | None:
        """What changes when a file is written or replaced, None where there is none; looked up without a process in the node.

        No symlink of the node's may be on the way: from here it would lead elsewhere.
        """
        with suppress(OSError):
            found = Path(f"/proc/{self.leader()}/root{path}").stat()
            return found.st_ino, found.st_mtime_ns
        return None

    def systemctl(self, *words: str, check: bool = True) -> str:
        """What systemctl prints."""
        return self.run(["systemctl", *words], check=check).stdout.strip()

    def journal(self, unit: str, lines: int = 20) -> list[str]:
        """The last lines of a unit's journal."""
        words = ["journalctl", "--no-pager", "--output=short-precise", "--unit", unit, "--lines", str(lines)]
        return self.run(words, check=False).stdout.splitlines()

    def control(self, daemon: Daemon, command: str, arguments: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Ask a daemon through its unix control socket. Raises OSError or ValueError where it does not answer."""
        request = {"command": command, **({"arguments": arguments} if arguments is not None else {})}
        answer = _ask(f"/proc/{self.leader()}/root/{SOCKETS[daemon]}", json.dumps(request))
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def plug(self, *, connected: bool) -> None:
        """Pull the node's network cable out, or put it back."""
        port = self.port()
        if port is not None:
            Network(self.spec.name).plug(port, connected=connected)

    def port(self) -> int | None:
        """The interface index of its port at the bridge, None when the node does not run."""
        with suppress(OSError):
            return int(Path(f"/proc/{self.leader()}/root/sys/class/net/host0/iflink").read_text())
        return None


def _is_init(pid: int) -> bool:
    """Is this the first process of a PID namespace of its own."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return len(line.split()) > 2 and line.split()[-1] == "1"
    return False


def _ask(path: str, request: str, seconds: float = 5) -> bytes:
    """One request on Kea's socket; the server closes the connection after its answer."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(seconds)
        channel.connect(path)
        channel.sendall(request.encode())
        while chunk := channel.recv(65536):
            answer += chunk
    return answer
