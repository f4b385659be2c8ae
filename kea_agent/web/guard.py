# SPDX-License-Identifier: MPL-2.0
"""What stands before every path: the rate limit, the password, and the headers of the web configuration."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from kea_agent.web.config import RateLimit
from kea_agent.web.live import LiveConfig, Loaded
from kea_agent.web.passwords import BusyError

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


class Guard:
    """Asked from several threads at once; `clock` is monotonic seconds."""

    def __init__(self, live: LiveConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._bucket = _Bucket(clock)

    def refusal(self, environ: WSGIEnvironment) -> HTTPStatus | None:
        """Why a request is not answered: 401, 429 or 503; None if it is."""
        loaded = self._live.current()
        if not self._bucket.has_one(loaded.config.rate_limit):
            return HTTPStatus.TOO_MANY_REQUESTS
        return _judge(loaded, environ.get("HTTP_AUTHORIZATION", ""))

    @property
    def headers(self) -> Mapping[str, str]:
        """To set in every answer; one that is empty is to be left out of it."""
        return self._live.current().config.headers


class _Bucket:
    """A token bucket: as many tokens as the burst, one more each interval."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limit: RateLimit | None = None
        self._tokens = 0.0
        self._filled_at = 0.0

    def has_one(self, limit: RateLimit | None) -> bool:
        if limit is None:
            return True
        with self._lock:
            self._fill(limit, self._clock())
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def _fill(self, limit: RateLimit, now: float) -> None:
        if limit != self._limit:
            self._limit, self._tokens = limit, float(limit.burst)
        else:
            self._tokens = min(limit.burst, self._tokens + (now - self._filled_at) / limit.interval)
        self._filled_at = now


def _judge(loaded: Loaded, header: str) -> HTTPStatus | None:
    if loaded.passwords.is_open:
        return None
    sent = _credentials(header)
    try:
        return None if sent and loaded.passwords.are_right(*sent) else HTTPStatus.UNAUTHORIZED
    except BusyError:
        return HTTPStatus.SERVICE_UNAVAILABLE


def _credentials(header: str) -> tuple[str, str] | None:
    """Name and password of a Basic Authorization header (RFC 7617), None if it is not one."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode(errors="surrogateescape")
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
