# SPDX-License-Identifier: MPL-2.0
"""How root's verbs write Kea's files: one at a time, and what was there before is kept, byte for byte.

    /var/backups/kea-agent/dhcp4/20261121T123108.123456Z-kea-dhcp4.conf

Only root may look in there: the agent's user must not be able to choose what a rollback writes under /etc/kea.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from kea_agent import keaconf
from kea_agent.errors import AgentError
from kea_agent.files import pinned, replace_content, write_atomically

T = TypeVar("T")

BACKUPS = Path("/var/backups/kea-agent")
MOST = 20


@dataclass(frozen=True)
class Replaced:
    """A file that is about to be written, or was. `kept`: a copy of what it held before, None if there was no file."""

    path: Path
    kept: Path | None

    def put_back(self) -> None:
        """As it was; raises AgentError."""
        holds = f"{self.path} still holds what was to be taken back"
        if self.kept is None:
            _tried(self.path, "cannot be removed again", lambda: _remove(self.path), holds)
            return
        data = content(self.kept)
        if data is None:
            raise AgentError(f"{self.kept}: what {self.path} held before is gone; {holds}")
        _tried(self.path, "cannot be written", lambda: replace_content(self.path, data), holds)


@contextmanager
def locked(daemon: str, directory: Path = BACKUPS, *, wait: bool = False) -> Iterator[None]:
    """Nobody else writes the daemon's file meanwhile; raises AgentError when somebody does, unless told to wait."""
    path = directory / f"{daemon}.lock"
    descriptor = _tried(path, "cannot be used", lambda: _lock_file(path))
    try:
        if not _lock(descriptor, wait=wait):
            raise AgentError(
                f"another kea-agent apply, confirm or rollback of {daemon} is at work; nothing was changed"
            )
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _lock_file(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def keep(daemon: str, path: Path, directory: Path = BACKUPS) -> Replaced:
    """Copy what the file holds to where it stays, and forget the oldest of such copies; raises AgentError."""
    data = content(path)
    if data is None:
        return Replaced(path, None)
    place = directory / daemon
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = place / f"{now}-{path.name}"
    _tried(kept, f"cannot keep what {path} holds", lambda: _keep(kept, data))
    for name in sorted(os.listdir(place))[:-MOST]:
        (place / name).unlink(missing_ok=True)
    return Replaced(path, kept)


def _keep(kept: Path, data: bytes) -> None:
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(kept, data, 0o600, durable=True)


def write(path: Path, data: bytes) -> None:
    """Replace a file's content as a whole, owner, mode and attributes kept; raises AgentError."""
    _tried(path, "cannot be written", lambda: replace_content(path, data))


def content(path: Path) -> bytes | None:
    """What a file holds now, None where there is none; raises AgentError."""
    return _tried(path, "cannot be read", lambda: _content(path))


def _remove(path: Path) -> None:
    with pinned(path) as target:
        target.unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    try:
        with pinned(path) as target, open(target, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(0, "it is not a regular file")
            data = file.read(keaconf.MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > keaconf.MAX_BYTES:
        raise OSError(0, f"it has more than {keaconf.MAX_BYTES} bytes")
    return data


def _open(name: str, flags: int) -> int:
    """A FIFO does not block, and a link that came there meanwhile is none of ours."""
    return os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _tried(path: Path, what: str, do: Callable[[], T], holds: str = "nothing was changed") -> T:
    try:
        return do()
    except OSError as error:
        raise AgentError(f"{path}: {what}: {(error.strerror or str(error)).lower()}; {holds}") from error
