# SPDX-License-Identifier: MPL-2.0
"""`kea-agent status`: what the agent last said, beside what systemd says now."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from kea_agent import status, units
from kea_agent.daemons import DAEMONS
from kea_agent.errors import BusError, ExitCode
from kea_agent.outcome import Outcome

STATUS_FILE = Path("/run/kea-agent/status.json")


def main(arguments: argparse.Namespace) -> int:
    """Print it; exits with the worst that any installed daemon deserves, 3 when there is no agent."""
    document = status.read(STATUS_FILE)
    live = _live()
    if arguments.json:
        print(json.dumps((document or {}) | {"live": live}, indent=1))
    else:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        sys.stdout.write(status.text(document, live, color=color, now=time.time()))
    return worst(document)


def worst(document: status.Document | None) -> ExitCode:
    """The exit code for a status document."""
    if document is None:
        return ExitCode.NOT_DONE
    looked_at = [daemon for daemon in document["daemons"].values() if daemon["unit"] and daemon["last"]]
    return max((_deserved(daemon) for daemon in looked_at), default=ExitCode.OK)


def _deserved(daemon: dict[str, Any]) -> ExitCode:
    """A server on its fallback wants a person, whatever became of the file since."""
    return ExitCode.BROKEN if daemon.get("on_fallback") else Outcome(daemon["last"]["outcome"]).exit_code


def _live() -> dict[str, dict[str, object]]:
    try:
        from kea_agent.bus import Bus  # noqa: PLC0415 - without D-Bus the agent's word stands alone

        bus = Bus()
        found = {daemon.name: units.discover(bus, daemon) for daemon in DAEMONS}
        bus.close()
    except BusError:
        return {}
    return {name: _words(unit) for name, unit in found.items() if unit}


def _words(unit: units.Unit) -> dict[str, object]:
    return {
        "unit": unit.name,
        "active_state": unit.active_state if unit.load_state == "loaded" else unit.load_state,
        "sub_state": unit.sub_state,
        "main_pid": unit.main_pid,
    }
