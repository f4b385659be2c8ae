# SPDX-License-Identifier: MPL-2.0
"""The settler against a clock of our own: every way of saving as a table of hints, then anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kea_agent.settle import Settler
from kea_agent.watch import Kind

W, F, G = Kind.WRITING, Kind.FINISHED, Kind.GONE
A, B, C = "/etc/kea/kea-dhcp4.conf", "/etc/kea/subnets.json", "/etc/kea/options.json"
QUIET, UNFINISHED, AT_MOST, GONE = 0.02, 10.0, 5.0, 1.0
ENDLESS = 3 * UNFINISHED

History = list[tuple[float, Kind, str]]


def every(step: float, count: int, kind: Kind, path: str, *, start: float = 0.0) -> History:
    return [(start + step * number, kind, path) for number in range(count)]


def looks(history: History) -> list[float]:
    """When the files are read, by a caller that looks as soon as it may."""
    settler, taken = Settler(), []
    for now, kind, path in [*history, (float("inf"), F, "")]:
        while (due := settler.due()) is not None and due <= now:
            assert settler.ready(due)
            assert not settler.ready(due - 0.001)
            settler.taken(due)
            taken.append(round(due, 3))
        settler.hint(kind, path, now)
    return taken


CASES: dict[str, tuple[History, list[float]]] = {
    # one file, saved in one go
    "in place": ([(0, W, A), (0.001, F, A)], [0.021]),
    "mv over": ([(0, F, A)], [0.02]),
    "vim, with a backup file": ([(0, G, A), (0.001, W, A), (0.002, W, A), (0.003, F, A), (0.004, F, A)], [0.024]),
    "rm, then ln -s": ([(0, G, A), (0.3, F, A)], [0.32]),
    "truncate, then write": ([(0, W, A), (4, W, A), (4.1, F, A)], [4.12]),
    "rsync --inplace of a large file": ([*every(0.5, 50, W, A), (24.6, F, A)], [24.62]),
    # one file, in pieces
    "two halves, held open": ([(0, W, A), (1, W, A), (1.001, F, A)], [1.021]),
    "two halves, two writers": ([(0, W, A), (0.001, F, A), (1, W, A), (1.001, F, A)], [0.021, 1.021]),
    "the second writer comes at once": ([(0, F, A), (0.01, W, A), (2, F, A)], [2.02]),
    "closed and opened again in one batch": ([(0, F, A), (0, W, A), (1, F, A)], [1.02]),
    # writers that do not come to an end
    "the editor keeps it open": ([(0, W, A), (3, W, A)], [13]),
    "and writes again an hour later": ([(0, W, A), (3600, W, A), (3600.5, F, A)], [10, 3600.52]),
    "written for ever": (every(0.5, 130, W, A), [30, 60, 74.5]),
    "rewritten for ever": (every(0.01, 700, F, A), [5, 7.01]),
    "rewritten for ever, in two steps": ([*every(0.01, 999, F, A), *every(0.01, 1, W, A, start=9.99)], [5, 10]),
    # gone
    "deleted": ([(0, G, A)], [1]),
    "deleted while being written": ([(0, W, A), (2, G, A)], [3]),
    "deleted and back": ([(0, G, A), (0.9, W, A), (1.5, F, A)], [1.52]),
    "back only after the look": ([(0, G, A), (2, F, A)], [1, 2.02]),
    # several files
    "a deployment": ([(0, W, A), (0.01, F, A), (0.02, W, B), (0.03, F, B), (0.03, W, C), (0.04, F, C)], [0.06]),
    "two files, the second slow": ([(0, F, A), (0.01, W, B), (3, W, B), (4, F, B)], [4.02]),
    "two files, the second very slow": ([(0, F, A), *every(1, 9, W, B, start=0.01), (8.5, F, B)], [5, 8.52]),
    "two files, the second given up": ([(0, W, B), (8, F, A)], [10]),
    "one replaced, one deleted": ([(0, G, B), (0.1, F, A)], [1]),
    "a finished file does not end another's hold": ([(0, W, A), (0.1, W, B), (0.2, F, B), (3, F, A)], [3.02]),
    # asked for by a poll: a path that nobody writes
    "a poll while a file is written": ([(0, W, A), (1, F, ""), (2, F, A)], [2.02]),
}


@pytest.mark.parametrize(("history", "expected"), CASES.values(), ids=CASES.keys())
def test_each_way_of_saving(history: History, expected: list[float]) -> None:
    assert looks(history) == expected


def test_nothing_happened() -> None:
    settler = Settler()
    assert settler.due() is None
    assert not settler.ready(1e9)
    assert settler.taken(5.0) == 0.0


def test_taken_tells_how_long_it_took_and_forgets() -> None:
    settler = Settler()
    settler.hint(W, A, 100.0)
    settler.hint(F, B, 100.5)
    assert settler.taken(100.75) == 0.75
    assert settler.due() is None
    settler.hint(F, B, 200.0)
    assert settler.due() == 200.0 + QUIET


def test_times_can_be_set() -> None:
    settler = Settler(quiet=1.0, unfinished=0.5, at_most=2.0, gone=9.0)
    settler.hint(G, A, 0.0)
    assert settler.due() == 1.0  # no hold on a vanished file is longer than the one on an unfinished file
    settler.hint(W, A, 1.0)
    assert settler.due() == 1.5  # three times `unfinished`


hints = st.tuples(
    st.one_of(st.floats(0, 0.05), st.floats(0, 2), st.floats(0, 40)), st.sampled_from(Kind), st.sampled_from([A, B, C])
)


@settings(deadline=None, database=None)  # a slow machine is no finding, and the checkout may be read-only
@given(st.lists(hints, min_size=1, max_size=60), st.floats(0, 1e6))
def test_whatever_happens_there_is_a_look_and_it_is_not_too_early(steps: History, start: float) -> None:
    settler, now = Settler(), start
    first = first_finished = None
    held: dict[str, tuple[float, Kind]] = {}
    for pause, kind, path in steps:
        due = settler.due()
        if due is not None and due <= now + pause:
            first = first_finished = None
            held.clear()
            settler.taken(due)
        now += pause
        settler.hint(kind, path, now)
        first = now if first is None else first
        held.pop(path, None)
        if kind is F:
            first_finished = now if first_finished is None else first_finished
        else:
            held[path] = (now, kind)
        due = settler.due()
        assert due is not None
        bound = min(first + ENDLESS, float("inf") if first_finished is None else first_finished + AT_MOST)
        assert due <= bound
        assert due <= max([now + QUIET, *(at + UNFINISHED for at, _ in held.values())])
        if due < bound:
            assert due >= now + QUIET
            assert all(due >= at + (UNFINISHED if kind is W else GONE) for at, kind in held.values())
        assert settler.ready(due)
        assert settler.ready(now) is (now >= due)
