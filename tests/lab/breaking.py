# SPDX-License-Identifier: MPL-2.0
"""A host gets a broken thing, has Kea read it, and is mended again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from broken import Broken, add
from labkit import Daemon, Lab, Node, ready
from labkit.host import wait_for
from load import Load, load

RATE: Final = 20
HAVE_CLIENTS: Final[tuple[Daemon, ...]] = ("dhcp4", "dhcp6")
_BOOT_SECONDS: Final = 90.0
_READY_SECONDS: Final = 90.0
_edits = count(1)


@dataclass(frozen=True)
class Bench:
    """A lab whose first node is the one that things happen to."""

    lab: Lab

    @property
    def node(self) -> Node:
        """That node."""
        return self.lab.nodes[0]

    @contextmanager
    def prepared(self, thing: Broken) -> Iterator[int]:
        """The broken file lies beside the good one; yields the number in its user context. Afterwards nothing is broken."""
        good, edit = self.node.read(thing.path), next(_edits)
        numbered = add(f'"user-context": {{ "edit": {edit} }}')(good)
        self.node.write(f"{thing.path}.next", thing.edit(numbered))
        try:
            yield edit
        finally:
            self.mend(thing)
            self.node.replace(thing.path, good)

    def break_host(self, thing: Broken) -> None:
        """What is to be wrong with the host is wrong."""
        if thing.breaks:
            thing.breaks(self.node, thing.daemon)

    def save(self, thing: Broken) -> None:
        """The broken file takes the place of the good one, as an editor does it; a full disk does not hinder that."""
        self.node.run(["mv", f"{thing.path}.next", thing.path])

    def mend(self, thing: Broken) -> None:
        """The host is whole again; nothing is done to the file, or to Kea."""
        if thing.mends:
            thing.mends(self.node, thing.daemon)

    def have_it_read(self, thing: Broken) -> None:
        """What happens to a server some day: a plain SIGHUP, a restart, a power cut."""
        unit = self.node.unit(thing.daemon)
        if thing.moment == "reload":
            self.node.systemctl("kill", "--signal=HUP", "--kill-who=main", unit)
        elif thing.moment == "restart":
            self.node.systemctl("restart", unit, check=False)
        else:
            self.lab.power_off(self.node.name)
            self.lab.power_on(self.node.name)
            self._wait_for_boot()

    def _wait_for_boot(self) -> None:
        for _ in wait_for(_BOOT_SECONDS, every=0.1):
            if self.node.leader() and self.node.systemctl("is-system-running", check=False) in ("running", "degraded"):
                return
        raise AssertionError(f"{self.node.name} does not boot")

    @contextmanager
    def clients(self, daemon: Daemon) -> Iterator[Load | None]:
        """Clients for as long as the block takes; None for a daemon that has none."""
        if daemon not in HAVE_CLIENTS:
            yield None
            return
        with load(self.lab, RATE, daemon=daemon) as running:
            yield running

    def end(self, daemon: Daemon) -> None:
        """A server ends at once, also one that hangs."""
        unit = self.node.unit(daemon)
        self.node.systemctl("kill", "--signal=KILL", unit, check=False)
        self.node.systemctl("stop", unit)
        self.node.systemctl("reset-failed", unit, check=False)

    def start_anew(self, daemon: Daemon) -> None:
        """Whatever a server came to, it runs the file on the disk now."""
        self.end(daemon)
        self.node.systemctl("start", self.node.unit(daemon))
        problems = ready.wait(self.lab.nodes, _READY_SECONDS, with_agent=False)
        assert not problems, problems
