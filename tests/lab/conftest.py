# SPDX-License-Identifier: MPL-2.0
"""Labs for the tests: one a worker, brought up for what a test asks and reused as long as the words stay the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from agenthost import CONFIG, AgentHost
from labkit import Lab, LabSpec
from labkit.host import wait_for
from labkit.lab import down, newest_deb
from labs import NAME, UpLab
from saving import DROP_IN, assert_in_sync, settings, shell


@pytest.fixture(scope="session", autouse=True)
def _no_lab_stays() -> Iterator[None]:
    yield
    down(NAME)


@pytest.fixture
def up() -> UpLab:
    """Bring up (or reuse) this worker's lab: `up(suite="sid", ha="hot-standby", nodes=2)`."""

    def bring_up(**words: object) -> Lab:
        deb = newest_deb()
        assert deb, "no package in dist/: make deb"
        return Lab.up(LabSpec(name=NAME, **{"deb": deb, **words}))  # type: ignore[arg-type]

    return bring_up


@pytest.fixture
def host(up: UpLab, request: pytest.FixtureRequest) -> AgentHost:
    """One host with the agent, in the lab that the parameter asks for."""
    return AgentHost(up(**request.param).nodes[0], since=time.time())


@pytest.fixture
def good(host: AgentHost) -> Iterator[str]:
    """A configuration that is fine and runs; whatever became of the file and the settings is undone."""
    text = host.node.read(CONFIG)
    yield text
    shell(host.node, "rm -rf $CONFIG $INCLUDED")
    host.node.replace(CONFIG, text)
    if host.node.run(["rm", DROP_IN], check=False).returncode == 0:
        settings(host, None)
    # Only when a pass that was asked for is over is there none left that the above would cause. A unit that was started
    # while the file was away is up again a moment later.
    for _ in wait_for(every=0.5):
        if host.node.run(["kea-agent", "reload", "dhcp4"], check=False).returncode == 0:
            break
    assert_in_sync(host)
