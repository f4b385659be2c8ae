# SPDX-License-Identifier: MPL-2.0
"""What the verbs share that write Kea's files: whose file, what changes, and whether the server is proven to run it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kea_agent import keaconf, local, unconfirmed, units
from kea_agent.daemons import Daemon
from kea_agent.diff import Change, changes
from kea_agent.diff.text import lines
from kea_agent.errors import AgentError, BusError, ConfigError, ExitCode, NoAgentError
from kea_agent.outcome import Outcome
from kea_agent.plain import printable
from kea_agent.settings import Settings
from kea_agent.verbs.subjects import file_of, unit_of

_PASS_SECONDS = 600.0
_RELOAD_SECONDS = 120.0
# How often, a second apart, an agent that is being started again is asked once more.
_ROUNDS = 20


@dataclass(frozen=True)
class Subject:
    """A daemon, its unit if there is one, and the file that the agent looks after for it."""

    daemon: Daemon
    unit: units.Unit | None
    path: Path

    @property
    def name(self) -> str:
        """The daemon's."""
        return self.daemon.name


@dataclass(frozen=True)
class Result:
    """How the pass ended; the outcome is None where nobody could make one."""

    outcome: Outcome | None
    reason: str

    @property
    def is_good(self) -> bool:
        """Whether the server is proven to run the file."""
        return self.outcome in (Outcome.APPLIED, Outcome.UNCHANGED)

    @property
    def exit_code(self) -> ExitCode:
        """What a verb exits with for it."""
        return ExitCode.NOT_DONE if self.outcome is None else self.outcome.exit_code

    def __str__(self) -> str:
        """For people."""
        return printable(f"{self.outcome or 'not proven'}: {self.reason}")

    def as_json(self) -> dict[str, Any]:
        """For programs; `outcome` is null where there was no pass."""
        return {"outcome": self.outcome and self.outcome.value, "reason": self.reason}


def need_root(verb: str) -> None:
    """Raises AgentError for everybody else."""
    if os.geteuid() != 0:
        raise AgentError(f"only root may {verb}; try sudo")


def subject(daemon: Daemon, found: Settings) -> Subject:
    """Where the daemon's file is."""
    unit = unit_of(daemon, found)
    return Subject(daemon, unit, Path(file_of(daemon, unit, found)))


def need_none_unconfirmed(name: str) -> None:
    """Raises AgentError while a change of the daemon waits to be confirmed."""
    if waiting := unconfirmed.find(name):
        raise AgentError(
            f"{waiting}: kea-agent confirm {name} keeps it, kea-agent rollback --unconfirmed {name} takes it back now; "
            f"nothing was changed"
        )


def differences(about: Subject, after: dict[str, Any]) -> list[Change] | ConfigError:
    """From the file as it is to the inside of another configuration; the error where there is nothing to compare."""
    try:
        return changes(keaconf.read(str(about.path), about.daemon.root_key).root, after)
    except ConfigError as error:
        return error


def print_differences(found: list[Change] | ConfigError) -> None:
    """One line a change, secrets masked."""
    if isinstance(found, ConfigError):
        print(f"  (no comparison: {printable(str(found))})")
    elif not found:
        print("  (no difference in meaning)")
    else:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(f"  {line}" for line in lines(found, color=color)))


def ask_for_pass(about: Subject, *, force: bool = False) -> Result:
    """Have the running agent take the file in, or say why that could not be."""
    try:
        done = local.ask_for_passes([about.name], again=False, force=force, timeout=_PASS_SECONDS)[about.name]
    except NoAgentError:
        unit = about.unit.name if about.unit else "the unit"
        words = f"systemctl start kea-agent has it taken in and proven; without the agent, systemctl reload {unit}"
        return Result(None, f"the agent is not running, so the server was not told of {about.path}; {words}")
    except AgentError as error:
        return Result(None, str(error))
    return Result(done.outcome, done.reason)


def insist_on_pass(about: Subject) -> Result:
    """The same where nobody watches: an agent that comes back is waited for, HA does not hold it back, systemd helps."""
    result = ask_for_pass(about)
    for _ in range(_ROUNDS):
        if result.outcome is not None:
            break
        time.sleep(1)
        result = ask_for_pass(about)
    if result.outcome is Outcome.DEFERRED:
        result = ask_for_pass(about, force=True)
    return _reload_unit(about, result) if result.outcome is None else result


def _reload_unit(about: Subject, otherwise: Result) -> Result:
    """Without an agent: the unit's own ExecReload checks and proves."""
    from kea_agent.bus import Bus  # noqa: PLC0415 - only here

    if about.unit is None or not about.unit.is_running:
        return otherwise
    try:
        with closing(Bus()) as bus:
            job = units.signal_reload(bus, about.unit)
            done = bus.wait_for_job(job, _RELOAD_SECONDS) if job else "signalled"
    except BusError as error:
        return Result(None, str(error))
    words = f"without the agent, by systemctl reload {about.unit.name}: {done}"
    return Result(Outcome.APPLIED if done == "done" else None, words)
