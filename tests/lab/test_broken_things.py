# SPDX-License-Identifier: MPL-2.0
"""No broken file and no broken host takes a server down that the agent looks after.

What Kea makes of these things by itself is in docs/usage/broken-files.md, which `tests/lab/broken_table` measures.
"""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet
from breaking import Bench
from broken import Broken
from broken_things import ALONE, MINUTES, PAIR
from guarded import look_at
from labs import SUITES, UpLab, grouped
from pairlabs import grouped_pair

# What the promise allows a server that was hurt, in seconds.
BACK = 10.0
# An exchange has two round trips; when the clients stop, one may be under way in each.
CUT_OFF = 2


def on(lab: ParameterSet, things: tuple[Broken, ...]) -> list[ParameterSet]:
    """Each thing, on the lab that it needs."""
    return [pytest.param(*lab.values, thing, marks=lab.marks, id=f"{lab.id}-{thing.name}") for thing in things]


SHORT = tuple(thing for thing in ALONE if thing not in MINUTES)
EVERYTHING = [
    each for suite in SUITES for each in [*on(grouped(suite=suite), SHORT), *on(grouped_pair(suite), PAIR)]
]  # fmt: skip


@pytest.mark.parametrize(("words", "thing"), EVERYTHING)
def test_nothing_broken_ends_without_a_server(up: UpLab, words: dict[str, object], thing: Broken) -> None:
    found = look_at(Bench(up(**words)), thing)
    print(f"{thing.name}: {found.words} in {found.seconds:.1f} s, away for {found.away:.1f} s, {found.clients}")
    print(found.last.reason)
    assert found.standing.serves, found.standing
    assert found.last.outcome != "broken"
    assert not found.first.rehearsal.startswith("not rehearsed")
    is_unheard = found.standing.has_ha and not found.standing.hears_partner
    assert not is_unheard or "the HA partner cannot reach this server" in found.last.reason
    is_untouched = found.first.outcome == "rejected" and thing.moment == "reload"
    # Nobody could serve while the cause was there, which was until the agent had spoken.
    assert found.silence < BACK + (found.seconds if thing.passes else 0)
    assert not is_untouched or not found.clients or found.clients.lost <= CUT_OFF
