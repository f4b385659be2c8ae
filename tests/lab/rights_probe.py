# SPDX-License-Identifier: MPL-2.0
"""Run on a host in a unit that is kea-agent.service in all but what it starts: tries things, prints what came of each as JSON.

What it does is undone or harmless where it should succeed against all expectation. Python's standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

KEA = int(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)


def append(path: str) -> Callable[[], object]:
    """Open for writing without changing a byte."""
    return lambda: Path(path).open("ab").close()


def make(path: str) -> Callable[[], object]:
    """Make a file and remove it again."""

    def attempt() -> None:
        Path(path).write_text("")
        Path(path).unlink()

    return attempt


def read(path: str) -> Callable[[], object]:
    """Read the first byte."""
    return lambda: Path(path).open("rb").read(1)


def call(name: str, *arguments: object) -> Callable[[], object]:
    """A function of the C library that returns -1 when it fails."""

    def attempt() -> None:
        ctypes.set_errno(0)
        if getattr(LIBC, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return attempt


def open_socket(family: int, kind: int) -> Callable[[], object]:
    """A socket of that kind."""
    return lambda: socket.socket(family, kind).close()


def bind(port: int) -> Callable[[], object]:
    """UDP on one of Kea's ports, on an address that nobody else has."""

    def attempt() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind(("127.0.0.99", port))

    return attempt


def run(*words: str) -> Callable[[], object]:
    """A program that has to succeed."""

    def attempt() -> None:
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise PermissionError(done.stderr[-300:])

    return attempt


def set_bit() -> None:
    """A program in its own directory that would run as its owner for whoever starts it."""
    path = Path(os.environ["STATE_DIRECTORY"], "set-bit")
    path.write_text("")
    try:
        path.chmod(0o4755)
    finally:
        path.unlink()


def connect(path: str) -> Callable[[], object]:
    """A connection to a unix socket."""

    def attempt() -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(path)

    return attempt


ATTEMPTS: dict[str, Callable[[], object]] = {
    # Its work.
    "connect to Kea": connect("/run/kea/kea4-ctrl-socket"),
    "ask for a rehearsal": connect("/run/kea-agent-rehearse.sock"),
    "read Kea's configuration": read("/etc/kea/kea-dhcp4.conf"),
    "read the journal": run("journalctl", "--quiet", "--lines=1", "--unit=kea-agent"),
    "list interfaces": socket.if_nameindex,
    "Kea's own check": run("kea-dhcp4", "-t", "/etc/kea/kea-dhcp4.conf"),
    "look at Kea's process": read(f"/proc/{KEA}/status"),
    "see what Kea handles": read(f"/proc/{KEA}/net/udp"),
    "write its state": make(os.environ["STATE_DIRECTORY"] + "/new"),
    "write its runtime directory": make(os.environ["RUNTIME_DIRECTORY"] + "/new"),
    # Files.
    "write Kea's configuration": append("/etc/kea/kea-dhcp4.conf"),
    "make a file beside Kea's configuration": make("/etc/kea/new"),
    "write Kea's leases": append("/var/lib/kea/kea-leases4.csv"),
    "make a file beside Kea's sockets": make("/run/kea/new"),
    "write its own settings": append("/etc/kea-agent/kea-agent.toml"),
    "write a unit": make("/etc/systemd/system/new.service"),
    "write a unit that lasts until the next boot": make("/run/systemd/system/new.service"),
    "write its own program": append("/usr/bin/kea-agent"),
    "write a kernel setting": append("/proc/sys/net/ipv4/ip_forward"),
    "write to a control group": append("/sys/fs/cgroup/cgroup.procs"),
    "read passwords": read("/etc/shadow"),
    "list root's files": lambda: os.listdir("/root"),
    "make a lock for Kea": make("/run/lock/kea/new"),
    "list home directories": lambda: os.listdir("/home"),
    "read the backups of files": lambda: os.listdir("/var/backups/kea-agent"),
    "a program that runs as its owner": set_bit,
    "give a file away": lambda: os.chown(os.environ["STATE_DIRECTORY"], os.getuid(), 0),
    # Processes.
    "signal the first process": lambda: os.kill(1, signal.SIGHUP),
    "look into Kea": call("ptrace", 16, KEA, 0, 0),
    "read Kea's memory": read(f"/proc/{KEA}/mem"),
    "read Kea's environment": read(f"/proc/{KEA}/environ"),
    "a higher priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    "more locked memory": lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (-1, -1)),
    # The system.
    "become root": lambda: os.setuid(0),
    "become root by a program": run("su", "--command", "true"),
    "a namespace": call("unshare", 0x10000000),
    "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
    "another root": lambda: os.chroot("/tmp"),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "set the name": lambda: socket.sethostname(socket.gethostname()),
    "load a module": call("syscall", 175, 0, 0, 0),
    "read the kernel's log": call("klogctl", 3, ctypes.create_string_buffer(64), 64),
    "reboot": call("reboot", 0),
    # The network.
    "DHCPv4's port": bind(67),
    "DHCPv6's port": bind(547),
    "raw packets": open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw IP": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close(),
    "another family": open_socket(socket.AF_VSOCK, socket.SOCK_STREAM),
}


def outcome(attempt: Callable[[], object]) -> str:
    """`done`, or the error that it ended with."""
    try:
        attempt()
    except OSError as failed:
        return f"{type(failed).__name__}: {failed}"
    except ValueError as failed:  # setrlimit's word for "not allowed"
        return f"ValueError: {failed}"
    return "done"


if __name__ == "__main__":
    print(json.dumps({name: outcome(attempt) for name, attempt in ATTEMPTS.items()}))
