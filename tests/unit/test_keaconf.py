# SPDX-License-Identifier: MPL-2.0
"""Kea's language as `keaconf` reads it: what is right, what is wrong and where, and every file nobody hoped for."""

from __future__ import annotations

import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kea_agent import keaconf, keaconf_grammar
from kea_agent.errors import ConfigError
from kea_agent.keaconf_advice import advice

NOBODY = 65534
quick = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(name="main")
def _main(tmp_path: Path) -> Path:
    return tmp_path / "kea-dhcp4.conf"


def read(path: Path, **options: Any) -> keaconf.Document:
    return keaconf.read(str(path), "Dhcp4", **options)


def read_text(path: Path, text: str | bytes, **options: Any) -> keaconf.Document:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(path, **options)


def refusal(path: Path, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(path, **options)
    str(caught.value).encode()
    return caught.value


def value(path: Path, text: str | bytes) -> Any:
    """What `text` means as the one value inside a configuration."""
    raw = text.encode() if isinstance(text, str) else text
    return read_text(path, b'{"Dhcp4": {"x": ' + raw + b"}}").root["x"]


# What is right


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-0", 0),
        ("007", 7),
        ("-007", -7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("+5", 5.0),
        (".5", 0.5),
        ("-5.", -5.0),
        ("01e2", 100.0),
        ("1e-400", 0.0),
        ("true", True),
        ("null", None),
        ("[1,,2,]", [1, 2]),
        ('{"a": 1,, "b": [[],],}', {"a": 1, "b": [[]]}),
        ('"//no #no /* no */ <?no?> ,]"', "//no #no /* no */ <?no?> ,]"),
        (r'"\"\\\/\b\f\n\r\tA"', '"\\/\b\f\n\r\tA'),
        (r'"C:\\u1234"', r"C:\u1234"),
        ('"ü"', "ü"),
        (r'"\u00c3\u00bc"', "ü"),
        (b'"\xff"', "\udcff"),
        ('"\x7f"', "\x7f"),
        ("1/**/", 1),
        ("/*/ x */1// y\r\n", 1),
        ("\t\r\n1 # z \x00\n", 1),
    ],
)
def test_values(main: Path, text: str | bytes, expected: object) -> None:
    found = value(main, text)
    assert (found, type(found)) == (expected, type(expected))


def test_a_document_tells_everything_about_itself(main: Path) -> None:
    document = read_text(main, '{"Dhcp4": {"b": 1, "a": [2]}}')
    assert document.path == str(main)
    assert document.files == (str(main),)
    assert document.tree == {"Dhcp4": document.root} == {"Dhcp4": {"b": 1, "a": [2]}}
    assert document.meaning == keaconf.meaning_of({"Dhcp4": {"a": [2], "b": 1}})
    assert document.digest == keaconf.fingerprint(document.files)
    assert document.warnings == ()


def test_surplus_commas_are_warnings_with_a_place(main: Path) -> None:
    document = read_text(main, '{"Dhcp4": {\n  "a": [1,, 2], "b": ",]",\n}} # ,}')
    assert [line.removeprefix(f"{main}:").split(": ")[0] for line in document.warnings] == ["2:10", "2:26"]
    assert "trailing comma" in document.warnings[0]


def test_many_surplus_commas_are_counted(main: Path) -> None:
    warnings = read_text(main, '{"Dhcp4": {"a": [1' + "," * 1000 + "]}}").warnings
    assert len(warnings) == keaconf.MAX_WARNINGS + 1
    assert warnings[-1] == f"{main}: 950 more trailing commas"


def test_config_gets_answer_means_the_same_as_the_file(main: Path) -> None:
    document = read_text(main, '{"Dhcp4": {"comment": "Büro"}}')
    told = json.loads(r'{"Dhcp4": {"comment": "B\u00c3\u00bcro"}}')
    assert keaconf.meaning_of(keaconf.utf8_tree(told)) == document.meaning
    assert keaconf.utf8_tree({"a": ["ü", "€", 1]}) == {"a": ["\udcfc", "€", 1]}


def test_comments_change_the_digest_and_not_the_meaning(main: Path) -> None:
    one = read_text(main, '{"Dhcp4": {"a": 1}}')
    other = read_text(main, '# new\n{"Dhcp4":{"a":1}}')
    assert one.meaning == other.meaning
    assert one.digest != other.digest


# What is wrong, and where

SYNTAX = [
    ("  # nothing\n", 2, 1, 'expected "{" before the end of the file'),
    ("[]", 1, 1, 'expected "{" before "["'),
    ("{}", 1, 2, 'expected the top-level key "Dhcp4" before "}"'),
    ('{"Dhcp6": {}}', 1, 2, 'expected the top-level key "Dhcp4", not "Dhcp6"'),
    ('{"Dhcp4": []}', 1, 11, 'expected "{" before "["'),
    ('{"Dhcp4": {},\n "Dhcp6": {}}', 2, 2, "one top-level key only"),
    ('{"Dhcp4": {}} x', 1, 15, 'text after the last "}" of the configuration'),
    ('{"Dhcp4": {}},', 1, 14, 'text after the last "}"'),
    ('{"Dhcp4": {}}\x0b', 1, 14, 'text after the last "}" of the configuration'),
    ('{"Dhcp4": {}}\n{}', 2, 1, 'text after the last "}"'),
    ('{"Dhcp4": {\n "a": 1\n    "renew-timer": 2}}', 3, 5, 'expected "," or "}" before "renew-timer"'),
    ('{"Dhcp4": {"a": [1 2]}}', 1, 20, 'expected "," or "]" before "2"'),
    ('{"Dhcp4": {"a": [1}}', 1, 19, 'expected "," or "]" before "}"'),
    ('{"Dhcp4": {"a" 1}}', 1, 16, 'expected ":" before "1"'),
    ('{"Dhcp4": {"a":}}', 1, 16, 'expected a value before "}"'),
    ('{"Dhcp4": {,}}', 1, 12, 'expected a key in double quotes or "}" before ","'),
    ('{"Dhcp4": {"a": [,]}}', 1, 18, 'expected a value or "]" before ","'),
    ('{"Dhcp4": {1: 2}}', 1, 12, "expected a key in double quotes"),
    ('{"Dhcp4": {"a": 1\n', 2, 1, 'expected "," or "}" before the end of the file'),
    ('{"Dhcp4": {"a": 1, "b": 2,\n "a": 3}}', 2, 2, 'duplicate key "a", first at '),
    ('{"Dhcp4": {"a": 1, "\\u0061": 3}}', 1, 20, 'duplicate key "a"'),
    ('{"Dhcp4": {"x": {"a": 1, "a": 3}}}', 1, 26, 'duplicate key "a"'),
    ("{a: 1}", 1, 2, 'invalid word "a": keys and strings need double quotes'),
    ("{'a': 1}", 1, 2, "strings need double quotes"),
    ('{"Dhcp4": {"a": True}}', 1, 17, '"True" has to be written in lower case'),
    ('{"Dhcp4": {"a": NaN}}', 1, 17, "invalid word"),
    ('{"Dhcp4": {"a": -Infinity}}', 1, 17, '"-" is not a number'),
    ('{"Dhcp4": {"a": e}}', 1, 17, "invalid word"),
    ('{"Dhcp4": {"a": 0x1}}', 1, 18, "invalid word"),
    ('{"Dhcp4": {"a": .}}', 1, 17, '"." is not a number'),
    ('{"Dhcp4": {"a": e5}}', 1, 17, '"e5" is not a number'),
    ('{"Dhcp4": {"a": 1.2.3}}', 1, 20, 'expected "," or "}" before ".3"'),
    ('{"Dhcp4": {"renew-timer": 1e400}}', 1, 27, '"1e400" is not a number'),
    ('{"Dhcp4": {"renew-timer": 9223372036854775808}}', 1, 27, '"9223372036854775808" is not a number'),
    ('{"Dhcp4": {"a": 9223372036854775808}}', 1, 17, "this is not a number"),
    ('{"Dhcp4": {"a": -9223372036854775809}}', 1, 17, "is not a number"),
    ('{"Dhcp4": {"a": ' + "1" * 9000 + "}}", 1, 17, "is not a number"),
    ('{"Dhcp4": {"a": "b\tc"}}', 1, 19, "control character 0x09 in a string"),
    ('{"Dhcp4": {"a": "b\0c"}}', 1, 19, "control character 0x00 in a string"),
    ('{"Dhcp4": {"a": "b\nc"}}', 1, 17, "the string that starts here is not closed on its line"),
    ('{"Dhcp4": {"a": "b', 1, 17, "not closed"),
    ('{"Dhcp4": {"a": "b\\', 1, 19, "bad escape"),
    ('{"Dhcp4": {"a": "b\\q"}}', 1, 19, 'bad escape "\\q" in a string'),
    ('{"Dhcp4": {"a": "b\\u12"}}', 1, 19, "is no escape that Kea reads"),
    ('{"Dhcp4": {"a": "b\\u0141"}}', 1, 19, "\\u is no escape that Kea reads"),
    ('{"Dhcp4": {"ü": "b\\q"}}', 1, 20, "bad escape"),
    ('{"Dhcp4": {\n/* a\n *', 2, 1, 'the comment that starts here has no "*/"'),
    ('{"Dhcp4": {}} / ', 1, 15, 'invalid character "/"'),
    ("<", 1, 1, 'invalid character "<"'),
    ("\ufeff{}", 1, 1, "byte order mark"),
    ("\0{}", 1, 1, 'invalid character "\\x00"'),
    ("\f{}", 1, 1, "invalid character"),
    ('{<?include "x">', 1, 2, "cannot include"),
    ('{<? \n incl "x"?>', 2, 2, 'expected <?include "FILE"?>'),
    ('{<?include ""?>', 1, 12, 'expected <?include "FILE"?>'),
    ('{<?include "/dev/null" x?>', 1, 24, 'expected "?>"'),
    # The first thing wrong is the one that is told, whatever comes after it.
    ('{"Dhcp4" 1 <?include "missing"?>', 1, 10, 'expected ":"'),
    ('{a": "x}', 1, 2, "invalid word"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), SYNTAX)
def test_syntax_errors_have_a_place(main: Path, text: str, line: int, column: int, message: str) -> None:
    main.write_bytes(text.encode())
    error = refusal(main)
    assert advice(error.message), error.message
    assert (error.file, error.line, error.column) == (str(main), line, column)
    assert message in error.message
    assert "\n" not in error.message
    assert keaconf.file_set(str(main))[0] == str(main)


def test_deep_nesting(main: Path) -> None:
    depth = keaconf_grammar.MAX_DEPTH - 2
    assert value(main, "[" * depth + "]" * depth)
    for text in ("[" * (depth + 1) + "]" * (depth + 1), "[" * 1_000_000, '{"a":' * 100_000):
        main.write_text('{"Dhcp4": {"x": ' + text + "}}")
        assert "nested deeper than 200" in refusal(main).message


# Includes


def test_includes_are_spliced_between_any_tokens(tmp_path: Path, main: Path) -> None:
    (tmp_path / "pair").write_text('"a": 1, # one\n "b"')
    (tmp_path / "deep").write_text('<?include "value"?>')
    (tmp_path / "value").write_text("[1, 2] // end without a newline")
    (tmp_path / "empty").touch()
    text = '{"Dhcp4": {<?include"pair"?>:<? include\t"deep" ?><?include "empty"?>, "c": <?include "value"?>}}'
    document = read_text(main, text, cwd=str(tmp_path))
    assert document.root == {"a": 1, "b": [1, 2], "c": [1, 2]}
    assert document.files == tuple(str(tmp_path / name) for name in (main.name, "pair", "deep", "value", "empty"))
    assert document.files == keaconf.file_set(str(main), cwd=str(tmp_path))
    assert document.digest == keaconf.fingerprint(document.files)


def test_a_token_does_not_cross_the_end_of_a_file(tmp_path: Path, main: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "quote").write_text('"abc')
    main.write_text('{"Dhcp4": {"a": 2<?include "one"?>}}')
    error = refusal(main, cwd=str(tmp_path))
    assert str(error) == f'{tmp_path}/one:1:1: expected "," or "}}" before "1"'
    main.write_text('{"Dhcp4": {"a": <?include "quote"?>"}}')
    assert str(refusal(main, cwd=str(tmp_path))).startswith(f"{tmp_path}/quote:1:1: the string that starts here")


def test_an_error_after_an_include_is_in_the_including_file(tmp_path: Path, main: Path) -> None:
    (tmp_path / "list").write_text("\n\n[1,\n2]\n")
    main.write_text('{"Dhcp4": {"a":\n<?include "list"?> "b"}}')
    error = refusal(main, cwd=str(tmp_path))
    assert (error.file, error.line, error.column) == (str(main), 2, 20)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{tmp}/none", 'cannot include "{tmp}/none": no such file or directory'),
        ("none", "no such file or directory (relative includes start at '/')"),
        ("{tmp}", "is a directory"),
        ("{tmp}/fifo", "not a regular file"),
        ("{tmp}/self", "include loop: {tmp}/kea-dhcp4.conf -> {tmp}/self -> {tmp}/self"),
        ("{tmp}/a\0b", "there is a NUL byte in its name"),
        ("{tmp}/kea-dhcp4.conf/x", "not a directory"),
        ("{tmp}/link", "too many levels of symbolic links"),
        ("{tmp}/" + "n" * 300, "file name too long"),
    ],
)
def test_bad_includes_are_told_at_the_directive(tmp_path: Path, main: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("link")
    (tmp_path / "self").write_text(f'<?include "{tmp_path}/self"?>')
    name, message = name.replace("{tmp}", str(tmp_path)), message.replace("{tmp}", str(tmp_path))
    main.write_text(f'{{"Dhcp4": {{\n  <?include "{name}"?>}}}}')
    error = refusal(main)
    assert message in error.message
    if "self" not in name:
        assert (error.file, error.line, error.column) == (str(main), 2, 3)
    assert keaconf.file_set(str(main)) == ((str(main),) if "\0" in name else (str(main), os.path.join("/", name)))


def test_a_file_that_includes_the_main_file_is_a_loop(tmp_path: Path, main: Path) -> None:
    (tmp_path / "a").write_text(f'<?include "{main}"?>')
    main.write_text(f'{{<?include "{tmp_path}/a"?>')
    assert f"include loop: {main} -> {tmp_path}/a -> {main}" in refusal(main).message
    assert keaconf.file_set(str(main)) == (str(main), str(tmp_path / "a"))


def test_a_loop_through_links_ends_too(tmp_path: Path, main: Path) -> None:
    (tmp_path / "d").symlink_to(".")
    main.write_text(f'{{<?include "{tmp_path}/d/../x"?>')
    (tmp_path / "x").write_text('<?include "d/d/../x"?>')
    assert refusal(main, cwd=str(tmp_path)).line == 1
    assert len(keaconf.file_set(str(main), cwd=str(tmp_path))) < 5


@pytest.mark.parametrize(("nested", "works"), [(11, True), (12, False)])
def test_includes_nest_as_deep_as_in_kea(tmp_path: Path, main: Path, nested: int, works: bool) -> None:
    for level in range(1, nested):
        (tmp_path / f"n{level}").write_text(f'<?include "n{level + 1}"?>')
    (tmp_path / f"n{nested}").write_text("1")
    main.write_text('{"Dhcp4": {"a": <?include "n1"?>}}')
    if works:
        assert read(main, cwd=str(tmp_path)).root == {"a": 1}
    else:
        assert "nested deeper than 11: " in refusal(main, cwd=str(tmp_path)).message


@pytest.mark.parametrize("leaf", ["", " " * 5000])
def test_include_bombs_are_bounded(tmp_path: Path, main: Path, leaf: str) -> None:
    for level in range(1, 10):
        (tmp_path / f"n{level}").write_text(f'<?include "n{level + 1}"?>' * 20)
    (tmp_path / "n10").write_text(leaf)
    main.write_text('{<?include "n1"?>')
    started = time.thread_time()
    assert "cannot include" in refusal(main, cwd=str(tmp_path), max_bytes=20_000_000).message
    assert time.thread_time() - started < 3
    assert len(keaconf.file_set(str(main), cwd=str(tmp_path))) == 11


def test_dev_null_masks_an_include(tmp_path: Path, main: Path) -> None:
    (tmp_path / "local").symlink_to("/dev/null")
    assert read_text(main, f'{{"Dhcp4": {{<?include "{tmp_path}/local"?>}}}}').root == {}


def test_a_file_name_may_be_any_bytes(tmp_path: Path, main: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xc3\xbc\x1b[2J"
    Path(os.fsdecode(name)).write_bytes(b"}")
    main.write_bytes(b'{"Dhcp4": {"a": <?include "' + name + b'"?>}}')
    assert refusal(main).file == f"{tmp_path}/\\xffü\\x1b[2J"
    assert keaconf.file_set(str(main))[1] == os.fsdecode(name)
    keaconf.fingerprint(keaconf.file_set(str(main)))


# Files nobody hoped for


def test_a_missing_file(main: Path) -> None:
    assert str(refusal(main)) == f"{main}: cannot read it: no such file or directory"
    assert keaconf.file_set(str(main)) == (str(main),)
    for name in ("/a\0b", "/\udcff", "/\ud800"):
        str(refusal(Path(name))).encode()
        assert keaconf.file_set(name) == (name,)


def test_an_empty_file(main: Path) -> None:
    main.touch()
    assert str(refusal(main)) == f"{main}: empty file"


@contextmanager
def as_nobody() -> Iterator[str]:
    """Root may read everything; another user may not."""
    if os.geteuid() != 0:
        yield ""
        return
    os.seteuid(NOBODY)
    try:
        yield "nobody"
    finally:
        os.seteuid(0)


def test_an_unreadable_file_names_the_user(main: Path) -> None:
    main.write_text("{}")
    main.chmod(0)
    with as_nobody() as user:
        error = refusal(main)
        unreadable = keaconf.fingerprint([str(main)])
    assert f'permission denied for user "{user}' in error.message
    assert unreadable == _fingerprint_of_errno(str(main), "EACCES")


def _fingerprint_of_errno(path: str, name: str) -> str:
    import hashlib

    return hashlib.sha256(f"{len(path)} errno {len(name)} {path} {name}".encode()).hexdigest()


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
def test_only_regular_files_are_read_and_nothing_blocks(tmp_path: Path, main: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else main
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "directory":
            main.mkdir()
        elif kind == "fifo":
            os.mkfifo(main)
        elif kind == "socket":
            os.chdir(tmp_path)  # the path may be too long for sun_path
            server.bind(main.name)
        assert ("is a directory" if kind == "directory" else "not a regular file") in refusal(path).message
        expected = "EISDIR" if kind == "directory" else "EINVAL"
        assert keaconf.fingerprint([str(path)]) == _fingerprint_of_errno(str(path), expected)
        assert keaconf.file_set(str(path)) == (str(path),)


@pytest.fixture(autouse=True)
def _same_directory() -> Iterator[None]:
    here = Path.cwd()
    yield
    os.chdir(here)


def test_a_size_limit_counts_all_files(tmp_path: Path, main: Path) -> None:
    text = f'{{"Dhcp4": {{"a": <?include "{tmp_path}/b"?>, "b": <?include "{tmp_path}/b"?>}}}}'
    (tmp_path / "b").write_text("1" + " " * 99)
    size = len(text) + 200
    assert read_text(main, text, max_bytes=size).root == {"a": 1, "b": 1}
    assert f"more than {size - 1} bytes" in refusal(main, max_bytes=size - 1).message
    assert str(refusal(main, max_bytes=10)).endswith("cannot read it: the configuration would have more than 10 bytes")


def test_a_relative_main_file_starts_at_our_own_directory(tmp_path: Path, main: Path) -> None:
    os.chdir(tmp_path)
    main.write_text('{"Dhcp4": {}}')
    assert keaconf.read(main.name, "Dhcp4").files == (str(main),) == keaconf.file_set(main.name)


# Fingerprints and file sets


def test_a_fingerprint_sees_every_change(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    files = (str(one), str(two))
    seen = [keaconf.fingerprint(files)]
    for path, text in ((one, "a"), (two, "b"), (two, "EISDIR")):
        path.write_text(text)
        seen.append(keaconf.fingerprint(files))
    two.unlink()
    two.mkdir()
    seen += [keaconf.fingerprint(files), keaconf.fingerprint(files[::-1]), keaconf.fingerprint(files, max_bytes=0)]
    assert len(set(seen)) == len(seen)
    assert keaconf.fingerprint(["/none\0", "/\ud800"]) == keaconf.fingerprint(["/none\0", "/\ud800"])


def test_a_file_set_ignores_what_only_looks_like_an_include(main: Path) -> None:
    main.write_text(
        '# <?include "/a"?>\n/* <?include "/b"?> */ "<?include \\"/c\\"?>" // <?include "/d"?>\n<?include "/e"?>'
    )
    assert keaconf.file_set(str(main)) == (str(main), "/e")


@pytest.mark.parametrize(
    "before", ['{"a: 1,\n', '{"a": tru', "{,,]", '"\\q"', "{'", "\0\xff", "<?incl ", "<", '"a\\\n']
)
def test_a_file_set_survives_wrong_text(main: Path, before: str) -> None:
    main.write_text(before + '<?include "/e" <?include "/f"?>')
    assert keaconf.file_set(str(main)) == (str(main), "/e", "/f")


# Properties

text_values = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text_values
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text_values, inner, max_size=4), max_leaves=20
)
NOISE = [" ", "\n", "\t", "\r\n", '# c <?include "/x"?>\n', "// ' \"\n", '/* " */', "/**/", "/* ,] \n */", "#\n"]


def rendered(node: Any, rng: random.Random, *, surplus: list[int]) -> list[str]:
    """A tree's tokens, with surplus commas."""
    if isinstance(node, str):
        return [in_quotes(node, rng)]
    if not isinstance(node, (dict, list)):
        return [json.dumps(node)]
    tokens: list[str] = ["{" if isinstance(node, dict) else "["]
    for index, item in enumerate(node):
        tokens += [","] * (index > 0)
        tokens += (
            [in_quotes(item, rng), ":", *rendered(node[item], rng, surplus=surplus)]
            if isinstance(node, dict)
            else rendered(item, rng, surplus=surplus)
        )
        count = rng.choice((0, 0, 0, 1, 2))
        surplus.append(count)
        tokens += [","] * count
    return [*tokens, "}" if isinstance(node, dict) else "]"]


def in_quotes(text: str, rng: random.Random) -> str:
    return '"' + "".join(one_character(c, rng) for c in text) + '"'


def one_character(character: str, rng: random.Random) -> str:
    if character < " " or character in '"\\' or rng.random() < 0.1:
        return "".join(f"\\u{byte:04x}" for byte in character.encode())
    return character


def with_noise(tokens: list[str], rng: random.Random) -> str:
    return "".join(token + " ".join(rng.choices(NOISE, k=rng.choice((0, 0, 1, 2)))) for token in ["", *tokens, ""])


def write_split(directory: Path, tokens: list[str], rng: random.Random, depth: int = 0) -> str:
    """The tokens as a text, a random slice of them moved into an included file."""
    if depth == 3 or rng.random() < 0.3:
        return with_noise(tokens, rng)
    start = rng.randint(0, len(tokens))
    end = rng.randint(start, len(tokens))
    path = directory / f"include{depth}"
    path.write_bytes(write_split(directory, tokens[start:end], rng, depth + 1).encode())
    return with_noise([*tokens[:start], f'<?include "{path}"?>', *tokens[end:]], rng)


@quick
@given(tree=trees, rng=st.randoms(use_true_random=False))
def test_a_rendered_tree_reads_back(tree: Any, rng: random.Random) -> None:
    whole = {"Dhcp4": {"x": tree}}
    surplus: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        text = write_split(directory, rendered(whole, rng, surplus=surplus), rng)
        document = read_text(directory / "main", text)
        assert document.tree == whole
        assert document.meaning == keaconf.meaning_of(whole)
        assert len(document.warnings) == min(sum(surplus), keaconf.MAX_WARNINGS + 1)
        assert document.files == keaconf.file_set(document.path)
        assert document.digest == keaconf.fingerprint(document.files)


PIECES = [
    b'"',
    b"\\",
    b",",
    b":",
    b"[",
    b"]",
    b"{",
    b"}",
    b"#",
    b"//",
    b"/*",
    b"*/",
    b"\n",
    b" ",
    b"1",
    b"-",
    b".",
    b"e5",
]
PIECES += [
    b'"a"',
    b"true",
    b"nul",
    b'{"Dhcp4": {',
    b"}}",
    b'"a":',
    b"\xff",
    b"\0",
    b'<?include "/dev/null"?>',
    b"<?",
    b"?>",
]
PIECES += [b'"\\u00e9"', b'"\\u0100"', b"007", b"9" * 19]
anything = st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)


@settings(quick, max_examples=150)
@given(data=anything, opening=st.sampled_from([b"", b'{"Dhcp4": {"x": ']), closing=st.sampled_from([b"", b"}}"]))
def test_anything_is_read_or_refused(data: bytes, opening: bytes, closing: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "main"
        path.write_bytes(opening + data + closing)
        try:
            document = read(path)
        except ConfigError as error:
            str(error).encode()
        else:
            assert document.files == keaconf.file_set(str(path))
        assert keaconf.file_set(str(path))[0] == str(path)


def raise_offset(offset: int, message: str) -> ConfigError:
    return ConfigError(message, file="f", line=1, column=offset)


@settings(quick, max_examples=150)
@given(data=anything)
def test_the_quick_way_and_the_exact_way_agree(data: bytes) -> None:
    """json.loads may give up where the parser does not, and never the other way round."""
    text = '{"Dhcp4": {"x": [' + data.decode("latin-1").replace("/", "").replace("#", "").replace("<", "") + "]}}"
    commas: list[int] = []
    tree = keaconf_grammar._load(text, "Dhcp4", commas)
    if tree is not None:
        own: list[int] = []
        parser = keaconf_grammar._Parser(text, "Dhcp4", error=raise_offset, stop=None, commas=own)
        assert repr((parser.parse(), own)) == repr((tree, commas))


# Speed: a bound against quadratic work, far above what it takes


@pytest.mark.parametrize(
    "text",
    [
        '{"Dhcp4": {"x": [' + '"a", ' * 300_000 + "1]}}",
        '{"Dhcp4": {"x": [' + "1, # c\n" * 200_000 + "1]}}",
        '{"Dhcp4": {"x": [1' + ", ," * 300_000 + "]}}",
        '{"Dhcp4": {"x": ["' + "\\n" * 500_000 + '"]}}',
        '{"Dhcp4": {"x": [' + "1, " * 300_000,
        '{"Dhcp4": {"x": [' + "/" * 1_000_000,
        '"' * 1_000_001,
        '"\\' * 500_000,
        "<?" * 500_000,
        "/*" * 500_000,
        "{" + " " * 2_000_000 + ",",
        ", " * 500_000,
        '{"Dhcp4": {"x": ' + "9" * 2_000_000 + "}}",
        '{"Dhcp4": {"x": 0.' + "9" * 2_000_000 + "}}",
    ],
    ids=lambda text: text[17:30],
)
def test_no_text_takes_long(main: Path, text: str) -> None:
    main.write_text(text)
    started = time.thread_time()
    try:
        read(main)
    except ConfigError as error:
        assert len(str(error)) < 1000  # noqa: PT017 - either answer will do here
    keaconf.file_set(str(main))
    assert time.thread_time() - started < 3
