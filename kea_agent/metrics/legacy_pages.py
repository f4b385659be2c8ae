# SPDX-License-Identifier: MPL-2.0
"""The pages with other exporters' names, by path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from kea_agent.metrics import legacy_kea_exporter, legacy_stork
from kea_agent.metrics.collection import Scrape
from kea_agent.metrics.legacy import CONTENT_TYPE


def legacy_pages(
    kea: Callable[[], Scrape], clock: Callable[[], float] = time.monotonic
) -> dict[str, Callable[[], tuple[bytes, str]]]:
    """Path to body and content type; `kea` is asked each time, and is the same collection that /metrics has."""
    began = clock()
    return {
        "/metrics/kea-exporter": _Once(kea, legacy_kea_exporter.render),
        "/metrics/stork": _Once(kea, lambda scrape: legacy_stork.render(scrape, clock() - began)),
    }


class _Once:
    """A page that is made once for each scrape, and shared by all who get it."""

    def __init__(self, kea: Callable[[], Scrape], render: Callable[[Scrape], bytes]) -> None:
        self._kea = kea
        self._render = render
        self._lock = threading.Lock()
        self._made: tuple[Scrape, bytes] | None = None

    def __call__(self) -> tuple[bytes, str]:
        scrape = self._kea()
        with self._lock:
            if self._made is None or self._made[0] is not scrape:
                self._made = scrape, self._render(scrape)
            return self._made[1], CONTENT_TYPE
