# SPDX-License-Identifier: MPL-2.0
"""`kea-agent status`: what the agent last said, beside what systemd says now."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kea_agent import status, units
from kea_agent.daemons import BY_NAME, DAEMONS
from kea_agent.down import Down, down, explain
from kea_agent.errors import BusError, ExitCode, SettingsError
from kea_agent.outcome import Outcome
from kea_agent.plain import printable_lines
from kea_agent.settings import Settings
from kea_agent.verbs.subjects import SETTINGS, own_settings

STATUS_FILE = Path("/run/kea-agent/status.json")

# What a daemon deserves for the way in which its unit is down; one that nobody wants to run deserves nothing for it.
_FOR_DOWN: Mapping[Down | None, ExitCode] = {
    Down.STOPPED: ExitCode.NOT_DONE,
    Down.CALLED_OFF: ExitCode.NOT_DONE,
    Down.STARTING: ExitCode.NOT_DONE,
    Down.STOPPING: ExitCode.NOT_DONE,
    Down.RETRYING: ExitCode.NOT_DONE,
    Down.UNUSABLE: ExitCode.NOT_DONE,
    Down.FAILED: ExitCode.BROKEN,
}
_UNWANTED = (Down.DISABLED, Down.MASKED)


def main(arguments: argparse.Namespace) -> int:
    """Print it; exits with the worst that any installed daemon deserves, 3 when there is no agent."""
    document = status.read(STATUS_FILE)
    live = _live(_configured())
    words = {name: _words(unit) for name, unit in live.items()}
    if arguments.json:
        print(json.dumps((document or {}) | {"live": words}, indent=1))
    else:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        sys.stdout.write(status.text(document, words, color=color, now=time.time()))
    return worst(document, live) if document and status.is_running(document) else ExitCode.NOT_DONE


def worst(document: status.Document, live: Mapping[str, units.Unit]) -> ExitCode:
    """The exit code for a status document, and the units as they are now: empty where systemd cannot be asked."""
    installed = {name: daemon for name, daemon in document.get("daemons", {}).items() if daemon.get("unit")}
    return max((_deserved(daemon, live.get(name)) for name, daemon in installed.items()), default=ExitCode.OK)


def _deserved(daemon: Mapping[str, Any], unit: units.Unit | None) -> ExitCode:
    if daemon.get("on_fallback"):  # wants a person, whatever became of the file since
        return ExitCode.BROKEN
    how = down(unit) if unit else None
    last = daemon.get("last")
    try:
        outcome = Outcome(last["outcome"]) if last else Outcome.UNCHANGED
    except (KeyError, ValueError):  # of an agent that this one does not know, or of nobody
        return ExitCode.NOT_DONE
    if outcome is Outcome.DEFERRED and how in _UNWANTED:
        return ExitCode.OK
    return max(outcome.exit_code, _FOR_DOWN.get(how, ExitCode.OK))


def _configured() -> Mapping[str, str | None]:
    """The units' names that the settings give: they are root's, and what the agent wrote down is not."""
    try:
        found = own_settings(SETTINGS)
    except SettingsError as error:
        print(
            f"kea-agent: the settings are not used, so units have the names of Kea's packages here: {printable_lines(str(error))}",
            file=sys.stderr,
        )
        found = Settings()
    return {name: found.daemon[name].unit for name in BY_NAME}


def _live(configured: Mapping[str, str | None]) -> dict[str, units.Unit]:
    """The units by daemon; empty where systemd cannot be asked."""
    try:
        from kea_agent.bus import Bus  # noqa: PLC0415 - without D-Bus the agent's word stands alone

        bus = Bus()
        found = {daemon.name: units.discover(bus, daemon, configured.get(daemon.name)) for daemon in DAEMONS}
        bus.close()
    except BusError:
        return {}
    return {name: unit for name, unit in found.items() if unit}


def _words(unit: units.Unit) -> dict[str, object]:
    return {
        "unit": unit.name,
        "active_state": unit.active_state if unit.load_state == "loaded" else unit.load_state,
        "sub_state": unit.sub_state,
        "main_pid": unit.main_pid,
        "down": explain(unit) or None,
    }
