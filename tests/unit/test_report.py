# SPDX-License-Identifier: MPL-2.0
"""Findings for people and for machines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kea_agent import report
from kea_agent.lint import Finding

ERROR = Finding(
    "subnet-id-duplicate", "error", "id 1 is taken, 100%", "/etc/kea/f:4:13", "/etc/kea/f", 4, 13, "Do it.", "rules",
    '    { "id": 1 }', 12,
)  # fmt: skip
UNKNOWN = Finding("", "unknown", "cannot run it", "/etc/kea/f", "/etc/kea/f", level="kea")


def test_text() -> None:
    assert report.text([]) == ""
    assert report.text([ERROR, UNKNOWN, UNKNOWN, ERROR]).startswith(
        "/etc/kea/f:4:13: error: id 1 is taken, 100% [subnet-id-duplicate]\n"
        '     4 | { "id": 1 }\n'
        "       |         ^\n"
        "       = Do it.\n"
        "\n"
        "/etc/kea/f: unknown: cannot run it [kea]\n"
    )
    assert report.text([ERROR, UNKNOWN, UNKNOWN, ERROR]).endswith("\n\n2 errors, 2 unknown\n")


def test_colour_changes_nothing_but_the_colour() -> None:
    colored = report.text([ERROR, UNKNOWN], color=True)
    assert re.sub(r"\x1b\[\d+m", "", colored) == report.text([ERROR, UNKNOWN])
    assert colored != report.text([ERROR, UNKNOWN])


@pytest.mark.parametrize("caret", [0, 5, 60, 99, 150, 299])
def test_a_wide_line_is_cut_around_the_caret(caret: int) -> None:
    line = "".join(chr(0x100 + index) for index in range(300))
    finding = Finding("x", "info", "m", "f:1:1", "f", 1, 1, line=line, caret=caret)
    shown, mark = report.text([finding]).splitlines()[1:3]
    assert len(shown) <= 9 + 100
    assert shown[mark.index("^")] == line[caret]


def test_json() -> None:
    first, second = json.loads(report.as_json([ERROR, UNKNOWN]))
    assert first == {
        "severity": "error", "place": "/etc/kea/f:4:13", "message": "id 1 is taken, 100%", "level": "rules",
        "rule": "subnet-id-duplicate", "file": "/etc/kea/f", "line": 4, "column": 13, "do": "Do it.",
    }  # fmt: skip
    assert (second["rule"], second["line"], second["do"]) == (None, None, None)


def test_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finding = Finding("r", "info", "a\nb", f"{tmp_path}/sub/a,b:1:2", f"{tmp_path}/sub/a,b", 1, 2)
    assert report.github([ERROR, finding, UNKNOWN]) == (
        "::error file=/etc/kea/f,line=4,col=13,title=subnet-id-duplicate::id 1 is taken, 100%25 (Do it.)\n"
        "::notice file=sub/a%2Cb,line=1,col=2,title=r::a%0Ab\n"
        "::warning file=/etc/kea/f,title=kea::cannot run it\n"
    )


def test_sarif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    near = Finding("", "warning", "m", f"{tmp_path}/a b", f"{tmp_path}/a b", 3, None, level="syntax")
    log = json.loads(report.sarif([ERROR, near, UNKNOWN]))
    run = log["runs"][0]
    assert (log["version"], run["tool"]["driver"]["name"]) == ("2.1.0", "kea-agent")
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["subnet-id-duplicate"]
    assert [(each["ruleId"], each["level"]) for each in run["results"]] == [
        ("subnet-id-duplicate", "error"), ("syntax", "warning"), ("kea", "warning"),
    ]  # fmt: skip
    places = [each["locations"][0]["physicalLocation"] for each in run["results"]]
    assert places == [
        {"artifactLocation": {"uri": "file:///etc/kea/f"}, "region": {"startLine": 4, "startColumn": 13}},
        {"artifactLocation": {"uri": "a%20b"}, "region": {"startLine": 3, "startColumn": 1}},
        {"artifactLocation": {"uri": "file:///etc/kea/f"}},
    ]


def test_nothing_found_is_a_whole_document() -> None:
    assert json.loads(report.as_json([])) == []
    assert json.loads(report.sarif([]))["runs"][0]["results"] == []
    assert report.github([]) == ""
