# SPDX-License-Identifier: MPL-2.0
"""`kea-agent apply`: put a file in the place of a daemon's, if it is good and the server is proven to run it.

Anything else puts back what was there. With `--confirm` so does systemd, unless `kea-agent confirm` comes in time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kea_agent import keaconf, replacing, report, unconfirmed
from kea_agent.daemons import BY_NAME
from kea_agent.diff import Change
from kea_agent.diff.text import as_json
from kea_agent.errors import AgentError, ConfigError, ExitCode
from kea_agent.files import in_memory
from kea_agent.lint import Finding
from kea_agent.plain import printable
from kea_agent.replacing import Replaced
from kea_agent.settings import Settings
from kea_agent.verbs import changing, check
from kea_agent.verbs.changing import Result, Subject
from kea_agent.verbs.check import Asked, Look
from kea_agent.verbs.subjects import own_settings, owner


@dataclass(frozen=True)
class Done:
    """What came of it. `put_back`: how the pass with the old file ended, None where the new one stays."""

    replaced: Replaced
    result: Result
    put_back: Result | None = None


def main(arguments: argparse.Namespace) -> int:
    """0 when the server is proven to run the file; 1 when it is bad; else as the pass ended."""
    changing.need_root("apply a file")
    found = own_settings(arguments.settings)
    data = replacing.content(Path(arguments.file))
    if data is None:
        raise AgentError(f"{arguments.file}: no such file; nothing was changed")
    daemon = BY_NAME[arguments.daemon] if arguments.daemon else owner(arguments.file)
    with replacing.locked(daemon.name):
        return _apply(changing.subject(daemon, found), data, arguments, found)


def _apply(about: Subject, data: bytes, arguments: argparse.Namespace, found: Settings) -> int:
    changing.need_none_unconfirmed(about.name)
    look, changed = _looked_at(about, data, arguments, found)
    findings = look.findings
    if not arguments.json:
        sys.stdout.write(report.text(findings, color=False) if findings else "")
    if look.exit_code is ExitCode.BAD_CONFIG:
        return _refused(about, findings, arguments)
    if not arguments.json:
        print(f"{about.name}: from {printable(str(about.path))} to {arguments.file}:")
        changing.print_differences(changed)
        sys.stdout.flush()
    done = _replace(about, data, arguments)
    _tell(about, done, findings, changed, arguments)
    return done.result.exit_code


def _looked_at(
    about: Subject, data: bytes, arguments: argparse.Namespace, found: Settings
) -> tuple[Look, list[Change] | ConfigError]:
    """What every check says of these very bytes, and what they change."""
    with in_memory(data) as copy:
        changed = _changes(about, copy)
        before = None if isinstance(changed, ConfigError) else str(about.path)
        level = "kea" if found.check.rehearsal == "off" else "rehearsal"
        look = check.look(about.daemon, copy, about.unit, Asked(level, found.check, previous=before))
        return replace(look, findings=tuple(_renamed(each, copy, arguments.file) for each in look.findings)), changed


def _changes(about: Subject, copy: str) -> list[Change] | ConfigError:
    """The error is that of either side; a wrong copy is a finding, too."""
    try:
        return changing.differences(about, keaconf.read(copy, about.daemon.root_key).root)
    except ConfigError as error:
        return error


def _renamed(finding: Finding, copy: str, name: str) -> Finding:
    words = {key: getattr(finding, key).replace(copy, name) for key in ("place", "file", "message")}
    return replace(finding, **words)


def _refused(about: Subject, findings: Sequence[Finding], arguments: argparse.Namespace) -> int:
    words = f"{arguments.file} does not pass; nothing was changed"
    if arguments.json:
        print(json.dumps(_about(about, findings) | Result(None, words).as_json(), indent=1))
    else:
        print(f"{about.name}: {words}")
    return ExitCode.BAD_CONFIG


def _replace(about: Subject, data: bytes, arguments: argparse.Namespace) -> Done:
    """Write it and have it taken in; the timer is there before."""
    replaced = replacing.keep(about.name, about.path)
    if arguments.confirm:
        unconfirmed.start(about.name, replaced, arguments.confirm)
    try:
        replacing.write(about.path, data)
    except AgentError:
        if arguments.confirm:
            unconfirmed.end(about.name)
        raise
    result = changing.ask_for_pass(about, force=arguments.force)
    return Done(replaced, result) if result.is_good else _put_back(about, replaced, result, arguments)


def _put_back(about: Subject, replaced: Replaced, result: Result, arguments: argparse.Namespace) -> Done:
    """The old file, and how the server is with it; where that cannot be, a timer that was set will try again."""
    try:
        replaced.put_back()
    except AgentError as error:
        raise AgentError(f"{about.name}: {result}; and then: {error}") from error
    if arguments.confirm:
        unconfirmed.end(about.name)
    return Done(replaced, result, changing.ask_for_pass(about))


def _tell(
    about: Subject,
    done: Done,
    findings: Sequence[Finding],
    changed: list[Change] | ConfigError,
    arguments: argparse.Namespace,
) -> None:
    if arguments.json:
        print(json.dumps(_as_json(about, done, findings, changed), indent=1))
        return
    print(f"{about.name}: {done.result}")
    if done.put_back:
        print(f"{printable(str(about.path))} holds again what it held before; {about.name}: {done.put_back}")
        return
    if done.replaced.kept:
        print(printable(f"what {about.path} held is in {done.replaced.kept}"))
    if waiting := unconfirmed.find(about.name):
        print(f"{waiting}, then it is taken back")


def _as_json(
    about: Subject, done: Done, findings: Sequence[Finding], changed: list[Change] | ConfigError
) -> dict[str, Any]:
    waiting = unconfirmed.find(about.name)
    return {
        **_about(about, findings),
        "changes": None if isinstance(changed, ConfigError) else as_json(changed),
        "replaced": str(done.replaced.kept) if done.replaced.kept else None,
        **done.result.as_json(),
        "put_back": done.put_back.as_json() if done.put_back else None,
        "seconds_to_confirm": round(waiting.seconds_left or 0, 1) if waiting else None,
    }


def _about(about: Subject, findings: Sequence[Finding]) -> dict[str, Any]:
    return {"daemon": about.name, "file": str(about.path), "findings": json.loads(report.FORMS["json"](findings))}
