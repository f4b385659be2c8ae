# SPDX-License-Identifier: MPL-2.0
"""The configurations that were proven to run: the last known good one, and those before it.

    /var/lib/kea-agent/dhcp4/kea-dhcp4.conf            the last known good, always at this path
    /var/lib/kea-agent/dhcp4/history/000007.conf       every revision, the newest too

Each is whole by itself (revision.py). The revision is written first, then its copy at the fixed path; whoever is
killed between leaves the old copy, which the next look replaces. A file that is damaged is put aside, as NAME.damaged,
and the newest sound one takes its place. Only the owner of the directory mends: root, who looks at what belongs to the
agent's user, never writes there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kea_agent.daemons import BY_NAME
from kea_agent.errors import AgentError
from kea_agent.files import entered, sync_directory, write_atomically
from kea_agent.revision import Kept, Revision, body_of, read
from kea_agent.settings import HistorySettings

__all__ = ["STATE", "History", "Revision"]

logger = logging.getLogger(__name__)

STATE = Path("/var/lib/kea-agent")
_NAME = re.compile(r"(\d{1,9})\.conf(?:\.damaged)?")


class History:
    """What is kept of every daemon below the state directory; `limits` bound each daemon's revisions."""

    def __init__(self, directory: Path = STATE, limits: HistorySettings | None = None) -> None:
        self.limits = limits or HistorySettings()
        self._directory = directory
        self._told: set[str] = set()

    def keep(
        self,
        daemon: str,
        file_name: str,
        tree: Mapping[str, Any],
        *,
        meaning: str,
        hash: str | None,  # noqa: A002  # Kea's word for it
        kea_version: str | None,
        proof: str,
        at: float,
    ) -> Revision | None:
        """Keep an effective configuration that was proven to run at a time (Unix).

        One that means what the newest does only renews it. A failure is told, costs nothing else, and is None.
        """
        found = Revision(daemon, 0, at, at, meaning, hash, kea_version, proof, file_name)
        try:
            kept = Kept(self._numbered(found), body_of(tree))
            self._write(kept)
            self._trim(daemon)
        except (OSError, ValueError, TypeError, RecursionError, AgentError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            logger.warning("%s: what %s runs is not kept: %s", self._fixed(daemon).parent, daemon, why)
            return None
        return kept.revision

    def last(self, daemon: str) -> Revision | None:
        """The last known good, mended if it has to be; None where nothing is kept."""
        fixed = self._sound(self._fixed(daemon), daemon)
        newest = next(self._numbers(daemon), 0)
        if fixed and fixed.revision.number >= newest:
            return fixed.revision
        found = next(self._kept(daemon), None)
        if found and (fixed is None or found.revision.number > fixed.revision.number):
            self._restore(found)
            return found.revision
        return fixed.revision if fixed else None

    def revisions(self, daemon: str) -> tuple[Revision, ...]:
        """All that are sound, newest first."""
        found = {kept.revision.number: kept.revision for kept in self._kept(daemon)}
        if (last := self.last(daemon)) and last.number not in found:
            found[last.number] = last
        return tuple(sorted(found.values(), key=lambda revision: revision.number, reverse=True))

    def tree(self, revision: Revision) -> dict[str, Any]:
        """The configuration of a revision; raises AgentError when it is damaged or gone."""
        paths = (self._path(revision), self._fixed(revision.daemon))
        for path in paths:
            kept = self._sound(path, revision.daemon)
            if kept and kept.revision.number == revision.number:
                return self._tree(path, kept)
        raise AgentError(f"{paths[0]}: revision {revision.number} of {revision.daemon} is damaged or gone")

    def last_tree(self, daemon: str) -> dict[str, Any] | None:
        """The last known good configuration, None where nothing is kept; raises AgentError when it is damaged."""
        last = self.last(daemon)
        return self.tree(last) if last else None

    def _tree(self, path: Path, kept: Kept) -> dict[str, Any]:
        try:
            tree = kept.tree()
        except (ValueError, RecursionError) as error:
            raise AgentError(f"{path}: cannot be used: {error}") from error
        key = BY_NAME[kept.revision.daemon].root_key
        if not isinstance(tree.get(key), dict):
            raise AgentError(f"{path}: cannot be used: it has no {key}")
        return tree

    def text(self, revision: Revision, show: Callable[[dict[str, Any]], Any] = dict) -> bytes:
        """Its configuration as a file for people, made by `show`; raises AgentError, also for one that no Kea ever ran."""
        try:
            return body_of(show(self.tree(revision)), indent=2)
        except (ValueError, RecursionError) as error:
            raise AgentError(f"{self._path(revision)}: cannot be used: {error}") from error

    def find(self, daemon: str, word: str) -> Revision:
        """The revision of that number, else the newest whose hash begins so; raises AgentError for none, or several."""
        known = self.revisions(daemon)
        if by_number := [each for each in known if word.isdecimal() and each.number == int(word)]:
            return by_number[0]
        begin = [each for each in known if word and (each.hash or "").lower().startswith(word.lower())]
        if not begin:
            raise AgentError(f"{daemon} has no revision {word!r}; kea-agent history {daemon} lists what is kept")
        if len({each.hash for each in begin}) > 1:
            numbers = ", ".join(str(each.number) for each in begin)
            raise AgentError(f"{word!r} is the beginning of the hashes of several revisions of {daemon}: {numbers}")
        return begin[0]

    # -- names

    def _fixed(self, daemon: str) -> Path:
        return self._directory / daemon / Path(BY_NAME[daemon].config_path).name

    def _path(self, revision: Revision) -> Path:
        return self._history(revision.daemon) / f"{revision.number:06}.conf"

    def _history(self, daemon: str) -> Path:
        return self._directory / daemon / "history"

    def _owner(self) -> int:
        return self._directory.stat().st_uid

    def _numbers(self, daemon: str) -> Iterator[int]:
        """The numbers that are taken, newest first, the damaged ones' too."""
        try:
            with entered(self._history(daemon), self._directory) as directory:
                names = os.listdir(directory)
        except FileNotFoundError:
            names = []
        except OSError as error:
            self._tell(self._history(daemon), error)
            names = []
        yield from sorted({int(match[1]) for name in names if (match := _NAME.fullmatch(name))}, reverse=True)

    # -- reading

    def _kept(self, daemon: str) -> Iterator[Kept]:
        """The sound ones, newest first."""
        for number in self._numbers(daemon):
            kept = self._sound(self._history(daemon) / f"{number:06}.conf", daemon, number)
            if kept:
                yield kept

    def _sound(self, path: Path, daemon: str, number: int | None = None) -> Kept | None:
        """What a file holds; one that is damaged is put aside, one that is not there is no news."""
        try:
            kept = read(path, {0, self._owner()}, self._directory)
            if kept.revision.daemon != daemon or number not in (None, kept.revision.number):
                raise ValueError(f"it is revision {kept.revision.number} of {kept.revision.daemon}")  # noqa: TRY301
        except FileNotFoundError:
            return None
        except PermissionError as error:
            if os.geteuid() != self._owner():
                raise AgentError(f"{path}: {error.strerror}: only root and the agent's user may read it") from error
            self._put_aside(path, error.strerror or "it may not be read")
        except OSError as error:
            self._tell(path, error)
        except ValueError as error:
            self._put_aside(path, str(error))
        else:
            return kept
        return None

    def _tell(self, path: Path, why: object) -> None:
        """Once for each trouble."""
        words = f"{path}: this kept configuration cannot be used: {why}"
        if words not in self._told:
            logger.warning("%s", words)
        self._told.add(words)

    def _put_aside(self, path: Path, why: str) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        try:
            if os.geteuid() != self._owner():
                return self._tell(path, why)
            path.replace(aside)
        except OSError as error:
            return self._tell(path, f"{why}; and it cannot be put aside: {error.strerror}")
        logger.warning("%s: this kept configuration is damaged (%s) and was put aside as %s", path, why, aside.name)
        return None

    # -- writing

    def _numbered(self, found: Revision) -> Revision:
        """The newest one renewed, or a new one."""
        last = self.last(found.daemon)
        if last and last.meaning == found.meaning:
            return replace(found, number=last.number, at=last.at)
        return replace(found, number=max([*self._numbers(found.daemon), last.number if last else 0, 0]) + 1)

    def _write(self, kept: Kept) -> None:
        history = self._history(kept.revision.daemon)
        if not history.is_dir():
            history.parent.mkdir(mode=0o750, exist_ok=True)
            history.mkdir(mode=0o750)
            sync_directory(history.parent)
            sync_directory(self._directory)
        data = kept.encoded()
        for path in (self._path(kept.revision), self._fixed(kept.revision.daemon)):
            write_atomically(path, data, 0o600, durable=True)

    def _restore(self, kept: Kept) -> None:
        """Bring the fixed path up to date, if it is ours."""
        path = self._fixed(kept.revision.daemon)
        try:
            if os.geteuid() == self._owner():
                write_atomically(path, kept.encoded(), 0o600, durable=True)
                logger.info("%s: restored from revision %d", path, kept.revision.number)
        except OSError as error:
            self._tell(path, f"it cannot be restored from revision {kept.revision.number}: {error.strerror}")

    def _trim(self, daemon: str) -> None:
        """Forget the oldest beyond the limits, and what a killed writer left."""
        numbers, bytes_left = self.limits.revisions, self.limits.max_bytes
        keep: set[int] = set()
        for number in self._numbers(daemon):
            bytes_left -= sum(path.lstat().st_size for path in self._files(daemon, number))
            if keep and (len(keep) >= numbers or bytes_left < 0):
                break
            keep.add(number)
        for number in set(self._numbers(daemon)) - keep:
            for path in self._files(daemon, number):
                path.unlink()
        for directory in (self._history(daemon), self._history(daemon).parent):
            for path in directory.glob(".*.conf.*"):
                path.unlink(missing_ok=True)

    def _files(self, daemon: str, number: int) -> list[Path]:
        return [path for path in self._history(daemon).glob(f"{number:06}.conf*") if _NAME.fullmatch(path.name)]
