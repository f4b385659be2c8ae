# SPDX-License-Identifier: MPL-2.0
"""Where in the files a value stands: at every place of any tree, however it is written, and in whichever file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kea_agent import keaconf
from kea_agent.errors import ConfigError
from kea_agent.keaconf_places import Places

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(["", "a", '"', "\\", "é", "//", "]", "/*"]),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "é", '"', "{"]), inner)
    ),
    max_leaves=20,
)
GAPS = st.sampled_from(["", " ", "\n", "\t", "# no\n", "// {\n", "/* [ */", "\r\n  "])


class Writer:
    """Writes a tree with all the liberties of the language, noting where everything starts."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.spots: dict[tuple[str | int, ...], tuple[int, int | None]] = {}

    def gap(self) -> None:
        self.text += self.draw(GAPS)

    def value(self, value: Any, path: tuple[str | int, ...], key: int | None) -> None:
        self.gap()
        self.spots[path] = (len(self.text.encode()), key)
        if isinstance(value, dict):
            self.container("{}", list(value.items()), path)
        elif isinstance(value, list):
            self.container("[]", list(enumerate(value)), path)
        elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            self.text += self.draw(st.sampled_from(["", "00"])) + str(value)
        else:
            self.text += json.dumps(value, ensure_ascii=False)
        self.gap()

    def container(self, brackets: str, items: list[tuple[Any, Any]], path: tuple[str | int, ...]) -> None:
        self.text += brackets[0]
        for number, (key, value) in enumerate(items):
            at = None
            if brackets == "{}":
                self.gap()
                at = len(self.text.encode())
                self.text += json.dumps(key, ensure_ascii=False)
                self.gap()
                self.text += ":"
            self.value(value, (*path, key), at)
            last = number == len(items) - 1
            self.text += self.draw(st.sampled_from(["", ",", ",,"])) if last else ","
        self.gap()
        self.text += brackets[1]


@settings(max_examples=120)
@given(data=st.data(), tree=st.dictionaries(st.sampled_from(["x", "y", "é"]), TREES))
def test_every_place_of_any_tree(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, tree: dict[str, Any]
) -> None:
    writer = Writer(data.draw)
    writer.value({"Dhcp4": tree}, (), None)
    text = writer.text.rstrip(",")
    path = tmp_path_factory.getbasetemp() / "places"
    path.write_text(text, newline="")
    document = keaconf.read(str(path), "Dhcp4")
    assert document.tree == {"Dhcp4": tree}
    found = Places(document).find(writer.spots)
    assert {way: (spot.value.offset, spot.key and spot.key.offset) for way, spot in found.items()} == writer.spots
    for way, spot in found.items():
        before = text.encode()[: writer.spots[way][0]]
        assert (spot.value.line, spot.value.column) == (before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))


def test_places_in_included_files(tmp_path: Path) -> None:
    (tmp_path / "more").write_text('\n{ "id": 7 },\n  { "id": 8 }')
    main = tmp_path / "main"
    main.write_text(f'{{ "Dhcp4": {{\n "subnet4": [ <?include "{tmp_path}/more"?>,\n  {{ "id": 9 }} ] }} }}')
    document = keaconf.read(str(main), "Dhcp4")
    ways = [("Dhcp4", "subnet4", index, "id") for index in range(4)]
    found = Places(document).find(ways)
    assert [str(found[way].value) for way in ways[:3]] == [
        f"{tmp_path}/more:2:9",
        f"{tmp_path}/more:3:11",
        f"{main}:3:11",
    ]
    assert ways[3] not in found
    section = Places(document).find([("Dhcp4", "subnet4")])["Dhcp4", "subnet4"]
    assert (str(section.best), section.is_section) == (f"{main}:2:2", True)


def test_a_file_that_changed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text('{ "Dhcp4": { } }')
    document = keaconf.read(str(path), "Dhcp4")
    for text in ('{ "Dhcp4": {  } }', '{ "Dhcp4": { ', '{ "Dhcp4": { } }' + " " * 99):
        path.write_text(text)
        with pytest.raises(ConfigError):
            Places(document)
    path.unlink()
    with pytest.raises(ConfigError):
        Places(document)


def test_the_text_around_a_place(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text('{ "Dhcp4": {\n  "a": [\n    1,\n    2 ]\n} }')
    document = keaconf.read(str(path), "Dhcp4")
    places = Places(document)
    spot = places.find([("Dhcp4", "a", 1)])["Dhcp4", "a", 1]
    assert places.around(spot.best) == ('{ "Dhcp4": {\n  "a": [\n    1,\n', "    2 ]")
