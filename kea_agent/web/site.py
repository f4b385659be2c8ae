# SPDX-License-Identifier: MPL-2.0
"""What the agent has of the web: one site that is opened, opened elsewhere when the settings change, and closed."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path

from kea_agent.outcome import DaemonStatus
from kea_agent.web.app import App, Render
from kea_agent.web.guard import Guard
from kea_agent.web.live import LiveConfig
from kea_agent.web.server import WebServer
from kea_agent.web.sockets import passed

logger = logging.getLogger(__name__)


class Site:
    """Serves `/`, `/metrics`, `/-/healthy` and `/-/ready` between `open` and `stop`.

    `render` makes a scrape and its content type, `statuses` what the page shows, `ready` whether the agent is; all
    are called from other threads. `host` is the name on the page, `clock` gives Unix time. The sockets that systemd
    opened for this process, if there are any, are served instead of the addresses. `more` are further paths, each made as
    by `render`.
    """

    def __init__(
        self,
        *,
        render: Render,
        statuses: Callable[[], Iterable[DaemonStatus]],
        ready: Callable[[], bool],
        host: str = "",
        clock: Callable[[], float] = time.time,
        environ: MutableMapping[str, str] = os.environ,
        more: Mapping[str, Render] | None = None,
    ) -> None:
        self._live = LiveConfig()
        self._app = App(
            render=render,
            statuses=statuses,
            ready=ready,
            guard=Guard(self._live),
            host=host or socket.gethostname(),
            clock=clock,
            more=more,
        )
        self._inherited = passed(environ)
        self._web: WebServer | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return self._web.addresses if self._web else ()

    def configure(self, file: str) -> None:
        """Take over a web configuration file, "" for none; SettingsError, and the old one goes on, if it is wrong."""
        self._live.use(Path(file) if file else None)

    def open(self, listen: Sequence[str]) -> None:
        """Listen on these addresses from now on; on the old ones if none of the new ones can be had."""
        wanted = () if self._inherited else tuple(listen)
        old = self._web
        if old and old.listen == wanted and old.is_complete:
            return
        if old:
            old.stop()  # it may hold one of the new addresses
        self._web = self._start(wanted)
        if old and wanted not in ((), old.listen) and not self._web.addresses:
            logger.error("none of the new addresses can be had; listening on the old ones again")
            self._web.stop()
            self._web = self._start(old.listen)

    def stop(self) -> None:
        """Stop listening; harmless if it was never opened."""
        if self._web:
            self._web.stop()
        for listener in self._inherited:
            listener.close()

    def _start(self, listen: Sequence[str]) -> WebServer:
        web = WebServer(listen, self._app, self._live, self._inherited)
        web.start()
        return web
