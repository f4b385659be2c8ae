# SPDX-License-Identifier: MPL-2.0
"""Which commands a server's statistics are asked for with: all by one, or the chief ones by others if that takes too long.

    statistic-get-all                   everything: 0.4 s with 10,000 subnets, 5.5 s with 65,000
    statistic-global-get-all            the server's own, since Kea 3.1.2; before that `statistic-get` for each, 0.1 ms
    stat-lease4-get, stat-lease6-get    lease numbers of each subnet: 0.04 s and 0.35 s; of libdhcp_stat_cmds.so

Measured on Kea 2.6.3. The thread that makes an answer up does nothing else meanwhile, which without multi-threading is
all of DHCP; so where there is a choice, everything is asked for only if that takes at most half of a scrape's time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from enum import StrEnum

from kea_agent.control import SilentError
from kea_agent.metrics import commands
from kea_agent.metrics.exposition import Draft, Writer
from kea_agent.metrics.line import Line
from kea_agent.metrics.statistics import server_statistics

logger = logging.getLogger(__name__)

# Until it was measured: seven statistics of a subnet and as many of its pool.
_SECONDS_A_SUBNET = 50e-6
# An answer that was cut off after so many statistics was too long; after fewer, Kea hung.
_MANY = 10_000


class Extent(StrEnum):
    """How much is told."""

    ALL = "everything"
    LEASES = "the server's own statistics and the subnets' lease numbers"
    SERVER = "the server's own statistics and none of the subnets: load libdhcp_stat_cmds.so in Kea"


@dataclass
class Plan:
    """For one daemon with one configuration, scrape after scrape; `has_rows`: libdhcp_stat_cmds.so is loaded."""

    daemon: str
    subnets: int = 0
    has_rows: bool = False

    def __post_init__(self) -> None:
        self.extent = Extent.ALL
        self._seconds = self.subnets * _SECONDS_A_SUBNET
        self._names: tuple[str, ...] = ()  # to be asked for one by one

    def read(self, line: Line, writer: Writer) -> Draft:
        """The statistics, as many of them as `extent` says then; ControlError if they cannot be had."""
        writer.begin()
        self._decide(line)
        if self.extent is Extent.ALL:
            self._read_all(line, writer)
        else:
            self._read_chief(line, writer)
        return writer.end()

    def _decide(self, line: Line) -> None:
        most = min(line.timeout / 2 if self.has_rows else line.timeout, line.left())
        less = Extent.LEASES if self.has_rows else Extent.SERVER
        extent = Extent.ALL if self._seconds <= most else less
        if extent is not self.extent:
            self.extent = extent
            logger.warning(
                "%s: scrapes have %s; statistic-get-all takes about %.1f s with %d subnets, and a scrape has %g s"
                " (web.scrape_timeout_seconds)",
                self.daemon, extent, self._seconds, self.subnets, line.timeout,
            )  # fmt: skip

    def _read_all(self, line: Line, writer: Writer) -> None:
        began, told = time.monotonic(), 0
        try:
            for statistics in commands.everything(line):
                writer.write(statistics)
                told += len(statistics)
        except SilentError:
            if told > _MANY:
                self._seconds = 2 * line.timeout
            raise
        self._seconds = time.monotonic() - began

    def _read_chief(self, line: Line, writer: Writer) -> None:
        own = None if self._names else commands.of_server(line)
        is_old = own is None
        if own is None:
            own = commands.one_by_one(line, self._names or server_statistics(self.daemon))
            self._names = tuple(name for name, _ in own)
        writer.write(own)
        if self.extent is Extent.LEASES:
            writer.write(commands.of_subnets(line, self.daemon, is_old=is_old))
