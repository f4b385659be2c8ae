# SPDX-License-Identifier: MPL-2.0
"""Booted hosts for kea-agent's tests: `Lab.up(LabSpec(...))`, then `lab.node("node1").run([...])`."""

from .host import Progress
from .lab import Lab, NotReadyError, down, newest_deb
from .nodes import Node
from .ready import Problem
from .spec import DAEMONS, Daemon, LabError, LabSpec, UsageError

__all__ = [
    "DAEMONS",
    "Daemon",
    "Lab",
    "LabError",
    "LabSpec",
    "Node",
    "NotReadyError",
    "Problem",
    "Progress",
    "UsageError",
    "down",
    "newest_deb",
]
