# SPDX-License-Identifier: MPL-2.0
"""What others say cannot steer a terminal, break a page or end a command."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kea_agent.diff.compare import Change, Kind
from kea_agent.diff.text import lines
from kea_agent.errors import AgentError
from kea_agent.foreign import printable, printable_tree
from kea_agent.phrases import ago, iso
from kea_agent.revision import Kept, Revision, decoded
from kea_agent.store import Remembered, Store
from kea_agent.verbs.history import Row, _cells
from kea_agent.verbs.reload import _results

# ESC, the one-byte CSI, a new line, a right-to-left override, a zero-width joiner, half of a pair.
STEERING = "a\x1b[31mb\x9bc\nd\u202ee\u200df\udcffg"
REVISION = Revision("dhcp4", 1, 1.0, 2.0, "m", "h", "3.0.4", "it serves", "kea.conf")


def test_nothing_that_steers_is_printed() -> None:
    assert printable(STEERING).isprintable()
    assert printable("Zürich → 漢字") == "Zürich → 漢字"
    assert printable_tree({STEERING: [STEERING, 1, None, {"x": STEERING}]}) == {
        printable(STEERING): [printable(STEERING), 1, None, {"x": printable(STEERING)}]
    }


@pytest.mark.parametrize("field", ["proof", "kea_version", "hash"])
def test_a_revision_of_keas_user(field: str) -> None:
    row = Row(replace(REVISION, **{field: STEERING}), 1)  # type: ignore[arg-type]
    assert all(cell.isprintable() for cell in _cells(row))


def test_a_difference_in_a_key_or_a_value() -> None:
    found = lines([Change((STEERING, "x"), Kind.CHANGED, STEERING, "y")], color=False)
    assert all(line.isprintable() for line in found)


@pytest.mark.parametrize("at", [1e300, -1e300, math.inf, -math.inf, math.nan, 253402300800.0, 10**30])
def test_moments_that_no_calendar_has(at: float) -> None:
    assert iso(at)
    assert ago(at, 0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"proven_at": 1e300},
        {"proven_at": -1},
        {"at": math.inf},
        {"proven_at": math.nan},
        {"number": -1},
        {"number": 10**400},
        {"number": 1.5},
        {"proof": 1},
        {"hash": []},
    ],
)
def test_a_revision_with_values_that_cannot_be_is_damaged(fields: dict[str, object]) -> None:
    kept = Kept(replace(REVISION, **fields), b"{}\n")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cannot be|wrong|JSON|Expecting|digits"):
        decoded(kept.encoded())


@pytest.mark.parametrize(
    "fields",
    [{"committed_at": 1e300}, {"changed_at": math.nan}, {"pid": "1"}, {"harmful": None}, {"digest": 1}, {"more": 1}],
)
def test_what_cannot_be_remembered_is_forgotten(tmp_path: Path, fields: dict[str, object]) -> None:
    remembered = asdict(Remembered("d", "m", None, 1, 1.0)) | fields
    (tmp_path / "dhcp4.json").write_text(json.dumps(remembered))
    assert Store(tmp_path).load("dhcp4") is None


@pytest.mark.parametrize(
    "answer",
    [{}, {"results": []}, {"results": {"dhcp4": 1}}, {"results": {"dhcp4": {"outcome": "great", "reason": ""}}}],
)
def test_an_answer_that_makes_no_sense(answer: dict[str, object]) -> None:
    with pytest.raises(AgentError, match="makes no sense"):
        _results(answer)
