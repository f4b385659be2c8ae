# SPDX-License-Identifier: MPL-2.0
"""What the kernel says of a process: proc(5), nothing else.

Everything read here is open to every user. /proc/PID/fd, exe and environ are not: Kea holds capabilities that
the agent lacks, and ptrace(2) rules keep them shut even for the same user. `keactrl status` has this on its way, so it
imports little.
"""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple

PROC = "/proc"
Root = str | os.PathLike[str]


class Usage(NamedTuple):
    """What a process has of the machine: resident memory, CPU time in user and kernel mode, threads."""

    memory_bytes: int
    cpu_seconds: float
    threads: int


def catches_sighup(pid: int, proc: Root = PROC) -> bool:
    """Whether the process handles SIGHUP; Kea installs the handler when its first configuration is loaded.

    Before that moment SIGHUP kills it (measured on 2.2.0, 2.6.3 and 3.0.4). A process that is gone catches nothing.
    """
    caught = status_field(pid, "SigCgt", proc)
    return bool(caught and int(caught, 16) >> (signal.SIGHUP - 1) & 1)


def command_name(pid: int, proc: Root = PROC) -> str:
    """The process's name as the kernel keeps it (15 bytes at most), empty when it is gone."""
    try:
        return _text(pid, "comm", proc).strip()
    except OSError:
        return ""


def command_line(pid: int, proc: Root = PROC) -> tuple[str, ...]:
    """The words the process was started with; empty when it is gone."""
    try:
        with open(f"{os.fspath(proc)}/{pid}/cmdline", "rb") as file:
            raw = file.read()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in raw.split(b"\0")[:-1])


def is_alive(pid: int, proc: Root = PROC) -> bool:
    """Whether the process is there and not a zombie."""
    return (status_field(pid, "State", proc) or "Z")[0] not in "ZX"


def started_at(pid: int, proc: Root = PROC) -> float | None:
    """When the process was started (Unix time, to a hundredth of a second); None when it is gone."""
    try:
        after_name = _text(pid, "stat", proc).rpartition(")")[2].split()
    except OSError:
        return None
    # Field 22 counts clock ticks since boot; /proc/stat's btime would be whole seconds only.
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def started_ticks(pid: int, proc: Root = PROC) -> int | None:
    """The same in clock ticks since boot: with its number it names a process, whatever happens to the clock."""
    try:
        return int(_text(pid, "stat", proc).rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def usage(pid: int, proc: Root = PROC) -> Usage | None:
    """What the process uses at this moment; None when it is gone."""
    try:
        after_name = _text(pid, "stat", proc).rpartition(")")[2].split()
    except OSError:
        return None
    # Fields 14 and 15 are CPU time in clock ticks, 20 the threads, 24 the resident pages.
    ticks = int(after_name[11]) + int(after_name[12])
    memory = int(after_name[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(memory, ticks / os.sysconf("SC_CLK_TCK"), int(after_name[17]))


def status_field(pid: int, name: str, proc: Root) -> str | None:
    """A line of /proc/PID/status, e.g. `Uid`; None when the process is gone."""
    try:
        lines = _text(pid, "status", proc).splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":")), None)


def _text(pid: int, name: str, proc: Root) -> str:
    with open(f"{os.fspath(proc)}/{pid}/{name}", errors="replace") as file:
        return file.read()
