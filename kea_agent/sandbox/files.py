# SPDX-License-Identifier: MPL-2.0
"""The host's paths, with nothing of the host behind those that are written.

The rest of the host stays where it is, read-only. Each directory that the daemon writes into becomes a tmpfs with the
real one's owner, mode and content: files that it would write are empty, with their owner and mode, so that a lease
file that belongs to root is found; small files are copies; sockets, PID files and locks are gone. /run, /tmp and their
like are emptied but for the files that the configuration names.

Everything is read with the daemon's own user's rights, so that no prepared link or name brings a file in here
that this user could not read outside; what he cannot read is an empty file with its owner and mode.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kea_agent.sandbox import kernel
from kea_agent.sandbox.identity import Identity
from kea_agent.sandbox.plan import Plan, is_target
from kea_agent.sandbox.request import NotRehearsedError

HIDDEN = ("/run", "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - places that get empty ones, no file is made there
OWN = "/run/kea-agent-rehearsal"
_NEVER = ("/proc", "/sys", "/dev", "/usr", "/boot")
_SIZE = "256m"
_MOST_ENTRIES = 4096
_LARGE = 1 << 20
_GONE = (".pid", ".lock")


@dataclass(frozen=True)
class Entry:
    """A file, link or directory as found. `content` None: not read, and `descriptor` tells where it is instead."""

    path: str
    status: os.stat_result
    content: bytes | None = None
    descriptor: int | None = None
    link: str | None = None


@dataclass(frozen=True)
class Shadow:
    """A directory of the host as found, to be put over itself."""

    path: str
    status: os.stat_result
    entries: tuple[Entry, ...]


def install(plan: Plan, identity: Identity, text: bytes) -> None:
    """Put the shadows in place, and `text` where the configuration is, in this process's own mount namespace.

    Raises OSError, NotRehearsedError.
    """
    hidden = {path: os.stat(path) for path in HIDDEN if os.path.isdir(path) and not os.path.islink(path)}
    with as_user(identity):
        place = _place(identity.config_file)
        shadows, named = _found(plan, place)
        parents = {parent: os.stat(parent) for parent in _parents(shadows, named) if os.path.isdir(parent)}
    for path, status in hidden.items():
        _cover(path, status)
    for shadow in shadows:
        _make_parents(shadow.path, parents)
        _cover(shadow.path, shadow.status)
        if shadow.path == os.path.dirname(place.path):
            # Before what else is there: a link of that name, too, is replaced and not followed.
            _write(place.path, place.status, text)
        _fill(shadow.entries)
    for entry in named:
        _make_parents(entry.path, parents)
        _fill([entry])
    os.mkdir(OWN, 0o700)


@contextmanager
def as_user(identity: Identity) -> Iterator[None]:
    """With the rights of the daemon's user and no more."""
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


def _found(plan: Plan, place: Entry) -> tuple[list[Shadow], list[Entry]]:
    """The directories that are written into, and what is named in those that are emptied; NotRehearsedError."""
    real = {os.path.realpath(target) for target in plan.targets}
    targets = plan.targets | real
    hidden = [path for path in plan.named if _is_below(path, *HIDDEN)]
    directories = [*plan.directories, *map(os.path.dirname, real), *filter(os.path.isdir, hidden)]
    home = os.path.dirname(place.path)
    shadows = [shadow for path in _resolved([*directories, home]) if (shadow := _scan(path, targets))]
    if home not in (shadow.path for shadow in shadows):
        raise NotRehearsedError(f"a rehearsal cannot put a configuration into {home}")
    return shadows, [entry for path in hidden if not os.path.isdir(path) and (entry := _read(path, targets))]


def _resolved(paths: list[str]) -> list[str]:
    """Where they really are, parents first; not those that a rehearsal leaves alone."""
    real = {os.path.realpath(path) for path in paths}
    return sorted(path for path in real if path != "/" and path not in HIDDEN and not _is_below(path, *_NEVER))


def _is_below(path: str, *directories: str) -> bool:
    return any(path == directory or path.startswith(f"{directory}/") for directory in directories)


def _scan(path: str, targets: frozenset[str]) -> Shadow | None:
    """None for a directory that is not there, or that the user could not use anyway: it stays what it is."""
    try:
        status, names = os.stat(path), sorted(os.listdir(path))
    except OSError:
        return None
    if len(names) > _MOST_ENTRIES:
        return None
    found = (_read(os.path.join(path, name), targets) for name in names if not name.endswith(_GONE))
    return Shadow(path, status, tuple(entry for entry in found if entry))


def _read(path: str, targets: frozenset[str]) -> Entry | None:
    with suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return Entry(path, status, link=os.readlink(path))
        if is_target(path, targets):
            return Entry(path, status, b"") if stat.S_ISREG(status.st_mode) and path in targets else None
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            return _opened(path, status)
    return None


def _opened(path: str, status: os.stat_result) -> Entry:
    """Owner, mode and content of one and the same open file, whatever the path leads to meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return Entry(path, status, b"")
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode) and _is_below(path, *HIDDEN):
        # The sockets of other services are in there.
        os.close(descriptor)
        return Entry(path, status)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGE:
        return Entry(path, status, descriptor=descriptor)
    with open(descriptor, "rb") as file:
        return Entry(path, status, file.read(_LARGE))


def _parents(shadows: list[Shadow], named: list[Entry]) -> list[str]:
    paths = [*(shadow.path for shadow in shadows), *(entry.path for entry in named)]
    found = [str(parent) for path in paths for parent in Path(path).parents]
    return sorted({path for path in found if _is_below(path, *HIDDEN)})


def _make_parents(path: str, known: dict[str, os.stat_result]) -> None:
    for parent in [*reversed([str(each) for each in Path(path).parents]), path]:
        if parent in known and not os.path.lexists(parent):
            os.mkdir(parent)
            _dress(parent, known[parent])


def _cover(path: str, status: os.stat_result) -> None:
    if not os.path.isdir(path):
        os.mkdir(path)
    mount = kernel.tmpfs(_SIZE)
    kernel.attach(mount, path)
    os.close(mount)
    _dress(path, status)


def _fill(entries: tuple[Entry, ...] | list[Entry]) -> None:
    for entry in entries:
        if os.path.lexists(entry.path):
            continue
        if entry.link is not None:
            os.symlink(entry.link, entry.path)
        elif stat.S_ISDIR(entry.status.st_mode):
            os.mkdir(entry.path)
            _dress(entry.path, entry.status)
        else:
            _write(entry.path, entry.status, entry.content or b"")
        if entry.descriptor is not None:
            _attach(entry.descriptor, entry.path)


def _attach(descriptor: int, path: str) -> None:
    tree = kernel.clone_tree(descriptor)
    kernel.attach(tree, path)
    os.close(tree)
    os.close(descriptor)


def _write(path: str, status: os.stat_result, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    _dress(path, status)


def _dress(path: str, status: os.stat_result) -> None:
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def _place(config_file: str) -> Entry:
    """Where the configuration is: its own name in its own directory, where AppArmor lets Kea read it."""
    directory, name = os.path.split(config_file)
    return Entry(os.path.join(os.path.realpath(directory), name), os.stat(config_file))
