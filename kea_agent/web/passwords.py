# SPDX-License-Identifier: MPL-2.0
"""Names and bcrypt hashes, and whether a password is right; the only importer of bcrypt.

bcrypt is slow on purpose, about 70 ms at cost 10: a scraper's right password is remembered, and so are the last wrong
ones, as keyed digests. What is not remembered is computed one at a time, so guessing costs one processor at most.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping

MAX_WRONG = 256  # remembered; a scraper with an old password asks every few seconds
MAX_PASSWORD_BYTES = 72  # bcrypt sees no more, and newer versions of the library refuse more
WAIT_SECONDS = 5.0  # behind the others' guesses


class MissingLibraryError(Exception):
    """The library is not installed."""


class BusyError(Exception):
    """Others are guessing; the answer is not known in time."""


class Passwords:
    """Who is let in. Thread-safe; MissingLibraryError from the constructor when there are users and no bcrypt."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._slow = threading.Lock()
        self._quick = threading.Lock()
        if users:
            self._check("", next(iter(users.values())))

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in, because there are no users."""
        return not self._users

    def are_right(self, name: str, password: str) -> bool:
        """Whether the user exists and has this password; BusyError when that takes too long to find out."""
        digest = hmac.digest(self._secret, f"{name}\0{password}".encode(errors="surrogateescape"), "sha256")
        known = self._known(name, digest)
        return known if known is not None else self._compute(name, password, digest)

    def _known(self, name: str, digest: bytes) -> bool | None:
        with self._quick:
            if hmac.compare_digest(self._right.get(name, b""), digest):
                return True
            if digest in self._wrong:
                self._wrong.move_to_end(digest)
                return False
        return None

    def _compute(self, name: str, password: str, digest: bytes) -> bool:
        if not self._slow.acquire(timeout=WAIT_SECONDS):
            raise BusyError
        try:
            known = self._known(name, digest)  # somebody else with the same may have been first
            return known if known is not None else self._remember(name, digest, self._is_right(name, password))
        finally:
            self._slow.release()

    def _is_right(self, name: str, password: str) -> bool:
        """A name that does not exist takes as long as one that does, so that names cannot be found out by time."""
        hashed = self._users.get(name, next(iter(self._users.values())))
        return self._check(password, hashed) and name in self._users

    def _remember(self, name: str, digest: bytes, is_right: bool) -> bool:
        with self._quick:
            if is_right:
                self._right[name] = digest
            else:
                self._wrong[digest] = None
                if len(self._wrong) > MAX_WRONG:
                    self._wrong.popitem(last=False)
        return is_right

    def _check(self, password: str, hashed: str) -> bool:
        """One bcrypt, compared in constant time by the library."""
        try:
            import bcrypt  # noqa: PLC0415 - who has no users needs none
        except ImportError as error:
            raise MissingLibraryError from error
        try:
            return bcrypt.checkpw(password.encode(errors="surrogateescape")[:MAX_PASSWORD_BYTES], hashed.encode())
        except ValueError:  # a NUL byte, which no htpasswd would have hashed
            return False
