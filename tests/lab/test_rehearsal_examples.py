# SPDX-License-Identifier: MPL-2.0
"""No false refusals: what the real server serves with, a rehearsal accepts; what it refuses, the real server does not serve with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dbserver
import pytest
from keaexamples import examples, hooks
from keafit import fit, fit_host
from labkit import Lab, LabSpec
from labkit.lab import newest_deb
from labkit.nodes import Node
from labs import NAME as LAB
from labs import SUITES
from starts import Both, Case, compare
from writtencases import written

from kea_agent import keaconf
from kea_agent.daemons import DAEMONS
from kea_agent.errors import ConfigError


@pytest.fixture(params=[pytest.param(s, marks=pytest.mark.xdist_group(f"{s}-starts")) for s in SUITES])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A host made to fit, with both kinds of databases beside it."""
    deb = newest_deb()
    assert deb, "no package in dist/: make deb"
    with Lab.up(LabSpec(name=LAB, deb=deb, suite=request.param)) as lab:
        fit_host(lab.nodes[0])
        servers = dbserver.bring_up(lab)
        yield lab.nodes[0]
        dbserver.take_down(servers)


def test_keas_examples(node: Node, tmp_path: Path) -> None:
    found = compare(node, [case for path in examples(node, tmp_path) for case in _cases(path, tmp_path, hooks(node))])
    _assert_same(node, found)
    assert len([each for each in found if each.serves]) > 55


def test_what_people_run(node: Node) -> None:
    known = written(node.spec.suite, hooks(node))
    found = compare(node, [each.case for each in known])
    _assert_same(node, found)
    assert [str(one) for one, other in zip(found, known, strict=True) if one.serves != other.is_good] == []


def _cases(path: Path, top: Path, libraries: dict[str, str]) -> Iterator[Case]:
    """One for a file of a daemon that we know, none for another's."""
    for daemon in DAEMONS:
        try:
            tree = keaconf.read(str(path), daemon.root_key).tree
        except ConfigError:
            continue
        text = json.dumps(fit(tree, libraries), ensure_ascii=False, indent=1)
        yield Case(str(path.relative_to(top / "doc" / "examples")), daemon.name, text)  # type: ignore[arg-type]


def _assert_same(node: Node, found: list[Both]) -> None:
    assert [str(each) for each in found if each.serves and each.standing != "passed"] == []
    assert [str(each) for each in found if not each.serves and each.standing == "passed" and each.is_whole] == []
    for each in found:
        # The databases were left out: what is wrong about them, another level says.
        if not each.serves and each.standing == "passed":
            told = node.run(["kea-agent", "check", "--level", "kea", each.file], check=False)
            assert told.returncode == 1, f"{each}\n{told.stdout}"
