# SPDX-License-Identifier: MPL-2.0
"""Reading a file that anybody may have put there, and telling whether anybody could have.

`keactrl status` has this on its way, so it imports little.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_MOST_STEPS = 256  # names on the way to a file, those in links counted: links that lead in circles end
# Group counts, and with it access control lists: where there is one, these bits show the most that it gives anybody.
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class UntrustedError(PermissionError):
    """Somebody else may have written the file, or put another in its place; `strerror` says who, `filename` where."""


def read_regular(path: str | Path, most: int, *, directory: int | None = None, follow: bool = True) -> bytes:
    """The whole content of a regular file of at most `most` bytes, whatever somebody puts in its place meanwhile.

    It never waits (a FIFO) and never reads on (a device, a file that grows). A relative path is looked up in
    `directory`, an open one; with `follow` false the last name may not be a symlink. Raises OSError: EINVAL for
    what is no regular file, EFBIG for a larger one.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data


def read_trusted(path: str, most: int) -> bytes:
    """The content of a regular file that nobody but root and the caller may have written, replaced or led elsewhere.

    Every directory and link on the way counts. Raises UntrustedError, and OSError as `read_regular` does.
    """
    way = Way(path)
    try:
        data = read_regular(way.name, most)
        if way.stranger:
            raise way.stranger
        return data
    finally:
        way.close()


def stranger(path: str) -> UntrustedError | None:
    """Who but root and the caller may write what the path leads to, or lead it elsewhere; None for nobody.

    Raises OSError where there is nothing.
    """
    way = Way(path)
    way.close()
    return way.stranger


class Way:
    """The way to a file, gone once and held open: what was looked at is what is read, whoever swaps a name meanwhile.

    `name` is a path of the kernel's to the very file, good until `close`, and `owner` its user.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError where the way does not lead to anything."""
        self.stranger: UntrustedError | None = None
        self._allowed = {0, os.geteuid()}
        self._held: list[int] = []
        # A sticky directory lets everybody add and nobody take away. A directory of another user cannot be moved there; a file can.
        self._is_sticky = False
        try:
            self._go(path)
        except BaseException:
            self.close()
            raise
        self.name = f"/proc/self/fd/{self._held[-1]}"
        self.owner = os.fstat(self._held[-1]).st_uid

    def close(self) -> None:
        """Let go."""
        while self._held:
            os.close(self._held.pop())

    def _go(self, path: str) -> None:
        ahead = _names(path if path.startswith("/") else f"{os.getcwd()}/{path}")
        directory: int | None = None
        for _ in range(_MOST_STEPS):
            found = os.open(ahead.pop(), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            self._held.append(found)
            status = os.fstat(found)
            self._look_at(found, status)
            if stat.S_ISLNK(status.st_mode):
                ahead += _names(os.readlink("", dir_fd=found))
            elif ahead:
                directory = found
            else:
                return
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _look_at(self, found: int, status: os.stat_result) -> None:
        is_directory = stat.S_ISDIR(status.st_mode)
        why = _why_untrusted(status, self._allowed)
        if self._is_sticky and not is_directory:
            why = why or "others may have put it into its directory"
        if why and self.stranger is None:
            self.stranger = UntrustedError(errno.EPERM, why, os.readlink(f"/proc/self/fd/{found}"))
        self._is_sticky = is_directory and bool(status.st_mode & stat.S_ISVTX and status.st_mode & _OTHERS_MAY_WRITE)


def _names(path: str) -> list[str]:
    """The names of a path, the last first; an absolute one begins at the top again."""
    names = [name for name in path.split("/") if name]
    return [*reversed(names), *(["/"] if path.startswith("/") else [])]


def _why_untrusted(status: os.stat_result, allowed: Collection[int]) -> str:
    if status.st_uid not in allowed:
        return f"it belongs to user {user_name(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode) or not status.st_mode & _OTHERS_MAY_WRITE:
        return ""
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return ""
    return f"others than its owner may write it (mode {stat.S_IMODE(status.st_mode):04o})"


def user_name(uid: int) -> str:
    """The user's name, or the number where there is none."""
    import pwd  # noqa: PLC0415 - only for a message

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
