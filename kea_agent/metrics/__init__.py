# SPDX-License-Identifier: MPL-2.0
"""What Prometheus gets to see; docs/usage/metrics.md lists every family."""

from kea_agent.metrics.agent import AgentMetrics
from kea_agent.metrics.collection import Collection, Scrape, Wishes, World, rest
from kea_agent.metrics.kea import Target
from kea_agent.metrics.legacy_pages import legacy_pages
from kea_agent.metrics.own import WatchCounters
from kea_agent.metrics.units import OWN_UNIT, PROPERTIES

__all__ = [
    "OWN_UNIT",
    "PROPERTIES",
    "AgentMetrics",
    "Collection",
    "Scrape",
    "Target",
    "WatchCounters",
    "Wishes",
    "World",
    "legacy_pages",
    "rest",
]
