# SPDX-License-Identifier: MPL-2.0
"""`kea-agent metrics`: one scrape, from the running agent or, where there is none, collected here."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kea_agent import local, settings
from kea_agent.errors import AgentError, ExitCode, NoAgentError
from kea_agent.files import write_atomically
from kea_agent.plain import printable_lines

_TIMEOUT = 90.0  # above the longest that a scrape may be told to take
_MODE = 0o644  # node_exporter reads it as a user of its own


def main(arguments: argparse.Namespace) -> int:
    """Print the scrape, or replace a file with it as a whole."""
    page = _page(arguments.settings)
    if arguments.output is None:
        sys.stdout.write(printable_lines(page) if sys.stdout.isatty() else page)
        return ExitCode.OK
    try:
        write_atomically(arguments.output, page, _MODE)
    except OSError as error:
        raise AgentError(f"{arguments.output}: cannot be written: {error.strerror}; what is there stays") from error
    return ExitCode.OK


def _page(directory: Path) -> str:
    # Its own socket and not the listener, which may want a certificate and a password.
    try:
        page = local.ask({"verb": "metrics"}, timeout=_TIMEOUT).get("metrics")
    except NoAgentError:
        return _collect(settings.load(directory))
    if not isinstance(page, str):
        raise AgentError(f"{local.SOCKET}: the agent's answer has no metrics in it; kea-agent status tells how it is")
    return page


def _collect(wanted: settings.Settings) -> str:
    if os.geteuid() != 0:
        # Kea's sockets would be closed, which must not look as if Kea did not answer.
        raise AgentError("there is no running agent, and only root may ask Kea itself; try sudo")
    from kea_agent.bus import Bus  # noqa: PLC0415 - not needed while there is an agent
    from kea_agent.metrics import alone  # noqa: PLC0415

    bus = Bus()
    try:
        return alone.scrape(wanted, bus).decode()
    finally:
        bus.close()
