# SPDX-License-Identifier: MPL-2.0
"""Reading a file that may be anything. A module of its own: `keactrl status` has no time for what `files` needs."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_STEPS = 256  # names on the way to a file, those in links counted: links that lead in circles end


def read_regular(path: str | Path, most: int, *, directory: int | None = None, follow: bool = True) -> bytes:
    """The whole content of a regular file of at most `most` bytes, whatever somebody puts in its place meanwhile.

    It never waits (a FIFO) and never reads on (a device, a file that grows). A relative path is looked up in
    `directory`, an open one; with `follow` false the last name may not be a symlink. Raises OSError: EINVAL for
    what is no regular file, EFBIG for a larger one.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=directory)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data


class NotRootsOwnError(PermissionError):
    """Somebody else than root may write a file, or put another one in its place; `why` says who and where."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(errno.EPERM, why, path)
        self.why = why


def read_roots_own(path: str, most: int) -> bytes:
    """A regular file of at most `most` bytes that nobody but root can write or replace; it is walked to once.

    Raises NotRootsOwnError, and OSError as `read_regular` does.
    """
    held: list[int] = []
    try:
        ahead = _names(os.path.abspath(path))
        directory = _hold("/", None, held)
        for _ in range(_MOST_STEPS):
            found = _hold(ahead.pop(), directory, held)
            status = os.fstat(found)
            _ensure_roots_own(path, os.readlink(f"/proc/self/fd/{found}"), status)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink("", dir_fd=found)
                directory = _hold("/", None, held) if target.startswith("/") else directory
                ahead += _names(target)
            elif ahead:
                directory = found
            else:
                return read_regular(f"/proc/self/fd/{found}", most)
    finally:
        for descriptor in held:
            os.close(descriptor)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _names(path: str) -> list[str]:
    """The last one first."""
    return [name for name in reversed(path.split("/")) if name]


def _hold(name: str, directory: int | None, held: list[int]) -> int:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    held.append(descriptor)
    return descriptor


def _ensure_roots_own(path: str, place: str, status: os.stat_result) -> None:
    if status.st_uid != 0:
        raise NotRootsOwnError(path, f"{place} belongs to user {status.st_uid}")
    # In a directory like /tmp nobody moves what is somebody else's.
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & 0o022 and not is_sticky and not stat.S_ISLNK(status.st_mode):
        raise NotRootsOwnError(path, f"others than root may write {place}")
