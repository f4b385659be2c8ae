# SPDX-License-Identifier: MPL-2.0
"""systemd's view of Kea's units and of the agent's own as samples: what `systemctl show` would tell of them.

Facts: MemoryCurrent, TasksCurrent and CPUUsageNSec are 2^64-1 where systemd does not count; the times are
microseconds and 0 for never; MemoryPeak is there since systemd 255.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kea_agent.metrics.families import Definition, Sample, number
from kea_agent.proc import Usage

OWN_UNIT = "kea-agent.service"  # told of beside Kea's

_UNIT = ("unit",)

STATE = Definition("kea_unit_state", "The state of the systemd unit: 1 for the one it is in.", (*_UNIT, "state"))
RESTARTS = Definition(
    "kea_unit_restarts_total",
    "Times that systemd started the unit again by itself; a start by hand begins at 0.",
    _UNIT,
)
START = Definition("kea_unit_start_time_seconds", "When the unit's main process was started, in Unix time.", _UNIT)
MEMORY = Definition("kea_unit_memory_bytes", "Memory of the unit, as systemd counts it.", _UNIT)
MEMORY_PEAK = Definition("kea_unit_memory_peak_bytes", "The most memory that the unit has had since it started.", _UNIT)
CPU = Definition("kea_unit_cpu_seconds_total", "CPU time that the unit has used since it started.", _UNIT)
TASKS = Definition("kea_unit_tasks", "Processes and threads of the unit.", _UNIT)
RESULT = Definition(
    "kea_unit_result", "How the unit's last run ended, `success` while nothing went wrong: 1 for that.",
    (*_UNIT, "result"),
)  # fmt: skip
CAN_RELOAD = Definition("kea_unit_can_reload", "Whether `systemctl reload` works on the unit (1) or not (0).", _UNIT)
STALE = Definition(
    "kea_unit_needs_daemon_reload", "Whether the unit's files changed since systemd read them (1) or not (0).", _UNIT
)

DEFINITIONS = (STATE, RESTARTS, START, MEMORY, MEMORY_PEAK, CPU, TASKS, RESULT, CAN_RELOAD, STALE)

STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance")
RESULTS = (
    "success", "exit-code", "signal", "core-dump", "watchdog", "timeout", "oom-kill", "protocol", "resources",
    "start-limit-hit",
)  # fmt: skip

# What is read of a unit: the interface and the signature of each property.
PROPERTIES = {
    "LoadState": ("Unit", "s"),
    "ActiveState": ("Unit", "s"),
    "CanReload": ("Unit", "b"),
    "NeedDaemonReload": ("Unit", "b"),
    "NRestarts": ("Service", "u"),
    "Result": ("Service", "s"),
    "MainPID": ("Service", "u"),
    "ExecMainStartTimestamp": ("Service", "t"),
    "MemoryCurrent": ("Service", "t"),
    "MemoryPeak": ("Service", "t"),
    "CPUUsageNSec": ("Service", "t"),
    "TasksCurrent": ("Service", "t"),
}
_UNSET = (1 << 64) - 1


def samples(daemon: str, unit: str, told: Mapping[str, Any], usage: Callable[[int], Usage | None]) -> Iterator[Sample]:
    """Everything in the unit's properties; `usage` tells what a process uses, for what systemd does not count."""
    if told.get("LoadState") == "not-found":
        return
    key = (daemon, unit)
    yield from _one_of(STATE, key, STATES, told.get("ActiveState"))
    yield from _one_of(RESULT, key, RESULTS, told.get("Result"))
    for definition, name in ((CAN_RELOAD, "CanReload"), (STALE, "NeedDaemonReload")):
        if isinstance(told.get(name), (bool, int)):
            yield Sample(definition, key, float(bool(told[name])))
    if (restarts := number(told.get("NRestarts"))) is not None:
        yield Sample(RESTARTS, key, restarts)
    yield from _running(key, told, usage)


def _running(key: tuple[str, str], told: Mapping[str, Any], usage: Callable[[int], Usage | None]) -> Iterator[Sample]:
    pid, started = told.get("MainPID"), told.get("ExecMainStartTimestamp")
    if not isinstance(pid, int) or pid <= 0:
        return
    if isinstance(started, int) and started > 0:
        yield Sample(START, key, started / 1e6)
    counted = ("MemoryCurrent", "MemoryPeak", "CPUUsageNSec", "TasksCurrent")
    memory, peak, cpu, tasks = (_counted(told, name) for name in counted)
    process = None if None not in (memory, cpu, tasks) else usage(pid)
    found = {
        MEMORY: process.memory_bytes if memory is None and process else memory,
        MEMORY_PEAK: peak,
        CPU: process.cpu_seconds if cpu is None and process else cpu and cpu / 1e9,
        TASKS: process.threads if tasks is None and process else tasks,
    }
    for definition, value in found.items():
        if value is not None:
            yield Sample(definition, key, float(value))


def _counted(told: Mapping[str, Any], name: str) -> int | None:
    value = told.get(name)
    return value if isinstance(value, int) and value < _UNSET else None


def _one_of(definition: Definition, key: tuple[str, str], known: Iterable[str], state: object) -> Iterator[Sample]:
    """One sample a state; one that nobody knows yet (systemd adds some) comes to the others."""
    if isinstance(state, str):
        for each in dict.fromkeys([*known, state]):
            yield Sample(definition, (*key, each), float(each == state))
