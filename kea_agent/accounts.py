# SPDX-License-Identifier: MPL-2.0
"""Whose rights Kea's programs are run with when root asks them something.

A configuration names hook libraries, which Kea loads even to check it: whoever may write one would have code of its own
run as root. So root never runs them as root, unless Kea's unit does.
"""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from kea_agent.reading import read_regular

_SETPRIV = "/usr/bin/setpriv"
# Of Debian's, ISC's and Fedora's packages; the last is who may do nothing.
_USERS = ("_kea", "kea", "nobody")


class Rights(TypedDict, total=False):
    """Keywords of `subprocess.Popen`; none: those of this process."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


@dataclass(frozen=True)
class Account:
    """A user with its groups, by number."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that gives a program no way to more rights; to be started with `rights`."""
        return [_SETPRIV, "--inh-caps=-all", "--no-new-privs", "--", *command]

    @property
    def rights(self) -> Rights:
        """What `subprocess.Popen` takes: no program of root's is started first, which the environment could bend (LD_PRELOAD)."""
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups}


_READ = """
import os, stat, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
if not stat.S_ISREG(os.fstat(descriptor).st_mode):
    sys.exit(1)
sys.stdout.buffer.write(os.read(descriptor, int(sys.argv[2]) + 1))
"""
_READ_SECONDS = 10.0


def read_as(account: Account | None, path: str, most: int) -> bytes:
    """A regular file of at most `most` bytes with this user's rights, or with ours; OSError where he could not read it."""
    if account is None:
        return read_regular(path, most)
    command = account.command([sys.executable, "-ISc", _READ, path, str(most)])
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_READ_SECONDS,
            cwd="/",
            **account.rights,
        )
    except subprocess.SubprocessError as error:
        raise PermissionError(errno.EACCES, f"user {account.name} cannot read it", path) from error
    if len(done.stdout) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", path)
    return done.stdout


def of_user(name: str) -> Account:
    """A user of this host, by name or number; raises KeyError."""
    found = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    return Account(found.pw_name, found.pw_uid, found.pw_gid, tuple(os.getgrouplist(found.pw_name, found.pw_gid)))


def for_kea(user: str | None = None) -> Account | None:
    """Who is to run Kea's programs, where this process is root; None where it is not, and can only be itself.

    `user` is User= of Kea's unit, empty for root; None where there is no unit: then the user of Kea's packages.
    """
    if os.geteuid() != 0:
        return None
    names = _USERS if user is None else (user or "root",)
    for name in names:
        try:
            return of_user(name)
        except KeyError:
            continue
    # A unit with a user that this host does not have would not start either.
    return Account("nobody", 65534, 65534)
