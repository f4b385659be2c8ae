# SPDX-License-Identifier: MPL-2.0
"""Tells when one of the files that matter may have changed. The only importer of pyinotify.

A hint never says what a file holds now, only that somebody should look. The design rests on these facts about
inotify, from inotify(7) and measured on Linux 6.18 with pyinotify 0.9.6:

 * A watch is on an inode. A file that is replaced takes its watch with it, so directories alone are watched, and
   every directory on the way: a rename or a swapped symlink far above changes what a path means, and only the
   directory that holds the changed name is told.
 * One inode has one watch descriptor, whatever path it was watched by, and a second inotify_add_watch replaces
   the mask. The table is therefore kept by (st_dev, st_ino).
 * Inode numbers are reused at once (ext4, tmpfs): a directory deleted and made again may look like one that is
   watched. IN_IGNORED, always queued for the dead watch, sets that right.
 * A directory that somebody has open is only gone (IN_DELETE_SELF) when it is closed. Its parent is told at once.
 * What happened in a directory before the watch was there is never reported: after each new watch the way is
   walked again, until a walk finds every directory watched already.
 * A file that was unlinked but is still open goes on reporting writes under its old name, unless IN_EXCL_UNLINK.
 * A full queue (fs.inotify.max_queued_events) ends in one IN_Q_OVERFLOW; what was lost may include IN_IGNORED.
 * Names are bytes. pyinotify's own reader decodes them strictly and loses the whole batch over one odd name; its
   add_watch encodes strictly too, and normalises `..` away as if there were no symlinks. Hence our own reader, and
   watching by /proc/self/fd, which also pins the inode that was looked at.
 * Never seen: mounts over a directory, writes through another hard link, changes made by another host of a
   network file system. A slow poll has to find those.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from kea_agent.route import Identity, Place, above, walk

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # asyncore is deprecated in Python 3.11, and pyinotify will not be mended
    import pyinotify as inotify

# Importing pyinotify hangs a stderr handler of its own on its logger: every line would come twice.
logging.getLogger("pyinotify").handlers.clear()

logger = logging.getLogger(__name__)

_NAMES = inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO | inotify.IN_ATTRIB
_ITSELF = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
_CONTENT = inotify.IN_MODIFY | inotify.IN_CLOSE_WRITE
_ON_THE_WAY = _NAMES | _ITSELF | inotify.IN_ONLYDIR | inotify.IN_EXCL_UNLINK

_WALKS_AT_MOST = 16  # a tree that changes faster than we walk it leaves events behind, so giving up is safe
_READS_AT_MOST = 32  # 2 MiB of events in one go; the descriptor stays readable if there are more
_READ_BYTES = 65536
_LIMITS = {"EMFILE": "max_user_instances", "ENOSPC": "max_user_watches"}
_RECORD = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then the name, padded with NULs


class Kind(StrEnum):
    """What an event says about a file."""

    WRITING = "writing"  # a writer has begun or goes on
    FINISHED = "finished"  # a writer is done, or the path leads to another file now
    GONE = "gone"  # the name vanished: for good, or for the moment between two steps of an editor


@dataclass(frozen=True)
class Hint:
    """Somebody should look at the file, spelled as the caller of `want` spelled it."""

    path: str
    kind: Kind


_Hints = dict[str, tuple[Kind, ...]]


class Event(NamedTuple):
    """One inotify_event; the name is empty if it is about the watched directory itself."""

    wd: int
    mask: int
    name: str


def parse(data: bytes) -> Iterator[Event]:
    """The records of one read(2) from an inotify descriptor."""
    offset = 0
    while offset < len(data):
        wd, mask, _cookie, length = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size + length
        yield Event(wd, mask, os.fsdecode(data[offset - length : offset].split(b"\0", 1)[0]))


class Watcher:
    """Watches every directory on the way to the wanted files; directories above `root` are taken for granted."""

    def __init__(self, root: str = "/") -> None:
        self._manager: inotify.WatchManager | None = None
        self._why_not = ""
        self.fd = -1
        self.events = 0
        self.overflows = 0
        self.unwatchable: tuple[str, ...] = ()
        self._not_watched = above(os.path.realpath(root))
        self._files: tuple[str, ...] = ()
        self._places: dict[Identity, Place] = {}
        self._watches: dict[Identity, tuple[int, int]] = {}  # descriptor and mask
        self._identities: dict[int, Identity] = {}
        self._being_written: set[str] = set()
        if not self.open():
            logger.error("files are only polled: inotify is unavailable: %s", self._why_not)

    def open(self) -> bool:
        """Have inotify; False where the host has no instance left. What changes is then found by looking alone."""
        try:
            self._manager = inotify.WatchManager()
        except (OSError, inotify.PyinotifyError) as exc:
            self._why_not = _reason(exc)
            return False
        self.fd = self._manager.get_fd()
        os.set_inheritable(self.fd, False)  # pyinotify calls inotify_init() without flags
        os.set_blocking(self.fd, False)
        return True

    @property
    def is_open(self) -> bool:
        """Whether the kernel tells of changes."""
        return self._manager is not None

    @property
    def watches(self) -> int:
        """How many directories the kernel watches for us."""
        return len(self._watches)

    def want(self, files: Iterable[str]) -> frozenset[str]:
        """Watch these absolute paths and no others; the way to each is looked at anew.

        Returns those of them that were not watched, or not in every place, until now: what was read of them
        before this call may be old by now without any hint.
        """
        before = set(self._files)
        if self._manager is None:
            self._files = tuple(dict.fromkeys(files))
            return frozenset()
        self._files = tuple(dict.fromkeys(files))
        self._being_written.intersection_update(self._files)
        return frozenset(self._resolve() | (set(self._files) - before))

    def read(self) -> tuple[Hint, ...]:
        """What the kernel has to tell now; at most FINISHED and then one other hint for each file."""
        hints: _Hints = {}
        moved = False
        for event in self._drain():
            self.events += 1
            moved = self._take(event, hints) or moved
        if moved:
            for file in self._resolve():
                hints.setdefault(file, (Kind.FINISHED,))
        return tuple(Hint(file, kind) for file, kinds in hints.items() for kind in _as_found(file, kinds))

    def close(self) -> None:
        """Give the descriptor and every watch back; may be called twice."""
        if self._manager is not None:
            self._manager.close()
            self._manager, self.fd = None, -1

    def _drain(self) -> Iterator[Event]:
        for _ in range(_READS_AT_MOST):
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return
            yield from parse(data)

    def _take(self, event: Event, hints: _Hints) -> bool:
        """Turn one event into hints; true if a path may mean something else now."""
        if event.mask & inotify.IN_Q_OVERFLOW:
            return self._start_over(hints)
        place = self._place_of(event)
        if place is None:  # a watch that we have given up: its last events were still on their way
            return False
        if not event.name:
            _all_finished(place.files(), hints)
            return True
        files = place.names.get(event.name, {})
        for file, last in files.items():
            _add_hint(hints, file, self._kind(event, place, file, last=last))
        return bool(files) and not event.mask & _CONTENT

    def _place_of(self, event: Event) -> Place | None:
        if not event.mask & inotify.IN_IGNORED:
            return self._places.get(self._identities.get(event.wd, (-1, -1)))
        assert self._manager is not None
        self._manager.watches.pop(event.wd, None)
        identity = self._identities.pop(event.wd, (-1, -1))
        self._watches.pop(identity, None)
        return self._places.get(identity)

    def _kind(self, event: Event, place: Place, file: str, *, last: bool) -> Kind:
        if last and _begins(event, place):
            self._being_written.add(file)
            return Kind.WRITING
        # vim and `cp -p` set the mode between writing and closing: that does not end the writing.
        if last and event.mask & inotify.IN_ATTRIB and file in self._being_written:
            return Kind.WRITING
        self._being_written.discard(file)
        return Kind.GONE if event.mask & (inotify.IN_DELETE | inotify.IN_MOVED_FROM) else Kind.FINISHED

    def _start_over(self, hints: _Hints) -> bool:
        """Events were lost, and with them perhaps the news that a watch is dead: trust none of them."""
        self.overflows += 1
        logger.warning("inotify queue overflow: looking at every file again (fs.inotify.max_queued_events)")
        for identity in tuple(self._watches):
            self._unwatch(identity)
        self._being_written.clear()
        _all_finished(self._files, hints)
        return True

    def _resolve(self) -> set[str]:
        """Bring the kernel's watches in line with the world; the files for which that changed something."""
        fresh: set[str] = set()
        for _ in range(_WALKS_AT_MOST):
            self._places = walk(self._files, self._not_watched)
            new = self._watch_places()
            if new is None:
                break
            fresh |= new
        for identity in self._watches.keys() - self._places.keys():
            self._unwatch(identity)
        return fresh

    def _watch_places(self) -> set[str] | None:
        """Watch what is not watched yet; None if there was nothing to do."""
        refused: list[str] = []
        lacking = [place for place in self._places.values() if not self._is_watched(place)]
        done = [place for place in lacking if self._watch(place, refused)]
        if new := set(refused).difference(self.unwatchable):
            logger.warning("not watched, changes will be found late: %s", "; ".join(sorted(new)))
        self.unwatchable = tuple(refused)
        return set().union(*(place.files() for place in done)) if done else None

    def _is_watched(self, place: Place) -> bool:
        watch = self._watches.get(place.identity)
        return watch is not None and watch[1] == _mask(place)

    def _watch(self, place: Place, refused: list[str]) -> bool:
        """True unless the kernel refused: watched now, or swapped since we looked; in both cases look again."""
        try:
            wd = self._ask_kernel(place)
        except (FileNotFoundError, NotADirectoryError):  # the walk after this one will see
            return True
        except (OSError, inotify.WatchManagerError) as exc:
            refused.append(f"{place.path}: {_reason(exc)}")
            return False
        self._identities.pop(self._watches.get(place.identity, (-1, 0))[0], None)
        self._watches[place.identity] = (wd, _mask(place))
        self._identities[wd] = place.identity
        return True

    def _ask_kernel(self, place: Place) -> int:
        fd = os.open(place.path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != place.identity:
                raise FileNotFoundError(place.path)
            path = f"/proc/self/fd/{fd}"
            assert self._manager is not None
            return self._manager.add_watch(path, _mask(place), quiet=False)[path]
        finally:
            os.close(fd)

    def _unwatch(self, identity: Identity) -> None:
        wd = self._watches.pop(identity)[0]
        self._identities.pop(wd, None)
        assert self._manager is not None
        with contextlib.suppress(inotify.WatchManagerError):  # dead already, IN_IGNORED is still to be read
            self._manager.rm_watch(wd, quiet=False)


def _mask(place: Place) -> int:
    return _ON_THE_WAY | _CONTENT if place.holds_files else _ON_THE_WAY


def _begins(event: Event, place: Place) -> bool:
    """Whether a writer is at work; what comes into being complete (symlink, second link, O_TMPFILE) had none.

    A writer that has got some text in before we look is told apart by the IN_MODIFY that follows at once.
    """
    if not event.mask & inotify.IN_CREATE:
        return bool(event.mask & inotify.IN_MODIFY)
    try:
        found = os.lstat(os.path.join(place.path, event.name))
    except OSError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size == 0


def _add_hint(hints: _Hints, file: str, kind: Kind) -> None:
    """FINISHED ends what was begun before; what is begun after it does not take it back."""
    finished = kind is Kind.FINISHED or Kind.FINISHED in hints.get(file, ())
    hints[file] = (Kind.FINISHED,) * finished + (kind,) * (kind is not Kind.FINISHED)


def _as_found(file: str, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    """A way that changed and leads nowhere now, such as a directory moved away, has not finished: it may come back."""
    return kinds if Kind.FINISHED not in kinds or os.path.exists(file) else (Kind.GONE,)


def _all_finished(files: Iterable[str], hints: _Hints) -> None:
    for file in files:
        _add_hint(hints, file, Kind.FINISHED)


def _reason(exc: Exception) -> str:
    """pyinotify keeps no errno, only a sentence: `cannot watch /x WD=-1, Errno=Permission denied (EACCES)`."""
    found = re.search(r"Errno=(.+) \((E\w+)\)", str(exc))
    if found is None:
        return getattr(exc, "strerror", None) or str(exc)
    return found[1] + (f" (fs.inotify.{_LIMITS[found[2]]})" if found[2] in _LIMITS else "")
