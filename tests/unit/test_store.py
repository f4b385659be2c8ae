# SPDX-License-Identifier: MPL-2.0
"""What is remembered, and what damaged memories do."""

from __future__ import annotations

import json
import logging
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from kea_agent.files import write_atomically
from kea_agent.store import Remembered, Store

REMEMBERED = Remembered("digest", "meaning", "661C0F", 4203, 1795205588.25, 1795205589.5)
FIELDS: dict[str, Any] = {"digest": "d", "meaning": "m", "hash": None, "pid": 1, "committed_at": 1}
WRONG: list[dict[str, Any]] = [
    {"hash": 0},
    {"hash": []},
    {"digest": None},
    {"meaning": 1},
    {"committed_at": "now"},
    {"committed_at": None},
    {"reloaded_at": "now"},
    {"reloaded_at": 1e300},
    {"changed_at": -1},
    {"committed_at": float("nan")},
    {"committed_at": True},
    {"pid": "1"},
    {"pid": None},
    {"from_the_future": 1},
]


@pytest.mark.parametrize("remembered", [REMEMBERED, Remembered("d", "m", None, 1, 1.0)])
def test_remembering(tmp_path: Path, remembered: Remembered) -> None:
    Store(tmp_path).save("dhcp4", remembered)
    assert Store(tmp_path).load("dhcp4") == remembered
    assert Store(tmp_path).load("dhcp6") is None
    assert (tmp_path / "dhcp4.json").stat().st_mode & 0o777 == 0o640


def test_nothing_is_remembered_at_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Store(tmp_path).load("dhcp4") is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"\0" * 100,
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"[" * 200_000,
        *(json.dumps(FIELDS | wrong).encode() for wrong in WRONG),
    ],
)
def test_damaged_memories_are_told_and_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "dhcp4.json").write_bytes(content)
    assert Store(tmp_path).load("dhcp4") is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_directory_in_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "dhcp4.json").mkdir()
    store = Store(tmp_path)
    assert store.load("dhcp4") is None
    store.save("dhcp4", REMEMBERED)
    assert len(caplog.records) == 2
    assert os.listdir(tmp_path) == ["dhcp4.json"]


def test_a_fifo_in_its_place_does_not_hold_the_agent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "dhcp4.json")
    assert Store(tmp_path).load("dhcp4") is None
    assert "not a regular file" in caplog.text


def test_a_directory_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Store(tmp_path / "none").save("dhcp4", REMEMBERED)
    assert "no such file or directory" in caplog.text.lower()


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old and longer")
    with path.open() as reader:
        write_atomically(path, "new", 0o644)
        assert reader.read() == "old and longer"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["file"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        write_atomically(tmp_path / "file", "x", 0o644)
    finally:
        os.umask(umask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "\udcfc", 0o644)
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    store.save("dhcp4", REMEMBERED)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        store.save("dhcp4", Remembered("new", "new", None, 1, 1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.load("dhcp4") == REMEMBERED
    assert "file too large" in caplog.text.lower()
    assert os.listdir(tmp_path) == ["dhcp4.json"]
