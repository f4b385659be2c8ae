# SPDX-License-Identifier: MPL-2.0
"""Reading what anybody may have put there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kea_agent.reading import read_regular


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
