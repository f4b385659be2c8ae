# SPDX-License-Identifier: MPL-2.0
"""What `kea-agent status` exits with: how the last passes ended, and whether what should run does."""

from __future__ import annotations

import pytest

from kea_agent import status
from kea_agent.errors import ExitCode
from kea_agent.outcome import DaemonStatus, Outcome, Pass
from kea_agent.units import Unit
from kea_agent.verbs.status import worst

NAME = "kea-dhcp4-server.service"


def document(outcome: Outcome | None, *, on_fallback: bool = False) -> status.Document:
    last = Pass(outcome, "because", 1.0) if outcome else None
    known = DaemonStatus("dhcp4", unit=NAME, last=last, on_fallback=on_fallback)
    fine = DaemonStatus("dhcp6", unit="six.service", last=Pass(Outcome.UNCHANGED, "because", 1.0))
    absent = DaemonStatus("ddns", last=Pass(Outcome.DEFERRED, "no unit of ddns is installed", 1.0))
    return status.to_json([known, fine, absent], version="1", pid=1, started_at=1.0, generated_at=1.0)


def unit(state: str, *, load: str = "loaded", result: str = "success", file_state: str = "enabled") -> Unit:
    pid = 7 if state == "active" else 0
    return Unit(NAME, "/u", load, state, "", pid, True, (), {}, result=result, unit_file_state=file_state)


RUNS = unit("active")
STOPPED = unit("inactive")
DISABLED = unit("inactive", file_state="disabled")
MASKED = unit("inactive", load="masked")
FAILED = unit("failed", result="exit-code")


@pytest.mark.parametrize(
    ("outcome", "now", "code"),
    [
        (Outcome.UNCHANGED, RUNS, ExitCode.OK),
        (Outcome.REJECTED, RUNS, ExitCode.BAD_CONFIG),
        (Outcome.DEFERRED, RUNS, ExitCode.NOT_DONE),
        (Outcome.BROKEN, RUNS, ExitCode.BROKEN),
        (None, RUNS, ExitCode.OK),
        # Stopped for now: the same whether the agent has looked since or not.
        (Outcome.UNCHANGED, STOPPED, ExitCode.NOT_DONE),
        (Outcome.DEFERRED, STOPPED, ExitCode.NOT_DONE),
        (None, STOPPED, ExitCode.NOT_DONE),
        # Not meant to run; its file may be wrong all the same.
        (Outcome.UNCHANGED, DISABLED, ExitCode.OK),
        (Outcome.DEFERRED, DISABLED, ExitCode.OK),
        (Outcome.DEFERRED, MASKED, ExitCode.OK),
        (Outcome.REJECTED, DISABLED, ExitCode.BAD_CONFIG),
        (Outcome.UNCHANGED, FAILED, ExitCode.BROKEN),
        # systemd cannot be asked.
        (Outcome.APPLIED, None, ExitCode.OK),
        (Outcome.DEFERRED, None, ExitCode.NOT_DONE),
    ],
)
def test_the_worst_of_file_and_unit(outcome: Outcome | None, now: Unit | None, code: ExitCode) -> None:
    assert worst(document(outcome), {"dhcp4": now} if now else {}) is code


def test_a_fallback_wants_a_person_whatever_else_there_is() -> None:
    assert worst(document(Outcome.UNCHANGED, on_fallback=True), {"dhcp4": DISABLED}) is ExitCode.BROKEN


def test_the_worst_of_several_daemons() -> None:
    found = document(Outcome.UNCHANGED)
    found["daemons"]["dhcp6"]["last"]["outcome"] = "rejected"
    assert worst(found, {"dhcp4": RUNS, "dhcp6": RUNS}) is ExitCode.BAD_CONFIG
