# SPDX-License-Identifier: MPL-2.0
"""What ends a pass through the pipeline, and what the agent knows of a daemon at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from kea_agent.errors import ExitCode


class Outcome(StrEnum):
    """The one word a pass ends with; the table in docs/usage/outcomes.md says what each means for the server."""

    UNCHANGED = "unchanged"
    APPLIED = "applied"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    FAILED = "failed"
    RECOVERED = "recovered"
    BROKEN = "broken"

    @property
    def exit_code(self) -> ExitCode:
        """What a verb exits with that ends in it."""
        return _EXIT_CODES.get(self, ExitCode.OK)


_EXIT_CODES = {
    Outcome.REJECTED: ExitCode.BAD_CONFIG,
    Outcome.DEFERRED: ExitCode.NOT_DONE,
    Outcome.FAILED: ExitCode.NOT_DONE,
    Outcome.RECOVERED: ExitCode.BROKEN,
    Outcome.BROKEN: ExitCode.BROKEN,
}


class Urge(IntEnum):
    """How much a pass is wanted: AGAIN also reloads what runs already, FORCE even while HA or a link says not now."""

    IF_NEEDED = 0
    AGAIN = 1
    FORCE = 2


class Step(StrEnum):
    """How a hurt server was brought back, the gentlest first; START is the real unit's, after the fallback."""

    CONFIG_SET = "config-set"
    FALLBACK = "fallback"
    START = "start"


class Stage(StrEnum):
    """The stages of the pipeline, in order; each pass times those it reached."""

    SETTLE = "settle"
    READ = "read"
    CHECK = "check"
    REHEARSE = "rehearse"
    GATE = "gate"
    RELOAD = "reload"
    VERIFY = "verify"
    RECOVER = "recover"


@dataclass(frozen=True)
class Pass:
    """One finished pass. `reason` is a sentence for a person; `at` is Unix time, `seconds` per stage reached.

    `rehearsal` is the word it ended with, None where there was none; `steps` are those taken to bring the server
    back, each with whether it worked; `changes` is what was applied, a line each, without secrets. `is_mistake`: it was
    ended by a mistake in the agent.
    """

    outcome: Outcome
    reason: str
    at: float
    seconds: dict[Stage, float] = field(default_factory=dict)
    rehearsal: str | None = None
    steps: tuple[tuple[Step, bool], ...] = ()
    changes: tuple[str, ...] = ()
    is_mistake: bool = False


@dataclass(frozen=True)
class DaemonStatus:
    """What the agent knows of one daemon; None means not known yet.

    `config_valid`: the file as it is on disk passed every check. `config_in_sync`: the running server was proven
    to run that file. `reload_successful` and `reloaded_at` (Unix time of the last success) speak of the last
    reload that was really tried. `warnings`: what the rules say of a file that passed, `file:line:column: ...`.
    `on_fallback`: the fallback unit serves the last known good configuration instead of the unit; that
    configuration was proven at `last_good_at` (Unix time).
    """

    daemon: str
    unit: str | None = None
    unit_state: str | None = None
    main_pid: int | None = None
    config_file: str | None = None
    included_files: tuple[str, ...] = ()
    config_valid: bool | None = None
    config_in_sync: bool | None = None
    reload_successful: bool | None = None
    reloaded_at: float | None = None
    running_hash: str | None = None
    last: Pass | None = None
    retry_at: float | None = None
    warnings: tuple[str, ...] = ()
    on_fallback: bool = False
    last_good_at: float | None = None
