# SPDX-License-Identifier: MPL-2.0
"""What the agent makes of a broken thing that is saved under its eyes, with clients about."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import Final

from agenthost import AgentHost
from breaking import RATE, Bench
from broken import Broken
from labkit import Daemon
from labkit.host import wait_for
from load import Report
from standing import Standing, look

_SERVED_SECONDS: Final = 10.0
# Longer than the longest rehearsal; only a test that fails takes it.
_WORD_SECONDS: Final = 240.0
_BACK_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Word:
    """How a pass of the agent ended; `at` is Unix time. `rehearsal` is empty where there was none."""

    at: float
    outcome: str
    reason: str
    rehearsal: str = ""


@dataclass(frozen=True)
class Guarded:
    """What it came to: the agent's first word on the file, and its last one.

    `seconds`: from the save to the first word. `away`: from what had Kea read the file, or from the end of what kept
    anybody from serving, until the server was there.
    """

    first: Word
    last: Word
    seconds: float
    away: float
    standing: Standing
    clients: Report | None

    @property
    def words(self) -> str:
        """The outcome, or the two."""
        outcomes = (self.first.outcome, self.last.outcome)
        return ", then ".join(dict.fromkeys(outcomes))

    @property
    def silence(self) -> float:
        """For how many seconds clients got nothing, by the exchanges that were lost."""
        return self.clients.lost / RATE if self.clients else 0.0


def look_at(bench: Bench, thing: Broken) -> Guarded:
    """Save it with the agent running. Afterwards the server runs its good file again, by the agent's word."""
    host = AgentHost(bench.node)
    try:
        with bench.prepared(thing), bench.clients(thing.daemon) as clients:
            bench.break_host(thing)
            known, saved = _word(host, thing.daemon), time.monotonic()
            bench.save(thing)
            first = _wait_for_word(host, thing.daemon, known)
            seconds, now = time.monotonic() - saved, time.monotonic()
            _come_what_may(bench, thing)
            standing = _until_served(bench, thing)
            last, away = _word(host, thing.daemon) or first, time.monotonic() - now
        return Guarded(first, last, seconds, away, standing, clients.report if clients else None)
    finally:
        bring_back(bench, thing.daemon)


def bring_back(bench: Bench, daemon: Daemon) -> None:
    """The agent says that the server runs the file on the disk, whatever there was."""
    host, unit = AgentHost(bench.node), bench.node.unit(daemon)
    if bench.node.systemctl("is-active", unit, check=False) != "active":
        bench.node.systemctl("reset-failed", unit, check=False)
        bench.node.systemctl("restart", unit)
    for _ in wait_for(_BACK_SECONDS, every=0.3):
        done = bench.node.run(["kea-agent", "reload", daemon], check=False, timeout=_WORD_SECONDS)
        if done.returncode == 0 and host.status(daemon)["config_in_sync"]:
            bench.lab.wait_ready(_BACK_SECONDS)
            return
    raise AssertionError(f"{daemon} does not come back: {done.stdout}{done.stderr}")


def _come_what_may(bench: Bench, thing: Broken) -> None:
    """The agent has spoken; now the rest of the story."""
    if thing.moment != "reload":
        bench.have_it_read(thing)
    if thing.passes:
        bench.mend(thing)


def _until_served(bench: Bench, thing: Broken) -> Standing:
    """The server when it is there, and the agent has nothing left to do or to take back; or after _SERVED_SECONDS."""
    host = AgentHost(bench.node)
    for _ in wait_for(_SERVED_SECONDS, every=0.1):
        standing, word = look(bench.node, thing.daemon), _word(host, thing.daemon)
        outcome = word.outcome if word else ""
        is_waiting = thing.passes and outcome == "deferred"
        if standing.serves and not is_waiting and outcome != "broken":
            break
    return standing


def _wait_for_word(host: AgentHost, daemon: Daemon, known: Word | None) -> Word:
    """The agent's first word on a new file; that an old one still runs is none."""
    for _ in wait_for(_WORD_SECONDS, every=0.1):
        word = _word(host, daemon)
        if word and word != known and word.outcome != "unchanged":
            return word
    told = "\n".join(host.node.journal("kea-agent", 15))
    raise AssertionError(f"the agent says nothing of {daemon} in {_WORD_SECONDS:g} s; last {known}\n{told}")


def _word(host: AgentHost, daemon: Daemon) -> Word | None:
    """The agent's last word; None from one that has just been started, or does not run."""
    try:
        last = host.status(daemon)["last"]
    except (CalledProcessError, json.JSONDecodeError):
        return None
    return Word(last["at"], last["outcome"], last["reason"], last.get("rehearsal") or "") if last else None
