# SPDX-License-Identifier: MPL-2.0
"""Decides when a set of files is worth reading: after whoever writes them is done, as far as events can tell.

inotify tells that a writer has begun or goes on (WRITING), that it closed the file or put another one in its place
(FINISHED), or that the name vanished (GONE). It does not tell that a file was opened, nor who did it. What follows,
with the default times (every row is a test):

    in place, in two halves, held open       one look, after the close
    in place, each half opened and closed    two looks, the first at half a file: nothing in the kernel tells a
                                             half from a whole; what is read then has to prove itself
    mv, rsync, sed -i, ln -sf, touch, chmod  0.02 s after the last event; the whole burst is one look
    rename away, create, write, close        the same: GONE and WRITING only hold until the close
    cp -a of a directory, a deployment       one look after the last file; 5 s after the first file at the latest
    truncate, then write much later          held while the file is open, however the work is spread
    an editor that keeps the file open       10 s after its last write: what is on disk is what Kea would read
    a writer that never pauses nor closes    30 s after its first write, and every 30 s from there
    one file complete, another being written 5 s after the first was complete
    deleted for good                         1 s later: a name is away for milliseconds between two steps of an
                                             editor, and there is no half-written text to be protected from
"""

from __future__ import annotations

from kea_agent.watch import Kind

_ENDLESS = 3  # times `unfinished`: how long writing that does not end can put off a look


class Settler:
    """Fed with hints and the time (monotonic seconds), says when to look. Pure: no I/O, no loop, no clock.

    `quiet`: without an event, after a finished write. `unfinished`: without an event on a file whose writer did not
    finish. `gone`: without an event on a file that vanished. `at_most`: since the first finished write.
    """

    def __init__(
        self, *, quiet: float = 0.02, unfinished: float = 10.0, at_most: float = 5.0, gone: float = 1.0
    ) -> None:
        self._quiet = quiet
        self._at_most = at_most
        self._endless = _ENDLESS * unfinished
        self._hold = {Kind.WRITING: unfinished, Kind.GONE: min(gone, unfinished)}
        self._first: float | None = None
        self._first_finished: float | None = None
        self._last = 0.0
        self._held: dict[str, float] = {}  # until when, unless another hint on the same path comes first

    def hint(self, kind: Kind, path: str, now: float) -> None:
        """Something happened to a file. FINISHED with a path that nobody writes asks for a look and ends no hold."""
        self._first = now if self._first is None else self._first
        self._last = now
        if kind is Kind.FINISHED:
            self._held.pop(path, None)
            self._first_finished = now if self._first_finished is None else self._first_finished
        else:
            self._held[path] = now + self._hold[kind]

    def due(self) -> float | None:
        """The time from which `ready` is true unless another hint comes; None when nothing is pending."""
        if self._first is None:
            return None
        settled = max([self._last + self._quiet, *self._held.values()])
        bound = self._first + self._endless
        if self._first_finished is not None:
            bound = min(bound, self._first_finished + self._at_most)
        return min(settled, bound)

    def ready(self, now: float) -> bool:
        """Whether to look now."""
        due = self.due()
        return due is not None and now >= due

    def taken(self, now: float) -> float:
        """The caller looks now, for whatever reason: nothing is pending. The seconds since the first hint."""
        waited = 0.0 if self._first is None else now - self._first
        self._first = self._first_finished = None
        self._held.clear()
        return waited
