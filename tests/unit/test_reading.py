# SPDX-License-Identifier: MPL-2.0
"""Who may have written a file: every step of the way to it counts, and what was looked at is what is read."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kea_agent.reading import UntrustedError, Way, read_trusted, stranger

STRANGER = 65534
# acl(5) as the kernel keeps it: user::rw-, user:65534:rw-, group::r--, mask::rw-, other::r--
ACL = struct.pack(
    "<I" + "HHI" * 5, 2, 1, 6, 2**32 - 1, 2, 6, STRANGER, 4, 4, 2**32 - 1, 16, 6, 2**32 - 1, 32, 4, 2**32 - 1
)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    """Below two directories that only the caller may write."""
    file = tmp_path / "one" / "two" / "file"
    file.parent.mkdir(parents=True)
    file.write_text("words")
    for path in (file.parent.parent, file.parent):
        path.chmod(0o755)
    file.chmod(0o644)
    return file


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("did not run: giving files away takes root")


def test_what_only_the_caller_may_write_is_read(file: Path) -> None:
    assert read_trusted(str(file), 100) == b"words"
    assert stranger(str(file)) is None


@pytest.mark.parametrize("step", ["one/two/file", "one/two", "one"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_may_write_is_not_believed(tmp_path: Path, file: Path, step: str, mode: int) -> None:
    place = tmp_path / step
    place.chmod(place.stat().st_mode | mode)
    with pytest.raises(UntrustedError, match="others than its owner may write it") as refused:
        read_trusted(str(file), 100)
    assert refused.value.filename == str(place)


@pytest.mark.parametrize("step", ["one/two/file", "one/two", "one"])
def test_what_belongs_to_another_is_not_believed(tmp_path: Path, file: Path, step: str) -> None:
    as_root()
    os.chown(tmp_path / step, STRANGER, 0)
    with pytest.raises(UntrustedError, match="it belongs to user nobody") as refused:
        read_trusted(str(file), 100)
    assert refused.value.filename == str(tmp_path / step)


def test_an_access_control_list_counts(file: Path) -> None:
    os.setxattr(file, "system.posix_acl_access", ACL)
    with pytest.raises(UntrustedError, match="others than its owner may write it"):
        read_trusted(str(file), 100)


def link_of_another(tmp_path: Path, file: Path) -> Path:
    link = tmp_path / "link"
    link.symlink_to(file)
    os.chown(link, STRANGER, 0, follow_symlinks=False)
    return link


def link_through_a_directory_of_another(tmp_path: Path, file: Path) -> Path:
    middle = tmp_path / "middle"
    middle.mkdir(mode=0o755)
    (middle / "link").symlink_to("../one/two")
    os.chown(middle, STRANGER, 0)
    return middle / "link" / "file"


def a_name_beyond_a_directory_of_another(tmp_path: Path, file: Path) -> Path:
    middle = tmp_path / "middle"
    middle.mkdir(mode=0o755)
    os.chown(middle, STRANGER, 0)
    (tmp_path / "link").symlink_to("middle/../one")
    return tmp_path / "link" / "two" / "file"


@pytest.mark.parametrize(
    "lead", [link_of_another, link_through_a_directory_of_another, a_name_beyond_a_directory_of_another]
)
def test_who_may_lead_the_way_elsewhere_counts(tmp_path: Path, file: Path, lead: Callable[[Path, Path], Path]) -> None:
    as_root()
    with pytest.raises(UntrustedError, match="it belongs to user nobody"):
        read_trusted(str(lead(tmp_path, file)), 100)


def test_a_link_of_ones_own_is_followed(tmp_path: Path, file: Path) -> None:
    (tmp_path / "link").symlink_to("one/./two")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")
    assert read_trusted(str(tmp_path / "absolute" / ".." / "two" / "file"), 100) == b"words"


def test_a_relative_path_begins_here(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent.parent)
    assert read_trusted("two/file", 100) == b"words"
    file.parent.parent.chmod(0o777)
    with pytest.raises(UntrustedError):
        read_trusted("two/file", 100)


def test_a_sticky_directory_keeps_directories_and_may_be_given_files(tmp_path: Path, file: Path) -> None:
    """Everybody may move a file of root's to /tmp out of a directory of his own, and nobody a directory of root's."""
    (tmp_path / "one").chmod(0o1777)
    assert read_trusted(str(file), 100) == b"words"
    file.parent.chmod(0o1777)
    with pytest.raises(UntrustedError, match="others may have put it into its directory"):
        read_trusted(str(file), 100)


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        stranger(str(tmp_path / "a"))


def test_what_was_looked_at_is_what_is_read(tmp_path: Path, file: Path) -> None:
    """A directory that is swapped after the look leads nowhere."""
    way = Way(str(file))
    file.parent.rename(tmp_path / "away")
    file.parent.mkdir()
    file.write_text("others")
    assert Path(way.name).read_text() == "words"
    way.close()


def test_no_descriptor_stays_open(tmp_path: Path, file: Path) -> None:
    before = os.listdir("/proc/self/fd")
    read_trusted(str(file), 100)
    for missing in ("missing", "one/two/file/below"):
        with pytest.raises(OSError, match=r"No such|Not a directory"):
            read_trusted(str(tmp_path / missing), 100)
    file.chmod(0o666)
    with pytest.raises(UntrustedError):
        read_trusted(str(file), 100)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd")
    with pytest.raises(OSError, match="not a regular file"):
        read_trusted(str(tmp_path / "odd"), 100)
