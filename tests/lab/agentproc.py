# SPDX-License-Identifier: MPL-2.0
"""The agent's process on a node as the kernel counts it, read from outside, so that looking wakes nothing up in there."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labkit import cgroups
from labkit.nodes import Node

PING_SECONDS = 30  # half of WatchdogSec
POLL_SECONDS = 60  # watch.poll_seconds
# What may happen at one moment, all threads together: a ping is one timer. A poll is two timers and, for each of four
# daemons, a thread that reads its files and tells the loop; the threads run at once and pass Python's lock around.
SWITCHES_A_PING = 4
SWITCHES_A_POLL = 160


@dataclass(frozen=True)
class Idle:
    """What a quiet time was: in how many of its seconds anything ran, and how often each thread went to sleep."""

    seconds: int
    awake: int
    switches: Counter[int]

    @property
    def awake_bound(self) -> int:
        """Seconds in which pings and polls may run; each may straddle two."""
        return 2 * (self._pings + self._polls)

    @property
    def switches_bound(self) -> int:
        """Context switches that pings and polls need."""
        return SWITCHES_A_PING * self._pings + SWITCHES_A_POLL * self._polls

    @property
    def _pings(self) -> int:
        return self.seconds // PING_SECONDS + 1

    @property
    def _polls(self) -> int:
        return self.seconds // POLL_SECONDS + 1


@dataclass(frozen=True)
class Usage:
    """What the process holds; memory in KiB."""

    rss: int
    pss: int
    threads: int
    descriptors: int


@dataclass(frozen=True)
class AgentProcess:
    """One run of the agent: a restart makes another process."""

    proc: Path

    @classmethod
    def of(cls, node: Node) -> AgentProcess:
        """The main process of kea-agent.service on a node, as the machine that carries the lab has it."""
        inside = node.systemctl("show", "--property=MainPID", "--value", "kea-agent")
        for pid in cgroups.pids(node.payload / "system.slice/kea-agent.service"):
            proc = Path(f"/proc/{pid}")
            if _field(proc / "status", "NSpid").split()[-1] == inside:
                return cls(proc)
        raise AssertionError(f"kea-agent does not run on {node.name}")

    def usage(self) -> Usage:
        """Memory, threads and descriptors now."""
        return Usage(
            rss=int(_field(self.proc / "status", "VmRSS").split()[0]),
            pss=int(_field(self.proc / "smaps_rollup", "Pss").split()[0]),
            threads=int(_field(self.proc / "status", "Threads")),
            descriptors=len(list((self.proc / "fd").iterdir())),
        )

    def switches(self) -> Counter[int]:
        """How often each thread has gone to sleep by itself."""
        found: Counter[int] = Counter()
        for task in (self.proc / "task").iterdir():
            with suppress(OSError):  # a thread that just ended
                found[int(task.name)] = int(_field(task / "status", "voluntary_ctxt_switches"))
        return found

    def idle(self, seconds: int) -> Idle:
        """Look once a second at a process that should be asleep."""
        first = last = self.switches()
        awake = 0
        for _ in range(seconds):
            time.sleep(1)
            now = self.switches()
            awake, last = awake + (now != last), now
        return Idle(seconds, awake, last - first)


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].strip()
    raise ValueError(f"{path} has no {name}")
