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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kea_agent.sandbox import kernel
from kea_agent.sandbox.identity import Identity
from kea_agent.sandbox.plan import Plan, is_target
from kea_agent.sandbox.request import NotRehearsedError
from kea_agent.sandbox.rights import as_user

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

    @property
    def name(self) -> str:
        """In its directory."""
        return os.path.basename(self.path)


@dataclass(frozen=True)
class Shadow:
    """A directory of the host as found, to be put over itself."""

    path: str
    status: os.stat_result
    entries: tuple[Entry, ...]


def install(plan: Plan, identity: Identity, text: bytes) -> None:
    """Put the shadows in place, and `text` where the configuration is, in this process's own mount namespace.

    Nothing is put where a symbolic link leads: what the daemon's user makes of a directory after it was looked at
    ends in an error, and a mount covers what is at its own path or nothing. Raises OSError, NotRehearsedError.
    """
    hidden = {path: os.stat(path) for path in map(os.path.realpath, HIDDEN) if os.path.isdir(path)}
    with as_user(identity):
        place = _place(identity.config_file)
        shadows, named = _found(plan, place)
        parents = {parent: os.stat(parent) for parent in _parents(shadows, named) if os.path.isdir(parent)}
    for path, status in hidden.items():
        os.close(_covered(path, status))
    for shadow in shadows:
        if _is_below(shadow.path, *HIDDEN):
            _make_parents(shadow.path, parents | {shadow.path: shadow.status})
        root = _covered(shadow.path, shadow.status)
        if shadow.path == os.path.dirname(place.path):
            # Before what else is there: a link of that name, too, is replaced and not followed.
            _write(root, place, text)
        for entry in shadow.entries:
            _put(root, entry)
        os.close(root)
    for entry in named:
        _make_parents(os.path.dirname(entry.path), parents)
        # A link that was copied in here leads nowhere.
        with suppress(OSError):
            _put_at_path(entry)
    os.mkdir(OWN, 0o700)


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
    names = [os.path.join(*_split(path)) for path in hidden if not os.path.isdir(path)]
    return shadows, [entry for path in names if (entry := _read(path, targets))]


def _split(path: str) -> tuple[str, str]:
    """The directory that a path's last name is really in, and that name."""
    directory, name = os.path.split(path)
    return os.path.realpath(directory), name


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
    if stat.S_ISDIR(status.st_mode) and _is_below(os.readlink(f"/proc/self/fd/{descriptor}"), *HIDDEN):
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
    """The directories on the way to a path that are in an emptied place, made as they were, and the last one with them."""
    for each in [*reversed([str(parent) for parent in Path(path).parents]), path]:
        if each in known and not os.path.lexists(each):
            parent = kernel.open_directory(os.path.dirname(each))
            _make_directory(parent, os.path.basename(each), known[each])
            os.close(parent)


def _covered(path: str, status: os.stat_result) -> int:
    """The root of a new tmpfs over a directory, as a descriptor: what is written by it is written in there."""
    target = kernel.open_directory(path)
    mount = kernel.tmpfs(_SIZE)
    kernel.attach(mount, target)
    os.close(target)
    _dress(mount, ".", status)
    return mount


def _put_at_path(entry: Entry) -> None:
    parent = kernel.open_directory(os.path.dirname(entry.path))
    try:
        _put(parent, entry)
    finally:
        os.close(parent)


def _put(directory: int, entry: Entry) -> None:
    """An entry as it was found, unless there is one of its name."""
    with suppress(FileExistsError):
        if entry.link is not None:
            os.symlink(entry.link, entry.name, dir_fd=directory)
        elif stat.S_ISDIR(entry.status.st_mode):
            _make_directory(directory, entry.name, entry.status)
        else:
            _write(directory, entry, entry.content or b"")
        if entry.descriptor is not None:
            _attach(entry.descriptor, directory, entry.name)


def _attach(descriptor: int, directory: int, name: str) -> None:
    """The host's own file or directory over the empty one of that name."""
    target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    tree = kernel.clone_tree(descriptor)
    kernel.attach(tree, target)
    for each in (target, tree, descriptor):
        os.close(each)


def _write(directory: int, entry: Entry, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(entry.name, flags, 0o600, dir_fd=directory), "wb") as file:
        file.write(content)
    _dress(directory, entry.name, entry.status)


def _make_directory(parent: int, name: str, status: os.stat_result) -> None:
    os.mkdir(name, 0o700, dir_fd=parent)
    _dress(parent, name, status)


def _dress(directory: int, name: str, status: os.stat_result) -> None:
    """Owner and mode; of a name that was just made in a tmpfs of ours, where nobody else is."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=directory)


def _place(config_file: str) -> Entry:
    """Where the configuration is: its own name in its own directory, where AppArmor lets Kea read it."""
    return Entry(os.path.join(*_split(config_file)), os.stat(config_file))
