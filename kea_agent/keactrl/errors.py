# SPDX-License-Identifier: MPL-2.0
"""What ends a keactrl command, or its work on one server."""

from __future__ import annotations


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
