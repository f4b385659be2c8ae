# SPDX-License-Identifier: MPL-2.0
"""Writing a file so that whoever reads it sees the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_MOST_LINKS = 40  # the kernel's


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
    directory, and 0640. Durable. Raises OSError, also for a symlink that is not followed (`target_of`).
    """
    target = target_of(path)
    with _replacing(target, durable=True) as stream:
        stream.write(data)
        _dress(stream.fileno(), target)


def target_of(path: Path) -> Path:
    """The file behind a symlink: for root, who must not be led elsewhere by those whose directory it is.

    A link of root's is followed, and anybody's to a file of their own. Raises OSError.
    """
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return path
        owner = path.lstat().st_uid
        if owner not in (0, path.stat().st_uid):
            raise PermissionError(errno.EPERM, "a symlink of one user to a file of another is not followed", str(path))
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


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
        status = model.stat()
    except FileNotFoundError:
        os.fchown(descriptor, -1, model.parent.stat().st_gid)
        os.fchmod(descriptor, 0o640)
        return
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(model))
    os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):
        for name in os.listxattr(model):
            _copy_attribute(descriptor, model, name)


def _copy_attribute(descriptor: int, model: Path, name: str) -> None:
    with contextlib.suppress(OSError):
        os.setxattr(descriptor, name, os.getxattr(model, name))
