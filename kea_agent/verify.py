# SPDX-License-Identifier: MPL-2.0
"""Is it serving, and what: nothing is believed but the server itself and the kernel.

After SIGHUP the proof goes in steps. The server *took* the file: its hash changed, or its last commit is younger
than the signal (`status-get` gives `reload`, whole seconds since the last successful commit; a failed reload does
not reset it). It *listens*: every socket that the file wants is open in the kernel, because a server that lost its
sockets to a failed reload still reports `sockets.status: ready` and its old hash (measured 2.2.0 to 3.0.4). And HA
is *back*. Kea answers commands on the thread that reloads: silence means busy, an answer means done or not begun.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from kea_agent import ha
from kea_agent.control import AbsentError, Channel, ask
from kea_agent.endpoints import Endpoints
from kea_agent.errors import ControlError
from kea_agent.sockets import Sockets, sockets, taken

# Answers without a new commit for this long after the signal mean that there will be none.
_REFUSED_AFTER = 2.0
# A server that reloads is silent; one that answered before, and on whose channel nobody listens this long, has lost it.
_GONE_AFTER = 4.0
# A Kea that does not survive a reload is gone sooner.
_DEATH = 1.0
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.25
# Seconds: a clock that is only slewed (NTP) is told from one that was set.
_STEP = 0.5
# CLOCK_REALTIME_COARSE of clock_gettime(2), for which Python has no name.
_COARSE = 5


# What is said of a server that has nothing open by which it could be judged.
UNPROVEN = "with neither control socket nor port nothing proves that it did"


class Standing(StrEnum):
    """What a server turned out to be after a reload."""

    SERVING = "serving"
    REFUSED = "refused"
    DEAF = "deaf"
    DEAD = "dead"
    SILENT = "silent"


@dataclass(frozen=True)
class Snapshot:
    """What a server said of itself; its last commit was from `commit_from` to before `commit_to` (times of Kea's clock).

    `age` is Kea's: the second it is now less the second of the commit, both cut off, in every version from 2.2 to 3.3.
    Commits in two different seconds of the clock can so be told apart, and two in the same second cannot.
    """

    hash: str | None
    age: int
    commit_from: float
    commit_to: float
    status: dict[str, Any]

    @property
    def socket_errors(self) -> list[str]:
        """Kea's own words on interface sockets that it could not open."""
        section = self.status.get("sockets")
        if not isinstance(section, dict) or section.get("status") == "ready":
            return []
        errors = section.get("errors")
        listed = errors if isinstance(errors, list) else []
        return [str(error) for error in listed] or [f"sockets are {section.get('status')}"]

    @property
    def is_disabled(self) -> bool:
        """Whether the DHCP service is switched off (known from Kea 2.6.2 and 2.7.1 on)."""
        section = self.status.get("dhcp-state")
        return isinstance(section, dict) and section.get("globally-disabled") is True


@dataclass(frozen=True)
class Target:
    """The server to be looked at, and what its file wants of it."""

    pid: int
    endpoints: Endpoints
    wants_ha: bool = False
    listeners: tuple[ha.Listener, ...] = ()

    @classmethod
    def of(cls, pid: int, endpoints: Endpoints, root: Mapping[str, Any]) -> Self:
        """A process that is to serve a configuration (the map under its root key)."""
        return cls(pid, endpoints, ha.is_configured(root), ha.listeners(root))


def clock_offset() -> float:
    """How far the clock is ahead of the time since boot, in seconds: it changes when the clock is set."""
    return time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Before:
    """The same server before the signal (a time of Kea's clock); `snapshot` is None where it could not be asked.

    `offset` is how far that clock was ahead of the one that nobody sets.
    """

    signalled: float
    snapshot: Snapshot | None
    sockets: Sockets
    offset: float = field(default_factory=clock_offset)

    @property
    def elapsed(self) -> float:
        """Seconds since the signal, whatever was done to the clock meanwhile."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.offset - self.signalled

    @property
    def clock_was_set(self) -> bool:
        """Whether times from before and after the signal cannot be compared."""
        return abs(clock_offset() - self.offset) > _STEP


@dataclass(frozen=True)
class Limits:
    """Seconds: for one command, for the reload to be taken, for HA to be back (0: not waited for).

    `sockets`: how long after its commit a server may open them; the DDNS daemon takes a moment.
    """

    command: float = 5.0
    answer: float = 60.0
    ha: float = 90.0
    sockets: float = 2.0


@dataclass(frozen=True)
class Proof:
    """The finding and the sentence that goes with it."""

    standing: Standing
    reason: str
    snapshot: Snapshot | None = None


def keas_time() -> float:
    """The Unix time on Kea's clock, time(2), which begins each second up to a tick after time.time() (seen: 4 ms).

    An age that Kea gave in such a moment, taken from a time of the other clock, would put its commit a second too late.
    """
    return time.clock_gettime(_COARSE)


def snapshot(channel: Channel, timeout: float) -> Snapshot:
    """Ask a server for its status and hash; raises ControlError when it cannot be asked."""
    offset = clock_offset()
    asked = keas_time()
    status = ask(channel, "status-get", timeout=timeout)
    answered = time.time()
    if abs(clock_offset() - offset) > _STEP:
        raise ControlError(f"status-get: {channel}: the clock was set while it was asked")
    age = status.arguments.get("reload")
    if status.result != 0 or not isinstance(age, int):
        raise ControlError(f"status-get: {channel}: {status.text or 'no reload time in the answer'}")
    # Kea before 2.4 has no hash.
    digest = ask(channel, "config-hash-get", timeout=timeout).arguments.get("hash")
    return Snapshot(
        str(digest) if digest else None,
        age,
        math.floor(asked) - age,
        math.floor(answered) - age + 1,
        status.arguments,
    )


def before(
    endpoints: Endpoints, channel: Channel | None, pid: int, timeout: float, pause: Callable[[float], object]
) -> Before:
    """The server right before the signal, as far as it can be asked on `channel` within `timeout` seconds a command.

    A commit in the same second of the clock as the last one could not be told from it: that second is waited for.
    """
    seen = _asked(channel, timeout)
    while seen is not None and seen.age == 0:
        pause(_LONGEST_PAUSE)
        seen = _asked(channel, timeout)
    return Before(keas_time(), seen, endpoints.sockets(pid))


def before_start(began: float) -> Before:
    """Nothing was there before a start that began then (Unix time): whatever its process commits is new."""
    return Before(math.floor(began), None, Sockets({}, {}, frozenset(), {}))


def took(before: Before, now: Snapshot) -> bool:
    """Whether a commit after the signal is proven."""
    old = before.snapshot
    if old is None:
        return now.commit_from >= before.signalled and not before.clock_was_set
    is_new = None not in (old.hash, now.hash) and now.hash != old.hash
    if before.clock_was_set:
        # Kea has the time of its commit from the clock as it was then: the same commit is told as the same time.
        return is_new or now.commit_from >= old.commit_to or now.commit_to <= old.commit_from
    return is_new or now.commit_from >= min(old.commit_to, before.signalled)


@dataclass(frozen=True)
class Prover:
    """Follows one server after SIGHUP until it is proven to serve the new configuration, or proven not to.

    `main_pid` tells the unit's main process as it is now; `pause` sleeps (seconds).
    """

    target: Target
    before: Before
    limits: Limits
    main_pid: Callable[[], int]
    pause: Callable[[float], object] = time.sleep

    def prove(self) -> Proof:
        """Take, listen, back: the first of these that fails is the finding."""
        proof = self._seen() if self.target.endpoints.is_anything else self._survived()
        if self.main_pid() != self.target.pid:
            # What was seen then says nothing: a successor answers on the same socket.
            return Proof(Standing.DEAD, f"its main process {self.target.pid} is gone")
        if proof.standing is Standing.SERVING and proof.snapshot:
            proof = replace(proof, reason=proof.reason + _partner_note(self.target, proof.snapshot))
        return proof

    def _seen(self) -> Proof:
        proof = self._taken()
        if proof.standing is Standing.SERVING:
            proof = self._listening()
        if proof.standing is Standing.SERVING and self.target.wants_ha and self.limits.ha:
            proof = self._back()
        return proof

    def _taken(self) -> Proof:
        silence: ControlError | None = None
        seen: Snapshot | None = None
        for _ in self._until(time.monotonic() + self.limits.answer):
            asked = self.before.elapsed
            seen, silence = self._look()
            if self._has_taken(seen):
                return Proof(Standing.SERVING, "it runs the new configuration", seen)
            if seen and self._will_not_take(seen, asked):
                return self._refused(seen)
            if silence and self._lost_its_channel(asked, silence):
                break
        if self.before.clock_was_set and seen and not gaps(self.target, seen):
            words = "the clock was set meanwhile, and nothing proves that it took the file; it serves"
            return Proof(Standing.REFUSED, words, seen)
        return self._unproven(str(silence or ""))

    def _survived(self) -> Proof:
        """All that can be said of a server that opens nothing: that the reload did not kill it."""
        for _ in self._until(time.monotonic() + _DEATH):
            pass
        return Proof(Standing.SERVING, UNPROVEN)

    def _listening(self) -> Proof:
        missing: list[str] = []
        for _ in self._until(time.monotonic() + self.limits.sockets):
            seen, silence = self._look()
            missing = gaps(self.target, seen) + ([str(silence)] if silence else []) + self._newly_disabled(seen)
            missing += self._not_anew()
            if not missing:
                return Proof(Standing.SERVING, "it serves the new configuration", seen)
        return Proof(Standing.DEAF, f"it took the file but does not serve: {'; '.join(missing)}")

    def _back(self) -> Proof:
        pair: tuple[ha.Relationship, ...] = ()
        seen: Snapshot | None = None
        for _ in self._until(time.monotonic() + self.limits.ha):
            seen, _ = self._look()
            pair = ha.relationships(seen.status) if seen else ()
            if pair and all(relationship.is_back for relationship in pair):
                return Proof(Standing.SERVING, f"it serves the new configuration, HA is {pair[0].local_state}", seen)
            if pair and all(relationship.is_back or relationship.is_alone for relationship in pair):
                break
        states = ", ".join(relationship.local_state for relationship in pair) or "unknown"
        if pair and all(relationship.is_serving for relationship in pair):
            return Proof(
                Standing.SERVING, f"it serves the new configuration, HA is {states}: look at the partner", seen
            )
        return Proof(Standing.DEAF, f"HA is {states} after {self.limits.ha:g} s and serves nobody", seen)

    def _look(self) -> tuple[Snapshot | None, ControlError | None]:
        """The server's own word, or why there is none; a server without a control socket is not blamed for it."""
        if self.target.endpoints.control is None:
            return None, None
        try:
            return snapshot(self.target.endpoints.control, self.limits.command), None
        except ControlError as error:
            return None, error

    def _lost_its_channel(self, asked: float, silence: ControlError) -> bool:
        # On a TCP port somebody else may be, who says anything or nothing.
        port = self.target.endpoints.tcp
        if port is not None and port in taken(self.target.pid):
            return True
        is_gone = isinstance(silence, AbsentError) or port is not None
        return is_gone and self.before.snapshot is not None and asked > _GONE_AFTER

    def _has_taken(self, seen: Snapshot | None) -> bool:
        if seen is None:
            return self.target.endpoints.control is None and self._reopened()
        # Commits are known to a second: where that leaves it open, the sockets tell.
        may_be_new = seen.commit_to >= self.before.signalled or self.before.clock_was_set
        return took(self.before, seen) or (may_be_new and self._reopened())

    def _will_not_take(self, seen: Snapshot, asked: float) -> bool:
        # An answer that was long in coming may have been asked for before the reload began.
        is_late = asked > _REFUSED_AFTER
        is_old = seen.commit_to < self.before.signalled and not self.before.clock_was_set
        return is_late and (is_old or self._kept())

    def _unproven(self, silence: str) -> Proof:
        if lost := self._lost():
            return Proof(Standing.DEAF, "; ".join(filter(None, (silence, lost))))
        if silence and self._reopened():
            return Proof(Standing.SILENT, f"it listens again, but its control channel is gone: {silence}; restart it")
        within = f"within {self.limits.answer:g} s"
        if self.target.endpoints.control is None and self._kept():
            return Proof(Standing.REFUSED, f"it did not open its sockets anew {within}, so it did not take the file")
        return Proof(Standing.SILENT, silence or f"nothing proved {within} that it took the file")

    def _refused(self, seen: Snapshot) -> Proof:
        if lost := self._lost():
            return Proof(Standing.DEAF, f"it did not take the file and lost its sockets: {lost}", seen)
        endpoints = self.target.endpoints
        if endpoints.wants_port and endpoints.is_closed(endpoints.sockets(self.target.pid)):
            return Proof(Standing.DEAF, f"it did not take the file, and its port {endpoints.port} is closed", seen)
        return Proof(Standing.REFUSED, "it did not take the file and still serves the old one", seen)

    def _not_anew(self) -> list[str]:
        # The DDNS daemon lets go of its port a moment after its commit: the old socket proves nothing.
        address = self.target.endpoints.udp
        is_old = address is not None and self._kept()
        return [f"UDP {address[0]}:{address[1]} was not opened anew"] if address and is_old else []

    def _newly_disabled(self, seen: Snapshot | None) -> list[str]:
        # HA disables and enables the service by itself; an operator's dhcp-disable outlives a reload.
        was_disabled = bool(self.before.snapshot and self.before.snapshot.is_disabled)
        blamed = seen is not None and seen.is_disabled and not was_disabled and not self.target.wants_ha
        return ["the DHCP service is disabled"] if blamed else []

    def _lost(self) -> str:
        """The sockets that were open before the signal and are not now, as a phrase."""
        now, port = self.target.endpoints.sockets(self.target.pid), self.target.endpoints.port
        gone = {e for e in self.before.sockets.udp if e[1] == port and e not in now.udp}
        gone |= {e for e in self.before.sockets.tcp if e[1] == port and e not in now.tcp}
        closed = [f"{host}:{port}" for host, port in sorted(gone)]
        # Without `raw` they belong to another Kea daemon of the same user.
        packet = self.before.sockets.packet - now.packet if self.target.endpoints.raw else ()
        closed += [f"packet socket on {name}" for name in sorted(packet)]
        return f"closed: {', '.join(closed)}" if closed else ""

    def _reopened(self) -> bool:
        """The only proof without a control socket: the port is open and none of its sockets is an old one."""
        new = self._inodes(self.target.endpoints.sockets(self.target.pid))
        return bool(new) and not new & self._inodes(self.before.sockets)

    def _kept(self) -> bool:
        """A reload opens every socket anew: while the old ones are all there, none has worked."""
        old = self._inodes(self.before.sockets)
        return bool(old) and old <= self._inodes(self.target.endpoints.sockets(self.target.pid))

    def _inodes(self, sockets: Sockets) -> set[str]:
        return {inode for (_, port), inode in sockets.udp.items() if port == self.target.endpoints.port}

    def _until(self, deadline: float) -> Iterator[None]:
        """Yield at least once, then with growing pauses until the deadline (monotonic seconds).

        It ends early when the process is gone, or when a pause is true: an Event's wait that was interrupted.
        """
        length = _FIRST_PAUSE
        yield
        while time.monotonic() < deadline and self.main_pid() == self.target.pid:
            if self.pause(length):
                return
            length = min(length * 1.5, _LONGEST_PAUSE)
            yield


def _asked(channel: Channel | None, timeout: float) -> Snapshot | None:
    """What the server says; one that cannot be asked is proven by the time of its commit or its sockets alone."""
    if channel is None:
        return None
    try:
        return snapshot(channel, timeout)
    except ControlError:
        return None


def serves(target: Target, timeout: float) -> bool:
    """Whether a server has open, now, all that its configuration wants, and answers (within `timeout` seconds a command)."""
    channel = target.endpoints.control
    seen = _asked(channel, timeout)
    return (seen is not None or channel is None) and not gaps(target, seen)


def gaps(target: Target, seen: Snapshot | None) -> list[str]:
    """What the configuration wants and the server does not have, in phrases."""
    found = target.endpoints.missing(target.endpoints.sockets(target.pid))
    if seen is not None:
        found += seen.socket_errors
        if target.wants_ha and not ha.relationships(seen.status):
            found.append("HA is configured but not running")
        found += _deaf_to_partner(target, seen)
    return found


def _deaf_to_partner(target: Target, seen: Snapshot) -> list[str]:
    """HA listeners that are not open: Kea takes a file although it cannot open one (2.2.0 to 3.0.4)."""
    wanted = _wanted_listeners(target, seen)
    opened = sockets(target.pid, tcp=True).tcp if wanted else {}
    anywhere = {port for host, port in opened if host in ("0.0.0.0", "::")}  # noqa: S104 - compared with
    return [
        f"the HA listener {host}:{port} is not open"
        for host, port in wanted
        if (host, port) not in opened and port not in anywhere
    ]


def _wanted_listeners(target: Target, seen: Snapshot) -> list[tuple[str, int]]:
    # The hash came with 2.4, and the listener as a default shortly before.
    return [each.address for each in target.listeners if each.is_explicit or seen.hash]


def _partner_note(target: Target, seen: Snapshot) -> str:
    """What to add of a server that serves while another program has its HA listener's port, with which Kea goes on."""
    wanted = _wanted_listeners(target, seen)
    others = taken(target.pid) if wanted else frozenset()
    lost = [f"{host}:{port}" for host, port in wanted if {(host, port), ("0.0.0.0", port), ("::", port)} & others]  # noqa: S104 - compared with
    return f"; but another program has {', '.join(lost)}, so the HA partner cannot reach this server" if lost else ""
