# SPDX-License-Identifier: MPL-2.0
"""Becoming the daemon's user: for a moment, for good, and as the unit starts the daemon.

All of it by system calls. No program is run for it, because whatever is run while this process is still root has to be
looked up by a path.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from kea_agent.sandbox import kernel
from kea_agent.sandbox.identity import Identity

# What a daemon that could not be started says first; no word of Kea's begins like it.
FAILED = "kea-agent-rehearse: "


@contextmanager
def as_user(identity: Identity) -> Iterator[None]:
    """With the rights of the daemon's user and no more, for a while."""
    groups = os.getgroups()
    os.setgroups(identity.groups)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def become_user(identity: Identity, capabilities: int = 0) -> None:
    """The daemon's user from here on: passwords, keys and logs are read as he may read them.

    Capabilities are set by hand: where root is no user of the namespace, the kernel takes none away with the user.
    """
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    kernel.keep_capabilities()
    os.setresuid(identity.uid, identity.uid, identity.uid)
    kernel.set_capabilities(capabilities)
    kernel.forbid_new_privileges()


def become_daemon(identity: Identity) -> None:
    """In the child that is about to execute the daemon: its user, capabilities and limits, and no way to get more.

    A failure is told on standard error, which is the daemon's output, and ends the child.
    """
    try:
        kernel.drop_bounding_set(identity.capabilities)
        for number, (soft, hard) in identity.limits.items():
            _, hardest = resource.getrlimit(number)
            resource.setrlimit(number, (_least(soft, hardest), _least(hard, hardest)))
        become_user(identity, identity.capabilities)
    except (OSError, ValueError) as error:
        os.write(2, f"{FAILED}{error}\n".encode())
        os._exit(126)


def _least(value: int, hardest: int) -> int:
    """Nothing can be raised above what this process has."""
    if hardest == resource.RLIM_INFINITY:
        return value
    return hardest if value == resource.RLIM_INFINITY else min(value, hardest)
