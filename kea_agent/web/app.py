# SPDX-License-Identifier: MPL-2.0
"""What each path answers, as a WSGI application that knows nothing of sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from kea_agent import __version__
from kea_agent.outcome import DaemonStatus
from kea_agent.web.guard import Guard
from kea_agent.web.pages import CONTENT_SECURITY_POLICY, status_page

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

MAX_REQUESTS = 16  # answered at once; further ones wait
WAIT_SECONDS = 2.0  # beyond, 503
PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
METHODS = ("GET", "HEAD")

_MORE_HEADERS = {
    HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": ", ".join(METHODS)},
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Basic realm="kea-agent", charset="UTF-8"'},
}

# A body may be several pieces, some of which others are sent as well: they are not joined.
Body = bytes | tuple[bytes, ...]
Render = Callable[[], tuple[Body, str]]
Answer = tuple[HTTPStatus, str, Body]


class App:
    """The WSGI application: what each path answers. The callables are asked from several threads at once."""

    def __init__(
        self,
        *,
        render: Render,
        statuses: Callable[[], Iterable[DaemonStatus]],
        ready: Callable[[], bool],
        guard: Guard,
        host: str,
        clock: Callable[[], float],
        more: Mapping[str, Render] | None = None,
    ) -> None:
        self._statuses = statuses
        self._ready = ready
        self._guard = guard
        self._host = host
        self._clock = clock
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._routes: dict[str, Callable[[], Answer]] = {
            "/": self._page,
            "/metrics": partial(_scrape, render),
            "/-/healthy": lambda: (HTTPStatus.OK, PLAIN, b"healthy\n"),
            "/-/ready": self._readiness,
            **{path: partial(_scrape, make) for path, make in (more or {}).items()},
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer one request; HEAD is GET without the body."""
        refused = self._guard.refusal(environ)
        status, kind, body = (
            _refusal(refused) if refused else self._answer(environ["PATH_INFO"], environ["REQUEST_METHOD"])
        )
        chunks = (body,) if isinstance(body, bytes) else body
        headers = {
            "Content-Type": kind,
            "Content-Length": str(sum(map(len, chunks))),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            **_MORE_HEADERS.get(status, {}),
            **self._guard.headers,
        }
        start_response(f"{status.value} {status.phrase}", [each for each in headers.items() if each[1]])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else list(filter(None, chunks))

    def _answer(self, path: str, method: str) -> Answer:
        if path not in self._routes:
            return _refusal(HTTPStatus.NOT_FOUND)
        if method not in METHODS:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            return self._routes[path]()
        finally:
            self._slots.release()

    def _page(self) -> Answer:
        page = status_page(self._statuses(), version=__version__, host=self._host, now=self._clock())
        return HTTPStatus.OK, HTML, page.encode(errors="replace")

    def _readiness(self) -> Answer:
        if self._ready():
            return HTTPStatus.OK, PLAIN, b"ready\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, b"not ready\n"


def _scrape(render: Render) -> Answer:
    body, kind = render()
    return HTTPStatus.OK, kind, body


def _refusal(status: HTTPStatus) -> Answer:
    return status, PLAIN, f"{status.value} {status.phrase}\n".encode()
