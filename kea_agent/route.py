# SPDX-License-Identifier: MPL-2.0
"""Which directories decide what a path means: the way to a file as the kernel walks it.

From path_resolution(7): every name on the way is looked up in a directory, a symlink puts the names of its target
in its place, and after 40 of them the kernel gives up. Whoever changes one of those names in one of those
directories changes what the path means. A way that ends early, because a name is not there yet, is as good: the
directory that would hold the name is on it.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

LINKS_AT_MOST = 40  # MAXSYMLINKS

Identity = tuple[int, int]  # st_dev and st_ino: one directory may have many spellings, by symlinks and bind mounts


@dataclass
class Place:
    """A directory on the way: which names in it lead to which files, and whether as the last name of the way."""

    path: str  # free of symlinks and dots
    identity: Identity
    names: dict[str, dict[str, bool]] = field(default_factory=dict)
    holds_files: bool = False

    def note(self, name: str, file: str, *, last: bool) -> None:
        """Remember that `file` depends on `name`."""
        self.names.setdefault(name, {})[file] = last
        self.holds_files = self.holds_files or last

    def files(self) -> set[str]:
        """Every file whose way leads through here."""
        return {file for files in self.names.values() for file in files}


def walk(files: Iterable[str], not_watched: frozenset[str] = frozenset()) -> dict[Identity, Place]:
    """Every directory on the way to the files, from the root down; those in `not_watched` are left out."""
    route = _Route(not_watched)
    for file in files:
        route.follow(file)
    return route.places


def above(directory: str) -> frozenset[str]:
    """The directories above a real path."""
    names = _names(directory)
    return frozenset("/" + "/".join(names[:depth]) for depth in range(len(names)))


class _Entry(NamedTuple):
    identity: Identity
    is_dir: bool
    target: str | None  # of a symlink


class _Route:
    """One walk; each name is looked at once, however many files are behind it."""

    def __init__(self, not_watched: frozenset[str]) -> None:
        self.places: dict[Identity, Place] = {}
        self._not_watched = not_watched
        self._seen: dict[str, _Entry | None] = {}

    def follow(self, file: str) -> None:
        directory, names, links = "/", deque(_names(file)), 0
        while names and links <= LINKS_AT_MOST:
            name = names.popleft()
            path = _join(directory, name)
            if name != "..":
                self._note(directory, name, file, last=not names)
            entry = self._look(path)
            if entry is None:
                return
            if entry.target is None:
                directory = path
            else:
                links += 1
                directory = "/" if entry.target.startswith("/") else directory
                names.extendleft(reversed(_names(entry.target)))

    def _note(self, directory: str, name: str, file: str, *, last: bool) -> None:
        entry = self._look(directory)
        if entry is None or not entry.is_dir or directory in self._not_watched:
            return
        if entry.identity not in self.places:
            self.places[entry.identity] = Place(directory, entry.identity)
        self.places[entry.identity].note(name, file, last=last)

    def _look(self, path: str) -> _Entry | None:
        if path not in self._seen:
            self._seen[path] = _look(path)
        return self._seen[path]


def _look(path: str) -> _Entry | None:
    """What stands there now; None if nothing does, or nothing that we may see."""
    try:
        found = os.lstat(path)
        target = os.readlink(path) if stat.S_ISLNK(found.st_mode) else None
    except (OSError, ValueError):  # ValueError: NUL or a lone surrogate, which a JSON string may well hold
        return None
    return _Entry((found.st_dev, found.st_ino), stat.S_ISDIR(found.st_mode), target)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _join(directory: str, name: str) -> str:
    if name == "..":  # `directory` holds no symlink, so its parent is what its spelling says
        return os.path.dirname(directory)
    return f"/{name}" if directory == "/" else f"{directory}/{name}"
