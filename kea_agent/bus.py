# SPDX-License-Identifier: MPL-2.0
"""systemd over D-Bus; the only importer of pystemd.

What pystemd 0.11 to 0.15 does and this module works around, each measured:
- A synchronous call pulls waiting signals into sd-bus's own queue, after which the descriptor is not readable:
  `drain` runs after every call, not only when the loop sees the descriptor.
- `process` says nothing of whether it did something: an empty message ends the round, and only an unreadable
  descriptor ends the draining.
- A signal callback is not kept alive, bound methods are refused, and an exception in one comes out of `process`
  as something else: callbacks are small objects held here that only append to a list.
- Failed calls leak about 1 KiB each: units are found with LoadUnit, which does not fail for an unknown name.
- `str()` of its errors holds bytes and jokes: messages are made from the error's parts.
- Every call holds Python's interpreter lock and waits up to 25 s. `SYSTEMD_BUS_TIMEOUT` (set in the agent's unit)
  is libsystemd's own bound for that.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from pystemd.dbusexc import (
    DBusAccessDeniedError,
    DBusBaseError,
    DBusInteractiveAuthorizationRequiredError,
    DBusNoSuchUnitError,
    DBusUnknownPropertyError,
)
from pystemd.dbuslib import DBus, apply_signature

from kea_agent.errors import BusError, DeniedError, NoPropertyError, NoReloadError, NoUnitError

logger = logging.getLogger(__name__)

_SYSTEMD = b"org.freedesktop.systemd1"
_MANAGER_PATH = b"/org/freedesktop/systemd1"
_MANAGER = b"org.freedesktop.systemd1.Manager"
_PROPERTIES = b"org.freedesktop.DBus.Properties"
_MAX_ROUNDS = 1000
_JOB_TYPE_NOT_APPLICABLE = "org.freedesktop.systemd1.JobTypeNotApplicable"


class _Collector:
    """A signal callback: takes the message apart and appends it, nothing else (see above)."""

    def __init__(self, into: list[Any]) -> None:
        self._into = into

    def __call__(self, message: Any, error: object = None, userdata: object = None) -> None:
        message.process_reply(False)
        self._into.append(message.body)


class _UnitChanged:
    """PropertiesChanged of one unit: only that it happened matters, the world is read again anyway."""

    def __init__(self, unit: str, into: list[str]) -> None:
        self._unit = unit
        self._into = into

    def __call__(self, message: Any, error: object = None, userdata: object = None) -> None:
        self._into.append(self._unit)


class Bus:
    """One connection to systemd on the system bus; a dead connection is replaced by a new Bus, never revived."""

    def __init__(self, connection: DBus | None = None) -> None:
        self._jobs: list[Any] = []
        self._changed: list[str] = []
        self._callbacks: list[Callable[..., None]] = []
        self._watched: set[str] = set()
        self._absent: set[str] = set()
        self._connection = connection or DBus()
        self._guard("connect", "the system bus", self._connection.open)
        self._subscribe()

    @property
    def fd(self) -> int:
        """The descriptor to poll; raises BusError when the connection is dead (pystemd returns an errno instead)."""
        fd = self._connection.get_fd()
        if fd < 0:
            raise BusError(f"the connection to the system bus is gone: {os.strerror(-fd).lower()}")
        return fd

    def close(self) -> None:
        """Give the connection up; safe on a dead one."""
        try:
            self._connection.close()
        except DBusBaseError:
            logger.debug("closing a dead bus connection")

    def drain(self) -> None:
        """Handle everything that has arrived; raises BusError when the connection turns out to be dead."""
        for _ in range(_MAX_ROUNDS):
            message = self._guard("read", "the system bus", self._connection.process)
            if message.is_empty() and not select.select([self.fd], [], [], 0)[0]:
                return

    def take_finished_jobs(self) -> dict[str, str]:
        """Results by job path (`done`, `failed`, `timeout`, `canceled`, ...) of jobs that ended since the last call."""
        ended = {_text(path): _text(result) for _, path, _, result in self._jobs}
        self._jobs.clear()
        return ended

    def take_changed_units(self) -> set[str]:
        """Unit ids whose properties changed since the last call."""
        changed = set(self._changed)
        self._changed.clear()
        return changed

    def load_unit(self, name: str) -> str:
        """The unit's object path; an unknown name has one too, with LoadState `not-found`."""
        return _text(self._manager("LoadUnit", name, name).body)

    def loaded_unit(self, name: str) -> str | None:
        """The object path of a unit that systemd has in memory, as one that runs or failed; None for any other.

        `load_unit` would bring it in, and that tells every unit that it conflicts with of a change.
        """
        try:
            return _text(self._manager("GetUnit", name, name).body)
        except NoUnitError:
            return None

    def reload_unit(self, name: str) -> str:
        """Queue a reload job and return its path; raises NoReloadError where there is no ExecReload."""
        return self.job("ReloadUnit", name)

    def job(self, method: str, name: str) -> str:
        """Queue a job (`StartUnit`, `StopUnit`, `RestartUnit`, `ReloadUnit`) and return its path."""
        return _text(self._manager(method, name, name, "replace").body)

    def wait_for_job(self, path: str, timeout: float) -> str:
        """The result of a job, waited for (seconds), or `timeout`; for commands, which have nothing else to do."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if result := self.take_finished_jobs().get(path):
                return result
            select.select([self.fd], [], [], left)
            self.drain()
        return "timeout"

    def kill_main(self, name: str, signal_number: int) -> None:
        """Send a signal to the unit's main process."""
        self._call("KillUnit", name, apply_signature(b"ssi", [name.encode(), b"main", signal_number]))

    def get(self, path: str, interface: str, name: str, signature: str) -> Any:
        """One property; strings come back as str. `interface` is `Unit` or `Service`."""
        full = _SYSTEMD + b"." + interface.encode()
        value = self._guard(
            f"read {name} of", path, self._connection.get_property, _SYSTEMD, path.encode(), full, name.encode(),
            signature.encode(),
        )  # fmt: skip
        self.drain()
        return _decoded(value)

    def properties(self, path: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        """Those of a unit's properties that this systemd has; `wanted` gives the interface and the signature of each.

        One by one: systemd makes up all 450 of them for GetAll, and twelve take 1 ms, half of that (measured, 257).
        """
        found = {}
        for name, (interface, signature) in wanted.items():
            if name not in self._absent:
                try:
                    found[name] = self.get(path, interface, name, signature)
                except NoPropertyError:
                    # Once, because each failure leaks.
                    self._absent.add(name)
        return found

    def watch_unit(self, unit: str, path: str) -> None:
        """Report the unit in `take_changed_units` whenever systemd says that something about it changed."""
        if path not in self._watched:
            self._watched.add(path)
            self._match(path.encode(), _PROPERTIES, b"PropertiesChanged", _UnitChanged(unit, self._changed))

    def _subscribe(self) -> None:
        # Without Subscribe systemd sends no signals at all.
        self._call("Subscribe", "systemd's signals", [])
        self._match(_MANAGER_PATH, _MANAGER, b"JobRemoved", _Collector(self._jobs))

    def _match(self, path: bytes, interface: bytes, member: bytes, callback: Callable[..., None]) -> None:
        self._callbacks.append(callback)
        subject = member.decode()
        self._guard("subscribe to", subject, self._connection.match_signal, _SYSTEMD, path, interface, member, callback)

    def _manager(self, method: str, subject: str, *arguments: str) -> Any:
        return self._call(method, subject, apply_signature(b"s" * len(arguments), [a.encode() for a in arguments]))

    def _call(self, method: str, subject: str, arguments: list[Any]) -> Any:
        reply = self._guard(
            method, subject, self._connection.call_method, _SYSTEMD, _MANAGER_PATH, _MANAGER, method.encode(), arguments
        )
        self.drain()
        return reply

    def _guard(self, what: str, subject: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except DBusBaseError as error:
            raise _kind(error)(f"{what} {subject}: {_explain(error)}") from error


def _kind(error: DBusBaseError) -> type[BusError]:
    if isinstance(error, (DBusAccessDeniedError, DBusInteractiveAuthorizationRequiredError)):
        return DeniedError
    if isinstance(error, DBusUnknownPropertyError):
        return NoPropertyError
    if isinstance(error, DBusNoSuchUnitError):
        return NoUnitError
    return NoReloadError if _text(error.err_name or b"") == _JOB_TYPE_NOT_APPLICABLE else BusError


def _explain(error: DBusBaseError) -> str:
    said = _text(error.err_message or b"").strip().rstrip(".")
    return said or os.strerror(abs(error.errno or 0)).lower()


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return [_decoded(part) for part in value]
    return value
