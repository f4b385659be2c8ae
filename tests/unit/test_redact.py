# SPDX-License-Identifier: MPL-2.0
"""No secret gets out: not of trees, not of text, not of Kea's own words, wherever it stands."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kea_agent import keaconf
from kea_agent.errors import ConfigError
from kea_agent.redact import MASK, cleaned, is_secret, redacted
from kea_agent.redact_text import redacted_text

SECRET = "s3cr3t-w0rd"
SECRET_KEYS = ("password", "secret", "basic-auth-password", "basic-auth-user", "Client-Secret", "x-api-key", "psk")
OTHER_KEYS = ("name", "user-context", "password-file", "secret-file", "url", "type", "data", "subnet", "parameters")
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(0, 9), st.sampled_from(["", "a", "192.0.2.1", "kea.example.org"])
)


def trees(keys: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.recursive(
        PLAIN,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(keys), inner, max_size=4)),
        max_leaves=15,
    )


def planted(value: Any) -> Any:
    """The tree with the secret under every key that keeps one."""
    if isinstance(value, dict):
        made = {key: planted(item) for key, item in value.items()}
        return {
            key: ([{"x": SECRET}] if item else SECRET) if key in SECRET_KEYS else item for key, item in made.items()
        }
    return [planted(item) for item in value] if isinstance(value, list) else value


@given(tree=trees((*SECRET_KEYS, *OTHER_KEYS)))
def test_no_secret_of_any_tree(tree: Any) -> None:
    full = planted(tree)
    before = copy.deepcopy(full)
    assert SECRET not in json.dumps(redacted(full))
    assert full == before
    assert redacted(redacted(full)) == redacted(full)


@given(tree=trees(OTHER_KEYS))
def test_what_is_no_secret_stays(tree: Any) -> None:
    assert redacted(tree) == tree


def test_users_of_http_and_of_urls() -> None:
    tree = {
        "authentication": {"clients": [{"user": "admin", "password": "x"}, {"user-file": "u"}]},
        "lease-database": {"user": "kea", "password": "y"},
        "peers": [{"url": "http://admin:x@192.0.2.1:8000/", "basic-auth-user": "a"}],
    }
    assert redacted(tree) == {
        "authentication": {"clients": [{"user": MASK, "password": MASK}, {"user-file": "u"}]},
        "lease-database": {"user": "kea", "password": MASK},
        "peers": [{"url": f"http://{MASK}@192.0.2.1:8000/", "basic-auth-user": MASK}],
    }


@pytest.mark.parametrize("key", ["password-file", "credentials-cache", "secret-file", "directory", "name"])
def test_names_of_files_are_no_secrets(key: str) -> None:
    assert not is_secret(key)


@pytest.mark.parametrize(
    "text",
    [
        f'"password": "{SECRET}"',
        f'"password" "{SECRET}"',
        f'"password":"{SECRET}',
        f'"a": 1, "secret" : /* no */ "{SECRET}", "b": 2',
        f'"secret":\n\n   "{SECRET}\\"{SECRET}" }}',
        f'"password": // it is\n  "{SECRET}"',
        f'"user": "{SECRET}"',
        f'"url": "http://{SECRET}:{SECRET}@192.0.2.1/"',
    ],
)
def test_text(text: str) -> None:
    assert SECRET not in redacted_text(text)
    assert MASK in redacted_text(text)


@settings(max_examples=200)
@given(data=st.data())
def test_no_error_of_the_reader_shows_a_secret(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = f'{{ "Dhcp4": {{ "lease-database": {{ "password": "{SECRET}", "name": "kea" }},\n "tsig": [ {{ "secret":\n "{SECRET}" }} ] }} }}'
    # Spoilt anywhere but in the keys themselves.
    at = data.draw(st.sampled_from([i for i, sign in enumerate(good) if sign in ' :,{}[]"\n']))
    text = good[:at] + data.draw(st.sampled_from(["", ":", ",", '"', "{", "x ", "]"])) + good[at + 1 :]
    path = tmp_path_factory.getbasetemp() / "spoilt"
    path.write_text(text)
    assert SECRET not in _complaint(path)


def _complaint(path: Path) -> str:
    try:
        keaconf.read(str(path), "Dhcp4")
    except ConfigError as error:
        return str(error)
    return ""


def test_the_words_of_others() -> None:
    tree = {"tsig-keys": [{"secret": "not base64!"}, {"secret": "abc"}], "name": "base64"}
    said = "attempt to decode a value not in base64 char set: not base64!"
    assert cleaned(said, tree) == f"attempt to decode a value not in base64 char set: {MASK}"


def test_an_error_in_the_place_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text(f'{{ "Dhcp4": {{ "password" "{SECRET}" }} }}')
    with pytest.raises(ConfigError, match='expected ":" before a string'):
        keaconf.read(str(path), "Dhcp4")


def test_a_valid_file_with_many_comments_between_two_strings() -> None:
    """Forty of them took for ever."""
    text = '{ "Dhcp4": { "interfaces-config": { "interfaces": [ "eth0" ' + "/* a */ " * 4000 + "] } } }"
    assert redacted_text(text).startswith('{ "Dhcp4": { "interfaces-config": { "interfaces": [ "eth0" ')
