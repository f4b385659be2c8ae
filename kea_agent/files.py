# SPDX-License-Identifier: MPL-2.0
"""Writing a file so that whoever reads it sees it whole; reading one that anybody may have put there is `reading`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kea_agent.reading import read_regular

__all__ = ["entered", "pinned", "read_regular", "replace_content", "sync_directory", "write_atomically"]

_MOST_STEPS = 256  # names on the way to a file, those in links counted: links that lead in circles end


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """A path for this process alone at which these bytes can be read; nothing is left, however the process ends."""
    descriptor = os.memfd_create("kea-agent", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str | bytes, mode: int, *, durable: bool = False) -> None:
    """Replace a file as a whole or not at all; raises OSError and leaves nothing behind.

    `durable`: the new one is on the disk when this returns, and a power cut leaves the old or the new one.
    """
    data = text.encode() if isinstance(text, str) else text
    with _replacing(path, durable=durable) as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(data)


def replace_content(path: Path, data: bytes) -> None:
    """Give a file another content and leave it what it was: owner, group, mode and extended attributes.

    A symlink stays one, its target is replaced. A file that is not there yet gets the caller's user, the group of its
    directory, and 0640. Durable. Raises OSError, also for a symlink that is not followed (`pinned`).
    """
    with pinned(path) as target, _replacing(target, durable=True) as stream:
        stream.write(data)
        _dress(stream.fileno(), target)


@contextmanager
def entered(directory: Path, below: Path) -> Iterator[int]:
    """A directory, open, whose names after `below` were entered one by one, and no link among them followed.

    For root, who looks at what is in somebody else's directory and not at what he links it to. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with ExitStack() as held:
        found = os.open(below, flags)
        held.callback(os.close, found)
        for name in directory.relative_to(below).parts:
            found = os.open(name, flags | os.O_NOFOLLOW, dir_fd=found)
            held.callback(os.close, found)
        yield found


@contextmanager
def pinned(path: Path) -> Iterator[Path]:
    """The file behind a path, by a name that nobody can lead elsewhere meanwhile; it need not be there.

    For root, who must not be led elsewhere by those whose directory it is: directories are entered once and held open,
    and a link that is not root's has to end at a file (where there is none: in a directory) of the link's own owner.
    Raises OSError.
    """
    with ExitStack() as held:
        place = _walk(path, held)
        if place.led_by - {0, place.owner}:
            raise PermissionError(errno.EPERM, "a symlink of one user to a file of another is not followed", str(path))
        yield Path(f"/proc/self/fd/{place.directory}") / place.name


@dataclass(frozen=True)
class _Place:
    """An open directory and a name in it; who owns what is there; the owners of the links that led there."""

    directory: int
    name: str
    owner: int
    led_by: frozenset[int]


def _walk(path: Path, held: ExitStack) -> _Place:
    ahead, led_by, is_link = [*reversed(path.absolute().parts)], set[int](), False
    directory = _hold("/", None, held)
    for _ in range(_MOST_STEPS):
        name = ahead.pop()
        try:
            found = _hold(name, directory, held)
        except FileNotFoundError:
            if ahead or is_link:
                raise
            return _Place(directory, name, os.fstat(directory).st_uid, frozenset(led_by))
        status = os.fstat(found)
        if stat.S_ISLNK(status.st_mode):
            led_by.add(status.st_uid)
            is_link = is_link or not ahead
            ahead += reversed(Path(os.readlink("", dir_fd=found)).parts)
        elif ahead:
            directory = found
        else:
            return _Place(directory, name, status.st_uid, frozenset(led_by))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _hold(name: str, directory: int | None, held: ExitStack) -> int:
    """What has a name in a directory, held open as it is, a link as a link."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    held.callback(os.close, descriptor)
    return descriptor


def sync_directory(directory: Path) -> None:
    """What was created, renamed or removed in a directory is so after a power cut, too. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replacing(path: Path, *, durable: bool) -> Iterator[BinaryIO]:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def _dress(descriptor: int, model: Path) -> None:
    """Owner, group, mode and extended attributes of the model; a file system without such attributes does without."""
    try:
        status = model.lstat()
    except FileNotFoundError:
        os.fchown(descriptor, -1, model.parent.stat().st_gid)
        os.fchmod(descriptor, 0o640)
        return
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(model))
    os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):
        for name in os.listxattr(model, follow_symlinks=False):
            _copy_attribute(descriptor, model, name)


def _copy_attribute(descriptor: int, model: Path, name: str) -> None:
    with contextlib.suppress(OSError):
        os.setxattr(descriptor, name, os.getxattr(model, name, follow_symlinks=False))
