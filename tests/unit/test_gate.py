# SPDX-License-Identifier: MPL-2.0
"""Each obstacle, with real processes behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBus, running

from kea_agent.daemons import DHCP4
from kea_agent.gate import (
    Obstacle,
    ha_obstacle,
    lease_cleanup_obstacle,
    link_obstacle,
    silence_obstacle,
    starting_obstacle,
    unit_obstacle,
)
from kea_agent.units import Unit, discover

NAME = "kea-dhcp4-server.service"
LATE = """
import signal, sys
print(flush=True)
sys.stdin.readline()
signal.signal(signal.SIGHUP, print)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def starting_child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that handles SIGHUP only after a line on its standard input."""
    command = [sys.executable, "-I", "-S", "-c", LATE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def unit(**properties: Any) -> Unit:
    found = discover(FakeBus({NAME: running("kea-dhcp4", **properties)}), DHCP4)
    assert found is not None
    return found


def test_a_running_unit_is_no_obstacle() -> None:
    assert unit_obstacle(unit()) is None


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"Unit_LoadState": "masked"}, f"{NAME} is masked"),
        (
            {"Unit_ActiveState": "inactive", "Unit_SubState": "dead"},
            f"{NAME} is inactive (dead); the file will be read when it starts",
        ),
        (
            {"Unit_ActiveState": "failed", "Unit_SubState": "failed"},
            f"{NAME} is failed (failed); the file will be read when it starts",
        ),
    ],
)
def test_a_unit_that_does_not_run_waits_for_its_start(properties: dict[str, str], reason: str) -> None:
    assert unit_obstacle(unit(pid=0, **properties)) == Obstacle(reason, retry=False)


def test_a_daemon_that_has_started() -> None:
    pauses: list[float] = []
    with starting_child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert starting_obstacle(process.pid, 0, pauses.append) is None
    assert pauses == []


def test_a_daemon_that_is_starting_is_waited_for() -> None:
    with starting_child() as process:

        def pause(_: float) -> None:
            if process.stdin is not None and process.stdout is not None and not process.stdin.closed:
                process.stdin.write(b"\n")
                process.stdin.flush()
                process.stdout.readline()

        assert starting_obstacle(process.pid, 5, pause) is None
        process.send_signal(signal.SIGHUP)
        assert process.poll() is None


def test_a_daemon_that_never_starts() -> None:
    pauses: list[float] = []
    with starting_child() as process:
        found = starting_obstacle(process.pid, 0.1, pauses.append)
        assert found == Obstacle(f"process {process.pid} has not finished starting after 0.1 s")
    assert 0.1 <= sum(pauses) < 0.15


def never(seconds: float) -> None:
    raise AssertionError(seconds)


def test_a_daemon_that_died_is_not_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as process:
        process.wait()
        assert starting_obstacle(process.pid, 30, never) == Obstacle(f"process {process.pid} is gone")


@contextmanager
def lease_cleanup(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = directory / "kea-lfc"
    script.write_text("#!/bin/sh\necho\nread -r line\n")
    script.chmod(0o755)
    with subprocess.Popen([script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (directory / "leases.csv.pid").write_text(f"{process.pid}\n")
        yield process


def test_lease_cleanup_is_an_obstacle_while_it_runs(tmp_path: Path) -> None:
    status = {"csv-lease-file": str(tmp_path / "leases.csv")}
    assert lease_cleanup_obstacle(status) is None
    with lease_cleanup(tmp_path) as process:
        found = lease_cleanup_obstacle(status)
        assert found is not None
        assert f"process {process.pid}" in found.reason
        assert found.retry
    assert lease_cleanup_obstacle(status) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"no number", b"0", b"-1", b"99999999999999999999"])
def test_a_damaged_pid_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "leases.csv.pid").write_bytes(content)
    assert lease_cleanup_obstacle({"csv-lease-file": str(tmp_path / "leases.csv")}) is None


def test_a_pid_that_somebody_else_has_now(tmp_path: Path) -> None:
    (tmp_path / "leases.csv.pid").write_text(str(os.getpid()))
    assert lease_cleanup_obstacle({"csv-lease-file": str(tmp_path / "leases.csv")}) is None


@pytest.mark.parametrize("value", [None, 1, [], "nul\0"])
def test_lease_files_that_are_none(value: object) -> None:
    assert lease_cleanup_obstacle({"csv-lease-file": value}) is None


def test_ha() -> None:
    servers = {"local": {"state": "hot-standby", "role": "primary"}, "remote": {"in-touch": False, "last-state": ""}}
    status = {"high-availability": [{"ha-mode": "hot-standby", "ha-servers": servers}]}
    reason = "this server is not in touch with its HA partner, so a reload could leave nobody serving"
    assert ha_obstacle(status) == Obstacle(reason)
    assert ha_obstacle({}) is None


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"eth0": "up", "wg0": "unknown"}, ""),
        ({"eth0": "down", "eth1": "up"}, "no link on eth0, so a reload would close its sockets for good"),
        ({"eth0": "lowerlayerdown", "eth1": "down"}, "no link on eth0, eth1, so a reload would"),
    ],
)
def test_a_link_that_is_down(tmp_path: Path, states: dict[str, str], expected: str) -> None:
    for name, state in states.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "operstate").write_text(state + "\n")
    found = link_obstacle([*states, "not-there"], tmp_path)
    assert (found.reason if found else "").startswith(expected)
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(("cpu_seconds", "longest"), [(0.0, 10.0), (10.0, 10.0), (500.0, 0.0)])
def test_a_file_that_is_loaded_soon_enough(cpu_seconds: float, longest: float) -> None:
    assert silence_obstacle(cpu_seconds, longest) is None


def test_a_file_that_takes_long_to_load_waits_for_a_person() -> None:
    found = silence_obstacle(21.4, 10.0)
    assert found is not None
    assert "busy for 21 s" in found.reason
    assert "gate.longest_silence_seconds = 10" in found.reason
    assert not found.retry
