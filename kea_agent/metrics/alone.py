# SPDX-License-Identifier: MPL-2.0
"""A scrape without a running agent: Kea and the units, and nothing of what only the agent could know."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from kea_agent import keaconf, units
from kea_agent.accounts import for_kea
from kea_agent.bus import Bus
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.endpoints import wanted
from kea_agent.errors import ConfigError
from kea_agent.metrics.collection import DEFINITIONS, Collection, Wishes, World
from kea_agent.metrics.families import metrics, page
from kea_agent.metrics.kea import Target
from kea_agent.metrics.units import OWN_UNIT, PROPERTIES
from kea_agent.settings import Settings


def scrape(settings: Settings, bus: Bus) -> bytes:
    """Ask everybody once, in Prometheus's text format; BusError when systemd cannot be asked for the daemons."""
    found = {name: units.discover(bus, BY_NAME[name], settings.daemon[name].unit) for name in settings.agent.daemons}
    known = {name: unit for name, unit in found.items() if unit}
    targets = [_target(BY_NAME[name], unit, settings) for name, unit in known.items()]
    names = {name: unit.name for name, unit in known.items()} | {"kea-agent": OWN_UNIT}
    wishes = Wishes(settings.web.scrape_timeout_seconds, settings.metrics.subnet_context_labels)
    world = World(lambda: targets, lambda: names, _Properties(bus).read, lambda *_: None, lambda: wishes)
    made = Collection(world).collect()
    return page(metrics(DEFINITIONS, made.samples)) + made.text


def _target(daemon: Daemon, unit: units.Unit, settings: Settings) -> Target:
    """Where the daemon takes commands, by its file; one whose file cannot be read is known by its process alone."""
    path = units.config_file(daemon, unit, settings.daemon[daemon.name].config_file)
    try:
        root = keaconf.read(path, daemon.root_key, max_bytes=settings.check.max_config_bytes).root
    except ConfigError:
        return Target(daemon.name, unit.main_pid or None, None)
    account = for_kea(unit.user)
    return Target(
        daemon.name, unit.main_pid or None, wanted(daemon, root, unit.argv, unit.environment, account).control
    )


class _Properties:
    """The bus for the threads of a collection, one at a time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock = threading.Lock()

    def read(self, unit: str, _timeout: float) -> Mapping[str, Any]:
        with self._lock:
            return self._bus.properties(self._bus.load_unit(unit), PROPERTIES)
