# SPDX-License-Identifier: MPL-2.0
"""Kea's own example configurations, from the source of the Kea that a node has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from labkit.nodes import Node

SOURCE = "KEA_AGENT_KEA_SOURCE"


def examples(node: Node, directory: Path) -> Iterator[Path]:
    """Every file in `directory`, where they are unpacked; the test is told to have been left out without the source."""
    source = os.environ.get(SOURCE)
    if not source:
        pytest.skip(f"did not run: ${SOURCE} names no clone of Kea's repository")
    tag = f"Kea-{node.run(['kea-dhcp4', '-v']).stdout.strip()}"
    command = ["git", "-c", "safe.directory=*", "-C", source, "archive", tag, "doc/examples"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    yield from sorted([*directory.rglob("*.json"), *directory.rglob("template-*/*.conf")])


def hooks(node: Node) -> dict[str, str]:
    """The hook libraries of a node: name and path."""
    listed = node.run(["sh", "-c", "ls /usr/lib/*/kea/hooks/*.so"]).stdout.split()
    return {Path(path).name: path for path in listed}
