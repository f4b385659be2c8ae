# SPDX-License-Identifier: MPL-2.0
"""A file that was read, the unit that is to run it, and what the server said of itself meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from kea_agent import gate, ha
from kea_agent.control import Channel
from kea_agent.endpoints import Endpoints
from kea_agent.keaconf import Document
from kea_agent.units import Unit
from kea_agent.verify import Snapshot, Target


@dataclass(frozen=True)
class Candidate:
    """What the stages of a pass hand on. `running` and the `channel` it came by are None for a server that was not
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
        return Target(self.unit.main_pid, self.endpoints, ha.is_configured(self.document.root))
