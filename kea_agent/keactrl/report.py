# SPDX-License-Identifier: MPL-2.0
"""`keactrl status`: the script's lines, or everything that is known as JSON."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from typing import Any

from kea_agent.keactrl import say
from kea_agent.keactrl.servers import Server
from kea_agent.keactrl.sources import Source
from kea_agent.keactrl.systemd import AgentView

_NO_CONF = "none, systemd's units are used"
_GREEN, _RED, _PLAIN = "\033[92m", "\033[91m", "\033[0m"
# What a person should know of a server whose process is alive.
_TELLING = ("rejected", "failed", "recovered", "broken")


def as_text(servers: tuple[Server, ...], source: Source, view: AgentView) -> bool:
    """Print it; False where a configuration file is missing. What only the agent knows goes to stderr."""
    running = [server for server in servers if _is_active(server, source)]
    for server in servers:
        say.line(f"{server.file_title} configuration file: {source.shown(source.config_file(server))}")
    say.line(f"keactrl configuration file: {source.conf_path or _NO_CONF}")
    _tell(running, view)
    return all(_is_there(source.config_file(server), source) for server in servers if source.is_installed(server))


def as_json(servers: tuple[Server, ...], source: Source, view: AgentView, version: str) -> bool:
    """The same and more for programs: PIDs, PID files, and what the agent has written down."""
    import json  # noqa: PLC0415 - the text does without

    found = {server.name: _facts(server, source, view) for server in servers}
    agent = {key: value for key, value in view.document.items() if key != "daemons"}
    document = {"version": version, "keactrl_config_file": source.conf_path, "servers": found, "agent": agent or None}
    say.line(json.dumps(document, indent=1))
    return all(_can_be_there(facts["config_file"]) for facts in found.values() if facts["installed"])


def _facts(server: Server, source: Source, view: AgentView) -> dict[str, Any]:
    pid = _pid(server, source)
    return {
        "active": pid > 0,
        "pid": pid or None,
        "pid_file": source.pid_file(server),
        "config_file": source.config_file(server),
        "installed": source.is_installed(server),
        "agent": view.of(server) or None,
    }


def _is_active(server: Server, source: Source) -> bool:
    """Say it at once, as the script does: a variable that the next server lacks ends the command there."""
    pid = _pid(server, source)
    word, color = ("active", _GREEN) if pid else ("inactive", _RED)
    say.line(f"{server.title}: {color}{word}{_PLAIN}" if sys.stdout.isatty() else f"{server.title}: {word}")
    return pid > 0


def _pid(server: Server, source: Source) -> int:
    try:
        return source.pid(server)
    except PermissionError:
        say.aside(f"cannot read {source.pid_file(server)}: permission denied; ask as root whether {server.binary} runs")
        return 0


def _tell(servers: Sequence[Server], view: AgentView) -> None:
    for server in servers if view.mentions(_TELLING) else ():
        last = view.of(server).get("last")
        if isinstance(last, dict) and last.get("outcome") in _TELLING:
            say.aside(f"{server.binary}: {last['outcome']}: {last.get('reason', '')}")


def _is_there(path: str, source: Source) -> bool:
    """The script looks for the first one that is missing and says no more."""
    if not path:
        say.error("Configuration file for Kea not specified.")
    elif not _can_be_there(path):
        say.error(f"Configuration file for Kea does not exist: {source.shown(path)}.")
    else:
        return True
    return False


def _can_be_there(path: str) -> bool:
    """Whether it is a file; where this user may not look, it is not known and so not denied."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False
