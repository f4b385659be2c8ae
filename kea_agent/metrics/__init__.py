# SPDX-License-Identifier: MPL-2.0
"""What Prometheus gets to see; docs/usage/metrics.md lists every family."""

from kea_agent.metrics.agent import AgentMetrics, WatchCounters

__all__ = ["AgentMetrics", "WatchCounters"]
