# SPDX-License-Identifier: MPL-2.0
"""Text in pieces: all of it, whatever it is, in time that grows as it does."""

from __future__ import annotations

import pytest
from growth import MOST, growth
from hypothesis import given
from hypothesis import strategies as st

from kea_agent.pieces import Kind, comments, pieces
from kea_agent.redact_text import redacted_text

# What a pattern that looks back takes too long for.
ADVERSARIES = (
    '"eth0" ' + "/* a */" * 9, "/* a */", "/*", "*/", "#", "//", "/", '"', "'", "`", "'\"", '\\"', '"\\', "# \"\\\"'", "a", ":", ",", "@", "password ",
    '"password" /**/ :', "{ [", "x=", " ", "\n", "'\n", '"\n', "# kea-agent:", "# kea-agent: ignore=", "a:b@", "\u00e9", "<?include ",
)  # fmt: skip


@given(text=st.text(alphabet="\"'`#/*\\ \n\t:,{}ax1\u00e9\x00", max_size=60))
def test_all_of_the_text_comes_back(text: str) -> None:
    found = list(pieces(text))
    assert "".join(piece.text for piece in found) == text
    assert not any("\n" in piece.text and piece.text != "\n" for piece in found)
    kinds = [piece.kind for piece in found]
    assert kinds.count(Kind.OPEN) == kinds.count(Kind.CLOSE) == len(list(comments(text)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"# no" # yes "x"\n// two', [' yes "x"', " two"]),
        ("/* a\n b */ c /* d", [" a\n b ", " d"]),
        ('"it\'s" # a', [" a"]),
        ('"not closed # no\n# yes', [" yes"]),
        ('"\\" # no" # yes', [" yes"]),
    ],
)
def test_comments(text: str, found: list[str]) -> None:
    assert list(comments(text)) == found


@pytest.mark.parametrize("unit", ADVERSARIES)
@pytest.mark.parametrize("before", ["", '"name": "', "/*", "# "])
def test_time_is_linear_in_the_text(unit: str, before: str) -> None:
    assert growth(lambda size: before + unit * size, redacted_text) < MOST
