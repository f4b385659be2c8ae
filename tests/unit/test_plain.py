# SPDX-License-Identifier: MPL-2.0
"""What others wrote is shown so that nobody is fooled by it, wherever it is shown."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kea_agent import log, phrases, report
from kea_agent.cli import main as kea_agent
from kea_agent.diff import changes
from kea_agent.diff.text import lines
from kea_agent.history import History
from kea_agent.keaconf import meaning_of
from kea_agent.keactrl import say
from kea_agent.keactrl.servers import DHCP4
from kea_agent.keactrl.systemd import AgentView
from kea_agent.lint import Finding
from kea_agent.plain import is_plain, is_time, printable, printable_lines
from kea_agent.verbs import status

EVIL = "a\x1b[2Jb\x9bc\u202ed\u2066e\nf\rg\x85h\u2028i\x00j\x7fk\u200bl\udcff\ud800m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße, 日本 😀", "Grüße, 日本 😀"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J\x80", r"\x9b2J\x80"),
        ("\u202egnp.exe\u2069", r"\u202egnp.exe\u2069"),
        ("one\ntwo\r\x85\u2028", r"one\ntwo\r\x85\u2028"),
        ("\udcff\ud800", r"\xff\ud800"),
        ("a\u00a0b\u200bc\t", r"a\xa0b\u200bc\t"),
    ],
)
def test_what_steers_hides_or_ends_a_line_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(alphabet=st.characters(codec=None)))
def test_it_is_always_one_line_of_utf8(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()
    assert printable(printable(text)) == printable(text)


def test_the_ends_of_lines_stay_where_they_are_meant() -> None:
    assert printable_lines("a\n\x1bb\r\n") == "a\n\\x1bb\\r\n"


NO_TIMES = [1e300, -1, float("nan"), float("inf"), -float("inf"), True, "1", None, [], 10**400]


@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_time(value: Any) -> None:
    assert not is_time(value)


@pytest.mark.parametrize("value", [each for each in NO_TIMES if isinstance(each, float)])
def test_words_for_what_is_no_time(value: float) -> None:
    assert phrases.iso(value) == phrases.NO_TIME
    assert phrases.ago(value, 1.0) == phrases.NO_TIME


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, nested(17), {"a": nested(400)}])
def test_trees_that_cannot_be_written_again(value: Any) -> None:
    assert is_plain({"a": {"b": [1, 2.5, None, True, "x"]}})
    assert not is_plain(value)


# -- where it is shown


def test_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(changes({EVIL: EVIL, "x": {EVIL: 1}}, {"x": {EVIL: 2}}), color=False)
    assert len(found) == 2
    assert all(line.isprintable() and r"\x1b[2J" in line for line in found)


@pytest.mark.parametrize("form", ["text", "github"])
def test_a_finding(form: str) -> None:
    found = report.FORMS[form]([Finding("", "error", EVIL, f"/{EVIL}:1:2", "/f", 1, 2, level="kea")])
    assert all(line.isprintable() for line in found.split("\n"))
    assert r"\x1b[2J" in found


def test_a_line_of_the_journal(capfd: pytest.CaptureFixture[str]) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (EVIL,), "levelno": logging.WARNING})
    for formatter in (log._OneLine("%(message)s"), log._Journal("%(message)s")):
        assert formatter.format(record).isprintable()


def test_keactrls_asides(capsys: pytest.CaptureFixture[str]) -> None:
    say.aside(EVIL)
    assert capsys.readouterr().err.removesuffix("\n").isprintable()


@pytest.fixture(name="state")
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the agent keeps what it knows, for the verbs."""
    monkeypatch.setattr("kea_agent.verbs.history.STATE", tmp_path)
    monkeypatch.setattr(History.__init__, "__defaults__", (tmp_path, None))
    return tmp_path


def kept(state: Path, key: str = "renew-timer", proof: str = "it serves") -> None:
    evil = EVIL.replace("\ud800", "")  # half a character is in no file
    tree = {"Dhcp4": {key.replace("\ud800", ""): evil}}
    told = {"hash": EVIL, "kea_version": EVIL, "proof": proof}
    assert History(state).keep("dhcp4", "kea-dhcp4.conf", tree, meaning=meaning_of(tree), at=1.0, **told)


def test_a_revision(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(state, proof=EVIL)
    kept(state, key=EVIL)
    assert kea_agent(["history", "dhcp4"]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert out.count("\n") == 4
    assert kea_agent(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dhcp4"][1]["proof"] == EVIL


def test_a_configuration_on_a_terminal_and_in_a_file(
    state: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(state)
    assert kea_agent(["history", "dhcp4", "--show", "1"]) == 0
    assert "\x9b".encode() in capfdbinary.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert kea_agent(["history", "dhcp4", "--show", "1"]) == 0
    assert all(line.isprintable() for line in capfdbinary.readouterr().out.decode().split("\n"))


# -- status.json


def put_fifo(path: Path) -> None:
    os.mkfifo(path)


def put_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_text(text: str) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")

    return put


UNREADABLE = {
    "fifo": put_fifo,
    "device": put_device,
    "directory": Path.mkdir,
    "empty": put_text(""),
    "not json": put_text("{"),
    "a list": put_text("[]"),
    "nan": put_text('{"generated_at": NaN}'),
    "infinite": put_text('{"daemons": {"dhcp4": {"retry_at": 1e999}}}'),
    "a long number": put_text('{"pid": ' + "9" * 5000 + "}"),
    "deep": put_text("[" * 100_000),
    "deep enough": put_text('{"daemons": {"dhcp4": {"last": ' + '{"a":' * 400 + "1" + "}" * 403),
    "daemons a list": put_text('{"daemons": []}'),
    "a daemon is a number": put_text('{"daemons": {"dhcp4": 3}}'),
    "a pass is a list": put_text('{"daemons": {"dhcp4": {"last": []}}}'),
}  # fmt: skip


@pytest.fixture(name="status_file")
def _status_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "status.json"
    monkeypatch.setattr(status, "STATUS_FILE", path)
    yield path
    with contextlib.suppress(OSError):
        path.unlink()


@pytest.mark.parametrize("put", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_status_that_is_none_is_told(
    status_file: Path, capsys: pytest.CaptureFixture[str], put: Callable[[Path], None], form: list[str]
) -> None:
    put(status_file)
    assert kea_agent(["status", *form]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"kea-agent: read '{status_file}': not a")
    assert "systemctl restart kea-agent" in err


ODD: list[dict[str, Any]] = [
    {},
    {"pid": True, "generated_at": 1.0},
    {"pid": 10**30, "generated_at": 1e300, "started_at": -1},
    {"pid": os.getpid(), "generated_at": 1e9, "version": EVIL, "started_at": [], "daemons": {EVIL: {"unit": EVIL}}},
    {"pid": os.getpid(), "generated_at": 1e9, "daemons": {"dhcp4": {"unit": "u", "last": {"outcome": "new", "at": 1e300}}}},
    {"pid": os.getpid(), "generated_at": 1e9, "daemons": {"dhcp4": {"unit": {}, "last": {"outcome": [1]}, "warnings": 4}}},
    {"pid": os.getpid(), "generated_at": 1e9, "daemons": {"dhcp4": {"unit": 5, "last": {}, "retry_at": 1e300, "config_file": [EVIL]}}},
]  # fmt: skip


@pytest.mark.parametrize("document", ODD)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_odd_values_in_a_status_are_shown_or_left_out(
    status_file: Path, capsys: pytest.CaptureFixture[str], document: dict[str, Any], form: list[str]
) -> None:
    status_file.write_text(json.dumps(document))
    assert kea_agent(["status", *form]) in (0, 3)
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert not form or json.loads(out)


@pytest.mark.parametrize("put", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_keactrl_does_without_a_status_that_is_none(status_file: Path, put: Callable[[Path], None]) -> None:
    put(status_file)
    view = AgentView(str(status_file))
    assert (view.of(DHCP4).get("unit"), view.config_file(DHCP4)) == (None, None)
    view.mentions(["broken"])


@pytest.mark.parametrize("file", ["/etc/kea/\0", "/etc/\x1b[2J", "\ud800", "", 5, None, ["/etc"], "/etc/\u202ex"])
def test_keactrl_takes_no_odd_path_from_a_status(status_file: Path, file: Any) -> None:
    status_file.write_text(json.dumps({"daemons": {"dhcp4": {"unit": "u", "config_file": file}}}))
    assert AgentView(str(status_file)).config_file(DHCP4) is None
