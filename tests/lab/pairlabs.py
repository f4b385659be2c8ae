# SPDX-License-Identifier: MPL-2.0
"""Which pairs the tests ask for, as pytest parameters, and a pair for the time of one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.mark import ParameterSet
from agenthost import CONFIG
from labkit import Lab, LabError
from pairs import Pair, dhcp4, wait_in_sync

QUICK_MS = 1000


def grouped_pair(suite: str, ha: str = "hot-standby", heartbeat_ms: int = QUICK_MS) -> ParameterSet:
    """The words of a pair as a parameter; the same words share a lab, and so a worker."""
    name = f"{suite}-{ha}" + (f"-slow-{heartbeat_ms}-ms" if heartbeat_ms != QUICK_MS else "")
    words = {"suite": suite, "nodes": 2, "ha": ha, "heartbeat_ms": heartbeat_ms}
    return pytest.param(words, marks=pytest.mark.xdist_group(name), id=name)


@contextmanager
def borrowed(lab: Lab) -> Iterator[Pair]:
    """A pair for one test; what the test did to it is undone, or the lab goes down and the next test has a new one."""
    texts = [node.read(CONFIG) for node in lab.nodes]
    pair = Pair(lab)
    try:
        yield pair
    finally:
        try:
            if lab.spec.heartbeat_ms > QUICK_MS:
                lab.down()  # it would take three heartbeats to settle, and nobody else asks for one like it
            else:
                _restore(pair, texts)
        except (AssertionError, LabError, OSError):
            lab.down()


def _restore(pair: Pair, texts: list[str]) -> None:
    for host, text in zip(pair.hosts, texts, strict=True):
        host.node.plug(connected=True)
        dhcp4(host, "start")
        if host.node.read(CONFIG) != text:
            host.node.replace(CONFIG, text)
    # Nothing may go on while the next test begins.
    for host in pair.hosts:
        wait_in_sync(host)
    pair.wait_normal()
