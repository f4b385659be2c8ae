# SPDX-License-Identifier: MPL-2.0
"""Work that is done for a process in the rights of that process: what it says and has is none of root's business."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from kea_agent import proc
from kea_agent.keactrl.errors import FailedError

_PR_SET_NO_NEW_PRIVS = 38
_MOST_BYTES = 1 << 16
_DONE, _FAILED = b"+", b"-"


class Rights(NamedTuple):
    """A process's user and groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def rights_of(pid: int) -> Rights:
    """Those of a process, which has to be of one user through and through; raises FailedError."""
    users, groups = _numbers(pid, "Uid"), _numbers(pid, "Gid")
    if len({*users}) != 1 or len({*groups}) != 1:
        raise FailedError(f"process {pid} is gone, or of more than one user; nothing was done")
    return Rights(users[0], groups[0], _numbers(pid, "Groups"))


def _numbers(pid: int, field: str) -> tuple[int, ...]:
    return tuple(int(word) for word in (proc.status_field(pid, field, proc.PROC) or "").split())


def do_with(rights: Rights, work: Callable[[], str], seconds: float) -> str:
    """What `work` returns, done in a process of its own that has these rights and cannot get others.

    Raises FailedError with the words of whatever it raised, or when it is not done in time. Who is not root has no
    rights to give up.
    """
    answer, write = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_do(rights, work, write))
    os.close(write)
    try:
        said = _all_of(answer, time.monotonic() + seconds)
    finally:
        os.close(answer)
        os.kill(child, signal.SIGKILL)  # it has said all, or too late
        os.waitpid(child, 0)
    if said is None:
        raise FailedError(f"it was not done within {seconds:g} s")
    words = said[1:].decode(errors="replace")
    if said[:1] == _DONE:
        return words
    raise FailedError(words or "the process that was to do it was ended")


def _do(rights: Rights, work: Callable[[], str], write: int) -> int:
    try:
        said = _DONE + _with_less(rights, work).encode(errors="replace")
    except Exception as error:  # noqa: BLE001 - in this process nobody else would tell
        said = _FAILED + (str(error) or repr(error)).encode(errors="replace")
    try:
        os.write(write, said[:_MOST_BYTES])
    except OSError:
        return 1
    return 0


def _with_less(rights: Rights, work: Callable[[], str]) -> str:
    if os.geteuid() == 0:
        os.setgroups(rights.groups)
        os.setresgid(rights.gid, rights.gid, rights.gid)
        os.setresuid(rights.uid, rights.uid, rights.uid)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs: " + os.strerror(ctypes.get_errno()))
    return work()


def _all_of(answer: int, deadline: float) -> bytes | None:
    """What is written until the end; None where that does not come in time."""
    said = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([answer], [], [], left)[0]:
        chunk = os.read(answer, _MOST_BYTES)
        said += chunk
        if not chunk or len(said) > _MOST_BYTES:
            return said
    return None
