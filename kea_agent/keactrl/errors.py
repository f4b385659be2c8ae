# SPDX-License-Identifier: MPL-2.0
"""What ends a keactrl command, or its work on one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kea_agent.errors import ConfigError

if TYPE_CHECKING:
    from kea_agent.reading import UntrustedError


class RefusedError(Exception):
    """What the script refuses with exit code 1; `usage` follows where the script prints it."""

    def __init__(self, message: str, usage: str = "") -> None:
        super().__init__(message)
        self.usage = usage


class MissingVariableError(Exception):
    """A variable that is needed is not in keactrl.conf; the script's `set -u` ends there with exit code 2."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class FailedError(Exception):
    """Something was not done to one server, or did not work; the message says why and what holds."""


class UntrustedConfError(ConfigError):
    """A keactrl.conf that somebody but root and the caller may have written; `why` and `way_out` are for people."""

    way_out = "copy it to where only root may write, such as /etc/kea-agent, and name it with -c"

    def __init__(self, path: str, found: UntrustedError) -> None:
        self.why = f"it says what is run here, and of {found.filename}: {found.strerror}"
        super().__init__(f"not believed: {self.why}; {self.way_out}; nothing was done", file=path)
