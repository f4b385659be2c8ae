# SPDX-License-Identifier: MPL-2.0
"""What the checks say of a broken thing, and what a Kea comes to that reads it without the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from breaking import HAVE_CLIENTS, Bench
from broken import Broken
from labkit import DAEMONS
from load import Report
from standing import BINARIES, Standing, look, settled

_CHECK_SECONDS: Final = 5
_REHEARSAL_SECONDS: Final = 120.0
# A server that reads a configuration for longer is one that hangs.
_READ_SECONDS: Final = 30.0
# What cannot be read is not rehearsed.
_REHEARSE: Final = """
import json, sys
from kea_agent import errors, keaconf, rehearsal
from kea_agent.daemons import BY_NAME
daemon = BY_NAME[sys.argv[1]]
try:
    found = rehearsal.rehearse(daemon, keaconf.read(sys.argv[2], daemon.root_key), timeout=60)
    said = [found.standing, found.reason]
except errors.ConfigError as error:
    said = ["-", str(error)]
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Verdicts:
    """What Kea's -t and -T, the rules and the rehearsal say: ok, refused, hangs, or - where there is no such check."""

    syntax: str
    extended: str
    rules: str
    rehearsal: str


@dataclass(frozen=True)
class Unguarded:
    """What a Kea came to; `active` is systemd's word for its unit.

    `clients`: those that came from the signal until nothing changed any more, None where there are none. `start`: what
    the next start of the unit comes to, empty where the story began with one or its cause has passed.
    """

    words: str
    active: str
    clients: Report | None
    start: str


@contextmanager
def no_agent(bench: Bench) -> Iterator[None]:
    """The host as if the package were not there: neither the agent nor what it adds to Kea's units."""
    node = bench.node
    directories = [f"/etc/systemd/system/{node.unit(daemon)}.d" for daemon in DAEMONS]
    masks = [f"{directory}/10-kea-agent.conf" for directory in directories]
    node.systemctl("disable", "--quiet", "--now", "kea-agent")
    node.run(["mkdir", "-p", *directories])
    for mask in masks:
        node.run(["ln", "-s", "/dev/null", mask])
    node.systemctl("daemon-reload")
    try:
        yield
    finally:
        node.run(["rm", "-f", *masks])
        node.systemctl("daemon-reload")
        node.systemctl("enable", "--quiet", "--now", "kea-agent")


def ask_checks(bench: Bench, thing: Broken) -> Verdicts:
    """What the checks say of the broken thing, as it lies there."""
    with bench.prepared(thing):
        bench.break_host(thing)
        bench.save(thing)
        syntax, extended = (kea_check(bench, thing, flag) for flag in ("-t", "-T"))
        verdicts = Verdicts(syntax, extended, rules_check(bench, thing), rehearse(bench, thing))
    if not look(bench.node, thing.daemon).serves:
        bench.start_anew(thing.daemon)
    return verdicts


def have_it_read(bench: Bench, thing: Broken) -> Unguarded:
    """What Kea comes to that reads it, and comes to when it is started with it; it is sound again afterwards."""
    try:
        with bench.prepared(thing) as edit:
            with bench.clients(thing.daemon) as clients:
                standing = _read(bench, thing)
            words = standing.words(edit=edit, wants_ha=thing.needs_pair)
            start = "" if thing.passes or thing.moment != "reload" else _start(bench, thing, edit)
        return Unguarded(words, standing.unit, clients.report if clients else None, start)
    finally:
        bench.start_anew(thing.daemon)


def _read(bench: Bench, thing: Broken) -> Standing:
    bench.break_host(thing)
    bench.save(thing)
    bench.have_it_read(thing)
    standing = settled(bench.node, thing.daemon, seconds=_READ_SECONDS)
    if thing.passes:
        bench.mend(thing)
        standing = settled(bench.node, thing.daemon, seconds=_READ_SECONDS)
    return standing


def _start(bench: Bench, thing: Broken, edit: int) -> str:
    bench.end(thing.daemon)
    bench.node.systemctl("start", bench.node.unit(thing.daemon), check=False)
    standing = settled(bench.node, thing.daemon, seconds=_READ_SECONDS)
    return standing.words(edit=edit, wants_ha=thing.needs_pair)


def kea_check(bench: Bench, thing: Broken, flag: str) -> str:
    """Kea's own `-t` or `-T`, as Kea's user."""
    # Kea 2.2.0 has no -T, the DDNS daemon and the Control Agent of no version have.
    if flag == "-T" and (bench.lab.spec.suite == "bookworm" or thing.daemon not in HAVE_CLIENTS):
        return "-"
    command = ["env", "KEA_LOCKFILE_DIR=none", f"/usr/sbin/{BINARIES[thing.daemon]}", flag, thing.path]
    bounded = ["timeout", str(_CHECK_SECONDS), "runuser", "-u", "_kea", "--", *command]
    code = bench.node.run(bounded, check=False).returncode
    return {0: "ok", 124: "hangs"}.get(code, "refused")


def rules_check(bench: Bench, thing: Broken) -> str:
    """What our reader and the rules say, with the unit's environment as the agent asks them."""
    words = ["kea-agent", "check", "--level", "kea", "--json", thing.daemon]
    done = bench.node.run(["runuser", "-u", "_kea", "--", *words], check=False)
    for finding in json.loads(done.stdout):
        if finding["severity"] == "error" and finding["level"] != "kea":
            return f"refused: {finding['rule'] or finding['level']}"
    return "ok"


def rehearse(bench: Bench, thing: Broken) -> str:
    """What the rehearsal says by itself, whatever the other checks said before it."""
    command = ["runuser", "-u", "_kea", "--", "python3", "-c", _REHEARSE, thing.daemon, thing.path]
    done = bench.node.run(command, timeout=_REHEARSAL_SECONDS)
    standing, reason = json.loads(done.stdout)
    print(f"{thing.name}: {standing}: {reason}")
    return str(standing)
