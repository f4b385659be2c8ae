# SPDX-License-Identifier: MPL-2.0
"""Which labs the tests ask for, as pytest parameters: tests with the same words share a lab, and so a worker."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from _pytest.mark import ParameterSet
from labkit import Lab

# This worker's lab. Two checkouts that are tested at the same time set KEA_AGENT_TEST_LABS to different words.
NAME = f"{os.environ.get('KEA_AGENT_TEST_LABS', 'test')}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
SUITES = ("bookworm", "trixie", "sid")
NAMINGS = ("debian", "isc", "fedora")

UpLab = Callable[..., Lab]


def grouped(**words: str) -> ParameterSet:
    """The words of a lab as a parameter for the fixture `host`, with indirect=True."""
    name = "-".join(words.values())
    return pytest.param(words, marks=pytest.mark.xdist_group(name), id=name)


EVERY_SUITE = [grouped(suite=suite) for suite in SUITES]
EVERY_HOST = [grouped(suite=suite, units=units) for suite in SUITES for units in NAMINGS]
