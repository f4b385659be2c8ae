# SPDX-License-Identifier: MPL-2.0
"""The status page: one self-contained HTML document without scripts, forms or anything fetched from elsewhere.

Everything that comes from outside (paths, reasons, unit names) passes through `_text`; there is no other way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from kea_agent.outcome import DaemonStatus, Outcome
from kea_agent.phrases import GOOD, MEANING, ON_FALLBACK, ago, is_down, iso

# The page may use its own style sheet and nothing else, and nobody may frame it.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --line: #dde1e6; --ink: #1c2126; --soft: #5c6670;
  --good: #176b3a; --good-bg: #dff3e6; --warn: #7a4b00; --warn-bg: #fdeec9; --bad: #9c1c1c; --bad-bg: #fbe0e0;
  --idle: #4c5660; --idle-bg: #e8ebee }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1d2125; --line: #32383e; --ink: #e7eaed;
  --soft: #9aa4ae; --good: #8fdcac; --good-bg: #163a25; --warn: #f3cf85; --warn-bg: #40300f; --bad: #f5a9a9;
  --bad-bg: #4a1d1d; --idle: #b5bec7; --idle-bg: #2b3137 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
header, main, footer { max-width: 64rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 2rem; padding-bottom: 1.25rem }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .35rem }
header p, footer p { color: var(--soft); margin: 0 0 .35rem; font-size: .875rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(27rem, 100%), 1fr)); gap: 1rem }
article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.25rem 1.1rem }
article header { padding: 0 0 .5rem; display: flex; align-items: center; justify-content: space-between; gap: 1rem }
h2 { font-size: 1.125rem; margin: 0 }
mark { border-radius: 1rem; padding: .1rem .7rem; font-size: .8125rem; font-weight: 600; white-space: nowrap }
.good { color: var(--good); background: var(--good-bg) } .warn { color: var(--warn); background: var(--warn-bg) }
.bad { color: var(--bad); background: var(--bad-bg) } .idle { color: var(--idle); background: var(--idle-bg) }
.meaning { margin: 0 0 .75rem }
dl { margin: 0; display: grid; grid-template-columns: 5rem minmax(0, 1fr); gap: .3rem .75rem; font-size: .875rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap }
code { font: .8125rem/1.5 ui-monospace, monospace } a { color: inherit }
footer { padding-top: 1.5rem; padding-bottom: 2rem }
"""


def status_page(statuses: Iterable[DaemonStatus], *, version: str, host: str, now: float) -> str:
    """The page for `now` (Unix time); `host` stands in its title."""
    known = tuple(statuses)
    shown = tuple(status for status in known if not _is_absent(status))
    cards = "\n".join(_card(status, now) for status in shown)
    absent = "\n".join(f"<p>{_absence(status)}</p>" for status in known if _is_absent(status))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kea-agent on {_text(host)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{_text(_summary(shown))}</h1><p>kea-agent {_text(version)} on {_text(host)}</p></header>
<main>
{cards}
</main>
<footer>
{absent}
<p>As of {_moment(now)} · <a href="/metrics">metrics</a> · <a href="/-/healthy">healthy</a> · <a href="/-/ready">ready</a></p>
</footer>
</body>
</html>
"""


def _summary(statuses: tuple[DaemonStatus, ...]) -> str:
    """The worst first; the good news only when there is nothing else to say."""
    for tone, one, several in (
        ("bad", "needs a person", "need a person"),
        ("warn", "wants a look", "want a look"),
        ("good", "runs what its file says", "run what their files say"),
    ):
        names = [status.daemon for status in statuses if _tone(status) == tone]
        if names:
            return f"{', '.join(names)} {one if len(names) == 1 else several}"
    return "No Kea daemon runs here yet"


def _is_absent(status: DaemonStatus) -> bool:
    """Looked for and not found: it has a reason and no unit, and nothing is tried again for it."""
    return status.unit is None and status.last is not None and status.retry_at is None


def _absence(status: DaemonStatus) -> str:
    return _text(f"{status.daemon}: {status.last.reason if status.last else ''}")


def _is_down(status: DaemonStatus) -> bool:
    return is_down(status.unit_state, status.main_pid)


def _tone(status: DaemonStatus) -> str:
    outcome = status.last and status.last.outcome
    if status.on_fallback or str(status.unit_state).startswith("failed") or outcome is Outcome.BROKEN:
        return "bad"
    if _is_down(status) or outcome is None:
        return "idle"
    return "good" if outcome in GOOD else "warn"


def _word(status: DaemonStatus) -> str:
    if status.on_fallback:
        return "on its fallback"
    if _is_down(status):
        return "does not run"
    return status.last.outcome.value if status.last else "no news"


def _meaning(status: DaemonStatus) -> str:
    if status.on_fallback:
        return f"The server {ON_FALLBACK}."
    if _is_down(status):
        return "The server does not run."
    return f"The server {MEANING[status.last.outcome]}." if status.last else "Nothing was done yet."


def _card(status: DaemonStatus, now: float) -> str:
    rows = "\n".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in _rows(status, now))
    return f"""<article>
<header><h2>{_text(status.daemon)}</h2><mark class="{_tone(status)}">{_text(_word(status))}</mark></header>
<p class="meaning">{_text(_meaning(status))}</p>
<dl>
{rows}
</dl>
</article>"""


def _rows(status: DaemonStatus, now: float) -> Iterator[tuple[str, str]]:
    """Label and value, the value as HTML; what is not known has no row, except where its absence says something."""
    if status.last is not None:
        if status.on_fallback or _is_down(status):  # else the outcome is the word beside the name
            yield "Outcome", _text(status.last.outcome.value)
        yield "Reason", _text(status.last.reason)
        yield "When", _when(status.last.at, now)
        yield from (("Change", _text(line)) for line in status.last.changes)
        if status.last.rehearsal:
            yield "Rehearsal", _text(status.last.rehearsal)
        if status.last.outcome not in GOOD and status.retry_at is not None:
            yield "Next try", _when(status.retry_at, now) if status.retry_at > now else "any moment"
    yield "In sync", _claim(status.config_in_sync, "yes: the server runs this file", "no: the server runs another one")
    yield "Valid", _claim(status.config_valid, "yes", "no")
    if status.config_file:
        yield "File", _code(status.config_file) + _included(len(status.included_files))
    yield "Unit", _code(status.unit) if status.unit else "none found on this host"
    if status.unit_state:
        yield "State", _text(status.unit_state + (f", pid {status.main_pid}" if status.main_pid else ""))
    if status.reloaded_at is not None:
        yield "Reloaded", _when(status.reloaded_at, now)
    if status.last_good_at is not None:
        yield "Last good", _when(status.last_good_at, now)


def _when(at: float, now: float) -> str:
    return f"{_text(ago(at, now))}, {_moment(at)}"


def _included(count: int) -> str:
    return "" if count == 0 else f" and {count} included file{'s' if count > 1 else ''}"


def _claim(value: bool | None, yes: str, no: str) -> str:
    return _text("not known" if value is None else yes if value else no)


def _moment(at: float) -> str:
    text = _text(iso(at))
    return f'<time datetime="{text}">{text.replace("T", " ").replace("Z", " UTC")}</time>'


def _code(value: str) -> str:
    return f"<code>{_text(value)}</code>"


def _text(value: str) -> str:
    return escape(value, quote=True)
