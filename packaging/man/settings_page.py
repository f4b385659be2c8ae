# SPDX-License-Identifier: MPL-2.0
"""kea-agent.toml(5) from the settings themselves: `python3 packaging/man/settings_page.py` writes it beside this file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from kea_agent import __version__  # noqa: E402 - from the tree, not from what is installed
from kea_agent.settings import DaemonSettings, Setting, Settings, catalogue  # noqa: E402

PAGE = HERE / "kea-agent.toml.5"
FIRST_DAEMON = next(each.table for each in catalogue() if "." in each.table)


def escaped(text: str) -> str:
    """Plain text as roff has it; `code` becomes italic."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"`([^`]+)`", r"\\fI\1\\fR", text)


def literal(value: object) -> str:
    """A default as TOML has it."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def purpose(table: str) -> str:
    """What a table is for: the second half of its class's docstring."""
    kind = DaemonSettings if "." in table else next(type(f.default) for f in fields(Settings) if f.name == table)
    said = (kind.__doc__ or "").partition(": ")[2].split("\n")[0]
    return said[:1].upper() + said[1:]


def setting(each: Setting) -> Iterator[str]:
    """One setting, its default, what it does and what is allowed."""
    yield from (".TP", f".B {each.key}")
    yield escaped(each.doc)
    default = "Not set by default" if each.default is None else f"Default: \\fB{escaped(literal(each.default))}\\fR"
    yield f"{default}. Allowed: {escaped(each.kind.allowed)}."


def tables() -> Iterator[str]:
    """Every table; those of the daemons once, they are the same."""
    wanted = (each for each in catalogue() if "." not in each.table or each.table == FIRST_DAEMON)
    for table, settings in groupby(wanted, lambda each: each.table):
        yield f".SS [{escaped(table)}]"
        yield escaped(purpose(table))
        for each in settings:
            yield from setting(each)


def others() -> Iterator[str]:
    """That the tables of the other daemons are the same."""
    names = [f".B [{escaped(each)}]" for each in dict.fromkeys(each.table for each in catalogue()) if "." in each]
    yield from (".PP", "The same settings are there for", f"{names[0]},")
    yield from (f"{name}," for name in names[1:-1])
    yield from ("and", f"{names[-1]}.", "Two daemons cannot have the same unit or the same file.")


def page() -> str:
    """The whole page."""
    text = (HERE / "kea-agent.toml.5.in").read_text()
    return text.replace("@VERSION@", escaped(__version__)).replace("@SETTINGS@", "\n".join([*tables(), *others()]))


if __name__ == "__main__":
    PAGE.write_text(page())
