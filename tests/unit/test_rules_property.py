# SPDX-License-Identifier: MPL-2.0
"""A rule gets any tree that Kea's syntax allows: whatever has the wrong type, no rule ends in a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rulespage import sections

from kea_agent import keaconf, lint, redact
from kea_agent.daemons import BY_NAME, DAEMONS
from kea_agent.keaconf_places import Places
from kea_agent.rules import RULES, Config, grammar, parse_version

KEYWORDS = sorted({key for daemon in DAEMONS for _, key in grammar.spans(daemon.name)} - {"*"})
STRINGS = [
    "", " ", "x", "192.0.2.0/24", "192.0.2.1 - 192.0.2.9", "2001:db8::/32", "::/0", "0.0.0.0/0", "::", "0.0.0.0", "/", "-", "00:0c",
    "'", "\u0663", "\udcff", "fe80::1%lo", "http://", "http://[", "http://:/", "libdhcp_ha.so", "/libdhcp_ha.", "memfile", "mysql",
    "hot-standby", "load-balancing", "primary", "\x00", "9" * 50, "unix", "http", "1.1.1.1/" + "9" * 9, "HA_x",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 5, 128, 129, 2**31, 2**63 - 1, -(2**63), 4294967295]),
    st.sampled_from([0.5, -1e300, 1.0]),
    st.sampled_from(STRINGS),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*KEYWORDS, "x", ""]), inner, max_size=4)
    ),
    max_leaves=8,
)
VERSIONS = st.sampled_from([None, *map(parse_version, ("2.2.0", "2.4.1", "2.6.3", "3.0.4", "3.3"))])


@cache
def _corpus(tmp: str) -> list[tuple[str, dict[str, Any]]]:
    """The examples of the page, as trees."""
    found = []
    for section in sections():
        for example in section.examples.values():
            path = Path(tmp) / "example"
            path.write_text(example.text)
            found.append((example.daemon.name, keaconf.read(str(path), example.daemon.root_key).tree))
    return found


@pytest.fixture(name="corpus", scope="module")
def _corpus_fixture(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    return _corpus(str(tmp_path_factory.mktemp("corpus")))


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container and key or index in it."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
        found += [(node, key) for key, _ in items]
        waiting += [value for _, value in items if isinstance(value, dict | list)]
    return found


def mutated(tree: dict[str, Any], draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """The tree with some values replaced, removed, doubled, or moved under another key."""
    made = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 4))):
        inner = [(node, key) for node, key in places(made) if node is not made]
        if not inner:
            break
        node, key = inner[draw(st.integers(0, len(inner) - 1))]
        _change(node, key, draw)
    return made


def _change(node: Any, key: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    kind = draw(st.sampled_from(["replace", "remove", "double", "rename", "wrap"]))
    if kind == "remove":
        del node[key]
    elif kind == "double" and isinstance(node, list):
        node.append(copy.deepcopy(node[key]))
    elif kind == "rename" and isinstance(node, dict):
        node[draw(st.sampled_from(KEYWORDS))] = node.pop(key)
    elif kind == "wrap":
        node[key] = [node[key]]
    else:
        node[key] = draw(VALUES)


def check(daemon: str, tree: dict[str, Any], version: Any) -> None:
    """All rules run to their ends, and what they say is about something in the tree."""
    config = Config(daemon, BY_NAME[daemon].root_key, tree, version=version, previous=tree, environment={})
    for rule in RULES.values():
        for problem in rule.find(config) if rule.applies(config) else ():
            node: Any = tree
            for step in problem.path:
                node = node[step]
            assert problem.message
            assert "\n" not in problem.message
            assert all(letter.isprintable() for letter in problem.message), problem.message


@settings(max_examples=150)
@given(data=st.data(), version=VERSIONS)
def test_mutated_examples(corpus: list[tuple[str, dict[str, Any]]], data: st.DataObject, version: Any) -> None:
    daemon, tree = data.draw(st.sampled_from(corpus))
    check(daemon, mutated(tree, data.draw), version)


@settings(max_examples=150)
@given(
    daemon=st.sampled_from(DAEMONS),
    root=st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=5),
    version=VERSIONS,
)
def test_any_tree(daemon: Any, root: dict[str, Any], version: Any) -> None:
    check(daemon.name, {daemon.root_key: root}, version)


@settings(max_examples=100)
@given(data=st.data())
def test_a_finding_has_a_place_and_shows_no_secret(
    corpus: list[tuple[str, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    daemon, tree = data.draw(st.sampled_from(corpus))
    made = mutated(tree, data.draw)
    for node, _ in places(made)[: data.draw(st.integers(0, 20))]:
        if isinstance(node, dict) and node is not made:
            node[data.draw(st.sampled_from(["password", "secret", "basic-auth-password"]))] = "hunter2"
    if not all(isinstance(each, dict) for each in made.values()):
        return
    path = tmp_path_factory.getbasetemp() / f"secret-{daemon}"
    path.write_text(_rendered(made, data.draw), errors="surrogateescape")
    document = keaconf.read(str(path), BY_NAME[daemon].root_key)
    for finding in lint.run(daemon, document, lint.Setup()):
        assert "hunter2" not in f"{finding.message}{finding.line}"
        assert finding.row is not None
    assert "hunter2" not in json.dumps(redact.redacted(document.tree))
    assert len(Places(document).find([(BY_NAME[daemon].root_key,)])) == 1


def _rendered(tree: dict[str, Any], draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    indent = draw(st.sampled_from([None, 0, 1]))
    # Only \u escapes up to ff are Kea's.
    return json.dumps(tree, indent=indent, ensure_ascii=False).replace("\udcff", "?").replace("\x00", "")
