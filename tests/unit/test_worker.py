# SPDX-License-Identifier: MPL-2.0
"""When it is a daemon's turn; the pipeline here only counts its passes and ends them as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kea_agent import worker
from kea_agent.daemons import DHCP4
from kea_agent.errors import AgentError
from kea_agent.outcome import DaemonStatus, Outcome, Pass, Urge
from kea_agent.settings import GateSettings, Settings
from kea_agent.settle import Settler
from kea_agent.watch import Kind
from kea_agent.worker import Worker

QUICK = Settings(gate=GateSettings(retry_seconds=0.02, give_up_seconds=0.2))


class CountingPipeline:
    """What Worker needs of a Pipeline."""

    def __init__(self, file: Path) -> None:
        self.daemon = DHCP4
        self.settings = QUICK
        self.status = DaemonStatus("dhcp4", config_file=str(file))
        self.end = (Outcome.APPLIED, False)
        self.runs: list[Urge] = []
        self.during: Callable[[], object] = lambda: None
        self.glances = 0
        self.serves = False
        self.during_glance: Callable[[], object] = lambda: None

    def run(self, *, settled: float, urge: Urge) -> tuple[Pass, bool]:
        self.runs.append(urge)
        self.during()
        return Pass(self.end[0], "because", 0.0), self.end[1]

    def ended_by_a_mistake(self, words: str) -> Pass:
        return Pass(Outcome.DEFERRED, words, 0.0, is_mistake=True)

    def is_served(self) -> bool:
        self.glances += 1
        self.during_glance()
        return self.serves


class Place:
    """A worker that runs, its file, and what it published."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.pipeline = CountingPipeline(file)
        self.published: list[Pass | None] = []
        settler = Settler(quiet=0.01, unfinished=0.1, at_most=0.05)
        self.worker = Worker(self.pipeline, settler, lambda _, done: self.published.append(done))  # type: ignore[arg-type]

    def save(self, text: str) -> None:
        self.file.write_text(text)
        self.worker.hint(Kind.FINISHED, str(self.file))

    async def until_runs(self, number: int) -> None:
        async with asyncio.timeout(5):
            while len(self.pipeline.runs) < number or self.worker.is_busy:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def place(file: Path) -> AsyncIterator[Place]:
    """A worker past its first turn."""
    file.write_text("{}")
    found = Place(file)
    task = asyncio.create_task(found.worker.run())
    await found.until_runs(1)
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def played(tmp_path: Path, scene: Callable[[Place], Awaitable[None]]) -> Place:
    """Play a scene with a worker; returns the place as it is afterwards."""

    async def play() -> Place:
        async with place(tmp_path / "kea.conf") as found:
            await scene(found)
            return found

    return asyncio.run(play())


def test_new_bytes_are_a_turn_and_the_same_bytes_are_none(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.save("{ }")
        await place.until_runs(2)
        place.save("{ }")
        place.save("{  }")
        await place.until_runs(3)

    assert len(played(tmp_path, scene).pipeline.runs) == 3


def test_a_poll_finds_what_no_event_told(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.file.write_text("{ }")
        place.worker.glance()
        await place.until_runs(2)

    played(tmp_path, scene)


def test_the_same_file_is_looked_at_when_somebody_wants_it(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.worker.look()
        await place.until_runs(2)
        done = await place.worker.ask(Urge.FORCE)
        assert done.outcome is Outcome.APPLIED

    assert played(tmp_path, scene).pipeline.runs == [Urge.IF_NEEDED, Urge.IF_NEEDED, Urge.FORCE]


def test_a_hash_that_no_pass_brought_is_looked_at_once(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        for _ in range(3):
            place.worker.notice("C0FFEE")
            await place.until_runs(2)

    assert len(played(tmp_path, scene).pipeline.runs) == 2


def test_who_asked_is_not_left_waiting(tmp_path: Path) -> None:
    async def play() -> None:
        async with place(tmp_path / "kea.conf") as found:
            given_up = asyncio.create_task(found.worker.ask(Urge.IF_NEEDED))
            await asyncio.sleep(0)
            given_up.cancel()
            await found.until_runs(2)
            waiting = asyncio.create_task(found.worker.ask(Urge.IF_NEEDED))
            await asyncio.sleep(0)
        with pytest.raises(AgentError, match="stopped looking"):
            await waiting

    asyncio.run(play())


def test_a_file_that_changes_during_its_pass_gets_another(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.pipeline.during = lambda: place.file.write_text(f"{{{' ' * min(len(place.pipeline.runs), 3)}}}")
        place.worker.look()
        await place.until_runs(3)

    played(tmp_path, scene)


def test_a_file_that_is_written_without_a_pause_is_looked_at_now_and_then(tmp_path: Path) -> None:
    """Every `at_most` (0.05 s here), not in one pass after the other; and the last text gets its turn."""

    async def scene(place: Place) -> None:
        place.pipeline.during = lambda: place.file.write_text(f"{{{' ' * len(place.pipeline.runs)}}}")
        for number in range(100):
            place.save(f"{{{' ' * number}}}")
            await asyncio.sleep(0.005)
        runs = len(place.pipeline.runs)
        assert 3 <= runs <= 20
        place.pipeline.during = lambda: None
        place.save('{ "Dhcp4": {} }')
        await place.until_runs(runs + 1)

    played(tmp_path, scene)


def test_a_file_that_changes_during_its_pass_and_back_after_it_gets_another(tmp_path: Path) -> None:
    """Nobody knows which of the two the pass has read."""

    async def scene(place: Place) -> None:
        place.pipeline.during = lambda: place.file.write_text("{ other }")
        place.worker.look()
        while len(place.published) < 2:
            await asyncio.sleep(0)
        place.pipeline.during = lambda: None
        place.file.write_text("{}")
        await place.until_runs(3)

    played(tmp_path, scene)


def test_a_deferral_is_tried_again_and_told_once(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.pipeline.end = (Outcome.DEFERRED, True)
        place.save("{ }")
        await place.until_runs(4)
        assert place.pipeline.status.retry_at is not None
        place.pipeline.end = (Outcome.APPLIED, False)
        await place.until_runs(5)

    told = [done.outcome for done in played(tmp_path, scene).published if done]
    assert told == [Outcome.APPLIED, Outcome.DEFERRED, Outcome.APPLIED]


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.UNCHANGED])
def test_the_same_verdict_on_the_same_bytes_is_told_once(tmp_path: Path, outcome: Outcome) -> None:
    async def scene(place: Place) -> None:
        place.pipeline.end = (outcome, False)
        for runs in (2, 3):
            place.worker.look()
            await place.until_runs(runs)
        place.save("{ }")
        await place.until_runs(4)

    told = [done.outcome for done in played(tmp_path, scene).published if done]
    assert told == [Outcome.APPLIED, outcome, outcome]


def test_a_broken_server_that_serves_again_is_looked_at_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event tells it, and the next retry is far away."""
    monkeypatch.setattr(worker, "_GLANCE", 0.02)

    async def scene(place: Place) -> None:
        place.pipeline.settings = Settings(gate=GateSettings(retry_seconds=60))
        await asyncio.sleep(0.1)
        assert place.pipeline.glances == 0, "of a server that is well nobody has to know"
        place.pipeline.end = (Outcome.BROKEN, True)
        place.worker.look()
        async with asyncio.timeout(5):
            while place.pipeline.glances < 3:
                await asyncio.sleep(0.01)
        assert len(place.pipeline.runs) == 2, "a glance that finds nobody is no turn"
        place.pipeline.end = (Outcome.UNCHANGED, False)
        place.pipeline.serves = True
        await place.until_runs(3)
        glances = place.pipeline.glances
        await asyncio.sleep(0.1)
        assert (len(place.pipeline.runs), place.pipeline.glances) == (3, glances)

    told = [done.outcome for done in played(tmp_path, scene).published if done]
    assert told == [Outcome.APPLIED, Outcome.BROKEN, Outcome.UNCHANGED]


def test_nothing_is_forgotten_that_is_heard_during_a_glance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_GLANCE", 0.02)

    async def scene(place: Place) -> None:
        loop = asyncio.get_running_loop()

        def heard() -> None:
            """As from the loop, while the glance is on its way."""
            place.pipeline.during_glance = lambda: None
            asyncio.run_coroutine_threadsafe(look(), loop).result()

        async def look() -> None:
            place.worker.look()

        place.pipeline.settings = Settings(gate=GateSettings(retry_seconds=60))
        place.pipeline.during_glance = heard
        place.pipeline.end = (Outcome.BROKEN, True)
        place.worker.look()
        await place.until_runs(3)

    played(tmp_path, scene)


def test_a_deferral_does_not_go_on_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(place: Place) -> None:
        place.pipeline.end = (Outcome.DEFERRED, True)
        place.save("{ }")
        async with asyncio.timeout(5):
            while "gave up" not in caplog.text:
                await asyncio.sleep(0.01)
        runs = len(place.pipeline.runs)
        await asyncio.sleep(0.1)
        assert len(place.pipeline.runs) == runs
        place.save("{  }")
        await place.until_runs(runs + 2)

    played(tmp_path, scene)
    assert "kea-agent reload dhcp4" in caplog.text


@pytest.mark.parametrize(
    "error", [RecursionError, OverflowError, KeyError("hunter2"), MemoryError, UnicodeError, ZeroDivisionError]
)
def test_a_mistake_ends_one_pass_and_is_tried_again(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(place: Place) -> None:
        def fail() -> None:
            place.pipeline.during = lambda: None
            raise error

        place.pipeline.during = fail
        place.save("{ }")
        await place.until_runs(3)  # the one that fails, and the retry

    found = played(tmp_path, scene)
    ends = [done for done in found.published if done]
    assert [done.is_mistake for done in ends] == [False, True, False]
    assert "ended a pass of dhcp4" in caplog.text
    assert "in fail" in caplog.text, "where it happened"
    assert "hunter2" not in caplog.text


def test_whoever_asked_is_told_of_a_mistake(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.pipeline.during = lambda: 1 / 0
        done = await asyncio.wait_for(place.worker.ask(Urge.AGAIN), 5)
        assert done.is_mistake
        assert "a mistake in the agent (ZeroDivisionError)" in done.reason

    played(tmp_path, scene)


def test_what_cannot_be_told_ends_nothing(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.worker._publish = lambda *_: 1 / 0  # type: ignore[assignment]
        place.save("{ }")
        await place.until_runs(2)
        place.save("{  }")
        await place.until_runs(3)

    played(tmp_path, scene)


def test_a_file_that_never_reads_the_same_twice_is_looked_at_less_and_less(tmp_path: Path) -> None:
    """Of the pauses, and not of the time: each is twice the one before."""
    pauses: list[float] = []

    async def scene(place: Place) -> None:
        numbers = iter(range(1000))

        def later(seconds: float, do: Callable[[], object]) -> None:
            pauses.append(seconds)
            loop.call_soon(do)

        loop = place.worker._loop
        place.worker._loop = _Loop(loop, later)  # type: ignore[assignment]
        place.pipeline.during = lambda: place.file.write_text(f"{{ {' ' * next(numbers)} }}")
        place.save("{ }")
        await place.until_runs(14)
        place.pipeline.during = lambda: None
        place.worker._loop = loop

    played(tmp_path, scene)
    assert pauses[0] == 0
    assert pauses[1:5] == [0.05, 0.1, 0.2, 0.4]
    assert max(pauses) <= 60


class _Loop:
    """The loop, with another way to wait."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, call_later: Callable[[float, Callable[[], object]], None]
    ) -> None:
        self._loop = loop
        self.call_later = call_later

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)
