# SPDX-License-Identifier: MPL-2.0
"""systemd as the agent uses it: one bus connection, replaced when it dies, spoken to from the loop's thread only.

The passes run in threads of their own and come through `from_thread`. Signals are hints: a job that ended without
its signal (lost with a connection) is found by looking at the unit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kea_agent import units
from kea_agent.bus import Bus
from kea_agent.daemons import Daemon
from kea_agent.errors import BusError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# How often a job is looked at in case its signal never comes (seconds).
_JOB_NET = 0.25
# A call that took longer than this (seconds) is followed by a rest from those that can wait.
_SLOW = 1.0
_REST = 30.0


class Systemd:
    """The connection and what is done with it. `on_change` gets the ids of units that changed."""

    def __init__(
        self, connect: Callable[[], Bus], on_change: Callable[[set[str]], None], on_connect: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._on_change = on_change
        self._on_connect = on_connect
        self._loop = asyncio.get_running_loop()
        self._bus: Bus | None = None
        self._fd = -1
        self._results: dict[str, str] = {}
        self._arrived = asyncio.Event()
        self._pause = _FIRST_PAUSE
        self._unhurried_until = 0.0
        self.reconnects = 0

    def open(self) -> None:
        """Connect, now or as soon as the bus is there again."""
        try:
            self._bus = self._connect()
            self._fd = self._bus.fd
        except BusError as error:
            logger.warning("%s; trying again in %g s, Kea is not affected", error, self._pause)
            self._loop.call_later(self._pause, self._reopen)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return
        self._pause = _FIRST_PAUSE
        self._loop.add_reader(self._fd, self.drain)
        self._on_connect()

    def close(self) -> None:
        """Let the connection go."""
        if self._bus is not None:
            self._loop.remove_reader(self._fd)
            self._bus.close()
            self._bus = None

    def drain(self) -> None:
        """Take in what arrived; also called by the watchdog's tick as a net under the lost wake-ups."""
        if self._bus is None:
            return
        try:
            self._bus.drain()
        except BusError as error:
            self._lost(error)
            return
        self._take_in(self._bus)

    def call(self, do: Callable[[Bus], T]) -> T:
        """Use the connection; raises BusError, and replaces a connection that turns out to be dead."""
        if self._bus is None:
            raise BusError("systemd cannot be reached over D-Bus")
        bus = self._bus
        try:
            result = do(bus)
        except BusError:
            self._check_alive(bus)
            raise
        self._take_in(bus)
        return result

    def from_thread(self, do: Callable[[Bus], T]) -> T:
        """`call` for the threads of the passes."""

        async def call() -> T:
            return self.call(do)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def properties_from_thread(
        self, name: str, timeout: float, wanted: Mapping[str, tuple[str, str]]
    ) -> dict[str, Any]:
        """A unit's properties, for a scrape: nothing that the agent could not do without for `timeout` seconds.

        A call blocks the loop, so a systemd that was slow is left alone for a while. Raises BusError.
        """

        given_up_at = self._loop.time() + timeout

        async def read() -> dict[str, Any]:
            began = self._loop.time()
            if began < self._unhurried_until or began > given_up_at:
                raise BusError("systemd, or the loop, was slow a moment ago")
            try:
                return self.call(lambda bus: bus.properties(bus.load_unit(name), wanted))
            finally:
                if self._loop.time() - began > _SLOW:
                    self._unhurried_until = self._loop.time() + _REST

        future = asyncio.run_coroutine_threadsafe(read(), self._loop)
        try:
            return future.result(timeout)
        except TimeoutError as error:
            raise BusError(f"read {name}: nothing in {timeout:g} s") from error

    def reload_from_thread(self, unit: units.Unit, timeout: float) -> str:
        """Reload a unit and wait (seconds) for its job; `signalled` where there is no job to wait for."""
        path = self.from_thread(lambda bus: units.signal_reload(bus, unit))
        if path is None:
            return "signalled"
        return asyncio.run_coroutine_threadsafe(self._job(path, unit.path, timeout), self._loop).result()

    def restart_from_thread(self, name: str, timeout: float) -> str:
        """Stop a unit if it runs, start it, and wait (seconds); the job's result, `done` if all went well.

        A unit that conflicts with it is stopped first. Raises BusError, DeniedError where polkit refuses.
        """
        path, unit = self.from_thread(lambda bus: (bus.job("RestartUnit", name), bus.load_unit(name)))
        return asyncio.run_coroutine_threadsafe(self._job(path, unit, timeout), self._loop).result()

    def discover(self, daemon: Daemon, configured: str | None) -> units.Unit | None:
        """Find a daemon's unit and be told of its changes."""

        def find(bus: Bus) -> units.Unit | None:
            unit = units.discover(bus, daemon, configured)
            if unit is not None:
                bus.watch_unit(unit.name, unit.path)
            return unit

        return self.call(find)

    def find(self, name: str) -> units.Unit | None:
        """A unit that does something or failed, and be told of its changes; None for one at rest, or that is not there."""

        def find(bus: Bus) -> units.Unit | None:
            path = bus.loaded_unit(name)
            if path is None:
                return None
            bus.watch_unit(name, path)
            return units.read(bus, path)

        return self.call(find)

    async def _job(self, path: str, unit: str, timeout: float) -> str:
        deadline = self._loop.time() + timeout
        while path not in self._results and self._loop.time() < deadline:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), _JOB_NET)
            except TimeoutError:
                self.drain()
                if path not in self._results and not self._has_job(unit):
                    return "unknown"
        return self._results.pop(path, "timeout")

    def _has_job(self, unit: str) -> bool:
        try:
            return bool(self.call(lambda bus: bus.get(unit, "Unit", "Job", "(uo)"))[0])
        except BusError:
            return False

    def _take_in(self, bus: Bus) -> None:
        finished = bus.take_finished_jobs()
        if finished:
            # Everybody's jobs come by; only those of the last moments can be ours.
            self._results = dict(list(self._results.items())[-64:]) | finished
            self._arrived.set()
        if changed := bus.take_changed_units():
            # Not from here: whoever hears of it asks systemd in his turn.
            self._loop.call_soon(self._on_change, changed)

    def _check_alive(self, bus: Bus) -> None:
        try:
            _ = bus.fd
        except BusError as error:
            self._lost(error)

    def _lost(self, error: BusError) -> None:
        logger.warning("%s; connecting again, Kea is not affected", error)
        self.close()
        self._reopen()

    def _reopen(self) -> None:
        self.reconnects += 1
        self.open()
