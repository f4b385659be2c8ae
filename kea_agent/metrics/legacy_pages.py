# SPDX-License-Identifier: MPL-2.0
"""The pages with other exporters' names, by path."""

from __future__ import annotations

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
        "/metrics/kea-exporter": lambda: (legacy_kea_exporter.render(kea()), CONTENT_TYPE),
        "/metrics/stork": lambda: (legacy_stork.render(kea(), clock() - began), CONTENT_TYPE),
    }
