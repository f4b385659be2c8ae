# SPDX-License-Identifier: MPL-2.0
"""How a unit that does not run is told from one that a person stopped; the states are those seen on real units."""

from __future__ import annotations

import pytest
from fakes import FakeBus, running

from kea_agent.daemons import DHCP4
from kea_agent.down import Down, down, explain
from kea_agent.units import Unit, discover

NAME = "kea-dhcp4-server.service"


def unit(
    load: str = "loaded",
    active: str = "inactive",
    sub: str = "dead",
    result: str = "success",
    file: str = "enabled",
    pid: int = 0,
) -> Unit:
    """A unit as systemd tells of it."""
    properties = running(
        "/usr/sbin/kea-dhcp4",
        pid=pid,
        Unit_LoadState=load,
        Unit_ActiveState=active,
        Unit_SubState=sub,
        Unit_UnitFileState=file,
        Service_Result=result,
    )
    found = discover(FakeBus({NAME: properties}), DHCP4)
    assert found
    return found


@pytest.mark.parametrize(
    ("unit", "how", "said"),
    [
        (unit(active="active", sub="running", pid=7), None, ""),
        (unit(active="reloading", sub="reload", pid=7), None, ""),
        (unit(), Down.STOPPED, "stopped"),
        (unit(file="disabled"), Down.DISABLED, "disabled"),
        (unit(file="disabled-runtime"), Down.DISABLED, "disabled"),
        (unit(file="static"), Down.STOPPED, "stopped"),
        (unit(load="masked", file="masked"), Down.MASKED, "masked"),
        (unit(load="bad-setting"), Down.UNUSABLE, "its unit file is wrong"),
        (unit(active="failed", sub="failed", result="exit-code"), Down.FAILED, "failed (it ended with an error)"),
        (unit(active="failed", sub="failed", result="signal"), Down.FAILED, "failed (it was killed by a signal)"),
        (unit(active="failed", sub="failed", result="core-dump"), Down.FAILED, "failed (it crashed)"),
        (unit(active="failed", sub="failed", result="timeout"), Down.FAILED, "failed (it took too long)"),
        (unit(active="failed", sub="failed", result="start-limit-hit"), Down.FAILED, "failed (it was started too often within seconds)"),
        (unit(active="failed", sub="failed", result="new-word"), Down.FAILED, "failed (new-word)"),
        # Somebody started it by hand: whether it is enabled does not matter.
        (unit(active="failed", sub="failed", result="exit-code", file="disabled"), Down.FAILED, "failed (it ended with an error)"),
        (unit(active="activating", sub="auto-restart", result="exit-code"), Down.RETRYING, "failed, systemd tries again (it ended with an error)"),
        (unit(active="activating", sub="auto-restart-queued", result="signal"), Down.RETRYING, "failed, systemd tries again (it was killed by a signal)"),
        (unit(active="activating", sub="start", pid=7), Down.STARTING, "starting"),
        (unit(active="deactivating", sub="stop-sigterm", pid=7), Down.STOPPING, "stopping"),
        (unit(result="exit-code"), Down.CALLED_OFF, "failed, and was then stopped (it ended with an error)"),
    ],
)  # fmt: skip
def test_how_it_is_down(unit: Unit, how: Down | None, said: str) -> None:
    assert down(unit) is how
    assert explain(unit) == said


def test_no_unit() -> None:
    assert down(None) is Down.ABSENT
