# SPDX-License-Identifier: MPL-2.0
"""Rehearsals beside clients: nobody's exchange is lost, and nothing of them remains. tests/bench/rehearsal_load.py has figures."""

from __future__ import annotations

import pytest
from labkit.host import wait_for
from labs import SUITES, UpLab
from load import CLIENTS, Report, measured
from rehearsing import rehearse, remains, state

RATE = 50
# An end by a signal would leave exchanges half done; ten rehearsals take four seconds, twice that on a busy machine.
SECONDS = 10
REHEARSALS = 10
SETTLE_SECONDS = 10.0


@pytest.mark.parametrize("suite", [pytest.param(each, marks=pytest.mark.xdist_group(each)) for each in SUITES])
def test_clients_do_not_notice(up: UpLab, suite: str) -> None:
    lab = up(suite=suite)
    (node,) = lab.nodes
    before = state(node)
    clients = lab.start_load(["-4", "-r", str(RATE), "-R", str(CLIENTS), "-p", str(SECONDS), "-W", "1000000"])
    try:
        found = [rehearse(node, "dhcp4")["standing"] for _ in range(REHEARSALS)]
        assert clients.poll() is None, "the clients ended before the rehearsals"
        report = Report.of(clients.communicate(timeout=60)[0])
    finally:
        clients.kill()
    assert found == ["passed"] * REHEARSALS
    measured(f"{REHEARSALS} rehearsals beside {RATE} exchanges a second on {suite}: {report}")
    assert report.lost == 0
    for _ in wait_for(SETTLE_SECONDS, every=0.2):
        if not remains(before, state(node)):
            return
    assert remains(before, state(node)) == []
