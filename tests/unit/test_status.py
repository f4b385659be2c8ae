# SPDX-License-Identifier: MPL-2.0
"""The status file: its form, its writing and reading, and what `kea-agent status` makes of it (golden/status.txt)."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kea_agent import proc, status
from kea_agent.errors import AgentError
from kea_agent.outcome import DaemonStatus, Outcome, Pass, Stage, Step
from kea_agent.phrases import MEANING, ago

GOLDEN = Path(__file__).parent / "golden/status.txt"
NOW = 1767323045.0  # 2026-01-02T03:04:05Z
PID = 812

FOUR = DaemonStatus(
    "dhcp4",
    unit="isc-kea-dhcp4-server.service",
    unit_state="active (running)",
    main_pid=1234,
    config_file="/etc/kea/kea-dhcp4.conf",
    included_files=("/etc/kea/subnets.json", "/etc/kea/classes.json"),
    config_valid=True,
    config_in_sync=True,
    reload_successful=True,
    reloaded_at=NOW - 130,
    running_hash="6A1C",
    last=Pass(
        Outcome.APPLIED,
        "reloaded, hash 6A1C runs, 3 sockets are open",
        NOW - 130,
        {Stage.CHECK: 0.25},
        rehearsal="passed",
        changes=("~ valid-lifetime: 4000 -> 3600", "+ subnet4 > 7: {}"),
    ),
    last_good_at=NOW - 130,
)
SIX = DaemonStatus(
    "dhcp6",
    unit="isc-kea-dhcp6-server.service",
    unit_state="active (running)",
    main_pid=1235,
    config_file="/etc/kea/kea-dhcp6.conf",
    config_valid=False,
    config_in_sync=False,
    reload_successful=False,
    reloaded_at=NOW - 90000,
    on_fallback=True,
    last_good_at=NOW - 90000,
    last=Pass(
        Outcome.REJECTED,
        "/etc/kea/kea-dhcp6.conf:12:7: pool 2001:db8:1::/80 is not within subnet 2001:db8:2::/64; the server was not\n"
        "touched and serves what it served",
        NOW - 3,
        steps=((Step.FALLBACK, True),),
    ),
)
DDNS = DaemonStatus(
    "ddns",
    unit="isc-kea-dhcp-ddns-server.service",
    unit_state="active (running)",
    config_file="/etc/kea/kea-dhcp-ddns.conf",
    config_valid=True,
    last=Pass(Outcome.DEFERRED, "the daemon is still starting", NOW - 1),
    retry_at=NOW + 4,
)
ABSENT = DaemonStatus("ctrl-agent", last=Pass(Outcome.DEFERRED, "no unit of ctrl-agent is installed", NOW - 60))
LIVE = {
    "dhcp4": {
        "unit": "isc-kea-dhcp4-server.service",
        "active_state": "active",
        "sub_state": "running",
        "main_pid": 1234,
    },
    "dhcp6": {
        "unit": "isc-kea-dhcp6-server.service",
        "active_state": "failed",
        "sub_state": "failed",
        "main_pid": 0,
        "down": "failed (it ended with an error)",
    },
}


def document(*statuses: DaemonStatus, generated_at: float = NOW - 2) -> status.Document:
    return status.to_json(statuses, version="1.2.3", pid=PID, started_at=NOW - 7300, generated_at=generated_at)


def said(found: dict[str, Any] | None, live: status.Live | None = None, *, started: float | None = NOW - 7300) -> str:
    return status.text(found, live or {}, color=False, now=NOW, start_of=lambda _: started)


# -- the machine form


def test_the_head_of_the_document() -> None:
    found = document()
    assert found == {
        "version": "1.2.3",
        "pid": PID,
        "started_at": NOW - 7300,
        "started_at_iso": "2026-01-02T01:02:25Z",
        "generated_at": NOW - 2,
        "generated_at_iso": "2026-01-02T03:04:03Z",
        "daemons": {},
    }


def test_a_daemon_has_every_field_of_its_status() -> None:
    found = document(FOUR)["daemons"]["dhcp4"]
    fields = {field.name for field in dataclasses.fields(DaemonStatus)} - {"daemon"}
    assert {key for key in found if not key.endswith("_iso")} == fields
    assert found["included_files"] == ["/etc/kea/subnets.json", "/etc/kea/classes.json"]
    assert found["reloaded_at_iso"] == "2026-01-02T03:01:55Z"
    assert found["last"] == {
        "outcome": "applied",
        "reason": "reloaded, hash 6A1C runs, 3 sockets are open",
        "at": NOW - 130,
        "at_iso": "2026-01-02T03:01:55Z",
        "seconds": {"check": 0.25},
        "rehearsal": "passed",
        "steps": [],
        "changes": ["~ valid-lifetime: 4000 -> 3600", "+ subnet4 > 7: {}"],
    }
    assert document(SIX)["daemons"]["dhcp6"]["last"]["steps"] == [{"step": "fallback", "worked": True}]


def test_what_is_not_known_is_null() -> None:
    found = document(DaemonStatus("dhcp4"))["daemons"]["dhcp4"]
    assert found.pop("included_files") == found.pop("warnings") == []
    assert found.pop("on_fallback") is False
    assert set(found.values()) == {None}


def test_the_docstring_names_every_key() -> None:
    found = document(FOUR)
    keys = {*found, *found["daemons"]["dhcp4"], *found["daemons"]["dhcp4"]["last"]}
    text = status.to_json.__doc__ or ""
    assert {key for key in keys if not key.endswith("_iso") and key not in text} == set()


# -- writing and reading


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, document(FOUR, SIX))
    assert status.read(path) == document(FOUR, SIX)
    assert path.read_text().endswith("}\n")


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    old = os.umask(0o077)
    try:
        status.write(path, document())
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o7777 == 0o644


def test_a_write_replaces_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, document())
    with path.open() as before:
        status.write(path, document(FOUR))
        assert json.load(before)["daemons"] == {}  # who reads the old one goes on reading the old one
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.mkdir()
    with pytest.raises(AgentError, match=r"write '.*status.json': Is a directory; the status in it is the one before"):
        status.write(path, document())
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_document_that_is_no_json_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, document())
    with pytest.raises(ValueError, match="JSON compliant"):
        status.write(path, {"at": float("nan")})
    assert status.read(path) == document()


def test_a_write_into_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="No such file or directory"):
        status.write(tmp_path / "gone/status.json", document())


def test_no_file_is_no_document(tmp_path: Path) -> None:
    assert status.read(tmp_path / "status.json") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100000])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(AgentError, match=r"^read '.*': not a status of kea-agent"):
        status.read(path)


# -- for people


def test_the_whole_text() -> None:
    cases = {
        "running": said(document(FOUR, SIX, DDNS, ABSENT), LIVE),
        "stale": said(document(FOUR, generated_at=NOW - 1000), LIVE),
        "gone": said(document(FOUR, DDNS), {}, started=None),
        "another process has its pid": said(
            document(DaemonStatus("dhcp4"), generated_at=NOW - 60), {}, started=NOW - 50
        ),
        "no file": said(None, LIVE),
        "nothing": said(None),
    }
    assert "".join(f"--- {name}\n{text}\n" for name, text in cases.items()) == GOLDEN.read_text()


def test_warnings_of_the_rules_are_counted() -> None:
    for count, words in (
        (0, ""),
        (1, "  rules      1 warning: kea-agent check dhcp4\n"),
        (2, "  rules      2 warnings: "),
    ):
        warned = dataclasses.replace(FOUR, warnings=("f:1:2: something [a-rule]",) * count)
        told = status.text(document(warned), {}, color=False, now=NOW, start_of=lambda _: 0.0)
        assert words in told
        assert ("rules" in told) == bool(count)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_says_what_it_means_for_the_server(outcome: Outcome) -> None:
    text = said(document(DaemonStatus("dhcp4", unit="a.service", last=Pass(outcome, "because", NOW - 5))))
    assert f"dhcp4: {outcome} 5 s ago" in text
    assert " ".join(text.split()).count(MEANING[outcome]) == 1
    assert "because" in text


@pytest.mark.parametrize(
    ("state", "pid", "says"),
    [
        ("inactive (dead)", None, "does not run"),
        ("masked", None, "does not run"),
        ("masked", 7, MEANING["deferred"]),
        ("active (running)", 7, MEANING["deferred"]),
    ],
)
def test_a_server_that_does_not_run_is_not_said_to_run(state: str, pid: int | None, says: str) -> None:
    """By the agent's own word: systemd cannot be asked."""
    found = dataclasses.replace(DDNS, unit_state=state, main_pid=pid, config_in_sync=True)
    text = said(document(found))
    assert f"  server     {says}\n" in text
    assert ("what the server runs" in text) == (pid is not None)
    assert text.splitlines()[2] == ("ddns: " + ("does not run; " if pid is None else "") + "deferred 1 s ago")


def test_nothing_is_wider_than_a_terminal() -> None:
    wide = dataclasses.replace(FOUR, config_file="/etc/" + "long/" * 40 + "x.conf")
    assert max(map(len, said(document(wide, SIX, DDNS, ABSENT), LIVE).splitlines())) <= 80


def test_colour_changes_nothing_but_the_colour() -> None:
    plain = said(document(FOUR, SIX, DDNS), LIVE)
    coloured = status.text(document(FOUR, SIX, DDNS), LIVE, color=True, now=NOW, start_of=lambda _: NOW - 7300)
    assert "\x1b[32mapplied\x1b[0m" in coloured
    assert "\x1b[33mrejected\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_a_reason_cannot_steer_the_terminal() -> None:
    text = said(document(DaemonStatus("dhcp4", unit="a", last=Pass(Outcome.FAILED, "\x1b]0;x\x07\n\x9b2J", NOW))))
    assert r"\x1b]0;x\x07 \x9b2J" in text
    assert text.isprintable() is False
    assert all(line.isprintable() for line in text.splitlines())


def test_a_retry_that_is_due_and_one_that_is_no_more() -> None:
    due = dataclasses.replace(DDNS, retry_at=NOW - 1)
    assert "tried again any moment" in said(document(due))
    done = dataclasses.replace(due, last=Pass(Outcome.APPLIED, "", NOW))
    assert "tried again" not in said(document(done))


@pytest.mark.parametrize(
    "damaged",
    [
        {"daemons": []},
        {"pid": "x", "generated_at": True, "daemons": {"dhcp4": 3}},
        {"pid": -1, "generated_at": 1e300, "daemons": {"dhcp4": {"last": [], "unit": 7}}},
        {"pid": 1, "generated_at": 1.0, "daemons": {"dhcp4": {"included_files": 4, "config_valid": [], "retry_at": "x"}}},
        {"pid": 1, "generated_at": 1.0, "daemons": {"dhcp4": {"last": {"outcome": ["new"], "at": {}}}}},
    ],
)  # fmt: skip
def test_a_document_of_another_version_does_no_harm(damaged: dict[str, Any]) -> None:
    assert said(damaged).startswith("kea-agent ")


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (0.4, "just now"),
        (1, "1 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (172800, "2 days ago"),
        (-5, "in 5 s"),
        (-300, "in 5 min"),
    ],
)
def test_times_as_people_say_them(distance: float, words: str) -> None:
    assert ago(NOW - distance, NOW) == words


def test_the_start_of_this_very_process() -> None:
    before = time.time()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = status.process_start(child.pid)
        assert started is not None
        assert before - 3 < started < time.time() + 3
    finally:
        child.communicate(b"\n")
    assert status.process_start(child.pid) is None


def test_a_zombie_is_not_running(tmp_path: Path) -> None:
    place = tmp_path / str(os.getpid())
    place.mkdir()
    (tmp_path / "stat").write_text("cpu 1\nbtime 1000\n")
    (place / "stat").write_text(f"1 (a b) c) Z {' '.join(map(str, range(4, 60)))}\n")
    assert status.process_start(os.getpid(), tmp_path) is None
    (place / "stat").write_text(f"1 (a b) c) S {' '.join(map(str, range(4, 60)))}\n")
    assert status.process_start(os.getpid(), tmp_path) == 1000 + 22 / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5)


@pytest.mark.parametrize("step", [-86400, 0, 86400])
def test_an_agent_runs_whatever_became_of_the_clock(step: float) -> None:
    """What it wrote last is, by the clock as it is now, from long before it was started, or from tomorrow."""
    ticks = proc.started_ticks(os.getpid())
    words = {"version": "1", "pid": os.getpid(), "started_at": time.time() - step, "generated_at": time.time() - step}
    assert status.is_running(status.to_json([], pid_ticks=ticks, **words))  # type: ignore[arg-type]
    assert ticks is not None
    assert not status.is_running(status.to_json([], pid_ticks=ticks - 1, **words))  # type: ignore[arg-type]


def test_a_process_that_may_not_be_looked_at_is_there(tmp_path: Path) -> None:
    assert status.process_start(os.getpid(), tmp_path) == 0.0
