# SPDX-License-Identifier: MPL-2.0
"""A secret is found by where it stands, whatever is wrong with the text, and no text makes that slow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kea_agent import journal, lint, report
from kea_agent.daemons import DHCP4
from kea_agent.redact import MASK, cleaned, redacted, redacted_line, redacted_text
from kea_agent.secrets_in_text import is_secret, may_be_secret, spans
from kea_agent.settings import CheckSettings
from kea_agent.verbs.check import Asked, look

SECRET = "s3cr3t-w0rd"
KEYS = ("password", "secret", "api_key", "bearer", "psk", "basic-auth-password", "passphrase", "private-key")
MISSPELT = ("pasword", "passwrod", "scret", "secert", "pass-word", "tokn", "credentail")
# `{}` is the key, `@` the secret: what people type.
TYPOS = (
    '"{}": "@"',
    "'{}': '@'",
    "\"{}\": '@'",
    '"{}": @',
    "{}: @",
    "{} = @",
    '{}: "@"',
    '"{}" = "@"',
    '"{}" "@"',
    '"{}":: "@"',
    '"{}":, "@"',
    '"{}"; "@"',
    '"{}": ["@"]',
    '"{}": [ "a", "@" ]',
    '"{}": {{ "x": "@" }}',
    '"{}": {{ "x": [ 1, "@" ] }}',
    '"{}": "@',
    '"{}": @"',
    '"{}: "@"',
    '"{}\n": "@"',
    '"{}":\n  "@"',
    '"{}": // here\n "@"',
    '"{}": /* a, b */ "@"',
    '// "{}": "@"',
    "# {}: @",
    '"{}": "a @ b"',
    '"{}": "a\n@"',
    '"{}": "@" "name": "x"',
    '"name" "{}": "@"',
)


@pytest.mark.parametrize("key", [*KEYS, *MISSPELT])
@pytest.mark.parametrize("typo", TYPOS)
def test_a_secret_is_hidden_whatever_was_typed(typo: str, key: str) -> None:
    if key == "pass-word" and typo.startswith(("# {", "{}")):
        key = "password"
    text = typo.format(key).replace("@", SECRET)
    assert SECRET not in redacted_text(text)
    assert SECRET not in redacted_text(f'{{ "Dhcp4": {{ "a": [ 1 ], {text}, "b": 2 }} }}')


@pytest.mark.parametrize("key", ["password", "pasword"])
@pytest.mark.parametrize("typo", [typo for typo in TYPOS if not typo.startswith(("//", "#"))])
def test_check_shows_no_secret(tmp_path: Path, typo: str, key: str) -> None:
    """What it prints, in every form, of a file with this in it, and with something wrong behind it."""
    path = tmp_path / "kea-dhcp4.conf"
    for after in ("", " oops", ', "valid-lifetme": 1'):
        member = typo.format(key).replace("@", SECRET)
        path.write_text(f'{{ "Dhcp4": {{ "lease-database": {{ "type": "mysql", {member}{after} }} }} }}\n')
        found = look(DHCP4, str(path), None, Asked("rules", CheckSettings()))
        assert SECRET not in report.text(found.findings) + "".join(
            form(found.findings) for form in report.FORMS.values()
        )


@pytest.mark.parametrize("number", ["12345678901234567890123", "123456789012", "1.5e10"])
def test_numbers_are_secrets_too(tmp_path: Path, number: str) -> None:
    path = tmp_path / "kea-dhcp4.conf"
    path.write_text(f'{{ "Dhcp4": {{ "lease-database": {{ "password": {number} }} }} }}\n')
    found = look(DHCP4, str(path), None, Asked("rules", CheckSettings()))
    assert number not in report.text(found.findings)
    assert cleaned(f"bad value {number} here", {"password": json.loads(number)}).count(number) == (number == "1.5e10")


def test_what_is_no_secret_is_shown() -> None:
    text = '{ "valid-lifetime": 4000, "name": "kea", "password-file": "/etc/kea/pw", "tokens": 1, "subnet": "192.0.2.0/24" }'
    shown = redacted_text(text)
    assert shown == text.replace('"tokens": 1', f'"tokens": {MASK}')
    assert redacted_text("# see http://kea.example:8000/ for more") == "# see http://kea.example:8000/ for more"


@pytest.mark.parametrize(
    "text",
    [
        f"http://kea:{SECRET}@db/",
        f"http://kea:p@{SECRET}/x@db/",
        f"postgresql://kea:{SECRET}@db:5432/leases",
        f"kea:{SECRET}@db",
        f"host=db password={SECRET} dbname=kea",
    ],
)
def test_logins_inside_of_values(text: str) -> None:
    for shown in (redacted_text(f'"host": "{text}"'), json.dumps(redacted({"host": text, "name": [text]}))):
        assert SECRET not in shown
    if "@" in text:
        assert SECRET not in cleaned(f"cannot reach {text}: refused", {})


def test_kea_quotes_option_data() -> None:
    tree = {"option-data": [{"name": "x", "data": "top secret"}, {"name": "routers", "data": "192.0.2.1, 192.0.2.2"}]}
    said = 'option data does not match: "top secret" but "192.0.2.1, 192.0.2.2"'
    assert cleaned(said, tree) == f'option data does not match: "{MASK}" but "192.0.2.1, 192.0.2.2"'


@given(text=st.text(alphabet='"\\{}[],:=/#* \npasword1', max_size=60), after=st.integers(0, 10))
def test_spans_are_in_order_and_inside(text: str, after: int) -> None:
    found = list(spans(text))
    assert all(0 <= begin < end <= len(text) for begin, end in found)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    for column in range(min(after, len(text)) + 1):
        shown, caret = redacted_line("", text, column)
        assert 0 <= caret <= len(shown)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("s3cr3t-w0rd and more", f"{MASK} {MASK} {MASK}"),
        ("  s3cr3t", f"  {MASK}"),
        ('"valid-lifetime": 4000, true, null', '"valid-lifetime": 4000, true, null'),
        ("valid-lifetime: 4000,", "valid-lifetime: 4000,"),
        ('"a": 1 // words of a comment', '"a": 1 // words of a comment'),
        ('"a": on, "b": 2', f'"a": {MASK}, "b": 2'),
        ("99999999999999999999999999", MASK),
    ],
)
def test_a_broken_line_shows_no_words_outside_of_quotes(line: str, shown: str) -> None:
    assert redacted_line("", line, 0, is_broken=True)[0] == shown


def test_the_caret_goes_where_its_column_went() -> None:
    line = '"password": "s3cr3t", "oops" 1'
    shown, caret = redacted_line('{ "Dhcp4": {\n', line, line.index("oops"))
    assert shown[caret:].startswith("oops")
    assert redacted_line('"password":\n', f'  "{SECRET}", "a": 1', 3) == (f'  "{MASK}", "a": 1', 2)


@pytest.mark.parametrize(
    "key", ["user-context", "passive-backup", "pool", "option-data", "hostname-char-set", "authentication"]
)
def test_keas_own_keys_are_no_misspelt_secrets(key: str) -> None:
    assert not may_be_secret(key)
    assert not is_secret(key)


# What was seen to make a pattern slow, and what could. Each is N times a piece.
HOSTILE: dict[str, Callable[[int], str]] = {
    "comments": lambda n: '"eth0" ' + "/* */ " * n,
    "commented lines": lambda n: '"eth0"\n' + "// a line\n" * n,
    "hashes": lambda n: "#" * n,
    "slashes": lambda n: "/" * n,
    "stars": lambda n: "/*" * n,
    "quotes": lambda n: '"' * n,
    "escaped quotes": lambda n: '"' + '\\"' * n,
    "backslashes": lambda n: '"' + "\\" * n,
    "brackets": lambda n: "[{" * n,
    "secrets": lambda n: '"password" ' * n,
    "urls": lambda n: "://" * n,
    "logins": lambda n: ":a@" * n,
    "ids": lambda n: "A_" * n,
    "warnings": lambda n: " WARN " * n,
    "marks": lambda n: "# kea-agent: ignore=" * n,
    "long words": lambda n: "x" * n,
    "places": lambda n: "/a:1" * n,
}
READERS: dict[str, Callable[[str], object]] = {
    "redacted_text": redacted_text,
    "cleaned": lambda text: cleaned(text + "@", {"password": "abcd"}),
    "ignored": lambda text: lint._ignored("", text),
    "most_telling": journal.most_telling,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_four_times_the_text_takes_about_four_times_as_long(kind: str, reader: str) -> None:
    """Sixteen times would be a square; the bound is far from both, and the best of several counts."""
    small, large = (HOSTILE[kind](n) for n in (4000, 16000))
    assert _best(READERS[reader], large) < 10 * max(_best(READERS[reader], small), 0.0005)


def _best(read: Callable[[str], object], text: str) -> float:
    times = []
    for _ in range(5):
        started = time.thread_time()
        read(text)
        times.append(time.thread_time() - started)
    return min(times)
