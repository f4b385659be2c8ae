# SPDX-License-Identifier: MPL-2.0
"""Every error the agent raises on purpose, and the exit codes of its commands.

AgentError              what was tried, on what, why it failed, what still holds
 ├─ SettingsError       the agent's own settings are wrong
 ├─ ConfigError         a Kea configuration is wrong: fix the file
 ├─ ControlError        a Kea daemon could not be asked: look at the daemon
 │   ├─ AbsentError     nobody listens there (control.py)
 │   └─ SilentError     somebody listens and does not answer (control.py)
 ├─ BusError            systemd could not be asked: look at D-Bus
 │   ├─ DeniedError     systemd refused: look at the polkit rule
 │   ├─ NoReloadError   the unit cannot reload: signal its main process
 │   ├─ NoUnitError     it has no such unit in memory
 │   └─ NoPropertyError this systemd does not have it: go without
 ├─ NoAgentError        the agent is not running: start it
"""

from __future__ import annotations

from enum import IntEnum


class AgentError(Exception):
    """The base of all of them; `str()` is a sentence for the operator."""


class SettingsError(AgentError):
    """The settings cannot be used; the message lists every problem, one a line."""


class ConfigError(AgentError):
    """A Kea configuration is wrong at a place: `file:line:column: message`, as far as the place is known."""

    def __init__(self, message: str, *, file: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column

    @property
    def place(self) -> str:
        """Where, in the way compilers and editors spell it (1-based)."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ControlError(AgentError):
    """A Kea daemon's control channel is away, silent or talks nonsense."""


class BusError(AgentError):
    """systemd could not be reached over D-Bus, or could not do what it was asked."""


class DeniedError(BusError):
    """polkit did not let this user do that to this unit."""


class NoReloadError(BusError):
    """The unit has no way to reload; its main process can still be signalled."""


class NoUnitError(BusError):
    """systemd has no unit of that name, or none that does anything."""


class NoPropertyError(BusError):
    """A property that this version of systemd does not have."""


class NoAgentError(AgentError):
    """Nobody listens on the agent's socket."""


class ExitCode(IntEnum):
    """What every kea-agent verb exits with (keactrl keeps keactrl's own)."""

    OK = 0
    BAD_CONFIG = 1
    USAGE = 2
    NOT_DONE = 3
    BROKEN = 4
