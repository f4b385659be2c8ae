# SPDX-License-Identifier: MPL-2.0
"""Takes every broken thing through every check, through Kea alone and through the agent, on one suite after the other."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final, TypeVar

import guarded
import unguarded
from breaking import Bench
from broken import Broken
from broken_report import document
from broken_things import ALONE, PAIR
from labkit import Lab, LabError, LabSpec, Progress
from labkit.lab import CHECKOUT, newest_deb
from labkit.spec import SUITES, Suite
from unguarded import Unguarded, Verdicts

T = TypeVar("T")
RESULTS: Final = CHECKOUT / "build" / "broken"
DOCUMENT: Final = CHECKOUT / "docs" / "usage" / "broken-files.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the suites that are asked for; write the document when there is something of each."""
    words = _parser().parse_args(argv)
    for suite in [] if words.write_only else words.suite or SUITES:
        _keep(RESULTS / f"{suite}.json", _measure(suite, words))
    files = [RESULTS / f"{suite}.json" for suite in SUITES]
    if missing := [file.stem for file in files if not file.is_file()]:
        print(f"{DOCUMENT} not written: nothing was measured on {', '.join(missing)}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(document([json.loads(file.read_text()) for file in files]))
    print(f"{DOCUMENT} written", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="broken_table",
        description="Measures every broken thing on booted hosts and writes docs/usage/broken-files.md.",
    )
    parser.add_argument("--suite", action="append", choices=SUITES, help="default: all, 15 minutes each")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="things whose names hold this; the others stay as measured before",
    )
    parser.add_argument("--write-only", action="store_true", help="only write the document, from build/broken/*.json")
    parser.add_argument("--deb", type=Path, help="default: the newest in dist/")
    parser.add_argument("--name", default="broken", help="of the labs")
    return parser


def _keep(file: Path, measured: dict[str, Any]) -> None:
    """What was measured takes the place of what was measured before, thing by thing."""
    old = json.loads(file.read_text())["rows"] if file.is_file() else []
    found = {row["name"]: row for row in [*old, *measured["rows"]]}
    rows = [found[thing.name] for thing in (*ALONE, *PAIR) if thing.name in found]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**measured, "rows": rows}, indent=1) + "\n")


def _measure(suite: Suite, words: argparse.Namespace) -> dict[str, Any]:
    deb = words.deb or newest_deb()
    if deb is None:
        sys.exit("no package in dist/: make deb")
    tell, alone = Progress(), LabSpec(name=f"{words.name}-{suite}", suite=suite, deb=deb)
    rows: list[dict[str, Any]] = []
    version = ""
    for things, spec in ((ALONE, alone), (PAIR, replace(alone, nodes=2, ha="hot-standby"))):
        wanted = [thing for thing in things if not words.only or any(part in thing.name for part in words.only)]
        if wanted:
            with Lab.up(spec, tell) as lab:
                rows += _rows(Bench(lab), wanted, tell)
                version = lab.nodes[0].run(["/usr/sbin/kea-dhcp4", "-v"]).stdout.strip()
    if not rows:
        sys.exit(f"nothing was measured on {suite}")
    return {"suite": suite, "kea": version, "at": datetime.now(UTC).isoformat(timespec="minutes"), "rows": rows}


def _rows(bench: Bench, things: Sequence[Broken], tell: Progress) -> Iterator[dict[str, Any]]:
    """Everything without the agent first, then everything with it; what could not be measured is told and left out."""
    with unguarded.no_agent(bench):
        alone = {thing.name: _or_none(_alone, bench, thing) for thing in things}
    for thing in things:
        before, found = alone[thing.name], _or_none(guarded.look_at, bench, thing)
        if before is None or found is None:
            continue
        verdicts, without = before
        tell(f"{thing.name}: {without.words} without the agent, {found.words} with it")
        yield {
            "name": thing.name,
            "title": thing.title,
            "daemon": thing.daemon,
            "verdicts": asdict(verdicts),
            "without": asdict(without),
            "with": {**asdict(found), "words": found.words, "silence": found.silence},
        }


def _alone(bench: Bench, thing: Broken) -> tuple[Verdicts, Unguarded]:
    return unguarded.ask_checks(bench, thing), unguarded.have_it_read(bench, thing)


def _or_none(measure: Callable[[Bench, Broken], T], bench: Bench, thing: Broken) -> T | None:
    """One thing that cannot be measured must not cost the hour that the others took."""
    try:
        return measure(bench, thing)
    except (AssertionError, LabError, OSError, SubprocessError) as error:
        print(f"NOT MEASURED: {thing.name}: {error!r:.500}", file=sys.stderr, flush=True)
        return None
