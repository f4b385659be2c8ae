# SPDX-License-Identifier: MPL-2.0
"""The agent: one loop that hears (files, systemd, signals, people) and gives each daemon its turn.

Events are hints. At the start, after a reconnect, an overflow or a poll the world is read again and what is seen
decides. Nothing here waits: what blocks runs in the threads of the passes and of the web server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kea_agent import __version__, log, proc, settings, status, units
from kea_agent.bus import Bus
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.errors import AgentError, BusError
from kea_agent.history import History
from kea_agent.local import LocalServer
from kea_agent.metrics import (
    OWN_UNIT,
    PROPERTIES,
    AgentMetrics,
    Collection,
    Target,
    WatchCounters,
    Wishes,
    World,
    legacy_pages,
    rest,
)
from kea_agent.notify import Notifier
from kea_agent.outcome import DaemonStatus, Pass, Urge
from kea_agent.pipeline import Memory, Pipeline
from kea_agent.recovery import fallback_unit
from kea_agent.settle import Settler
from kea_agent.store import Store
from kea_agent.systemd import Systemd
from kea_agent.watch import Watcher
from kea_agent.web import Site
from kea_agent.worker import Worker

logger = logging.getLogger(__name__)

_POLL_WITHOUT_INOTIFY = 5.0


@dataclass(frozen=True)
class Places:
    """Where things are on this host."""

    settings: Path = Path("/etc/kea-agent")
    runtime: Path = Path("/run/kea-agent")
    state: Path = Path("/var/lib/kea-agent")
    web_config: str = ""  # instead of the setting


class _Seat:
    """What one pipeline needs of systemd, callable from its thread."""

    def __init__(self, systemd: Systemd, daemon: Daemon, configured: Callable[[], str | None]) -> None:
        self._systemd = systemd
        self._daemon = daemon
        self._configured = configured

    def unit(self) -> units.Unit | None:
        return self._systemd.from_thread(lambda _: self._systemd.discover(self._daemon, self._configured()))

    def fallback(self) -> units.Unit | None:
        return self._systemd.from_thread(lambda _: self._systemd.find(fallback_unit(self._daemon)))

    def reload(self, unit: units.Unit, timeout: float) -> str:
        return self._systemd.reload_from_thread(unit, timeout)

    def restart(self, name: str, timeout: float) -> str:
        return self._systemd.restart_from_thread(name, timeout)


class Agent:
    """Owns everything that lives as long as the process."""

    def __init__(self, places: Places, connect: Callable[[], Bus] = Bus) -> None:
        self._places = places
        self._connect = connect
        self._settings = settings.load(places.settings)
        log.configure(self._settings.agent.log_level)
        self._started_at = time.time()
        self._notifier = Notifier()
        self._watcher = Watcher()
        self._memory = Memory(Store(places.state), History(places.state, self._settings.history))
        world = World(self._targets, self._units, self._properties, self._noticed, self._wishes)
        self._collection = collection = Collection(world, rest)
        self._metrics = AgentMetrics(
            version=__version__, daemons=BY_NAME, statuses=self.statuses, watch=self._counters, kea=collection.collect
        )
        self._site = Site(
            render=self._metrics.chunks,
            statuses=self.statuses,
            ready=self._is_ready,
            more=legacy_pages(collection.collect),
        )
        self._site.configure(places.web_config or self._settings.web.config_file)
        # Not the threads of the passes: a scrape of a Kea that hangs takes one for seconds.
        self._scraper = ThreadPoolExecutor(1, "metrics")
        self._local = LocalServer(places.runtime / "agent.sock", self._handle)
        self._workers: dict[str, Worker] = {}
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._stopping = threading.Event()
        self._done = asyncio.Event()
        self._trouble = ""
        self._mistake = ""
        self._is_hearing = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises AgentError when it cannot begin, or cannot go on."""
        self._loop = asyncio.get_running_loop()
        self._systemd = Systemd(self._connect, self._units_changed, self._look_at_everything)
        self._systemd.open()
        self._seat_workers()
        self._site.open(self._settings.web.listen)
        await self._local.start()
        self._listen()
        self._publish_status()
        self._greet()
        try:
            await self._done.wait()
        finally:
            await self._stop()
        if self._mistake:
            raise AgentError(self._mistake)

    def statuses(self) -> list[DaemonStatus]:
        """What is known of each daemon that is looked after, installed or not."""
        return [worker.pipeline.status for worker in list(self._workers.values())]

    # -- beginning and end

    def _seat_workers(self) -> None:
        wanted = [BY_NAME[name] for name in self._settings.agent.daemons]
        for name in self._workers.keys() - {daemon.name for daemon in wanted}:
            self._turns.pop(name).cancel()
            del self._workers[name]
        for daemon in wanted:
            if daemon.name not in self._workers:
                self._seat(daemon)
        for worker in self._workers.values():
            worker.pipeline.settings = self._settings
            worker.settler = self._new_settler()

    def _seat(self, daemon: Daemon) -> None:
        seat = _Seat(self._systemd, daemon, lambda: self._settings.daemon[daemon.name].unit)
        pipeline = Pipeline(daemon, seat, self._memory, self._settings, self._stopping.wait)
        worker = Worker(pipeline, self._new_settler(), self._publish)
        self._workers[daemon.name] = worker
        self._turns[daemon.name] = self._loop.create_task(worker.run(), name=daemon.name)
        self._turns[daemon.name].add_done_callback(self._turn_ended)

    def _new_settler(self) -> Settler:
        pace = self._settings.settle
        return Settler(quiet=pace.quiet_seconds, unfinished=pace.unfinished_seconds, at_most=pace.at_most_seconds)

    def _turn_ended(self, task: asyncio.Task[None]) -> None:
        """A worker never returns: if it did, something is wrong with the agent, and systemd restarts it."""
        if not task.cancelled() and (error := task.exception()):
            self._mistake = f"{task.get_name()}: a mistake in the agent: {error!r}; Kea is not affected"
            logger.critical("%s", self._mistake, exc_info=error)
            self._done.set()

    def _listen(self) -> None:
        self._hear_files()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._done.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_settings)
        self._watch()
        self._loop.call_later(self._poll_seconds, self._poll)
        if self._notifier.watchdog_seconds:
            self._feed_watchdog(self._notifier.watchdog_seconds / 2)

    def _greet(self) -> None:
        logger.info(
            "kea-agent %s: watching %s with %d inotify watches",
            __version__,
            ", ".join(path for worker in self._workers.values() for path in worker.files),
            self._watcher.watches,
        )
        self._notifier.ready(self._summary())

    async def _stop(self) -> None:
        self._notifier.stopping()
        self._stopping.set()
        for task in self._turns.values():
            task.cancel()
        await asyncio.gather(*self._turns.values(), return_exceptions=True)
        self._local.stop()
        self._scraper.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._site.stop)
        self._systemd.close()
        self._watcher.close()
        logger.info("stopped; Kea goes on as it is")

    # -- what is heard

    def _files_changed(self) -> None:
        for hint in self._watcher.read():
            for worker in self._workers.values():
                if hint.path in worker.files:
                    worker.hint(hint.kind, hint.path)

    def _units_changed(self, names: set[str]) -> None:
        for worker in self._workers.values():
            if worker.pipeline.status.unit in names or fallback_unit(worker.pipeline.daemon) in names:
                self._unit_changed(worker)

    def _unit_changed(self, worker: Worker) -> None:
        """Take in what systemd says of a unit; a process that is new, or was reloaded by somebody, is looked at."""
        before, after = worker.pipeline.status, self._observe(worker)
        if worker.is_busy or after is None or _unit_of(after) == _unit_of(before):
            return
        worker.pipeline.status = after
        self._collection.forget()
        if not after.main_pid and after.unit_state:
            logger.warning("%s: %s is %s", worker.name, after.unit, after.unit_state)
        # A stop is a person's business; whatever else happened is looked at.
        is_stopped = (after.unit_state or "").startswith(("inactive", "deactivating"))
        if not is_stopped or after.on_fallback != before.on_fallback:
            worker.look()
        self._publish_status()

    def _observe(self, worker: Worker) -> DaemonStatus | None:
        daemon, configured = worker.pipeline.daemon, self._settings.daemon[worker.name].unit
        try:
            unit = self._systemd.discover(daemon, configured)
            is_down = unit is not None and not unit.is_running
            return worker.pipeline.observed(unit, self._systemd.find(fallback_unit(daemon)) if is_down else None)
        except BusError as error:
            logger.debug("%s: %s", worker.name, error)
            return None

    def _look_at_everything(self) -> None:
        for worker in self._workers.values():
            worker.look()

    def _poll(self) -> None:
        """The safety net: what no event told (bind mounts, lost signals, new packages) is found here."""
        self._loop.call_later(self._poll_seconds, self._poll)
        self._hear_files()
        self._watch()
        for worker in self._workers.values():
            self._unit_changed(worker)
            worker.glance()
        self._publish_status()

    @property
    def _poll_seconds(self) -> float:
        """Without inotify a poll is all there is."""
        wanted = self._settings.watch.poll_seconds
        return wanted if self._watcher.is_open else min(wanted, _POLL_WITHOUT_INOTIFY)

    def _hear_files(self) -> None:
        """Listen to inotify, or try again to have it: the host may have had no instance left."""
        if self._is_hearing or not (self._watcher.is_open or self._watcher.open()):
            return
        self._is_hearing = True
        self._loop.add_reader(self._watcher.fd, self._files_changed)

    def _feed_watchdog(self, period: float) -> None:
        self._systemd.drain()
        self._notifier.alive()
        self._loop.call_later(period, self._feed_watchdog, period)

    def _reload_settings(self) -> None:
        """SIGHUP: everything new or, if it is wrong, everything as it was and said so."""
        self._notifier.reloading()
        try:
            wanted = settings.load(self._places.settings)
            self._site.configure(self._places.web_config or wanted.web.config_file)
            self._settings = wanted
            self._trouble = ""
            log.configure(self._settings.agent.log_level)
            self._memory.history.limits = self._settings.history
            self._seat_workers()
            self._site.open(self._settings.web.listen)
            self._watch()
            self._look_at_everything()
            self._collection.forget()
            logger.info("settings read again")
        except AgentError as error:
            self._trouble = "settings not reloaded, the old ones hold; "
            for line in str(error).splitlines():
                logger.error("settings not reloaded, the old ones hold: %s", line)
        finally:
            self._notifier.ready(self._summary())

    # -- what is told

    def _publish(self, worker: Worker, done: Pass | None) -> None:
        self._watch()
        self._publish_status()
        # Whoever sees the pass counted finds it in the status.
        if done is not None:
            self._metrics.observe(worker.name, done)
            self._collection.forget()
        # What its unit did during the pass was not listened to.
        self._unit_changed(worker)

    def _publish_status(self) -> None:
        document = status.to_json(
            self.statuses(),
            version=__version__,
            pid=os.getpid(),
            pid_ticks=proc.started_ticks(os.getpid()),
            started_at=self._started_at,
            generated_at=time.time(),
        )
        try:
            status.write(self._places.runtime / "status.json", document)
        except AgentError as error:
            logger.warning("%s", error)
        self._notifier.status(self._summary())

    def _summary(self) -> str:
        """One line: what is wrong first, then how the daemons are."""
        words = [
            f"{each.daemon} {each.last.outcome if each.last else 'not looked at yet'}"
            + (", on its fallback" if each.on_fallback else "")
            for each in self.statuses()
            if each.unit or not each.last
        ]
        deaf = "" if self._watcher.is_open else f"inotify is unavailable, polling every {self._poll_seconds:g} s; "
        return self._trouble + deaf + ("; ".join(words) or "no Kea daemon is installed; looking again at every poll")

    def _watch(self) -> None:
        """Watch the files that matter now; what was read of one before it was watched may be old already."""
        fresh = self._watcher.want({path for worker in self._workers.values() for path in worker.files})
        for worker in self._workers.values():
            if not fresh.isdisjoint(worker.files):
                worker.glance()

    def _counters(self) -> WatchCounters:
        watcher = self._watcher
        return WatchCounters(watcher.watches, watcher.events, watcher.overflows, self._systemd.reconnects)

    def _targets(self) -> list[Target]:
        """The installed daemons, for a scrape; called, like the next ones, in threads of the web server."""
        pipelines = [worker.pipeline for worker in list(self._workers.values()) if worker.pipeline.status.unit]
        return [Target(each.daemon.name, each.status.main_pid, each.channel) for each in pipelines]

    def _units(self) -> dict[str, str]:
        found = {each.daemon: each.unit for each in self.statuses() if each.unit}
        return found | {"kea-agent": OWN_UNIT}

    def _properties(self, unit: str, timeout: float) -> dict[str, Any]:
        return self._systemd.properties_from_thread(unit, timeout, PROPERTIES)

    def _noticed(self, daemon: str, running_hash: str | None) -> None:
        if worker := self._workers.get(daemon):
            self._loop.call_soon_threadsafe(worker.notice, running_hash)

    def _wishes(self) -> Wishes:
        return Wishes(self._settings.web.scrape_timeout_seconds, self._settings.metrics.subnet_context_labels)

    # -- what is asked

    async def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("verb") == "metrics":
            page, _ = await self._loop.run_in_executor(self._scraper, self._metrics.render)
            return {"metrics": page.decode()}
        if request.get("verb") != "reload":
            raise AgentError(f"unknown verb {request.get('verb')!r}")
        names = request.get("daemons") or [each.daemon for each in self.statuses() if each.unit]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise AgentError("`daemons` is not a list of names")
        if unknown := [name for name in names if name not in self._workers]:
            raise AgentError(f"not looked after: {', '.join(unknown)}")
        passes = await asyncio.gather(*(self._workers[name].ask(_urge(request)) for name in names))
        return {"results": {name: _as_json(done) for name, done in zip(names, passes, strict=True)}}

    def _is_ready(self) -> bool:
        return all(each.last is not None for each in self.statuses())


def _unit_of(status: DaemonStatus) -> tuple[str | None, str | None, int | None]:
    return status.unit, status.unit_state, status.main_pid


def _urge(request: Mapping[str, Any]) -> Urge:
    if request.get("force") is True:
        return Urge.FORCE
    return Urge.AGAIN if request.get("again") is True else Urge.IF_NEEDED


def _as_json(done: Pass) -> dict[str, Any]:
    return {"outcome": done.outcome.value, "reason": done.reason, "at": done.at}
