# SPDX-License-Identifier: MPL-2.0
"""The script's lines: everything that it says goes to stdout; what it would not know goes to stderr."""

from __future__ import annotations

import sys

from kea_agent.plain import printable


def line(text: str, end: str = "\n") -> None:
    """One line of an answer, at once: what a command does next may take seconds."""
    print(text, end=end, flush=True)


def error(text: str) -> None:
    """Something was not done."""
    line(f"ERROR/keactrl: {text}")


def warning(text: str) -> None:
    """Something is not possible."""
    line(f"WARNING/keactrl: {text}")


def info(text: str) -> None:
    """Something is being done, or need not be."""
    line(f"INFO/keactrl: {text}")


def aside(text: str, level: str = "WARNING") -> None:
    """A truth that the script does not tell, where programs that read its output do not stumble over it."""
    print(f"{level}/keactrl: {printable(text)}", file=sys.stderr, flush=True)
