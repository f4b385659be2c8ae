# SPDX-License-Identifier: MPL-2.0
"""`kea-agent check`: judge configurations without touching a daemon, and without an agent."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from kea_agent import check, keaconf, units
from kea_agent.bus import Bus
from kea_agent.daemons import BY_NAME, DAEMONS, Daemon
from kea_agent.errors import AgentError, BusError, ConfigError, ExitCode

Finding = dict[str, object]


def main(arguments: argparse.Namespace) -> int:
    """Print `file:line:column: message` for each problem; 1 if there is any, 3 if something could not be checked."""
    findings = [
        finding for daemon, path in _subjects(arguments.what) for finding in _judge(daemon, path, arguments.level)
    ]
    if arguments.json:
        print(json.dumps(findings, indent=1))
    else:
        for finding in findings:
            print(f"{finding['place']}: {finding['severity']}: {finding['message']}")
    severities = {finding["severity"] for finding in findings}
    return (
        ExitCode.BAD_CONFIG if "error" in severities else ExitCode.NOT_DONE if "unknown" in severities else ExitCode.OK
    )


def _subjects(words: list[str]) -> Iterator[tuple[Daemon, str]]:
    for word in words or [daemon.name for daemon in DAEMONS if Path(daemon.config_path).exists()]:
        yield (BY_NAME[word], _config_file(BY_NAME[word])) if word in BY_NAME else (_owner(word), word)


def _config_file(daemon: Daemon) -> str:
    unit = _unit(daemon)
    return (unit and unit.config_file) or daemon.config_path


def _owner(path: str) -> Daemon:
    """Whose file it is, by its top-level key."""
    for daemon in DAEMONS:
        try:
            keaconf.read(path, daemon.root_key)
        except ConfigError:
            continue
        return daemon
    for daemon in DAEMONS:
        if daemon.binary in Path(path).name:
            return daemon
    raise AgentError(f"{path}: cannot tell which daemon it is for; its top-level key should say")


def _judge(daemon: Daemon, path: str, level: str) -> Iterator[Finding]:
    try:
        document = keaconf.read(path, daemon.root_key)
    except ConfigError as error:
        yield _finding("error", error.place, error.message, "syntax")
        return
    for warning in document.warnings:
        place, _, message = warning.partition(": ")
        yield _finding("warning", place, message, "syntax")
    if level == "kea":
        yield from _judge_with_kea(daemon, path)


def _judge_with_kea(daemon: Daemon, path: str) -> Iterator[Finding]:
    unit = _unit(daemon)
    argv = (unit and unit.argv) or (f"/usr/sbin/{daemon.binary}",)
    verdict = check.with_kea(argv, unit.environment if unit else {}, path, check.Limits())
    for warning in verdict.warnings:
        yield _finding("warning", path, warning, "kea")
    if verdict.could_not:
        yield _finding("unknown", path, verdict.could_not, "kea")
    if verdict.problem:
        yield _finding("error", verdict.problem.place, verdict.problem.message, "kea")


def _unit(daemon: Daemon) -> units.Unit | None:
    try:
        bus = Bus()
        unit = units.discover(bus, daemon)
        bus.close()
    except BusError:
        return None
    return unit


def _finding(severity: str, place: str, message: str, level: str) -> Finding:
    return {"severity": severity, "place": place, "message": message, "level": level}
