# SPDX-License-Identifier: MPL-2.0
"""kea-agent-metrics(7) from docs/usage/metrics.md: `python3 packaging/man/metrics_page.py` writes it beside this file.

Of Markdown it knows what that page uses: two levels of headings, paragraphs, tables, code and links.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from kea_agent import __version__  # noqa: E402 - from the tree, not from what is installed

SOURCE = HERE.parents[1] / "docs/usage/metrics.md"
PAGE = HERE / "kea-agent-metrics.7"
HEAD = """\
.\\" SPDX-License-Identifier: MPL-2.0
.TH KEA\\-AGENT\\-METRICS 7 "" "kea\\-agent {version}" "Miscellaneous"
.SH NAME
kea\\-agent\\-metrics \\- the metrics that kea\\-agent(8) has of itself and of Kea
.SH DESCRIPTION
"""
TAIL = """\
.SH SEE ALSO
.BR kea\\-agent (8),
.BR kea\\-agent.toml (5)
"""


def escaped(text: str) -> str:
    """A line as roff has it; code becomes bold, of a link its words stay."""
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("\\|", "|")
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return f"\\&{text}" if text.startswith(".") else text


def cells(row: str) -> list[str]:
    """What stands between the lines of a table's row."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def table(rows: Sequence[str]) -> Iterator[str]:
    """Each row by its first cell; of a metric the type and the labels after the meaning."""
    header = cells(rows[0])
    for first, *others in map(cells, rows[2:]):
        yield from (".TP", escaped(first))
        if header[0] == "metric":
            kind, labels, meaning = others
            yield escaped(f"{meaning} ({kind}{'; ' if labels else ''}{labels})")
        else:
            yield escaped("; ".join(others))


def block(lines: Sequence[str]) -> Iterator[str]:
    """A heading, a table or a paragraph."""
    if lines[0].startswith("#"):
        yield f".SH {escaped(lines[0].lstrip('# ').upper())}"
    elif lines[0].startswith("|"):
        yield from table(lines)
    else:
        yield from (".PP", *map(escaped, lines))


def page() -> str:
    """The whole page."""
    lines = SOURCE.read_text().splitlines()[2:]
    blocks = [list(several) for is_text, several in groupby(lines, bool) if is_text]
    body = [line for each in blocks for line in block(each)]
    return HEAD.format(version=escaped(__version__)) + "\n".join(body) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
