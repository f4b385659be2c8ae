# SPDX-License-Identifier: MPL-2.0
"""What a Kea daemon says of its own condition: `status-get` as samples.

What a version does not tell has no sample: `sockets` since 2.2.0, the packet queue and the thread pool only while
multi-threading is on, `dhcp-state` since 2.6.2 and 2.7.1, the lease file since 3.1.2 (Kea 2.2 to 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kea_agent import gate
from kea_agent.metrics.families import Definition, Sample, number

INFO = Definition("kea_info", "The version of the Kea daemon that runs, always 1.", ("version",))
START = Definition("kea_start_time_seconds", "When the Kea daemon was started, in Unix time.")
COMMIT = Definition(
    "kea_config_commit_time_seconds",
    "When the Kea daemon last took a configuration in, at its start or later, in Unix time.",
)
ENABLED = Definition("kea_dhcp_enabled", "Whether the server answers clients (1) or its DHCP service is disabled (0).")
DISABLED_BY = Definition(
    "kea_dhcp_disabled_by",
    "Whether this is why the DHCP service is disabled (1) or not (0); several may be at once.",
    ("origin",),
)
SOCKETS = Definition(
    "kea_sockets_state", "The state of the server's interface sockets: 1 for the one it is in.", ("state",)
)
SOCKET_ERRORS = Definition("kea_socket_errors", "Errors that opening the interface sockets ended with.")
THREADING = Definition("kea_multi_threading_enabled", "Whether packets are handled by several threads (1) or one (0).")
THREADS = Definition("kea_thread_pool_threads", "Threads that handle packets.")
QUEUE_LIMIT = Definition("kea_packet_queue_limit", "How many packets may wait for a thread; more are dropped.")
QUEUE = Definition(
    "kea_packet_queue_length",
    "How many packets waited for a thread on average, over as many last packets as `window` says.",
    ("window",),
)
CLEANUP = Definition("kea_lease_file_cleanup_running", "Whether kea-lfc is cleaning the lease file up (1) or not (0).")

DEFINITIONS = (
    INFO, START, COMMIT, ENABLED, DISABLED_BY, SOCKETS, SOCKET_ERRORS, THREADING, THREADS, QUEUE_LIMIT, QUEUE, CLEANUP,
)  # fmt: skip

SOCKET_STATES = ("ready", "retrying", "failed")
QUEUE_WINDOWS = ("10", "100", "1000")
ORIGINS = {
    "user": "disabled-by-user",
    "local-command": "disabled-by-local-command",
    "remote-command": "disabled-by-remote-command",
    "db-connection": "disabled-by-db-connection",
}


def samples(daemon: str, status: Mapping[str, Any]) -> Iterator[Sample]:
    """Everything in `status-get`'s arguments but the times, which need a clock."""
    yield from _dhcp_state(daemon, status.get("dhcp-state"))
    yield from _sockets(daemon, status.get("sockets"))
    yield from _threads(daemon, status)
    if isinstance(status.get("csv-lease-file"), str):
        yield Sample(CLEANUP, (daemon,), float(gate.lease_cleanup_obstacle(dict(status)) is not None))


def _dhcp_state(daemon: str, section: object) -> Iterator[Sample]:
    if not isinstance(section, dict):
        return
    yield Sample(ENABLED, (daemon,), float(section.get("globally-disabled") is not True))
    for origin, key in ORIGINS.items():
        # A truth value, or the list of those who did it.
        yield Sample(DISABLED_BY, (daemon, origin), float(bool(section.get(key))))


def _sockets(daemon: str, section: object) -> Iterator[Sample]:
    if not isinstance(section, dict):
        return
    for state in SOCKET_STATES:
        yield Sample(SOCKETS, (daemon, state), float(section.get("status") == state))
    errors = section.get("errors")
    yield Sample(SOCKET_ERRORS, (daemon,), float(len(errors) if isinstance(errors, list) else 0))


def _threads(daemon: str, status: Mapping[str, Any]) -> Iterator[Sample]:
    if isinstance(status.get("multi-threading-enabled"), bool):
        yield Sample(THREADING, (daemon,), float(status["multi-threading-enabled"]))
    for definition, key in ((THREADS, "thread-pool-size"), (QUEUE_LIMIT, "packet-queue-size")):
        if (value := number(status.get(key))) is not None:
            yield Sample(definition, (daemon,), value)
    averages = status.get("packet-queue-statistics")
    for window, average in zip(QUEUE_WINDOWS, averages if isinstance(averages, list) else (), strict=False):
        if (value := number(average)) is not None:
            yield Sample(QUEUE, (daemon, window), value)
