# SPDX-License-Identifier: MPL-2.0
"""What dashboards made for other exporters select (old_dashboards.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OldDashboard:
    """`selectors` must find something on `path`."""

    name: str
    path: str
    selectors: tuple[str, ...]


def old_dashboards() -> list[OldDashboard]:
    """All of them."""
    found = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    return [OldDashboard(name, each["path"], tuple(each["selectors"])) for name, each in found.items()]
