# SPDX-License-Identifier: MPL-2.0
"""A file that somebody writes again and again without a pause: looked at within a bound, and no more often than that.

Without rehearsals, which take the longer the busier the machine is; and what a busy machine takes for a pause is none.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from labs import grouped
from saving import DROP_IN, LIFETIME, good_edit, outcome_of, settings, untouched

SECONDS = 15
BOUND = 5  # `settle.at_most_seconds`
# Whole files, as half a file has an outcome of its own; the number in them grows.
WRITER = f"""
import os, re, sys, time
text, number = open("/root/good").read(), 20000
until = time.monotonic() + {SECONDS}
while time.monotonic() < until:
    number += 1
    with open("{CONFIG}.new", "w") as stream:
        stream.write(text if sys.argv[1] == "same" else re.sub(r'("valid-lifetime": *)\\d+', rf"\\g<1>{{number}}", text))
    os.replace("{CONFIG}.new", {CONFIG!r})
    time.sleep(0.02)
print(number)
"""
pytestmark = pytest.mark.parametrize("host", [grouped(suite="trixie")], indirect=True)


@pytest.fixture(name="quick")
def _quick(host: AgentHost, good: str) -> Iterator[str]:
    """The good file, on an agent that does not rehearse."""
    settings(host, '[check]\nrehearsal = "off"\n[settle]\nquiet_seconds = 0.5\n')
    yield good
    host.node.run(["rm", DROP_IN])
    settings(host, None)


@contextmanager
def writer(host: AgentHost, text: str, what: str) -> Iterator[subprocess.Popen[str]]:
    """Somebody who writes; its last word is the last number."""
    host.node.write("/root/good", text)
    host.node.write("/root/writer.py", WRITER)
    with host.node.start(["python3", "/root/writer.py", what]) as process:
        yield process


def test_a_bad_file_is_rejected_while_it_is_written(host: AgentHost, quick: str) -> None:
    bad = LIFETIME.sub(r'\g<1>"soon",', quick, count=1)
    with untouched(host), ExitStack() as stack:
        start = writer(host, bad, "same")
        outcome_of(host, "rejected", lambda: stack.enter_context(start), says=r"integer", seconds=SECONDS - 1)
    good_edit(host, quick)


def test_ever_new_good_files_do_not_keep_the_agent_busy(host: AgentHost, quick: str) -> None:
    before = host.outcomes()
    with writer(host, quick, "new") as writing:
        for _ in wait_for(2 * BOUND, every=0.1):
            if host.outcomes() != before:
                break
        assert host.outcomes() != before, "nothing was looked at while the file was written"
        last = int(writing.communicate(timeout=60)[0])
    for _ in wait_for(30, every=0.2):
        if host.lifetime() == last:
            break
    assert host.lifetime() == last, "the last text counts"
    passes = host.outcomes() - before
    print(passes)
    assert passes.total() <= SECONDS / BOUND + 3
    good_edit(host, quick)
