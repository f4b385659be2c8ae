# SPDX-License-Identifier: MPL-2.0
"""The web configuration as it stands on disk right now: read again when the file, or one that it names, has changed.

A certificate is renewed without anybody telling the agent. What is wrong with a new one is said once, and the old one
goes on.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from kea_agent.errors import SettingsError
from kea_agent.web import tls
from kea_agent.web.config import WebConfig, read
from kea_agent.web.passwords import MissingLibraryError, Passwords

logger = logging.getLogger(__name__)

_State = tuple[tuple[int, int, int, int, int] | None, ...]


@dataclass(frozen=True)
class Loaded:
    """A configuration ready for use; `tls` None is plain HTTP."""

    config: WebConfig
    passwords: Passwords
    tls: ssl.SSLContext | None = None

    def is_welcome(self, client: ssl.SSLSocket) -> bool:
        """Whether the certificate of a client has a name that is let in; asked after the handshake."""
        wanted = self.config.tls.allowed_sans if self.config.tls else frozenset()
        if not wanted:
            return True
        had = tls.names(dict(client.getpeercert() or {}))
        if had.isdisjoint(wanted):
            logger.info("a client certificate for %s is not in client_allowed_sans", ", ".join(sorted(had)) or "nobody")
            return False
        return True


@dataclass(frozen=True)
class _Reading:
    """One attempt: what was read, how it was at the time, and what came of it or what was wrong, one a line."""

    files: tuple[Path, ...]
    state: _State
    loaded: Loaded | None = None
    problems: str = ""


class LiveConfig:
    """`current()` is asked for each connection and each request, from any thread, and raises nothing.

    Plain HTTP for everybody until there is a file to `use`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._reading = _Reading((), ())
        self._loaded = Loaded(WebConfig(), Passwords({}))

    def use(self, path: Path | None) -> None:
        """Take over what `path` says, None for plain HTTP; SettingsError, and the old one goes on, if it is wrong."""
        loaded = Loaded(WebConfig(), Passwords({}))
        reading = _read(path) if path else _Reading((), (), loaded)
        with self._lock:
            if reading.loaded:
                self._path, self._reading, self._loaded = path, reading, reading.loaded
            elif path == self._path:
                self._reading = reading  # known to be wrong as it is: not to be tried, and told, again
        if not reading.loaded:
            raise SettingsError(reading.problems)

    def current(self) -> Loaded:
        """What holds now."""
        with self._lock:
            if self._path and _state(self._reading.files) != self._reading.state:
                self._read_again(self._path)
            return self._loaded

    def _read_again(self, path: Path) -> None:
        self._reading = _read(path)
        if self._reading.loaded:
            self._loaded = self._reading.loaded
            logger.info("%s: read again", path)
        for line in self._reading.problems.splitlines():
            logger.error("%s; the web configuration from before goes on", line)


def _read(path: Path) -> _Reading:
    """Read it; how each file is gets noted before it is read, so that no change after that is missed."""
    files: tuple[Path, ...] = (path,)
    state = _state(files)
    try:
        config = read(path)
        named = config.tls.files if config.tls else ()
        files, state = (path, *named), state + _state(named)
        encrypted = tls.context(config.tls) if config.tls else None
        return _Reading(files, state, Loaded(config, Passwords(config.users), encrypted))
    except MissingLibraryError:
        return _Reading(files, state, problems=f"{path}: basic_auth_users: needs the package python3-bcrypt")
    except SettingsError as error:
        return _Reading(files, state, problems=str(error))
    except ssl.SSLError as error:
        return _Reading(files, state, problems=f"{path}: tls_server_config: {error.reason or error}")
    except (OSError, ValueError) as error:
        return _Reading(files, state, problems=f"{path}: {error}")


def _state(files: tuple[Path, ...]) -> _State:
    return tuple(_stat(path) for path in files)


def _stat(path: Path) -> tuple[int, int, int, int, int] | None:
    """What changes when a file does; None while it cannot be seen."""
    try:
        found = os.stat(path)  # follows symlinks: moving one is how certbot renews
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
