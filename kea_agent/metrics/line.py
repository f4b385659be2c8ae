# SPDX-License-Identifier: MPL-2.0
"""A control channel for the time of one scrape: everything that is asked on it has one deadline."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from kea_agent.control import Channel, Reply, SilentError, ask, stream
from kea_agent.errors import ControlError

# What an answer may have: 65,000 subnets are 75 MB of statistics and 40 MB of configuration.
MAX_SHORT_BYTES = 1 << 20
MAX_LONG_BYTES = 192 << 20


class Line:
    """A channel to ask on for `timeout` seconds from now; `began` is now, Unix time."""

    def __init__(self, channel: Channel, timeout: float) -> None:
        self.channel = channel
        self.timeout = timeout
        self.began = time.time()
        self._deadline = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds until the deadline; SilentError when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SilentError(f"no time left for {self.channel}")
        return left

    def ask(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        *,
        max_bytes: int = MAX_SHORT_BYTES,
        is_optional: bool = False,
    ) -> Reply:
        """Kea's answer, a refusal only where the command is not everywhere; ControlError for the rest."""
        reply = ask(self.channel, command, arguments, timeout=self.left(), max_bytes=max_bytes)
        if reply.result != 0 and not is_optional:
            raise ControlError(f"{command}: {self.channel}: {reply.text}")
        return reply

    def stream(self, command: str) -> Generator[bytes, None, None]:
        """A long answer piece by piece; what `control.stream` raises."""
        return stream(self.channel, command, timeout=self.left(), max_bytes=MAX_LONG_BYTES)
