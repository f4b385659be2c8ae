# SPDX-License-Identifier: MPL-2.0
"""What one level said of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kea_agent.errors import ConfigError
from kea_agent.lint import Finding
from kea_agent.sandbox.request import Standing


@dataclass(frozen=True)
class Rehearsal:
    """How a rehearsal ended: `reason` is a sentence for people, without secrets.

    `hash` and `config` (config-get's arguments) are the daemon's own words when it passed, has a control channel and tells.
    `may_pass_later`: refused for what the host lacks now (an address), so the same file may pass another time.
    `is_whole`: it was the file's whole meaning; where it was not, hash and config are not what a reload will bring.
    `cpu_seconds`: what the daemon needed until it served, and about how long a reload keeps it from answering.
    """

    standing: Standing
    reason: str
    seconds: float
    hash: str | None = None
    config: Mapping[str, Any] | None = None
    is_whole: bool = True
    may_pass_later: bool = False
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What one level said; a yes has neither `problem` nor `could_not`. Times in seconds.

    `problem` is what is wrong with the file; with `may_pass_later` it is what the file needs from elsewhere, so the same
    file may pass another time. `could_not` is why there is no verdict. Warnings are in the checker's own words.
    `findings` are the rules', with their places; `rehearsal` is that level's own.
    """

    level: str
    problem: ConfigError | None
    seconds: float
    warnings: tuple[str, ...] = ()
    could_not: str | None = None
    may_pass_later: bool = False
    findings: tuple[Finding, ...] = ()
    rehearsal: Rehearsal | None = None

    @property
    def refuses(self) -> bool:
        """Whether the file is rejected for it."""
        return self.problem is not None and not self.may_pass_later

    @property
    def says_no(self) -> bool:
        """Whether the file is not loaded now: it is rejected, or deferred."""
        return self.problem is not None or self.could_not is not None
