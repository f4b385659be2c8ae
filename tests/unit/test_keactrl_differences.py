# SPDX-License-Identifier: MPL-2.0
"""Where keactrl differs from the real script on purpose: what the script does and what keactrl does, each asserted.

Each is a paragraph of the man page. The scripts are those of test_keactrl_oracle.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from keactrl_scripts import UnavailableError, generation, get, number

from unit.keactrl_cases import SERVERS, lines, variables
from unit.keactrl_sandbox import CONF, REPOSITORY, ROOT, Answer, Case, Sandbox, sandbox, wait_until

PAGE: Final = REPOSITORY / "packaging/man/keactrl.8"
NOBODY: Final = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
# Root that may not signal others' processes, and root that may not look everywhere.
WITHOUT_KILL: Final = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--"]
WITHOUT_LOOKING: Final = [
    "setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search", "--",
]  # fmt: skip
# A, B and C; the first is in Debian.
ONE_OF_EACH: Final = ("2.6.3", "3.2.0", "3.3.0")
RUNNING: Final = frozenset({"kea-dhcp4"})

Shown = Callable[[Sandbox], None]
_SHOWN: Final[list[tuple[str, Shown]]] = []


def shows(difference: str) -> Callable[[Shown], Shown]:
    """The function shows a difference, called as in the man page."""

    def add(function: Shown) -> Shown:
        _SHOWN.append((difference, function))
        return function

    return add


def of(box: Sandbox, command: str = "status", conf: str | None = None, **more: object) -> Case:
    """A command with -c on a keactrl.conf, by default a complete one."""
    text = lines(generation(box.script.version)) if conf is None else conf
    return Case((command, "-c", CONF), text, **more)  # type: ignore[arg-type]


def status_of_dhcp4(answer: Answer) -> str:
    return answer.stdout.partition("\n")[0].removeprefix("DHCPv4 server: ")


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("did not run: taking rights away takes root")


# -- the table


@shows("units")
def _without_units_there_is_no_answer_without_a_file(box: Sandbox) -> None:
    """With units is what the lab is for: tests/lab/test_keactrl.py."""
    case = Case(("status",), None)
    assert box.ours(case) == box.theirs(case)
    assert box.ours(case).stdout.endswith(
        f"keactrl configuration file doesn't exist in {box.root}/etc/kea/keactrl.conf.\n"
    )


@shows("stale PID files")
def _a_pid_of_another_program(box: Sandbox) -> None:
    for command in ("status", "stop"):
        with subprocess.Popen(["sleep", "60"]) as other:
            case = of(box, command, pid_files={"kea-dhcp4": f"{other.pid}\n"})
            ours, alive = box.ours(case), other.poll() is None
            theirs = box.theirs(case)
            if command == "stop":
                assert other.wait(5) == -signal.SIGTERM, "the script ends whatever it is"
                assert theirs.stdout.startswith("INFO/keactrl: Stopping kea-dhcp4...\n")
                assert ours.stdout.startswith("INFO/keactrl: kea-dhcp4 isn't running.\n")
            else:
                assert (status_of_dhcp4(theirs), status_of_dhcp4(ours)) == ("active", "inactive")
            other.kill()
            assert (alive, theirs.code, ours.code) == (True, 0, 0)


@shows("stale PID files")
def _a_zombie(box: Sandbox) -> None:
    daemon = box.start([], "kea-dhcp4")
    daemon.kill()
    wait_until(lambda: b") Z " in Path(f"/proc/{daemon.pid}/stat").read_bytes(), "the daemon is a zombie")
    case = of(box, pid_files={"kea-dhcp4": f"{daemon.pid}\n"})
    theirs, ours = box.theirs(case), box.ours(case)
    daemon.wait()
    assert (status_of_dhcp4(theirs), status_of_dhcp4(ours)) == ("active", "inactive")


@shows("stale PID files")
def _a_pid_file_that_others_may_have_put_there(box: Sandbox) -> None:
    """The fakes are scripts, so what they execute is a shell, and not the binary."""
    case = of(box, running=RUNNING)
    (box.root / "run").chmod(0o777)
    theirs, ours = box.theirs(case), box.ours(case)
    (box.root / "run").chmod(0o755)
    assert (status_of_dhcp4(theirs), status_of_dhcp4(ours)) == ("active", "inactive")
    assert "dhcp4" in ours.stderr
    assert "is not believed: process " in ours.stderr


@shows("files of others")
def _what_others_may_have_written_says_nothing(box: Sandbox) -> None:
    case = of(box, "version")
    for place in (box.root / "etc/kea", box.root / "sbin"):
        place.chmod(0o777)
        theirs, ours = box.theirs(case), box.ours(case)
        place.chmod(0o755)
        assert (theirs.code, ours.code) == (0, 1)
        assert f"{place}: others than its owner may write it" in ours.stdout


EXECUTED: Final = f"touch {ROOT}/executed"
REFUSED: Final = {
    f"my=$({EXECUTED})": r"only \$name and \$\{name\} are replaced",
    f'my="`{EXECUTED}`"': "no command is executed here",
    f"my=1; {EXECUTED}": "without ;",
    EXECUTED: "only assignments",
    f"my=1 {EXECUTED}": "only assignments",
    f"if true\nthen {EXECUTED}\nfi": "only assignments",
    f"{EXECUTED} &": "only assignments",
    "my=1 >%ROOT%/executed": "only assignments",
    f'my="${{nothing:-$({EXECUTED})}}"': r"only \$name and",
}
# What a shell does not execute either, or to no effect.
BROKEN: Final = {
    'my="1': 'no closing "',
    "my='1": "no closing '",
    "my = 1": "only assignments",
    "readonly my=1": "only assignments",
    "my=~/x": "~ is not expanded",
    "my=1\r": "a carriage return",
    "my=${prefix%/*}": r"only \$name and",
}


@shows("nothing is executed")
def _a_file_that_is_a_program_is_refused(box: Sandbox) -> None:
    text = lines(generation(box.script.version))
    line, touched = text.count("\n") + 1, box.root / "executed"
    for added, why in REFUSED.items():
        case = of(box, conf=f"{text}{added}\n")
        ours = box.ours(case)
        assert not touched.exists(), added
        assert (ours.code, ours.stdout.count("\n")) == (1, 1)
        assert re.match(rf"ERROR/keactrl: {box.expand(CONF)}:{line}: .*{why}", ours.stdout), ours
        box.theirs(case)
        wait_until(touched.exists, f"the script executes {added}")
        touched.unlink()


@shows("nothing is executed")
def _a_file_that_cannot_be_taken_apart_is_refused(box: Sandbox) -> None:
    text = lines(generation(box.script.version))
    line = text.count("\n") + 1
    for added, why in BROKEN.items():
        ours = box.ours(of(box, conf=f"{text}{added}\n"))
        assert re.match(rf"ERROR/keactrl: {box.expand(CONF)}:{line}: .*{why}", ours.stdout), ours
        assert (ours.code, ours.stdout.count("\n")) == (1, 1)


@shows("nothing is executed")
def _ten_megabytes_are_not_read(box: Sandbox) -> None:
    case = of(box, conf=lines(generation(box.script.version)) + "# nothing at all, again and again\n" * 300_000)
    theirs, ours = box.theirs(case), box.ours(case)
    assert (theirs.code, ours.code) == (0, 1)
    assert re.fullmatch(rf"ERROR/keactrl: {box.expand(CONF)}: larger than .*\n", ours.stdout)


@shows("nothing is executed")
def _a_name_without_a_directory_is_looked_for_here(box: Sandbox) -> None:
    here = box.root / "empty/my.conf"
    here.symlink_to(box.expand(CONF))
    case = Case(("status", "-c", "my.conf"), lines(generation(box.script.version)))
    theirs, ours = box.theirs(case), box.ours(case)
    here.unlink()
    assert (theirs.code, theirs.stdout, ours.code) == (2, "", 0)
    assert ours.stdout.endswith("keactrl configuration file: my.conf\n")


@shows("nothing is executed")
def _patterns_are_not_expanded(box: Sandbox) -> None:
    pattern = f"{ROOT}/e*/oracle4.conf.json"
    case = of(box, "start", lines(generation(box.script.version), kea_dhcp4_config_file=pattern))
    theirs, ours = box.theirs(case), box.ours(case)
    assert theirs.stdout.splitlines()[0].endswith(f" -c {box.root}/etc/oracle4.conf.json")
    assert ours.stdout.splitlines()[0].endswith(f" -c {box.expand(pattern)}")


@shows("nothing is executed")
def _variables_are_not_taken_from_the_environment(box: Sandbox) -> None:
    text = lines(generation(box.script.version), kea_dhcp6_config_file=None)
    case = of(box, conf=text, environment={"kea_dhcp6_config_file": f"{ROOT}/etc/oracle6.conf.json"})
    theirs, ours = box.theirs(case), box.ours(case)
    assert (theirs.code, ours.code) == (0, 2)
    assert "kea_dhcp6_config_file" in ours.stderr


@shows("nothing is executed")
def _cli_options_mean_nothing(box: Sandbox) -> None:
    """For the scripts before 3.3.0 neither."""
    case = of(box, "start", lines(generation(box.script.version)) + "cli_options=-Z\n")
    theirs, ours = box.theirs(case), box.ours(case)
    assert "-Z" not in ours.stdout
    assert ("-Z" in theirs.stdout) == (generation(box.script.version) == "C")


@shows("missing variables")
def _each_is_named(box: Sandbox) -> None:
    for missing in variables(generation(box.script.version)):
        case = of(box, "status", lines(generation(box.script.version), **{missing: None}))
        theirs, ours = box.theirs(case), box.ours(case)
        assert ours == theirs, missing
        if theirs.code == 2:
            assert ours.stderr == f"ERROR/keactrl: {missing}: parameter not set in keactrl.conf\n"


@shows("reload and stop")
def _a_reload_that_is_not_proven(box: Sandbox) -> None:
    case = of(box, "reload", running=RUNNING)
    theirs, ours, lenient = box.theirs(case), box.ours(case), box.ours(case, "--compat-exit")
    first, second, *rest = ours.stdout.splitlines()
    assert first == "INFO/keactrl: Reloading kea-dhcp4..."
    assert re.match(r"ERROR/keactrl: Reload failed, .", second), ours
    assert theirs.stdout.splitlines() == [first, *rest]
    assert (theirs.code, ours.code, lenient.code) == (0, 1, 0)
    assert lenient.stdout == ours.stdout


@shows("reload and stop")
def _a_signal_that_cannot_be_sent(box: Sandbox) -> None:
    as_root()
    box.pool["kea-dhcp4"] = daemon = box.start(NOBODY, "kea-dhcp4")
    case = of(box, "stop", running=RUNNING)
    theirs = box.theirs(case, under=WITHOUT_KILL)
    ours, lenient = box.ours(case, under=WITHOUT_KILL), box.ours(case, "--compat-exit", under=WITHOUT_KILL)
    assert daemon.poll() is None
    assert (theirs.stdout, theirs.code) == ("INFO/keactrl: Stopping kea-dhcp4...\n", 2)
    assert "proc_name: parameter not set" in theirs.stderr
    first, second, *rest = ours.stdout.splitlines()
    assert first == "INFO/keactrl: Stopping kea-dhcp4..."
    words = "ERROR/keactrl: Stop failed, could not send signal 15 to process kea-dhcp4, PID <kea-dhcp4>"
    assert second.startswith(words)
    assert "operation not permitted" in second
    assert all(line.endswith("isn't running.") for line in rest), "the others have their turn"
    assert (ours.code, lenient.code, lenient.stdout) == (1, 0, ours.stdout)


@shows("missing binaries")
def _a_binary_that_is_not_there(box: Sandbox) -> None:
    missing = f"{box.root}/sbin/none"
    case = of(box, "start", lines(generation(box.script.version), dhcp4_srv=missing))
    theirs, ours, lenient = box.theirs(case), box.ours(case), box.ours(case, "--compat-exit")
    first, second, *rest = ours.stdout.splitlines()
    assert first == f"INFO/keactrl: Starting {missing} -c {box.root}/etc/oracle4.conf.json"
    assert re.match(r"ERROR/keactrl: Start failed, .*[Nn]o such file", second), second
    assert (theirs.stdout.splitlines(), theirs.effects) == ([first, *rest], ours.effects)
    assert (theirs.code, ours.code, lenient.code) == (0, 1, 0)


@shows("umask")
def _daemons_give_no_rights_to_others(box: Sandbox) -> None:
    """The script computes 0022 | 0027 in octal and prints it in decimal: 23."""
    case, umask = of(box, "start"), box.root / "umask"
    box.theirs(case)
    assert umask.read_text() == ("0023\n" if number(box.script.version) >= (2, 4, 2) else "0022\n")
    box.ours(case)
    assert umask.read_text() == "0027\n"


@shows("asides")
def _what_is_not_started_is_told_aside(box: Sandbox) -> None:
    case = Case(("start", "-s", "dhcp_ddns", "-c", CONF), lines(generation(box.script.version)))
    theirs, ours = box.theirs(case), box.ours(case)
    assert (theirs, theirs.stdout, theirs.stderr) == (ours, "", "")
    assert "dhcp_ddns is not enabled" in ours.stderr


@shows("rights")
def _a_file_that_nobody_may_see_is_not_denied(box: Sandbox) -> None:
    as_root()
    hidden = box.root / "hidden"
    with _of_another_user(hidden):
        text = lines(generation(box.script.version), kea_dhcp4_config_file=f"{hidden}/kea.conf")
        case = of(box, conf=text)
        theirs, ours = box.theirs(case, under=WITHOUT_LOOKING), box.ours(case, under=WITHOUT_LOOKING)
    assert (theirs.code, ours.code) == (1, 0)
    assert (
        theirs.stdout == f"{ours.stdout}ERROR/keactrl: Configuration file for Kea does not exist: {hidden}/kea.conf.\n"
    )


@contextmanager
def _of_another_user(directory: Path) -> Iterator[None]:
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    directory.chmod(0o700)
    try:
        yield
    finally:
        directory.rmdir()


# -- options of ours only, which the page lists with the others


def _options_that_the_script_does_not_know(box: Sandbox) -> None:
    for command, option in (("status", "--json"), ("reload", "--compat-exit"), ("stop", "--compat-exit")):
        case = of(box, command)
        theirs = box.theirs(Case((command, option, *case.argv[1:]), case.conf))
        assert (theirs.stdout.splitlines()[0], theirs.code) == (f"ERROR/keactrl: invalid option: {option}", 1)
        assert box.ours(case, option).code == 0
    found = json.loads(box.ours(of(box, running=RUNNING), "--json").stdout.replace("<kea-dhcp4>", "1"))
    assert found["servers"]["dhcp4"]["active"] is True
    assert found["servers"]["dhcp4"]["config_file"] == f"{box.root}/etc/oracle4.conf.json"
    assert {name for name in SERVERS if name in found["servers"]} == set(found["servers"])
    assert found["version"] == box.script.version


# -- the tests


@pytest.fixture(name="box")
def _box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        script = get(request.param)
    except UnavailableError as error:
        pytest.skip(str(error))
    with sandbox(script) as box:
        yield box


@pytest.mark.parametrize("box", ONE_OF_EACH, indirect=True)
@pytest.mark.parametrize("show", [pytest.param(function, id=function.__name__.strip("_")) for _, function in _SHOWN])
def test_difference(box: Sandbox, show: Shown) -> None:
    show(box)


@pytest.mark.parametrize("box", ONE_OF_EACH, indirect=True)
def test_options_of_ours(box: Sandbox) -> None:
    _options_that_the_script_does_not_know(box)


def test_the_page_lists_what_is_asserted() -> None:
    section = PAGE.read_text().partition(".SH DIFFERENCES FROM THE SCRIPT\n")[2].partition(".SH ")[0]
    assert set(re.findall(r"^\.TP\n(?:\.B )?(.+)$", section, re.MULTILINE)) == {name for name, _ in _SHOWN}
