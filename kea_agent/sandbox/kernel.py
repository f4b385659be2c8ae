# SPDX-License-Identifier: MPL-2.0
"""System calls that Python 3.11 has no name for: namespaces, and the mount calls of Linux 5.2 (their numbers are the
same on every architecture).

What is to be mounted is a descriptor first: nothing is looked up by a path that somebody else could bend meanwhile.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6
_CLOEXEC = 1
_ATTR_NOSUID_NODEV = 2 | 4
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE_CLOEXEC = 1 | os.O_CLOEXEC
_FROM_EMPTY_PATH = 0x4
_AT_FDCWD = -100

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones; raises OSError."""
    _checked(_LIBC.unshare(flags), "unshare", "namespaces")


def make_mounts_private() -> None:
    """Nothing that is mounted from here on is seen outside of this mount namespace, nor the other way round."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)


def mount_proc() -> None:
    """A /proc of this process's own PID namespace over the one that is there."""
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def tmpfs(size: str) -> int:
    """A new tmpfs that is attached nowhere yet: the descriptor of its root."""
    context = _syscall("fsopen", _FSOPEN, b"tmpfs", _CLOEXEC)
    try:
        _syscall("fsconfig", _FSCONFIG, context, _FSCONFIG_SET_STRING, b"size", size.encode(), 0)
        _syscall("fsconfig", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall("fsmount", _FSMOUNT, context, _CLOEXEC, _ATTR_NOSUID_NODEV)
    finally:
        os.close(context)


def clone_tree(descriptor: int) -> int:
    """A copy of the mounts from an open file or directory downwards, attached nowhere yet."""
    return _syscall("open_tree", _OPEN_TREE, descriptor, b"", _OPEN_TREE_CLONE_CLOEXEC | _AT_EMPTY_PATH | _AT_RECURSIVE)


def attach(mount: int, target: str) -> None:
    """Attach what `tmpfs` or `clone_tree` gave over a path."""
    _syscall("move_mount", _MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(target), _FROM_EMPTY_PATH, subject=target)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _checked(_LIBC.mount(*words, ctypes.c_ulong(flags), None), "mount", target)


def _syscall(name: str, number: int, *arguments: int | bytes | None, subject: str = "") -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *words), name, subject)


def _checked(result: int, what: str, subject: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number).lower()}", subject or None)
    return int(result)
