# SPDX-License-Identifier: MPL-2.0
"""A node with the agent on it, as a test sees it: what the agent says, and what Kea says of the same thing."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labkit.host import PATIENCE, wait_for
from labkit.nodes import Node
from labkit.spec import Daemon

CONFIG = "/etc/kea/kea-dhcp4.conf"
STATUS = "/run/kea-agent/status.json"
_OUTCOME = re.compile(r'^kea_agent_outcomes_total\{daemon="([^"]+)",outcome="([^"]+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class AgentHost:
    """Reads only; what a test does to the host it does to `node`. Of journals it reads what is from `since` on (Unix time)."""

    node: Node
    since: float = 0.0

    def status(self, daemon: Daemon = "dhcp4") -> dict[str, Any]:
        """What /run/kea-agent/status.json has on a daemon."""
        found: dict[str, Any] = json.loads(self.node.read(STATUS))["daemons"][daemon]
        return found

    def metrics(self) -> str:
        """One scrape."""
        return self.node.run(["curl", "--silent", "--fail", "--max-time", "10", "http://127.0.0.1:9673/metrics"]).stdout

    def fresh_metrics(self) -> str:
        """One for which Kea is asked anew: after each scrape it is left alone for a while."""
        began = time.time()
        for _ in wait_for(every=0.1):
            text = self.metrics()
            asked = re.search(r"^kea_agent_asked_timestamp_seconds (\S+)$", text, re.MULTILINE)
            if asked and float(asked[1]) >= began:
                return text
        raise AssertionError("Kea is asked no more")

    def outcomes(self, daemon: Daemon = "dhcp4") -> Counter[str]:
        """How often each outcome has been, by the metrics."""
        found = _OUTCOME.findall(self.metrics())
        return Counter({outcome: int(float(value)) for name, outcome, value in found if name == daemon})

    def metric(self, name: str, daemon: Daemon = "dhcp4") -> float:
        """One sample with a daemon label."""
        found = re.search(rf'^{name}\{{daemon="{daemon}"\}} (\S+)$', self.metrics(), re.MULTILINE)
        assert found, f"no {name} of {daemon}"
        return float(found[1])

    def wait_for(self, outcome: str, since: Counter[str], daemon: Daemon = "dhcp4", seconds: float = PATIENCE) -> str:
        """Wait until an outcome has been once more than in `since`; returns the reason in the status."""
        for _ in self._news(seconds):
            if self.outcomes(daemon)[outcome] > since[outcome]:
                return str(self.status(daemon)["last"]["reason"])
        told = "\n".join(self.node.journal("kea-agent", 15))
        raise AssertionError(f"no new {outcome} of {daemon} in {seconds} s; since {since}\n{told}")

    def _news(self, seconds: float) -> Iterator[None]:
        """Yield when the agent has told something new, and every second: a scrape is work for it and for all of Kea."""
        seen, due = None, 0.0
        for _ in wait_for(seconds, every=0.02):
            now = self.node.version_of(STATUS)
            if now != seen or time.monotonic() >= due:
                seen, due = now, time.monotonic() + 1
                yield

    def journal(self, unit: str = "kea-agent") -> str:
        """Everything a unit has written since then; a server that had thousands of subnets has written much before."""
        words = ["journalctl", "--quiet", "--no-pager", "--output=short-precise", "--unit", unit]
        return self.node.run([*words, "--since", f"@{self.since:.3f}"], check=False).stdout

    def wait_logged(self, words: str, unit: str = "kea-agent", known: int = 0) -> None:
        """Wait until a unit's journal has these words, behind what is `known` of it; journald may be behind everybody else."""
        for _ in wait_for(every=0.1):
            if words in self.journal(unit)[known:]:
                return
        raise AssertionError(f"not in the journal of {unit}: {words}\n{self.journal(unit)[known:]}")

    def reloads(self) -> int:
        """How often kea-dhcp4 itself says that it began a reconfiguration."""
        return self.journal(self.node.unit("dhcp4")).count("DHCP4_DYNAMIC_RECONFIGURATION initiate")

    def lifetime(self) -> int:
        """The valid-lifetime that kea-dhcp4 runs."""
        return int(self.node.control("dhcp4", "config-get")["arguments"]["Dhcp4"]["valid-lifetime"])
