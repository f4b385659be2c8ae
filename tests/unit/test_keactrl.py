# SPDX-License-Identifier: MPL-2.0
"""keactrl beside the script: keactrl.conf of every kind, what its page and completions know, what it does not import.

What it shares with the script is compared with the script itself in test_keactrl_oracle.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kea_agent.errors import ConfigError
from kea_agent.keactrl import conf, main, processes
from kea_agent.keactrl.arguments import COMMANDS, parse
from kea_agent.keactrl.errors import MissingVariableError, RefusedError
from kea_agent.keactrl.servers import CTRL_AGENT, DHCP4, DHCP6, DHCP_DDNS, NETCONF, Installation
from kea_agent.keactrl.words import split

TOP = Path(__file__).parents[2]
PAGE = TOP / "packaging/man/keactrl.8"
COMPLETIONS = TOP / "packaging/completion"
SERVERS = (DHCP4, DHCP6, DHCP_DDNS, CTRL_AGENT, NETCONF)
OPTIONS = ("-c", "--ctrl-config", "-s", "--server", "--json", "--compat-exit")


def value(path: Path, text: str, name: str = "x") -> str:
    path.write_text(text)
    return conf.read(str(path), "/opt/kea", {"HOME": "/root"})[name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=plain", "plain"),
        ("x=", ""),
        ("x=1\nx=2\n", "2"),
        ("# x=1\nx=2 # 3\n", "2"),
        ("x=a#b", "a#b"),
        ("x='a b'\"c d\"e", "a bc de"),
        ("x=a\\ b\\$c", "a b$c"),
        ('x="a\\b\\"\\$c\\\\"', 'a\\b"$c\\'),
        ("x='a\nb'", "a\nb"),
        ('x="a\\\nb"', "ab"),
        ("x=a\\\nb", "ab"),
        ("\\\n x=1", "1"),
        ("y=1 x=2", "2"),
        ("export x=1", "1"),
        ("x=$prefix/sbin", "/opt/kea/sbin"),
        ('prefix=/srv; x="${prefix}x"'.replace(";", "\n"), "/srvx"),
        ("x='${prefix}'", "${prefix}"),
        ("x=${HOME}", "/root"),
        ('x="100$"', "100$"),
        ("x=*", "*"),
        ("x=a\v\f\u00a0b", "a\v\f\u00a0b"),
    ],
)
def test_an_assignment_means_what_it_means_to_a_shell(tmp_path: Path, text: str, expected: str) -> None:
    assert value(tmp_path / "keactrl.conf", text) == expected
    script = f'prefix=/opt/kea; HOME=/root; . "{tmp_path}/keactrl.conf"; printf %s "$x"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == expected


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("x=1\nx=$(touch {touched})\n", 2, r"only \$name and \$\{name\} are replaced"),
        ('x="$(touch {touched})"', 1, r"only \$name and"),
        ("x=`touch {touched}`", 1, "no command is executed"),
        ("x=1; touch {touched}", 1, "without ;"),
        ("\n\ntouch {touched}", 3, "only assignments"),
        ("x=1 & touch {touched}", 1, "only assignments"),
        ("x=1|touch {touched}", 1, "not executed"),
        ("x=1 >{touched}", 1, "only assignments"),
        ("x=1>{touched}", 1, "not executed"),
        (". {touched}", 1, "only assignments"),
        ("if true; then x=1; fi", 1, "only assignments"),
        ("x=${y:-1}", 1, r"only \$name and"),
        ("x=$1", 1, r"only \$name and"),
        ("x=~/kea", 1, "~ is not expanded"),
        ('y=1\nx="1\n2\n', 2, 'no closing "'),
        ("x='1\n2", 1, "no closing '"),
        ("x=1\\", 1, "a backslash with nothing behind it"),
        ("x=1\r\n", 1, "carriage return"),
        ("x=a\x00b", 1, "null character"),
        ("x = 1", 1, "only assignments"),
        ("1x=1", 1, "only assignments"),
        ("\ufeffx=1", 1, "only assignments"),
    ],
)
def test_anything_else_is_refused_with_its_line_and_not_executed(
    tmp_path: Path, text: str, line: int, why: str
) -> None:
    touched, path = tmp_path / "touched", tmp_path / "keactrl.conf"
    with pytest.raises(ConfigError, match=why) as caught:
        value(path, text.replace("{touched}", str(touched)))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert not touched.exists()


def test_a_reference_to_nothing_is_a_missing_variable(tmp_path: Path) -> None:
    with pytest.raises(MissingVariableError, match=r"^nothing$"):
        value(tmp_path / "keactrl.conf", "x=$nothing")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(b"#" * 10_000_000)
    for path, why in ((tmp_path, "is a directory"), (tmp_path / "huge", "larger than"), (tmp_path / "no", "no such")):
        with pytest.raises(ConfigError, match=why):
            conf.read(str(path), "/usr", {})


def test_words_are_split_where_a_shell_splits_them() -> None:
    assert split(" a\tb\n\nc  ") == ["a", "b", "c"]
    assert split("a\u00a0b\u3000c\v\fd\re") == ["a\u00a0b\u3000c\v\fd\re"]


def test_bytes_that_are_not_utf8_go_through(tmp_path: Path) -> None:
    path = tmp_path / "keactrl.conf"
    path.write_bytes(b"x=/caf\xe9\n")
    assert conf.read(str(path), "/usr", {})["x"].encode(errors="surrogateescape") == b"/caf\xe9"


@pytest.mark.parametrize(
    ("config", "name"),
    [("/etc/kea/kea-dhcp4.conf", "kea-dhcp4"), ("a.b.conf.json", "a.b.conf"), ("kea", "kea"), ("/x/.conf", "")],
)
def test_the_pid_file_is_named_as_kea_does(config: str, name: str) -> None:
    assert processes.pid_file("/run/kea", config, "kea-dhcp4") == f"/run/kea/{name}.kea-dhcp4.pid"


@pytest.mark.parametrize("text", ["", "0", "abc", "-1", "1 2", "99999999999999999999", "4194304", "\x00"])
def test_a_pid_file_of_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pid").write_text(text)
    assert processes.running(str(tmp_path / "x.pid"), "kea-dhcp4") == 0


def test_the_commands_words_are_refused_in_the_scripts_words() -> None:
    nothing_installed = Installation({"PATH": "/nowhere"})
    for words, message in (
        ([], "missing command"),
        (["dance"], "invalid command: dance"),
        (["status", "--yaml"], "invalid option: --yaml"),
        (["stop", "--json"], "invalid option: --json"),
        (["stop", "-s", "dhcp5"], "invalid server name: dhcp5"),
    ):
        with pytest.raises(RefusedError, match=f"^{message}$"):
            parse(words, nothing_installed)


@pytest.mark.parametrize("place", [PAGE, *COMPLETIONS.glob("keactrl.*")], ids=lambda place: place.name)
def test_every_word_is_documented_and_completed(place: Path) -> None:
    text = place.read_text().replace("\\-", "-")
    options = {option.lstrip("-") if place.suffix == ".fish" else option for option in OPTIONS}
    spelled = {*COMMANDS, *(server.name for server in SERVERS), *options, "-V", "--help"}
    assert {word for word in spelled if not re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", text)} == set()


def test_the_page_has_every_variable() -> None:
    text = PAGE.read_text()
    names = {name for each in SERVERS for name in (each.config_variable, each.binary_variable, each.name)}
    assert {name for name in names if name not in text} == set()


def test_the_page_has_every_exit_code() -> None:
    section = PAGE.read_text().partition(".SH EXIT STATUS")[2].partition(".SH ")[0]
    codes = {main._OK, main._ERROR, main._MISSING_VARIABLE}
    assert {int(code) for code in re.findall(r"^\.B (\d)$", section, re.MULTILINE)} == codes


def test_the_page_is_well_formed() -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("keactrl st", {"start", "stop", "status"}),
        ("keactrl status --", {"--ctrl-config", "--server", "--compat-exit", "--json"}),
        ("keactrl stop --j", set()),
        ("keactrl stop -s dhcp4,dhcp_", {"dhcp4,dhcp_ddns"}),
    ],
)
def test_bash_completes(typed: str, expected: set[str]) -> None:
    words = " ".join(f"'{word}'" for word in typed.split())
    script = f""". {COMPLETIONS}/keactrl.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _keactrl; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize(("shell", "file"), [("zsh", "keactrl.zsh"), ("fish", "keactrl.fish")])
def test_the_other_shells_can_read_theirs(shell: str, file: str) -> None:
    done = subprocess.run([shell, "-n", COMPLETIONS / file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_status_imports_neither_dbus_nor_prometheus(tmp_path: Path) -> None:
    config = tmp_path / "kea.conf"
    config.touch()
    words = [f"{each.config_variable}={config}\n{each.binary_variable}=/x/{each.binary}" for each in SERVERS]
    (tmp_path / "keactrl.conf").write_text("\n".join([*words, "dhcp_ddns=no", ""]))
    # A Kea with a Control Agent need not be asked for its version.
    (tmp_path / "kea-ctrl-agent").touch(mode=0o755)
    script = """import sys; from kea_agent.keactrl.main import main; code = main(["status", "-c", sys.argv[1]])
slow = {"pystemd", "prometheus_client", "xml", "json", "subprocess", "socket", "dataclasses", "pathlib", "argparse"}
print(code, slow & set(sys.modules), file=sys.stderr)"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "keactrl.conf"], cwd=TOP, capture_output=True, text=True, check=True
    )
    assert done.stderr == "0 set()\n"
