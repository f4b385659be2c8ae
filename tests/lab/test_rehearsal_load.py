# SPDX-License-Identifier: MPL-2.0
"""Rehearsals beside clients: nobody's exchange is lost, and nothing of them remains. tests/bench/rehearsal_load.py has figures."""

from __future__ import annotations

import pytest
from labkit import Lab
from labkit.host import wait_for
from labs import SUITES, UpLab
from load import CLIENTS, Report, measured, started
from rehearsing import rehearse, remains, state

RATE = 50
SECONDS = 10  # an end by a signal would leave exchanges half done
REHEARSALS = 10


@pytest.mark.parametrize("suite", [pytest.param(each, marks=pytest.mark.xdist_group(each)) for each in SUITES])
def test_clients_do_not_notice(up: UpLab, suite: str) -> None:
    lab = up(suite=suite)
    (node,) = lab.nodes
    before = state(node)
    found: list[str] = []
    while len(found) < REHEARSALS:
        report = beside_clients(lab, found)
        measured(f"{len(found)} rehearsals beside {RATE} exchanges a second on {suite}: {report}")
        assert report.lost == 0
    assert found == ["passed"] * REHEARSALS
    for _ in wait_for(every=0.2):
        if not remains(before, state(node)):
            return
    assert remains(before, state(node)) == []


def beside_clients(lab: Lab, found: list[str]) -> Report:
    """As many of the rehearsals that are left as there is time for while clients come; a busy machine takes several turns."""
    (node,) = lab.nodes
    words = ["-4", "-r", str(RATE), "-R", str(CLIENTS), "-p", str(SECONDS), "-W", "1000000"]
    with started(lab, words) as clients:
        while clients.poll() is None and len(found) < REHEARSALS:
            found.append(rehearse(node, "dhcp4")["standing"])
        return Report.of(clients.communicate(timeout=60)[0])
