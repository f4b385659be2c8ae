# SPDX-License-Identifier: MPL-2.0
"""Does the server run the file already? Asked before anything is checked, so that the same meaning costs nothing.

A reload restarts HA even for an unchanged file. So: the server's hash (before Kea 2.4 the time of its last commit) is
the one that was remembered with the same meaning; or no file changed since the server read them; or `config-get`
means the same as the file, because `config-write` wrote it. A server that lacks a socket which the file wants keeps
its old hash after a failed reload: it is never taken to run the file.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from kea_agent import keaconf, proc, verify
from kea_agent.candidate import Candidate
from kea_agent.control import ask
from kea_agent.errors import ControlError
from kea_agent.store import Remembered
from kea_agent.units import Unit
from kea_agent.verify import Snapshot

CHANGED_OVER_CHANNEL = (
    "the file is as it was, but the server runs something else: it was changed over its control channel; "
    "`kea-agent reload --again` brings it back to the file, config-write saves what runs"
)
STARTED_WITH_IT = "the server was started or reloaded with this file"
# Commit times come in whole seconds, and a second may pass while one is asked for.
# Kea writes defaults into what it tells, and blanks.
_MORE_THAN_THE_FILE = 8
_SAME_COMMIT = 1.5
_CLOCK_STEP = 2.0  # seconds between two words on the same start


@dataclass(frozen=True)
class Answer:
    """Nothing is to be done, and why; `in_sync` False: somebody else changed the server, and may have meant it."""

    in_sync: bool
    reason: str


def look(known: Remembered | None, candidate: Candidate, timeout: float) -> Answer | None:
    """Compare file and server; None when the file has to go the whole way. `timeout`: seconds a command."""
    if candidate.running is None:
        return _without_a_word(known, candidate)
    if _was_changed_over_its_channel(known, candidate, candidate.running):
        return Answer(False, CHANGED_OVER_CHANNEL)
    if verify.gaps(candidate.target, candidate.running):
        return None
    reason = _why(known, candidate, candidate.running, timeout)
    return Answer(True, reason) if reason else None


def remembered(candidate: Candidate, running: Snapshot | None, reloaded_at: float | None) -> Remembered:
    """What to remember of a file that is proven to run."""
    return Remembered(
        digest=candidate.document.digest,
        meaning=candidate.document.meaning,
        hash=running.hash if running else None,
        pid=candidate.unit.main_pid,
        committed_at=running.commit_to if running else time.time(),
        reloaded_at=reloaded_at,
        changed_at=_newest_change(candidate.document.files),
    )


def _why(known: Remembered | None, candidate: Candidate, running: Snapshot, timeout: float) -> str | None:
    if known and _is_remembered(known, candidate.unit.main_pid, running):
        if known.meaning == candidate.document.meaning:
            return "the file means what the server runs"
    elif not _clock_was_set_since_the_start(candidate.unit) and (
        _newest_change(candidate.document.files) < _read_after(candidate.unit.main_pid, running)
    ):
        return STARTED_WITH_IT
    return "the server runs exactly this already" if _is_what_the_server_tells(candidate, timeout) else None


def _without_a_word(known: Remembered | None, candidate: Candidate) -> Answer | None:
    """A server without a control socket: only the process's age and what was proven of this process speak."""
    pid = candidate.unit.main_pid
    started = proc.started_at(pid)
    if candidate.endpoints.control or started is None or verify.gaps(candidate.target, None):
        return None
    if known and (known.digest, known.pid) == (candidate.document.digest, pid):
        return Answer(True, "the server was proven to run this file")
    if _clock_was_set_since_the_start(candidate.unit):
        return None
    return Answer(True, STARTED_WITH_IT) if _newest_change(candidate.document.files) < started else None


def _was_changed_over_its_channel(known: Remembered | None, candidate: Candidate, running: Snapshot) -> bool:
    """The same file and the same process as last proven, and yet another hash: `config-set` or its like.

    Unless the file was written since: then it went away and came back, and is the newer word.
    """
    return (
        known is not None
        and None not in (running.hash, known.hash)
        and running.hash != known.hash
        and (known.digest, known.pid) == (candidate.document.digest, candidate.unit.main_pid)
        and not _was_written_since(known, candidate, running)
    )


def _was_written_since(known: Remembered, candidate: Candidate, running: Snapshot) -> bool:
    changed_at = _newest_change(candidate.document.files)
    return changed_at != known.changed_at and changed_at >= running.commit_from


def _is_remembered(known: Remembered, pid: int, running: Snapshot) -> bool:
    if running.hash is not None:
        return running.hash == known.hash
    return known.pid == pid and abs(running.commit_to - known.committed_at) < _SAME_COMMIT


def _is_what_the_server_tells(candidate: Candidate, timeout: float) -> bool:
    assert candidate.channel is not None
    try:
        most = _MORE_THAN_THE_FILE * candidate.document.size + (1 << 20)
        told = ask(candidate.channel, "config-get", timeout=timeout, max_bytes=most).arguments
    except ControlError:
        return False
    key = next(iter(candidate.document.tree))
    return keaconf.meaning_of(keaconf.utf8_tree({key: told.get(key)})) == candidate.document.meaning


def _clock_was_set_since_the_start(unit: Unit) -> bool:
    """Whether the times of files say nothing about what the process has read.

    systemd keeps the time of the start as the clock had it then; ours is counted back from now.
    """
    started = proc.started_at(unit.main_pid)
    return bool(unit.started_at and started) and abs(unit.started_at - (started or 0.0)) > _CLOCK_STEP


def _newest_change(files: tuple[str, ...]) -> float:
    """When any of the files, or a symlink on the way to one, last changed (Unix time); now if one cannot be seen."""
    try:
        return max(_changed_at(path) for path in files)
    except OSError:
        return time.time()


def _changed_at(path: str) -> float:
    parts = [path[:i] for i in range(1, len(path) + 1) if i == len(path) or path[i] == "/"]
    links = [os.lstat(part).st_ctime for part in parts if os.path.islink(part)]
    return max([os.stat(path).st_ctime, *links])


def _read_after(pid: int, running: Snapshot) -> float:
    """A moment (Unix time) after which the server surely read its files: commits are known to a second only."""
    return max(running.commit_from, proc.started_at(pid) or 0.0)
