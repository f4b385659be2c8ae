# SPDX-License-Identifier: MPL-2.0
"""The command line: what it accepts, how it exits, and that the man page knows all of it."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kea_agent import __version__, cli
from kea_agent.errors import ExitCode
from kea_agent.outcome import Outcome

TOP = Path(__file__).parents[2]
PAGE = TOP / "packaging/man/kea-agent.8"
GOOD = '{ "DhcpDdns": { "port": 53001 } }'
BAD = '{ "DhcpDdns": {\n  "port" 53001 } }'


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kea_agent", *words], cwd=TOP, capture_output=True, text=True, check=False
    )


def verbs() -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices)


@pytest.mark.parametrize(
    ("words", "code", "stdout", "stderr"),
    [
        (["--version"], 0, rf"kea-agent {re.escape(__version__)}\n", ""),
        ([], 2, "", "required: VERB"),
        (["dance"], 2, "", "invalid choice: 'dance'"),
        (["status", "--yaml"], 2, "", "unrecognized arguments: --yaml"),
        (["reload", "dhcp5"], 2, "", "invalid choice: 'dhcp5'"),
        (["reload", "dhcp4"], 3, "", "kea-agent: /run/kea-agent/agent.sock: the agent is not running"),
        (["status"], 3, "kea-agent is not running", ""),
        (["check", "--level", "syntax", "{good}"], 0, "^$", ""),
        (
            ["check", "--level", "syntax", "{bad}"],
            1,
            r"^{bad}:2:10: error: .+\n +2 \|.+\n +\|        \^\n +=.+\n\n1 error\n$",
            "",
        ),
        (["check", "--level", "rules", "{good}"], 0, r"^{good}:1:3: info: .+ \[control-socket-missing\]\n", ""),
        (["check", "--level", "rules", "--disable", "control-socket-missing", "{good}"], 0, "^$", ""),
        (["check", "--level", "rules", "--settings", "{wrong}", "{good}"], 2, "", "kea-agent.toml: agent.log_level: "),
        (["check", "--level", "rules", "--settings", "{quiet}", "{good}"], 0, "^$", ""),
        (["check", "--level", "rules", "{typo}"], 1, r'"prot" is no keyword of Kea: did you mean "port"\?', ""),
        (["check", "--level", "syntax", "{typo}"], 0, "^$", ""),
        (
            ["check", "--level", "rules", "--format", "github", "{typo}"],
            1,
            "^::error file={typo},line=1,col=17,title=key",
            "",
        ),
        (["check", "--level", "rules", "--format", "sarif", "{good}"], 0, r'"version": "2.1.0"', ""),
        (["check", "--kea-version", "two", "{good}"], 2, "", "'two' is not a version of Kea"),
        (["check", "--format", "json", "--json", "{good}"], 2, "", "not allowed with argument"),
        (["check", "--level", "rules", "--disable", "nonsense", "{good}"], 2, "", 'there is no rule "nonsense"'),
        (["check", "--level", "rules", "--previous", "/absent", "{good}"], 3, "", "/absent: cannot read it"),
        (["check", "--level", "syntax", "--json", "{bad}"], 1, r'"severity": "error"', ""),
        (["check", "--level", "syntax", "/etc/hostname"], 3, "", "cannot tell which daemon it is for"),
        (["check", "dhcp9"], 3, "", "dhcp9: no such file, and no daemon of that name: dhcp4, dhcp6, ddns, ctrl-agent"),
        (["check", "{empty}"], 3, "", "/empty: cannot read it: is a directory"),
        (["check", "{empty}/absent"], 3, "", "/absent: cannot read it: no such file or directory"),
        (["--help"], 0, r"kea-agent keactrl \.\.\. is the command", ""),
        (["reload", "--help"], 0, r"DAEMON +dhcp4, dhcp6, ddns, ctrl-agent \(default: all installed\)", ""),
        (["check", "--level", "kea", "{good}"], 3, r"unknown: cannot run \S+ -t: no such file", ""),
        (["run", "--test", "--settings", "{empty}"], 0, "^$", ""),
        (["run", "--test", "--settings", "{wrong}"], 2, "", "kea-agent.toml: agent.log_level: "),
        (["run", "--test", "--settings", "{empty}", "--web.config.file", "{web}"], 2, "", "web.yml: nope: unknown key"),
        (["run", "--settings", "{empty}", "--web.config.file", "{web}"], 2, "", "web.yml: nope: unknown key"),
        (["run", "--test", "--settings", "{empty}", "--web.config.file", "/absent"], 2, "", "/absent: cannot be read"),
        (["run", "--test", "--settings", "{webbed}"], 2, "", "web.yml: nope: unknown key"),
        (["history", "--show", "1"], 2, "", "--show needs to know of which DAEMON"),
        (["history", "dhcp4", "--show", "1"], 3, "", "dhcp4 has no revision '1'; kea-agent history dhcp4 lists"),
        (["history", "dhcp5"], 2, "", "invalid choice: 'dhcp5'"),
        (["rollback"], 2, "", "which DAEMON?"),
        (["apply"], 2, "", "required: FILE"),
        *(
            (["apply", "{good}", "--confirm", time], 2, "", "is no time from 10s to 24h")
            for time in ("5", "25h", "soon")
        ),
        (["metrics", "--settings", "{wrong}"], 2, "", "kea-agent.toml: agent.log_level: "),
    ],
)
def test_words(tmp_path: Path, words: list[str], code: int, stdout: str, stderr: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/kea-agent.toml").write_text("[agent]\nlog_level = 7\n")
    (tmp_path / "webbed").mkdir()
    (tmp_path / "web.yml").write_text("nope: 1\n")
    (tmp_path / "webbed/kea-agent.toml").write_text(f'[web]\nconfig_file = "{tmp_path}/web.yml"\n')
    (tmp_path / "quiet").mkdir()
    (tmp_path / "quiet/kea-agent.toml").write_text('[check]\ndisable = ["control-socket-missing"]\n')
    (tmp_path / "kea-dhcp-ddns.typo").write_text(GOOD.replace("port", "prot"))
    (tmp_path / "kea-dhcp-ddns.good").write_text(GOOD)
    (tmp_path / "kea-dhcp-ddns.bad").write_text(BAD)
    places = {
        "empty": tmp_path / "empty",
        "wrong": tmp_path / "wrong",
        "web": tmp_path / "web.yml",
        "webbed": tmp_path / "webbed",
        "quiet": tmp_path / "quiet",
        "typo": tmp_path / "kea-dhcp-ddns.typo",
        "good": tmp_path / "kea-dhcp-ddns.good",
        "bad": tmp_path / "kea-dhcp-ddns.bad",
    }
    done = run(*(_filled(word, places) for word in words))
    assert (done.returncode, done.stderr if not stderr else "") == (code, "")
    assert stderr in done.stderr
    assert re.search(_filled(stdout, places), done.stdout), done.stdout


def _filled(text: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        text = text.replace(f"{{{name}}}", str(path))
    return text


def test_the_page_has_every_verb_and_option() -> None:
    page = PAGE.read_text().replace("\\-", "-")
    options = {option for verb in verbs().values() for action in verb._actions for option in action.option_strings}
    wanted = (
        verbs().keys() | {option for option in options if option.startswith("--")} | {str(each) for each in Outcome}
    )
    assert {word for word in wanted if not re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", page)} == set()


def test_the_page_has_every_exit_code() -> None:
    section = PAGE.read_text().partition(".SH EXIT STATUS")[2].partition(".SH ")[0]
    assert {int(code) for code in re.findall(r"^\.B (\d)$", section, re.MULTILINE)} == {int(code) for code in ExitCode}


def test_the_page_is_well_formed() -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in PAGE.read_text()


def test_syntax_and_rules_need_no_systemd_and_no_prometheus() -> None:
    script = """
import sys
sys.modules.update(dict.fromkeys(("pystemd", "pyinotify", "sdnotify", "prometheus_client")))
from kea_agent import cli
sys.exit(cli.main(["check", "--level", "rules", sys.argv[1]]))
"""
    example = TOP / "packaging/nowhere-kea-dhcp4.conf"
    done = subprocess.run([sys.executable, "-c", script, example], cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, "cannot read it" in done.stdout, done.stderr) == (1, True, "")


def test_a_subnet_that_changed_its_id(tmp_path: Path) -> None:
    for name, number in (("old", 1), ("new", 2)):
        text = f'{{ "Dhcp4": {{ "subnet4": [ {{ "id": {number}, "subnet": "192.0.2.0/24" }} ] }} }}'
        (tmp_path / name).write_text(text)
    done = run("check", "--level", "rules", "--previous", str(tmp_path / "old"), str(tmp_path / "new"))
    assert done.returncode == 1
    assert 'subnet "192.0.2.0/24" had id 1 and now has 2 [subnet-id-changed]' in done.stdout


def test_the_quick_verbs_import_no_prometheus() -> None:
    script = "import sys; import kea_agent.cli, kea_agent.verbs.status; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
