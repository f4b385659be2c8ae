# SPDX-License-Identifier: MPL-2.0
"""Reading what anybody may have put there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kea_agent.regular import NotRootsOwnError, read_regular, read_roots_own


def test_a_file_of_just_the_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"


def test_a_larger_file_is_refused_and_not_read_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456")
    with pytest.raises(OSError, match="larger than 5 bytes") as refused:
        read_regular(tmp_path / "file", 5)
    assert refused.value.errno == errno.EFBIG


def test_a_fifo_without_a_writer_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        read_regular(tmp_path / "fifo", 5)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/"])
def test_what_is_no_regular_file_is_refused(device: str) -> None:
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        read_regular(device, 5)


def test_a_link_is_followed_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5) == b"1"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", 5, follow=False)


def test_a_name_in_an_open_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    directory = os.open(tmp_path, os.O_PATH)
    try:
        assert read_regular("file", 5, directory=directory) == b"1"
    finally:
        os.close(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="what is root's own is asked by root")
def test_a_file_is_roots_own_only_if_the_whole_way_is(tmp_path: Path) -> None:
    own = tmp_path / "a/b/file"
    own.parent.mkdir(parents=True)
    own.write_text("x")
    assert read_roots_own(str(own), 10) == b"x"
    link = tmp_path / "link"
    link.symlink_to("a/b")
    assert read_roots_own(str(link / "file"), 10) == b"x"
    absolute = tmp_path / "absolute"
    absolute.symlink_to(own)
    assert read_roots_own(str(absolute), 10) == b"x"
    for spoilt in (own, own.parent, tmp_path / "a"):
        os.chown(spoilt, 65534, 65534)
        with pytest.raises(NotRootsOwnError, match=f"{spoilt} belongs to user 65534"):
            read_roots_own(str(absolute), 10)
        os.chown(spoilt, 0, 0)
        mode = spoilt.stat().st_mode
        spoilt.chmod(0o777)
        with pytest.raises(NotRootsOwnError, match=f"others than root may write {spoilt}"):
            read_roots_own(str(link / "file"), 10)
        spoilt.chmod(mode)
    os.lchown(link, 65534, 65534)
    with pytest.raises(NotRootsOwnError, match=f"{link} belongs to user 65534"):
        read_roots_own(str(link / "file"), 10)


def test_a_link_in_circles_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="ymbolic link"):
        read_roots_own(str(tmp_path / "a"), 10)
