# SPDX-License-Identifier: MPL-2.0
"""How root writes Kea's files, keeps what they held, and remembers what nobody has confirmed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import stat
import threading
import time
from pathlib import Path

import pytest

from kea_agent import replacing, unconfirmed
from kea_agent.errors import AgentError
from kea_agent.files import replace_content
from kea_agent.replacing import Replaced
from kea_agent.unconfirmed import Unconfirmed

KEA = 65534
_NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kea-dhcp4.conf"
    path.write_bytes(b"old \xff")
    path.chmod(0o604)
    return path


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir()
    return path


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands of systemd's names that write down what they were told; the last line of `says` is what they answer."""
    script = (
        '#!/bin/sh\necho "${0##*/} $*" >> "$HERE/told"\n[ -e "$HERE/says" ] || exit 0\ncat "$HERE/says" >&2\nexit 1\n'
    )
    for name in ("systemctl", "systemd-run"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin:/usr/bin")
    monkeypatch.setenv("HERE", str(tmp_path))
    return tmp_path


@_NEEDS_ROOT
def test_the_file_stays_what_it_was(file: Path) -> None:
    os.chown(file, KEA, KEA)
    os.setxattr(file, "user.note", b"mine")
    replace_content(file, b"new")
    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (KEA, KEA, 0o604)
    assert os.getxattr(file, "user.note") == b"mine"
    assert file.read_bytes() == b"new"
    assert os.listdir(file.parent) == [file.name]


def test_a_new_file_gets_its_directorys_group(tmp_path: Path) -> None:
    replace_content(tmp_path / "new", b"x")
    status = (tmp_path / "new").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, tmp_path.stat().st_gid)


def test_a_symlink_stays_one(file: Path) -> None:
    (file.parent / "b").symlink_to(file.name)
    (file.parent / "a").symlink_to("b")
    replace_content(file.parent / "a", b"new")
    assert [(file.parent / name).is_symlink() for name in ("a", "b", file.name)] == [True, True, False]
    assert file.read_bytes() == b"new"


@_NEEDS_ROOT
def test_a_symlink_of_somebody_else_is_not_followed(file: Path, backups: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file.name)
    os.lchown(link, KEA, KEA)
    for attempt in (lambda: replacing.write(link, b"new"), lambda: replacing.keep("dhcp4", link, backups)):
        with pytest.raises(AgentError, match="a symlink of one user to a file of another is not followed"):
            attempt()
    os.chown(file, KEA, KEA)
    replacing.write(link, b"new")
    assert file.read_bytes() == b"new"


@_NEEDS_ROOT
def test_a_directory_that_is_a_symlink_of_somebody_else_is_not_entered(tmp_path: Path, backups: Path) -> None:
    path = _site(tmp_path, "precious") / "kea.conf"
    for attempt in (
        lambda: replacing.write(path, b"new"),
        lambda: replacing.keep("dhcp4", path, backups),
        lambda: Replaced(path, None).put_back(),
    ):
        with pytest.raises(AgentError, match="a symlink of one user to a file of another is not followed"):
            attempt()
    assert os.listdir(tmp_path / "precious") == []
    replacing.write(_site(tmp_path, "own") / "kea.conf", b"new")
    assert (tmp_path / "own/kea.conf").read_bytes() == b"new"


@_NEEDS_ROOT
def test_who_changes_the_way_meanwhile_leads_nobody_elsewhere(tmp_path: Path) -> None:
    """As fast as it can be done, `site` is a directory and a symlink to another by turns."""
    path, ends = _site(tmp_path, "own") / "kea.conf", threading.Event()
    path.touch()
    os.chown(path, KEA, KEA)
    (tmp_path / "other").symlink_to("precious")
    os.lchown(tmp_path / "other", KEA, KEA)
    thread = threading.Thread(target=_swap, args=(tmp_path / "site", tmp_path / "other", ends))
    thread.start()
    try:
        for attempt in range(500):
            with contextlib.suppress(AgentError):
                replacing.write(path, f"{attempt}".encode())
    finally:
        ends.set()
        thread.join()
    assert os.listdir(tmp_path / "precious") == []
    assert (tmp_path / "own/kea.conf").read_bytes() != b"", "some attempts came through"


def _site(top: Path, place: str) -> Path:
    """A symlink of another user to a directory of his, or of root's."""
    for name, owner in (("own", KEA), ("precious", 0)):
        (top / name).mkdir(exist_ok=True)
        os.chown(top / name, owner, owner)
    (top / "site").unlink(missing_ok=True)
    (top / "site").symlink_to(place)
    os.lchown(top / "site", KEA, KEA)
    return top / "site"


def _swap(one: Path, other: Path, ends: threading.Event) -> None:
    aside = one.with_name("aside")
    while not ends.is_set():
        one.rename(aside)
        other.rename(one)
        aside.rename(other)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path), lambda path: path.symlink_to("absent")])  # fmt: skip
def test_what_is_no_file_is_not_written(tmp_path: Path, make: object) -> None:
    path = tmp_path / "odd"
    make(path)  # type: ignore[operator]
    before = path.lstat()
    with pytest.raises(AgentError, match=r"odd: cannot be written: .*; nothing was changed"):
        replacing.write(path, b"new")
    assert path.lstat().st_ino == before.st_ino
    assert os.listdir(tmp_path) == ["odd"]


def test_what_was_there_is_kept_and_comes_back(file: Path, backups: Path) -> None:
    replaced = replacing.keep("dhcp4", file, backups)
    replacing.write(file, b"new")
    assert replaced.kept
    assert replaced.kept.read_bytes() == b"old \xff"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (replaced.kept, replaced.kept.parent)] == [0o600, 0o700]
    replaced.put_back()
    assert file.read_bytes() == b"old \xff"
    replaced.kept.unlink()
    with pytest.raises(AgentError, match=r"what .* held before is gone; .* still holds"):
        replaced.put_back()
    assert file.read_bytes() == b"old \xff"


def test_where_there_was_no_file_there_is_none_again(tmp_path: Path, backups: Path) -> None:
    replaced = replacing.keep("dhcp4", tmp_path / "new", backups)
    replacing.write(tmp_path / "new", b"new")
    replaced.put_back()
    assert (replaced.kept, (tmp_path / "new").exists()) == (None, False)
    replaced.put_back()


def test_the_oldest_are_forgotten(file: Path, backups: Path) -> None:
    kept = [replacing.keep("dhcp4", file, backups).kept for _ in range(replacing.MOST + 3)]
    assert sorted(os.listdir(backups / "dhcp4")) == [path.name for path in kept[3:] if path]


def test_a_full_disk_changes_nothing(file: Path, backups: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        for attempt in (lambda: replacing.keep("dhcp4", file, backups), lambda: replacing.write(file, b"new one")):
            with pytest.raises(AgentError, match="file too large; nothing was changed"):
                attempt()
        with pytest.raises(AgentError, match=r"still holds what was to be taken back"):
            Replaced(file, file).put_back()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == b"old \xff"
    assert (sorted(os.listdir(file.parent)), os.listdir(backups / "dhcp4")) == (["backups", file.name], [])


def test_one_at_a_time(tmp_path: Path) -> None:
    backups = tmp_path / "none/yet"
    with replacing.locked("dhcp4", backups):
        with pytest.raises(AgentError, match="of dhcp4 is at work"), replacing.locked("dhcp4", backups):
            raise AssertionError("both in there")
        with replacing.locked("dhcp6", backups):
            pass
    with replacing.locked("dhcp4", backups, wait=True):
        pass
    assert stat.S_IMODE(backups.stat().st_mode) == 0o700


# What nobody has confirmed


def test_the_timer_is_there_before_the_note(file: Path, backups: Path, systemd: Path) -> None:
    replaced = Replaced(file, backups / "dhcp4/kept")
    made = unconfirmed.start("dhcp4", replaced, 300, backups)
    stop, start = (systemd / "told").read_text().splitlines()
    assert stop == "systemctl stop kea-agent-unconfirmed-dhcp4.timer"
    assert start.startswith("systemd-run --quiet --unit=kea-agent-unconfirmed-dhcp4 --on-active=300s ")
    assert start.endswith(" /usr/bin/kea-agent rollback --unconfirmed dhcp4")
    assert unconfirmed.find("dhcp4", backups) == made
    assert made.replaced == replaced
    assert 299 < (made.seconds_left or 0) <= 300
    unconfirmed.end("dhcp4", backups)
    unconfirmed.end("dhcp4", backups)
    assert unconfirmed.find("dhcp4", backups) is None


def test_without_a_timer_there_is_no_note(file: Path, backups: Path, systemd: Path) -> None:
    (systemd / "says").write_text("Failed to start transient timer unit")
    with pytest.raises(AgentError, match="Failed to start transient timer unit; nothing was changed"):
        unconfirmed.start("dhcp4", Replaced(file, None), 300, backups)
    assert os.listdir(backups) == []


def test_a_timer_that_is_not_there_is_stopped(backups: Path, systemd: Path) -> None:
    (systemd / "says").write_text("Failed to stop kea-agent-unconfirmed-dhcp4.timer: Unit x.timer not loaded.")
    unconfirmed.end("dhcp4", backups)


def test_a_host_without_systemd(monkeypatch: pytest.MonkeyPatch, file: Path, backups: Path) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AgentError, match=r"systemctl: .*; nothing was changed"):
        unconfirmed.start("dhcp4", Replaced(file, None), 300, backups)
    assert os.listdir(backups) == []


@pytest.mark.parametrize(
    ("seconds", "boot", "words"),
    [
        (90, None, r"waits for kea-agent confirm dhcp4, (90|89) s are left$"),
        (-1, None, "was not confirmed in time; if it is not taken back now, its timer was stopped$"),
        (90, "another", "from before the last boot waits to be taken back$"),
    ],
)
def test_a_change_tells_its_time(seconds: float, boot: str | None, words: str) -> None:
    until = time.monotonic() + seconds
    change = Unconfirmed("dhcp4", "/etc/kea/kea-dhcp4.conf", None, until, boot or unconfirmed.boot())
    assert re.search(words, str(change))
    assert (change.seconds_left is None) == (boot is not None)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "[" * 200_000, "\0", None])
def test_a_damaged_note_is_no_confirmation(backups: Path, text: str | None) -> None:
    note = {"daemon": "dhcp4", "path": "/x", "kept": 7, "until": 1.0, "boot": "b"}
    (backups / "dhcp4.unconfirmed").write_text(json.dumps(note) if text is None else text)
    with pytest.raises(AgentError, match=r"dhcp4\.unconfirmed: cannot tell whether a change of dhcp4 waits"):
        unconfirmed.find("dhcp4", backups)
