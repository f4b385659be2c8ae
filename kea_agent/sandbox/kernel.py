# SPDX-License-Identifier: MPL-2.0
"""System calls that Python 3.11 has no name for: namespaces, capabilities, openat2 of Linux 5.6, and the mount calls of
Linux 5.2 (their numbers are the same on every architecture).

What is mounted, and what it is mounted on, are descriptors: nothing is looked up by a path that somebody could bend.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CAP_NET_ADMIN = 12

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6
_CLOEXEC = 1
_ATTR_NOSUID_NODEV = 2 | 4
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE_CLOEXEC = 1 | os.O_CLOEXEC
_FROM_EMPTY_PATH = 0x4
_TO_EMPTY_PATH = 0x40
_OPENAT2 = 437
_AT_FDCWD = -100
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x2, 0x4
_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 24, 38, 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones; raises OSError."""
    _checked(_LIBC.unshare(flags), "unshare", "namespaces")


def enter(namespace: int, kind: int) -> None:
    """Join the namespace of a descriptor, which has to be of this kind (CLONE_NEW…); raises OSError."""
    _checked(_LIBC.setns(namespace, kind), "setns", "namespaces")


def make_mounts_private() -> None:
    """Nothing that is mounted from here on is seen outside of this mount namespace, nor the other way round."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)


def mount_proc() -> None:
    """A /proc of this process's own PID namespace over the one that is there."""
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def make_proc_read_only() -> None:
    """Nobody in here writes a kernel setting: most of those under /proc/sys are the host's, and ask for no more than uid 0."""
    _mount(None, "/proc", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def open_directory(path: str) -> int:
    """The directory that is at exactly this absolute path, as a descriptor to hold on to (O_PATH).

    Raises OSError, ELOOP where any part of the path is a symbolic link.
    """
    how = struct.pack(
        "QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    )
    return _syscall("openat2", _OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how), subject=path)


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


def attach(mount: int, target: int) -> None:
    """Attach what `tmpfs` or `clone_tree` gave over the file or directory of a descriptor."""
    _syscall("move_mount", _MOVE_MOUNT, mount, b"", target, b"", _FROM_EMPTY_PATH | _TO_EMPTY_PATH)


def forbid_new_privileges() -> None:
    """No program that is executed from here on gains rights by its mode or its file's capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities() -> None:
    """Those that are permitted survive the next change of user."""
    _prctl(_PR_SET_KEEPCAPS, 1)


def drop_bounding_set(kept: int) -> None:
    """No capability but those of a bit set can ever be had again."""
    for number in range(_MOST_CAPABILITIES):
        if not kept >> number & 1:
            try:
                _prctl(_PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno == errno.EINVAL:  # the kernel knows no more of them
                    return
                raise


def set_capabilities(wanted: int) -> None:
    """This bit set and no other: permitted, effective, inheritable, and ambient, so that it outlives execve."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    _checked(_LIBC.capset(header, struct.pack("6I", low, low, low, high, high, high)), "capset", "")
    for number in range(_MOST_CAPABILITIES):
        if wanted >> number & 1:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(word) for word in (*arguments, *(0,) * (4 - len(arguments)))]
    _checked(_LIBC.prctl(option, *words), "prctl", "")


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
