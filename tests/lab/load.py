# SPDX-License-Identifier: MPL-2.0
"""Clients on the lab's network: perfdhcp beside a test, what it says it lost, and figures for whoever compares."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from labkit import Daemon, Lab
from labkit.host import wait_for

_SENT = re.compile(r"^sent packets: (\d+)$", re.MULTILINE)
_DROPS = re.compile(r"^drops: (\d+)$", re.MULTILINE)
# With so many clients and perfdhcp's own choice among them, each comes back many times in a test.
CLIENTS = 300
_OFFERS: Mapping[Daemon, tuple[str, str]] = {"dhcp4": ("-4", "pkt4-offer-sent"), "dhcp6": ("-6", "pkt6-advertise-sent")}


@dataclass(frozen=True)
class Report:
    """Exchanges that were begun, and those that got no answer at one of their steps."""

    begun: int
    lost: int

    @classmethod
    def of(cls, text: str) -> Report:
        """Read what perfdhcp printed."""
        sent, drops = _SENT.findall(text), _DROPS.findall(text)
        assert sent, f"no report of perfdhcp:\n{text}"
        return cls(int(sent[0]), sum(map(int, drops)))

    def __str__(self) -> str:
        """For a figure."""
        return f"{self.lost} of {self.begun} exchanges lost"


class Load:
    """perfdhcp at work; `report` is there after the `with` block."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        self._report: Report | None = None

    @property
    def report(self) -> Report:
        """What became of the exchanges."""
        assert self._report, "the load is still running"
        return self._report

    def end(self) -> None:
        """Have it stop and report."""
        self._process.send_signal(signal.SIGINT)
        said, _ = self._process.communicate(timeout=30)
        self._report = Report.of(said)


@contextmanager
def load(
    lab: Lab, rate: int, *, clients: int = CLIENTS, offers_only: bool = False, daemon: Daemon = "dhcp4"
) -> Iterator[Load]:
    """Exchanges (`rate` a second) for as long as the block takes: all four messages, or DISCOVER and OFFER only.

    Without ACK there are no new leases, so the lease file, which a reload reads, does not grow.
    """
    family = [_OFFERS[daemon][0], *(["-i"] if offers_only else [])]
    words = [*family, "-r", str(rate), "-R", str(clients), "-p", "600", "-W", "1000000"]
    offers = _offers(lab, daemon)
    with started(lab, words) as process:
        running = Load(process)
        _until_served(lab, daemon, offers)
        yield running
        running.end()


@contextmanager
def started(lab: Lab, words: Sequence[str]) -> Iterator[Popen[str]]:
    """perfdhcp with these words; whatever becomes of the block, nothing of it stays."""
    with lab.start_load(words) as process:
        try:
            yield process
        finally:
            process.kill()


def _until_served(lab: Lab, daemon: Daemon, offers: int) -> None:
    for _ in wait_for():
        if _offers(lab, daemon) > offers:
            return
    raise AssertionError("nobody answers clients")


def _offers(lab: Lab, daemon: Daemon) -> int:
    """How many OFFERs, or ADVERTISEs, the servers have sent."""
    name = _OFFERS[daemon][1]
    answers = [node.control(daemon, "statistic-get", {"name": name}) for node in lab.nodes]
    return sum(int(answer["arguments"][name][0][0]) for answer in answers)


def measured(figure: str) -> None:
    """Tell a figure: on the test's output (`pytest -rP` shows it), and in the file $KEA_AGENT_FIGURES."""
    line = f"measured: {figure}"
    print(line)
    if target := os.environ.get("KEA_AGENT_FIGURES"):
        with Path(target).open("a") as stream:
            stream.write(f"{line}\n")
