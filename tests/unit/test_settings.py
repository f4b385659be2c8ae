# SPDX-License-Identifier: MPL-2.0
"""The settings: what is accepted, what is refused and in which words, and that the three texts agree."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kea_agent.errors import SettingsError
from kea_agent.settings import Setting, Settings, catalogue, load
from kea_agent.settings_kinds import split_address

TOP = Path(__file__).parents[2]
EXAMPLE = (TOP / "packaging/kea-agent.toml").read_text()
PAGE = (TOP / "docs/usage/settings.md").read_text()


def write(directory: Path, text: str, name: str = "kea-agent.toml") -> Path:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def problems(directory: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(directory)
    return str(caught.value).splitlines()


def problem(directory: Path, text: str) -> str:
    path = write(directory, text)
    [line] = problems(directory)
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def literal(value: object) -> str:
    """A default as TOML has it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


# -- the way of the files


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "absent") == Settings()


def test_the_defaults_are_those_of_the_brief() -> None:
    found = {(each.table, each.key): each.default for each in catalogue()}
    assert found["agent", "daemons"] == ("dhcp4", "dhcp6", "ddns", "ctrl-agent")
    assert found["settle", "quiet_seconds"] == 0.02
    assert found["check", "max_config_bytes"] == 64 * 1024 * 1024
    assert found["web", "listen"] == ("127.0.0.1:9673",)
    assert found["daemon.ctrl-agent", "unit"] is None


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().watch.poll_seconds = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings().daemon["dhcp4"] = None  # type: ignore[index]


def test_every_table_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        [agent]
        daemons = ["dhcp6"]
        [gate]
        ha = "ignore"
        [check]
        output_bytes = 2048
        [web]
        listen = ["0.0.0.0:9000", "[::1]:9000", "localhost:9001"]
        [daemon.ctrl-agent]
        unit = "my-ca.service"
        config_file = "/srv/ca.conf"
        """,
    )
    settings = load(tmp_path)
    assert settings.agent.daemons == ("dhcp6",)
    assert settings.gate.ha == "ignore"
    assert settings.check.output_bytes == 2048
    assert settings.web.listen == ("0.0.0.0:9000", "[::1]:9000", "localhost:9001")
    assert settings.daemon["ctrl-agent"].unit == "my-ca.service"
    assert settings.daemon["dhcp4"].unit is None


def test_a_whole_number_of_seconds_is_a_float(tmp_path: Path) -> None:
    write(tmp_path, "[watch]\npoll_seconds = 5\n")
    assert isinstance(load(tmp_path).watch.poll_seconds, float)


def test_a_drop_in_wins_key_by_key_and_the_last_one_most(tmp_path: Path) -> None:
    write(tmp_path, "[gate]\nretry_seconds = 1\ngive_up_seconds = 10\n")
    write(tmp_path, "[gate]\nretry_seconds = 3\n", "kea-agent.d/20.toml")
    write(tmp_path, "[gate]\nretry_seconds = 2\n", "kea-agent.d/10.toml")
    assert (load(tmp_path).gate.retry_seconds, load(tmp_path).gate.give_up_seconds) == (3, 10)


def test_what_an_editor_leaves_is_not_a_drop_in(tmp_path: Path) -> None:
    write(tmp_path, "rubbish", "kea-agent.d/10.toml~")
    write(tmp_path, "rubbish", "kea-agent.d/.10.toml")
    (tmp_path / "kea-agent.d/.#10.toml").symlink_to("joe@host.4711")
    assert load(tmp_path) == Settings()


# -- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[watch]\npol_seconds = 1", 'watch.pol_seconds: unknown key (did you mean "poll_seconds"?), allowed: poll_seconds'),
        ("[watch]\nlisten = []", "watch.listen: unknown key (it belongs to [web]), allowed: poll_seconds"),
        ("poll_seconds = 1", "poll_seconds: unknown key outside of every table (it belongs to [watch])"),
        ('[daemon.dhcp4]\n"a b" = 1', 'daemon.dhcp4."a b": unknown key, allowed: unit, config_file'),
        ("watch = 3", "watch: 3 is not a table, allowed: [watch] and its keys"),
        ("[[watch]]\npoll_seconds = 1", 'watch: [{"poll_seconds": 1}] is not a table, allowed: [watch] and its keys'),
        (
            "[watch]\npoll_seconds = 0",
            "watch.poll_seconds: 0 is out of range, allowed: a number of seconds from 1 to 86400",
        ),
        (
            "[watch]\npoll_seconds = nan",
            "watch.poll_seconds: NaN is out of range, allowed: a number of seconds from 1 to 86400",
        ),
        (
            "[watch]\npoll_seconds = true",
            "watch.poll_seconds: true is not a number, allowed: a number of seconds from 1 to 86400",
        ),
        (
            '[watch]\npoll_seconds = "60"',
            'watch.poll_seconds: "60" is not a number, allowed: a number of seconds from 1 to 86400',
        ),
        (
            "[check]\noutput_bytes = 2048.0",
            "check.output_bytes: 2048.0 is not a whole number, allowed: a whole number of bytes from 1024 to 16777216",
        ),
        ('[gate]\nha = "holt"', 'gate.ha: "holt" is not one of them (did you mean "hold"?), allowed: one of "hold", "ignore"'),
        ("[gate]\nha = 1979-05-27", 'gate.ha: "1979-05-27" is not one of them, allowed: one of "hold", "ignore"'),
        (
            '[web]\nlisten = ["::1:9673"]',
            'web.listen: "::1:9673" is not an address and a port, allowed: a list of "host:port", "[IPv6]:port" and "unix:/path", empty for none',
        ),
        (
            '[daemon.dhcp4]\nunit = "kea"',
            'daemon.dhcp4.unit: "kea" is not the name of a service, allowed: a name such as "kea-dhcp4.service"',
        ),
        (
            '[daemon.dhcp4]\nconfig_file = "kea.conf"',
            'daemon.dhcp4.config_file: "kea.conf" is not an absolute path, allowed: a path such as "/etc/kea/kea.conf"',
        ),
        (
            "[settle]\nquiet_seconds = 6",
            "settle.quiet_seconds: quiet_seconds = 6 is more than at_most_seconds = 5, allowed: at most as much",
        ),
        (
            "[gate]\ngive_up_seconds = 4",
            "gate.give_up_seconds: retry_seconds = 5 is more than give_up_seconds = 4, allowed: at most as much",
        ),
        (
            '[daemon.dhcp4]\nunit = "a.service"\n[daemon.dhcp6]\nunit = "a.service"',
            'daemon.dhcp6.unit: "a.service" is already in [daemon.dhcp4], allowed: one daemon each',
        ),
    ],
)  # fmt: skip
def test_a_problem_is_one_line_that_says_what_is_allowed(tmp_path: Path, text: str, words: str) -> None:
    assert problem(tmp_path, text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[wach]", 'wach: unknown table (did you mean "watch"?), allowed: agent, watch'),
        ("[daemon.dhcp5]", 'daemon.dhcp5: unknown table (did you mean "daemon.dhcp6"?)'),
        ("daemon = 1", "daemon: unknown key outside of every table"),
        ("[agent]\ndaemons = []", "agent.daemons: the list is empty"),
        ('[agent]\ndaemons = "dhcp4"', 'agent.daemons: "dhcp4" is not a list'),
        ('[agent]\ndaemons = ["dhcp4", "dhcp4"]', 'agent.daemons: "dhcp4" stands in the list twice'),
        ('[agent]\ndaemons = ["dhcp44"]', 'agent.daemons: "dhcp44" is not one of them (did you mean "dhcp4"?)'),
        ("[agent]\ndaemons = [1]", "agent.daemons: 1 is not one of them"),
        ('[web]\nlisten = ["unix:web.sock"]', 'web.listen: "unix:web.sock" has no absolute path'),
        ('[web]\nconfig_file = "web.yml"', 'web.config_file: "web.yml" is not an absolute path'),
        ('[web]\nlisten = ["a:99999"]', 'web.listen: "a:99999" has a port above 65535'),
        ('[web]\nlisten = ["a:0"]', 'web.listen: "a:0" has port 0'),
        ("[web]\nlisten = [1]", "web.listen: 1 is not an address and a port"),
        ("[check]\noutput_bytes = 1", "check.output_bytes: 1 is out of range"),
        ("[daemon.dhcp4]\nconfig_file = \"/a\\nb\"", 'daemon.dhcp4.config_file: "/a\\nb" is not an absolute path'),
        ("x = ", "is not TOML: Invalid value (at "),
        ("[watch]\npoll_seconds = 1\npoll_seconds = 2", "is not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 5000, "is not TOML: "),
        ("a = " + "1" * 5000, "is not TOML: "),
    ],
)  # fmt: skip
def test_a_problem_begins_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    assert problem(tmp_path, text).startswith(words)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    main = write(tmp_path, '[watch]\npoll_seconds = 0\n[gate]\nha = "x"\n[nope]\n')
    first = write(tmp_path, "[web]\nlisten = 3\n", "kea-agent.d/1.toml")
    second = write(tmp_path, "not TOML", "kea-agent.d/2.toml")
    assert [line.split(": ")[:2] for line in problems(tmp_path)] == [
        [str(main), "watch.poll_seconds"],
        [str(main), "gate.ha"],
        [str(main), "nope"],
        [str(first), "web.listen"],
        [str(second), "is not TOML"],
    ]


def test_a_problem_between_files_is_put_down_to_the_later_one(tmp_path: Path) -> None:
    write(tmp_path, "[settle]\nquiet_seconds = 4\n")
    later = write(tmp_path, "[settle]\nat_most_seconds = 3\n", "kea-agent.d/1.toml")
    [line] = problems(tmp_path)
    assert line.startswith(f"{later}: settle.at_most_seconds: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[watch]\n# \xe4\n", "is not UTF-8 at byte 11"),
        (b"\x7fELF\x00\x00", "is not TOML: "),
        (b"#" * 10_000_000, "is larger than 262144 bytes"),
    ],
    ids=["Latin-1", "binary", "huge"],
)
def test_a_file_that_is_not_one_of_settings(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "kea-agent.toml"
    path.write_bytes(content)
    assert problems(tmp_path)[0].startswith(f"{path}: {words}")


def test_a_directory_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "kea-agent.toml").mkdir()
    assert problems(tmp_path) == [f"{tmp_path}/kea-agent.toml: is not a file"]


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    write(tmp_path, "", "kea-agent.d")
    assert problems(tmp_path) == [f"{tmp_path}/kea-agent.d: cannot be listed: Not a directory"]


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "kea-agent.toml")
    assert problems(tmp_path) == [f"{tmp_path}/kea-agent.toml: is not a file"]


def test_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "kea-agent.toml").symlink_to("absent")
    assert problems(tmp_path) == [f"{tmp_path}/kea-agent.toml: points to a file that is not there"]


@pytest.fixture
def nobody() -> Iterator[None]:
    """The test's own user, or nobody if that is root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_files_that_may_not_be_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write(tmp_path, "[watch]\npoll_seconds = 1\n")
    tmp_path.chmod(0)
    request.getfixturevalue("nobody")
    assert problems(tmp_path) == [
        f"{tmp_path}/kea-agent.d: cannot be listed: Permission denied",
        f"{tmp_path}/kea-agent.toml: cannot be read: Permission denied",
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::]:0", ("::", 0)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("host.example:9673", ("host.example", 9673)),
    ],
)
def test_an_address(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts


@pytest.mark.parametrize(
    "text", ["", ":80", "host", "host:", "host:x", "::1:80", "[::1]", "[]:80", "a b:80", "h:1\n", "h:٣"]
)
def test_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address and a port"):
        split_address(text)


# -- the texts


def test_the_example_has_every_setting_commented_out(tmp_path: Path) -> None:
    write(tmp_path, EXAMPLE)
    assert load(tmp_path) == Settings()
    shown = re.findall(r"^(?:# (.+)\n)#(?: {5})?(\w+) = ", EXAMPLE, re.MULTILINE)
    wanted = [(each.doc, each.key) for each in catalogue() if each.table == "daemon.dhcp4" or "." not in each.table]
    assert shown == wanted


def test_the_example_without_its_comment_signs_is_the_defaults(tmp_path: Path) -> None:
    bare = re.sub(r"^#(\w+ = )", r"\1", EXAMPLE, flags=re.MULTILINE)
    write(tmp_path, bare)
    assert load(tmp_path) == Settings()
    set_keys = len(re.findall(r"^\w+ = ", bare, re.MULTILINE))
    assert set_keys == sum(1 for each in catalogue() if "." not in each.table)


def test_the_example_of_a_daemon_is_valid(tmp_path: Path) -> None:
    write(tmp_path, re.sub(r"^# {5}(\w+ = )", r"\1", EXAMPLE, flags=re.MULTILINE))
    assert load(tmp_path).daemon["dhcp4"].unit == "kea-dhcp4-server.service"


def page_table(table: str) -> str:
    heading = r"\[daemon\.dhcp4\][^\n]*" if table.startswith("daemon.") else re.escape(f"[{table}]")
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, table
    return match[1]


@pytest.mark.parametrize("each", list(catalogue()), ids=lambda each: f"{each.table}.{each.key}")
def test_the_page_has_every_setting(each: Setting) -> None:
    default = "none" if each.default is None else f"`{literal(each.default)}`"
    assert f"| `{each.key}` | {default} | {each.doc} | {each.kind.allowed} |" in page_table(each.table)
    assert each.doc.endswith(".")
