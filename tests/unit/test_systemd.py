# SPDX-License-Identifier: MPL-2.0
"""The connection to systemd is kept alive; the bus is a stand-in with a real descriptor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from fakes import FakeBus, running

from kea_agent import units
from kea_agent.daemons import DHCP4
from kea_agent.errors import BusError, DeniedError, NoReloadError
from kea_agent.systemd import Systemd

NAME = "kea-dhcp4-server.service"


class Connection(FakeBus):
    """FakeBus as one connection: `die` is what a restarted dbus-daemon looks like, `tell` a signal."""

    def __init__(self) -> None:
        super().__init__({NAME: running("/usr/sbin/kea-dhcp4", Unit_CanReload=True)})
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.is_dead = False
        self.jobs: dict[str, str] = {}
        self.changed: set[str] = set()
        self.watched: list[str] = []
        self.slowness = 0.0
        self.read = 0

    @property
    def fd(self) -> int:
        self._live()
        return self.reader

    def _live(self) -> None:
        if self.is_dead:
            raise BusError("the connection to the system bus is gone")

    def tell(self, *, jobs: dict[str, str] | None = None, changed: set[str] | None = None) -> None:
        self.jobs |= jobs or {}
        self.changed |= changed or set()
        os.write(self.writer, b"x")

    def die(self) -> None:
        self.is_dead = True
        os.write(self.writer, b"x")

    def drain(self) -> None:
        self._live()
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 100)

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)

    def take_finished_jobs(self) -> dict[str, str]:
        jobs, self.jobs = self.jobs, {}
        return jobs

    def take_changed_units(self) -> set[str]:
        changed, self.changed = self.changed, set()
        return changed

    def watch_unit(self, unit: str, path: str) -> None:
        self.watched.append(unit)

    def load_unit(self, name: str) -> str:
        self._live()
        return super().load_unit(name)

    def properties(self, path: str, names: Iterable[str]) -> dict[str, Any]:
        time.sleep(self.slowness)
        self.read += 1
        return dict.fromkeys(names, path)

    def get(self, path: str, interface: str, name: str, signature: str) -> Any:
        if name == "Job":
            return [7 if path else 0, "/"]
        return super().get(path, interface, name, signature)


class Stage:
    """A Systemd over connections made one after the other, and what it reported."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.failures = 0
        self.connected = 0
        self.changed: list[set[str]] = []
        self.systemd = Systemd(self._connect, self.changed.append, self._count)  # type: ignore[arg-type]
        self.systemd.open()

    def _connect(self) -> Connection:
        if self.failures:
            self.failures -= 1
            raise BusError("connect the system bus: no such file or directory")
        self.connections.append(Connection())
        return self.connections[-1]

    def _count(self) -> None:
        self.connected += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.005)


def played(scene: Callable[[Stage], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kea_agent.systemd._FIRST_PAUSE", 0.01)

    async def play() -> None:
        stage = Stage()
        try:
            await scene(stage)
        finally:
            stage.systemd.close()

    asyncio.run(play())


def unit_of(stage: Stage) -> units.Unit:
    found = stage.systemd.discover(DHCP4, None)
    assert found
    return found


def test_a_unit_is_found_and_its_changes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert unit_of(stage).name == NAME
        assert stage.connections[0].watched == [NAME]
        stage.connections[0].tell(changed={NAME})
        await stage.until(lambda: stage.changed == [{NAME}])

    played(scene, monkeypatch)


def test_a_dead_connection_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.failures = 1
        stage.connections[0].die()
        await stage.until(lambda: stage.connected == 2)
        assert stage.systemd.reconnects == 2
        assert unit_of(stage).name == NAME

    played(scene, monkeypatch)


def test_a_call_that_finds_the_connection_dead_says_so_and_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.connections[0].is_dead = True
        with pytest.raises(BusError, match="gone"):
            unit_of(stage)
        await stage.until(lambda: stage.connected == 2)

    played(scene, monkeypatch)


@pytest.mark.parametrize("result", ["done", "failed"])
def test_a_reload_waits_for_its_job(monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    async def scene(stage: Stage) -> None:
        unit = unit_of(stage)
        waiting = asyncio.create_task(asyncio.to_thread(stage.systemd.reload_from_thread, unit, 5))
        await stage.until(lambda: stage.connections[0].done == [("reload", NAME)])
        stage.connections[0].tell(jobs={"/org/freedesktop/systemd1/job/1": result, "/somebody/elses": "done"})
        assert await waiting == result

    played(scene, monkeypatch)


@pytest.mark.parametrize("result", ["done", "failed"])
def test_a_restart_waits_for_its_job(monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    async def scene(stage: Stage) -> None:
        waiting = asyncio.create_task(asyncio.to_thread(stage.systemd.restart_from_thread, NAME, 5))
        await stage.until(lambda: stage.connections[0].done == [("RestartUnit", NAME)])
        stage.connections[0].tell(jobs={"/org/freedesktop/systemd1/job/1": result})
        assert await waiting == result

    played(scene, monkeypatch)


def test_a_refused_restart_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.connections[0].reload_error = DeniedError("RestartUnit: access denied")
        with pytest.raises(DeniedError, match="access denied"):
            await asyncio.to_thread(stage.systemd.restart_from_thread, NAME, 5)
        assert stage.connections[0].done == []

    played(scene, monkeypatch)


def test_a_unit_by_its_name_is_read_and_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        found = stage.systemd.find(NAME)
        assert found
        assert (found.name, found.main_pid) == (NAME, 4203)
        assert stage.systemd.find("none.service") is None
        assert stage.connections[0].watched == [NAME]

    played(scene, monkeypatch)


def test_a_job_that_never_ends_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert await asyncio.to_thread(stage.systemd.reload_from_thread, unit_of(stage), 0.3) == "timeout"

    played(scene, monkeypatch)


def test_a_unit_that_cannot_reload_is_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        unit = unit_of(stage)
        stage.connections[0].reload_error = NoReloadError("not applicable")
        assert await asyncio.to_thread(stage.systemd.reload_from_thread, unit, 5) == "signalled"
        assert stage.connections[0].done == [("kill", NAME, 1)]

    played(scene, monkeypatch)


async def read_in_a_thread(stage: Stage, timeout: float = 1.0) -> dict[str, Any]:
    return await asyncio.to_thread(stage.systemd.properties_from_thread, NAME, timeout, {"ActiveState": ("Unit", "s")})


def test_properties_for_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert await read_in_a_thread(stage) == {"ActiveState": f"/org/freedesktop/systemd1/unit/{NAME}"}

    played(scene, monkeypatch)


def test_a_systemd_that_was_slow_is_left_alone_by_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.connections[0].slowness = 1.1
        assert await read_in_a_thread(stage, 5)
        for _ in range(5):
            with pytest.raises(BusError, match="slow"):
                await read_in_a_thread(stage)
        assert stage.connections[0].read == 1

    played(scene, monkeypatch)


def test_a_scrape_does_not_wait_for_a_loop_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        waiting = asyncio.ensure_future(read_in_a_thread(stage, 0.05))
        await asyncio.sleep(0)
        time.sleep(0.3)
        began = time.monotonic()
        with pytest.raises(BusError, match="nothing in"):
            await waiting
        assert time.monotonic() - began < 1
        await asyncio.sleep(0.05)
        assert stage.connections[0].read == 0

    played(scene, monkeypatch)
