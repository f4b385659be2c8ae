# SPDX-License-Identifier: MPL-2.0
"""No test may leave a thread, a child process or a file descriptor behind: the agent runs for years."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

_PATIENCE = 10.0

# A busy machine is no bug, and the checkout may be read-only.
settings.register_profile("kea-agent", deadline=None, database=None)
settings.load_profile("kea-agent")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    threads, children, descriptors = set(threading.enumerate()), _children(), _descriptors()
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(_PATIENCE)
    if _descriptors() - descriptors:
        gc.collect()
    assert {thread.name for thread in set(threading.enumerate()) - threads} == set(), "threads were left running"
    assert _children() - children == set(), "child processes were left"
    assert _descriptors() - descriptors == set(), "file descriptors were left open"


def _children() -> set[str]:
    found: set[str] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= set(children.read_text().split())
    return found


def _descriptors() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for name in os.listdir("/proc/self/fd"):
        # The descriptor that lists the directory is gone by now.
        with contextlib.suppress(OSError):
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found
