# SPDX-License-Identifier: MPL-2.0
"""docs/usage/rules.md as the tests read it: every rule with its bad and its good example."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kea_agent.daemons import DAEMONS, Daemon
from kea_agent.rules import Version, parse_version

PAGE = Path(__file__).parents[1] / "docs/usage/rules.md"
_SECTION = re.compile(r"^### (\S+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^(\w+)(?: \(`--previous`\))?:\n\n```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One configuration of the page; `version` where its first line names a Kea."""

    text: str

    @property
    def version(self) -> Version | None:
        found = re.match(r"// Kea (\S+)\n", self.text)
        return parse_version(found[1]) if found else None

    @property
    def daemon(self) -> Daemon:
        return next(daemon for daemon in DAEMONS if f'"{daemon.root_key}"' in self.text)


@dataclass(frozen=True)
class Section:
    """One rule of the page."""

    name: str
    words: str
    examples: dict[str, Example]

    @property
    def bad(self) -> Example:
        return self.examples["Bad"]

    @property
    def good(self) -> Example:
        return self.examples["Good"]


def sections() -> list[Section]:
    """All rules of the page, in its order."""
    found = _SECTION.findall(PAGE.read_text())
    return [Section(name, body, {kind: Example(text) for kind, text in _BLOCK.findall(body)}) for name, body in found]
