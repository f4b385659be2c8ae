# SPDX-License-Identifier: MPL-2.0
"""What the stages of a pass hand on: a file that was read with the unit that is to run it, and how the pass ended."""

from __future__ import annotations

from dataclasses import dataclass

from kea_agent import gate
from kea_agent.control import Channel
from kea_agent.endpoints import Endpoints
from kea_agent.keaconf import Document
from kea_agent.outcome import Outcome, Step
from kea_agent.units import Unit
from kea_agent.verify import Snapshot, Target


@dataclass(frozen=True)
class Candidate:
    """A file on its way. `running` and the `channel` it came by are None for a server that was not
    asked or gave no answer; `obstacle` is what was found in the way while asking."""

    document: Document
    unit: Unit
    endpoints: Endpoints
    running: Snapshot | None = None
    channel: Channel | None = None
    obstacle: gate.Obstacle | None = None

    @property
    def target(self) -> Target:
        """What the server must turn out to be."""
        return Target.of(self.unit.main_pid, self.endpoints, self.document.root)


@dataclass(frozen=True)
class Finding:
    """How a pass ended. `retry`: time alone may change it. `valid`: what was learnt of the file. `steps`: as in Pass."""

    outcome: Outcome
    reason: str
    retry: bool = False
    valid: bool | None = None
    in_sync: bool = False
    snapshot: Snapshot | None = None
    steps: tuple[tuple[Step, bool], ...] = ()
    changes: tuple[str, ...] = ()


class SupersededError(Exception):
    """What was learnt speaks of something else by now; the message says what happened meanwhile."""
