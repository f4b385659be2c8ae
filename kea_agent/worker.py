# SPDX-License-Identifier: MPL-2.0
"""When it is one daemon's turn: after its files settled, when its unit changed, on a retry, or when asked.

The bytes decide: a turn that finds the same files as the last one, for no other reason, does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from kea_agent import keaconf, mistakes
from kea_agent.errors import AgentError
from kea_agent.outcome import Outcome, Pass, Urge
from kea_agent.pipeline import Pipeline
from kea_agent.settle import Settler
from kea_agent.watch import Kind

logger = logging.getLogger(__name__)

_LEVELS = {
    Outcome.REJECTED: logging.ERROR,
    Outcome.FAILED: logging.ERROR,
    Outcome.DEFERRED: logging.WARNING,
    Outcome.RECOVERED: logging.ERROR,
    Outcome.BROKEN: logging.CRITICAL,
}
# What is told and counted once for the same bytes and the same reason.
_QUIET = {Outcome.UNCHANGED, Outcome.REJECTED, Outcome.DEFERRED, Outcome.BROKEN}
# Seconds between two looks at a server that does not start, at most.
_LONGEST_PAUSE = 60.0
# Seconds between two glances at a server of which was said that nobody serves: it may have come back by itself.
_GLANCE = 1.0
_FIRST_UNREST = 0.05

_Asked = tuple[Urge, "asyncio.Future[Pass]"]


class Worker:
    """One daemon's place in the loop. `publish` is called after each turn, with the pass unless it is a repetition."""

    def __init__(self, pipeline: Pipeline, settler: Settler, publish: Callable[[Worker, Pass | None], None]) -> None:
        self.pipeline = pipeline
        self.settler = settler
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._is_wanted = True
        self._asked: list[_Asked] = []
        self._retry_at: float | None = None
        self._deferred_since: float | None = None
        self._pause = 0.0
        self._unrest = 0.0  # the pause before a file that never reads the same twice is looked at again
        self._seen = ""
        self._noticed: str | None = None
        self._last: Pass | None = None
        self.is_busy = False

    @property
    def name(self) -> str:
        """The daemon's name."""
        return self.pipeline.daemon.name

    @property
    def files(self) -> tuple[str, ...]:
        """The files that decide, main file first, including those that are missing."""
        status = self.pipeline.status
        return (status.config_file or self.pipeline.daemon.config_path, *status.included_files)

    def hint(self, kind: Kind, path: str) -> None:
        """Something happened to one of the files."""
        self.settler.hint(kind, path, self._loop.time())
        self._wake.set()

    def look(self) -> None:
        """Take a turn even if no file changed: the unit did, or the bus is back, or it is the first time."""
        self._is_wanted = True
        self._wake.set()

    def glance(self) -> None:
        """Take a turn in which the bytes alone decide: the safety poll. A writer at work is still waited for."""
        self.settler.hint(Kind.FINISHED, "", self._loop.time())
        self._wake.set()

    def notice(self, running_hash: str | None) -> None:
        """Somebody saw this hash run: one that is new and not from a pass was set over the control channel."""
        if not self.is_busy and running_hash not in (self._noticed, self.pipeline.status.running_hash):
            self._noticed = running_hash
            self.look()

    async def ask(self, urge: Urge) -> Pass:
        """Take a turn because somebody asked for it, and say how it ended."""
        answer: asyncio.Future[Pass] = self._loop.create_future()
        self._asked.append((urge, answer))
        self._wake.set()
        return await answer

    async def run(self) -> None:
        """Take turns until cancelled; whoever still waits for an answer then is told."""
        try:
            while True:
                await self._until_due()
                asked, self._asked = self._asked, []
                try:
                    await self._serve(asked)
                finally:
                    _give_up(asked)
        finally:
            _give_up(self._asked)

    async def _serve(self, asked: list[_Asked]) -> None:
        self.is_busy = True
        try:
            done, is_news = await self._turn(asked)
        except Exception as error:  # noqa: BLE001 - a mistake ends this turn, and neither the agent nor the other daemons' turns
            done, is_news = self._ended_by_a_mistake(error), True
        finally:
            self.is_busy = False
        if done is not None:
            self._publish_unless_mistaken(done if is_news else None)
            for _, answer in asked:
                if not answer.done():
                    answer.set_result(done)

    def _ended_by_a_mistake(self, error: Exception) -> Pass:
        done = self._last = self.pipeline.ended_by_a_mistake(mistakes.tell(f"a pass of {self.name}", error))
        self._retry_in(self._longer_pause())
        return done

    def _publish_unless_mistaken(self, done: Pass | None) -> None:
        try:
            self._publish(self, done)
        except Exception as error:  # noqa: BLE001 - what cannot be told must not end the turns
            mistakes.tell(f"telling how {self.name} is", error)

    async def _until_due(self) -> None:
        while not self._is_due():
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), self._patience())
            except TimeoutError:
                if await self._is_wrong_by_now():
                    self._is_wanted = True

    def _patience(self) -> float | None:
        """Seconds until something may be due; None where only a hint makes it so."""
        now = self._loop.time()
        pauses = [time - now for time in (self.settler.due(), self._retry_at) if time is not None]
        pauses += [_GLANCE] if self._is_broken() else []
        return max(0.0, min(pauses)) if pauses else None

    async def _is_wrong_by_now(self) -> bool:
        """Whether somebody serves of whom the last word is that nobody does: no event tells that one has started."""
        return self._is_broken() and await asyncio.to_thread(self.pipeline.is_served)

    def _is_broken(self) -> bool:
        return self._last is not None and self._last.outcome is Outcome.BROKEN

    def _is_due(self) -> bool:
        now = self._loop.time()
        is_time_for_retry = self._retry_at is not None and now >= self._retry_at
        return self._is_wanted or bool(self._asked) or is_time_for_retry or self.settler.ready(now)

    async def _turn(self, asked: list[_Asked]) -> tuple[Pass | None, bool]:
        """One look at the files; returns the pass that came of it, and whether it is news."""
        has_reason = self._is_wanted or bool(asked) or self._retry_at is not None
        self._is_wanted, self._retry_at = False, None
        settled = self.settler.taken(self._loop.time())
        seen = await self._fingerprint()
        is_same_file, self._seen = seen == self._seen, seen
        if is_same_file and not has_reason:
            logger.debug("%s: the same bytes again", self.name)
            return None, False
        if not is_same_file:
            self._deferred_since, self._pause = None, 0.0
        urge = max((urge for urge, _ in asked), default=Urge.IF_NEEDED)
        done, is_to_be_retried = await asyncio.to_thread(self.pipeline.run, settled=settled, urge=urge)
        is_news = not (is_same_file and self._is_repetition(done))
        self._plan_retry(done, is_to_be_retried)
        self._last = done
        self._tell(done, is_news)
        # What was written while the pass ran may have been read before or after: look at it by itself, whatever it is
        # then, but where the writing goes on no more often than ever.
        if await self._fingerprint() != self._seen:
            self._seen = ""
            self._glance_after_a_growing_pause()
        else:
            self._unrest = 0.0
        return done, is_news

    def _glance_after_a_growing_pause(self) -> None:
        """A file that reads differently each time (one of the kernel's, included) must not keep the host busy."""
        self._loop.call_later(self._unrest, self.glance)
        self._unrest = min(max(2 * self._unrest, _FIRST_UNREST), _LONGEST_PAUSE)

    def _is_repetition(self, done: Pass) -> bool:
        last = self._last
        return (
            last is not None and done.outcome in _QUIET and (last.outcome, last.reason) == (done.outcome, done.reason)
        )

    def _plan_retry(self, done: Pass, is_to_be_retried: bool) -> None:
        if is_to_be_retried and (done.outcome is not Outcome.DEFERRED or self.pipeline.status.on_fallback):
            self._retry_in(self._longer_pause())
            return
        self._pause = 0.0
        gate = self.pipeline.settings.gate
        now = self._loop.time()
        self._deferred_since = (self._deferred_since or now) if is_to_be_retried else None
        if self._deferred_since is None:
            return
        if now - self._deferred_since > gate.give_up_seconds:
            logger.error(
                "%s: gave up after %g s of waiting; save the file again or run: kea-agent reload %s",
                self.name,
                gate.give_up_seconds,
                self.name,
            )
            return
        self._retry_in(gate.retry_seconds)

    def _longer_pause(self) -> float:
        """A server that is down, or on its fallback, is never given up: the pauses grow to a minute, and stay there."""
        self._pause = min(max(self._pause * 2, self.pipeline.settings.gate.retry_seconds), _LONGEST_PAUSE)
        return self._pause

    def _retry_in(self, seconds: float) -> None:
        self._retry_at = self._loop.time() + seconds
        at = (self.pipeline.status.last.at if self.pipeline.status.last else 0.0) + seconds
        self.pipeline.status = replace(self.pipeline.status, retry_at=at)

    def _tell(self, done: Pass, is_news: bool) -> None:
        level = _LEVELS.get(done.outcome, logging.INFO) if is_news else logging.DEBUG
        logger.log(level, "%s: %s: %s", self.name, done.outcome, done.reason)

    async def _fingerprint(self) -> str:
        limit = self.pipeline.settings.check.max_config_bytes

        def fingerprint() -> str:
            return keaconf.fingerprint(keaconf.file_set(self.files[0], max_bytes=limit), max_bytes=limit)

        return await asyncio.to_thread(fingerprint)


def _give_up(asked: list[_Asked]) -> None:
    for _, answer in asked:
        if not answer.done():
            answer.set_exception(AgentError("the agent stopped looking before it had an answer"))
