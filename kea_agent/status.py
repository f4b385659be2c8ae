# SPDX-License-Identifier: MPL-2.0
"""/run/kea-agent/status.json: its machine form, how it is written and read, and what `kea-agent status` makes of it."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from kea_agent import proc
from kea_agent.errors import AgentError
from kea_agent.files import write_atomically
from kea_agent.outcome import DaemonStatus, Outcome, Pass
from kea_agent.phrases import GOOD, MEANING, ON_FALLBACK, ago, is_down, iso
from kea_agent.plain import is_plain, is_time, printable
from kea_agent.reading import read_regular

Document = dict[str, Any]
Live = Mapping[str, Mapping[str, object]]

WIDTH = 80
# Hundreds of times what four daemons with a rule's warning on every subnet take.
_MOST_BYTES = 1 << 24
_HOW_TO_GO_ON = "the servers are not affected; systemctl restart kea-agent writes it anew"
# The agent writes at least at every poll (60 s by default); several of them missed are worth a word.
STALE_SECONDS = 300.0
# /proc counts in hundredths of a second from a boot time of whole seconds.
START_SLACK_SECONDS = 2.0

_MEND = frozenset({Outcome.REJECTED, Outcome.FAILED, Outcome.RECOVERED})
_RED, _YELLOW, _GREEN, _BOLD = "31", "33", "32", "1"


def to_json(
    statuses: Iterable[DaemonStatus],
    *,
    version: str,
    pid: int,
    started_at: float,
    generated_at: float,
    pid_ticks: int | None = None,
) -> Document:
    """The stable machine form; keys are added, never renamed or removed.

    version        the agent's
    pid            the agent's main process
    pid_ticks      when that process was started, in clock ticks since boot (proc.started_ticks), where that is known
    started_at     when the agent started
    generated_at   when this document was made
    daemons        by name (dhcp4, dhcp6, ddns, ctrl-agent), each with every field of `DaemonStatus` but its name:
        unit, unit_state, main_pid, config_file, included_files (a list), config_valid, config_in_sync,
        reload_successful, reloaded_at, running_hash, retry_at, warnings (a list of sentences), on_fallback (the
        fallback unit serves in the unit's place), last_good_at (when the last known good was proven), and
        last       the last pass: outcome, reason, at, seconds (by stage), rehearsal (`passed`, `refused`,
                   `not rehearsed: why`, null where none was wanted), steps (what was done to bring the server back:
                   step, worked), changes (what was applied, a line each); null before the first

    Times are Unix seconds, and each has beside it, under its name with `_iso`, the same as ISO 8601 in UTC. null is
    "not known". There are no secrets in it: the file may be read by everyone.
    """
    who = {"version": version, "pid": pid} | ({} if pid_ticks is None else {"pid_ticks": pid_ticks})
    head = {**who, **_time("started_at", started_at), **_time("generated_at", generated_at)}
    return {**head, "daemons": {status.daemon: _daemon(status) for status in statuses}}


def _daemon(status: DaemonStatus) -> Document:
    return {
        "unit": status.unit,
        "unit_state": status.unit_state,
        "main_pid": status.main_pid,
        "config_file": status.config_file,
        "included_files": list(status.included_files),
        "config_valid": status.config_valid,
        "config_in_sync": status.config_in_sync,
        "reload_successful": status.reload_successful,
        **_time("reloaded_at", status.reloaded_at),
        "running_hash": status.running_hash,
        "last": None if status.last is None else _pass(status.last),
        **_time("retry_at", status.retry_at),
        "warnings": list(status.warnings),
        "on_fallback": status.on_fallback,
        **_time("last_good_at", status.last_good_at),
    }


def _pass(done: Pass) -> Document:
    seconds = {stage.value: spent for stage, spent in done.seconds.items()}
    return {
        "outcome": done.outcome.value,
        "reason": done.reason,
        **_time("at", done.at),
        "seconds": seconds,
        "rehearsal": done.rehearsal,
        "steps": [{"step": step.value, "worked": worked} for step, worked in done.steps],
        "changes": list(done.changes),
    }


def _time(name: str, value: float | None) -> Document:
    return {name: value, f"{name}_iso": None if value is None else iso(value)}


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Put the document at `path` (0644) in one step: who reads sees the old one or the new one, whole.

    No fsync: /run does not outlive the machine. AgentError if it cannot be done; the old one then still stands.
    """
    try:
        write_atomically(path, json.dumps(document, indent=1, allow_nan=False) + "\n", 0o644)
    except OSError as error:
        raise AgentError(f"write {str(path)!r}: {error.strerror}; the status in it is the one before") from error


def read(path: Path) -> Document | None:
    """The document at `path`, None if there is none: the agent removes it when it stops. AgentError if it is damaged."""
    try:
        document = json.loads(read_regular(path, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AgentError(f"read {str(path)!r}: {error.strerror}; {_HOW_TO_GO_ON}") from error
    except (ValueError, RecursionError) as error:
        raise AgentError(f"read {str(path)!r}: not a status of kea-agent: {error}; {_HOW_TO_GO_ON}") from error
    if why := _why_no_status(document):
        raise AgentError(f"read {str(path)!r}: not a status of kea-agent: {why}; {_HOW_TO_GO_ON}")
    return dict(document)


def _why_no_status(document: object) -> str:
    """What keeps a tree from being read as a status: the shape; each value is looked at where it is used."""
    if not isinstance(document, dict):
        return "no object"
    if not is_plain(document):
        return "numbers that are none, or nested too deeply"
    daemons = document.get("daemons", {})
    if not isinstance(daemons, dict) or not all(isinstance(daemon, dict) for daemon in daemons.values()):
        return "daemons is no object of objects"
    if not all(isinstance(daemon.get("last"), (dict, NoneType)) for daemon in daemons.values()):
        return "the last pass of a daemon is no object"
    return ""


def process_start(pid: int, root: Path = Path("/proc")) -> float | None:
    """When a process was started (Unix time), 0.0 if this user may not see that, None if there is no such process."""
    try:
        os.kill(pid, 0)
        after_name = (root / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in (root / "stat").read_text().splitlines() if line.startswith("btime "))
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:  # somebody else's (EPERM), perhaps hidden by hidepid=
        return 0.0
    return None if after_name[0] in "ZX" else int(boot.split()[1]) + int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def text(
    document: Mapping[str, Any] | None,
    live: Live,
    *,
    color: bool,
    now: float,
    start_of: Callable[[int], float | None] = process_start,
) -> str:
    """What `kea-agent status` prints: a line on the agent and a block a daemon, 80 columns wide.

    `document` is what `read` returned. `live` is what systemd says right now, by daemon: unit, active_state,
    sub_state, main_pid, down (why it does not run); it wins over what the agent saw and may be empty. `now` is Unix time.
    """
    document = document or {}
    known = _mapping(document.get("daemons"))
    paint = _Paint(color)
    is_there = is_running(document, start_of)
    blocks = [_agent_line(document, now, is_there, paint)]
    for name in dict.fromkeys((*known, *live)):
        daemon = _mapping(known.get(name))
        upcoming = _next(daemon, now) if is_there else ""
        blocks.append("\n".join(_block(name, daemon, live.get(name, {}), upcoming, now, paint)))
    return "\n\n".join(blocks) + "\n"


class _Paint:
    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, words: str, code: str) -> str:
        return f"\x1b[{code}m{words}\x1b[0m" if self.color else words


def is_running(document: Mapping[str, Any], start_of: Callable[[int], float | None] = process_start) -> bool:
    """Whether the agent that wrote it lives."""
    pid, written = document.get("pid"), _number(document.get("generated_at"))
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0 or written is None:
        return False
    started, ticks = start_of(pid), document.get("pid_ticks")
    if started is None:
        return False
    if ticks is not None and (found := proc.started_ticks(pid)) is not None:
        return bool(found == ticks)
    # Of an older agent, or one that this user may not look at. Later than what it wrote: another process has its number.
    return started <= written + START_SLACK_SECONDS


def _agent_line(document: Mapping[str, Any], now: float, is_there: bool, paint: _Paint) -> str:
    pid, written, since = (
        document.get("pid"),
        _number(document.get("generated_at")),
        _number(document.get("started_at")),
    )
    if written is None:
        return paint("kea-agent is not running and left no status: systemctl start kea-agent", _RED)
    if not is_there:
        return paint(
            f"kea-agent is not running (it was pid {_clean(pid)}). This is what it knew {ago(written, now)}:", _RED
        )
    line = f"kea-agent {_clean(document.get('version'))} is running, pid {_clean(pid)}"
    if since is not None:
        line += f", started {ago(since, now)}"
    if now - written > STALE_SECONDS:
        line += "\n" + paint(f"It last reported {ago(written, now)}: what follows is from then.", _YELLOW)
    return line


def _block(
    name: str, daemon: Mapping[str, Any], live: Mapping[str, object], upcoming: str, now: float, paint: _Paint
) -> Iterator[str]:
    last = _mapping(daemon.get("last"))
    outcome = _clean(last.get("outcome"))
    down = _down(daemon, live)
    if not (live or daemon.get("unit") or daemon.get("retry_at")) and last:  # not installed: the reason says so
        yield f"{paint(_clean(name), _BOLD)}: {_clean(last.get('reason'))}"
        return
    yield f"{paint(_clean(name), _BOLD)}: {_standing(daemon, down, paint)}{_headline(outcome, last, now, paint)}"
    rows = (
        ("server", _server(daemon, outcome, down)),
        ("unit", _unit(daemon, live)),
        ("file", _file(daemon, is_served=not down or daemon.get("on_fallback") is True)),
        ("reason", _clean(last.get("reason"))),
        ("rules", _rules(name, daemon)),
        ("rehearsal", _clean(last.get("rehearsal"))),
        ("changes", _changes(last)),
        ("reload", _reload(daemon, now)),
        ("last good", _last_good(daemon, now)),
        ("next", upcoming),
    )
    for label, value in rows:
        if value:
            lines = _wrapped(label, value)
            is_bad = bool(down) or outcome == Outcome.BROKEN or daemon.get("on_fallback") is True
            yield paint(lines, _RED) if label == "server" and is_bad else lines


def _down(daemon: Mapping[str, Any], live: Mapping[str, object]) -> str:
    """That the unit runs nothing, with the reason where systemd tells it; empty for one that runs."""
    if live:
        return f"does not run: {_clean(live['down'])}" if live.get("down") else ""
    return "does not run" if is_down(daemon.get("unit_state"), daemon.get("main_pid")) else ""


def _server(daemon: Mapping[str, Any], outcome: str, down: str) -> str:
    if daemon.get("on_fallback") is True:
        return ON_FALLBACK
    return down or MEANING.get(outcome, "")


def _wrapped(label: str, value: str) -> str:
    indent = " " * 13
    return textwrap.fill(
        value, WIDTH, initial_indent=f"  {label:<11}", subsequent_indent=indent, break_on_hyphens=False
    )


def _standing(daemon: Mapping[str, Any], down: str, paint: _Paint) -> str:
    """What matters more than how the last pass ended: that somebody else serves, or nobody."""
    words = "on its fallback" if daemon.get("on_fallback") is True else down.partition(":")[0]
    return f"{paint(words, _RED)}; " if words else ""


def _headline(outcome: str, last: Mapping[str, Any], now: float, paint: _Paint) -> str:
    if not outcome:
        return "nothing known yet"
    code = _RED if outcome == Outcome.BROKEN else _GREEN if outcome in GOOD else _YELLOW
    at = _number(last.get("at"))
    return paint(outcome, code) + (f" {ago(at, now)}" if at is not None else "")


def _unit(daemon: Mapping[str, Any], live: Mapping[str, object]) -> str:
    unit = _clean(live.get("unit") or daemon.get("unit"))
    if not unit:
        return "none found on this host"
    state, sub, pid = (live.get(key) for key in ("active_state", "sub_state", "main_pid"))
    if not live:
        state, pid = daemon.get("unit_state"), daemon.get("main_pid")
    state_text = f"{_clean(state) or 'state not known'}{f' ({_clean(sub)})' if sub else ''}"
    return f"{unit}: {state_text}{f', pid {_clean(pid)}' if pid else ''}"


def _file(daemon: Mapping[str, Any], *, is_served: bool) -> str:
    path = _clean(daemon.get("config_file"))
    if not path:
        return ""
    included = daemon.get("included_files")
    files = f"{path} (+{len(included)} included)" if isinstance(included, list) and included else path
    valid = _claim(daemon.get("config_valid"), "valid", "not valid", "not checked yet")
    in_sync = daemon.get("config_in_sync") if is_served else None
    sync = _claim(in_sync, ", what the server runs", ", not what the server runs", "")
    return f"{files}: {valid}{sync}"


def _rules(name: str, daemon: Mapping[str, Any]) -> str:
    warnings = daemon.get("warnings")
    count = len(warnings) if isinstance(warnings, list) else 0
    return f"{count} warning{'s' if count > 1 else ''}: kea-agent check {_clean(name)}" if count else ""


def _reload(daemon: Mapping[str, Any], now: float) -> str:
    at = _number(daemon.get("reloaded_at"))
    good = f"last good one {ago(at, now)}" if at is not None else "no good one yet"
    return _claim(daemon.get("reload_successful"), good, f"the last one failed, {good}", "")


def _changes(last: Mapping[str, Any]) -> str:
    """How many, and the first: `kea-agent history` has all of them."""
    changes = last.get("changes")
    if not isinstance(changes, list) or not changes:
        return ""
    more = f" (+{len(changes) - 1} more)" if len(changes) > 1 else ""
    return f"{_clean(changes[0])}{more}"


def _last_good(daemon: Mapping[str, Any], now: float) -> str:
    at = _number(daemon.get("last_good_at"))
    return f"proven {ago(at, now)}" if at is not None else ""


def _next(daemon: Mapping[str, Any], now: float) -> str:
    retry, outcome = _number(daemon.get("retry_at")), _clean(_mapping(daemon.get("last")).get("outcome"))
    if retry is not None and outcome not in GOOD:
        return f"tried again {ago(retry, now) if retry > now else 'any moment'} ({iso(retry)})"
    if outcome in _MEND:
        return "mend the file and save it; the agent sees that"
    return ""


def _claim(value: object, yes: str, no: str, unknown: str) -> str:
    return yes if value is True else no if value is False else unknown


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """A moment; the file may be from any version of the agent, or damaged."""
    return float(value) if is_time(value) else None


def _clean(value: object) -> str:
    """One line that cannot steer a terminal: reasons quote files and what Kea printed."""
    return "" if value is None else printable(" ".join(str(value).split()))
