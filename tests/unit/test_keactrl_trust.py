# SPDX-License-Identifier: MPL-2.0
"""What root's keactrl believes of files and processes that others may have made: nothing that runs or ends anything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kea_agent import proc
from kea_agent.keactrl import processes
from kea_agent.keactrl.errors import FailedError
from kea_agent.keactrl.main import main
from kea_agent.keactrl.rights import Rights, do_with, rights_of

STRANGER = 65534
SERVERS = ("dhcp4", "dhcp6", "dhcp_ddns", "ctrl_agent", "netconf")
PYTHON = os.path.realpath("/usr/bin/python3")
BINARIES = ("kea-dhcp4", "kea-dhcp6", "kea-dhcp-ddns", "kea-ctrl-agent", "kea-netconf")


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("did not run: giving files away takes root")


class Place:
    """A directory with a keactrl.conf, and a program in the place of every daemon that leaves a trace when it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.conf = directory / "etc" / "keactrl.conf"
        self.program = directory / "bin" / "kea-dhcp4"
        self.trace = directory / "trace"
        self.conf.parent.mkdir()
        self.program.parent.mkdir()
        self.program.write_text(f'#!/bin/sh\necho "$@" >>{self.trace}\n')
        self.program.chmod(0o755)
        self.write(dhcp4="yes")

    def write(self, **more: str) -> None:
        lines = {"prefix": str(self.directory), "kea_verbose": "no"}
        for server, binary in zip(SERVERS, BINARIES, strict=True):
            lines[f"{server}_srv"] = str(self.program)
            lines[f"{binary.replace('-', '_')}_config_file"] = str(self.directory / f"{server}.conf")
            lines[server] = "no"
        self.conf.write_text("".join(f"{name}={value}\n" for name, value in (lines | more).items()))
        self.conf.chmod(0o644)

    def __call__(self, command: str, *words: str) -> int:
        return main([command, "-c", str(self.conf), *words])


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """keactrl sets it for what it starts."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "kea-ctrl-agent").write_text("#!/bin/sh\necho 2.6.3\n")
    (tmp_path / "kea-ctrl-agent").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("KEA_PIDFILE_DIR", str(tmp_path))
    return Place(tmp_path)


def test_a_program_that_is_named_by_root_runs(place: Place) -> None:
    place("version", "-s", "dhcp4")
    assert place.trace.read_text() == "-v\n"


@pytest.mark.parametrize("command", ["start", "stop", "reload", "status", "version"])
@pytest.mark.parametrize("step", ["conf", "directory"])
def test_a_keactrl_conf_of_another_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], command: str, step: str
) -> None:
    as_root()
    given_away = place.conf if step == "conf" else place.conf.parent
    os.chown(given_away, STRANGER, 0)
    assert place(command) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"ERROR/keactrl: {place.conf}: not believed: ")
    assert f"{given_away}: it belongs to user nobody; copy it to where only root may write" in out
    assert (out.count("\n"), err) == (1, "")
    assert not place.trace.exists()


@pytest.mark.parametrize("command", ["start", "version"])
@pytest.mark.parametrize("step", ["program", "directory"])
def test_a_program_that_others_may_write_is_not_run(
    place: Place, capsys: pytest.CaptureFixture[str], command: str, step: str
) -> None:
    writable = place.program if step == "program" else place.program.parent
    writable.chmod(0o777)
    assert place(command, "-s", "dhcp4") == 1
    assert (
        f"ERROR/keactrl: {command.title()} failed, {place.program} is not run, because of {writable}: "
        "others than its owner may write it (mode 0777); let only root write it\n"
    ) in capsys.readouterr().out
    assert not place.trace.exists()


# -- PID files


class Kea:
    """A directory as Kea's user has it for PID files, and processes that call themselves kea-dhcp4."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = Place(directory)
        self._capsys = capsys
        self.run = directory / "run"
        self.run.mkdir(mode=0o755)
        self.pid_file = self.run / "dhcp4.kea-dhcp4.pid"
        self.evil = directory / "evil"
        self.evil.mkdir()
        self.processes: list[subprocess.Popen[str]] = []
        (directory / "sitecustomize.py").write_text("import signal\nprint(flush=True)\nwhile True: signal.pause()\n")
        self.place.program.unlink()
        self.place.program.symlink_to(PYTHON)

    def start(self, user: int, *, program: Path | None = None, file: str = "dhcp4.conf", first: str = "") -> int:
        """A process of a user by the name of kea-dhcp4; Python runs what makes it wait before it looks at `-c`."""
        executed = program or self.place.program
        process = subprocess.Popen(
            [first or executed, "-c", self.place.directory / file],
            executable=executed,
            env={"PYTHONPATH": str(self.place.directory)},
            user=user,
            group=user,
            extra_groups=[],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        return process.pid

    def name(self, pid: int | str, owner: int, path: Path | None = None) -> None:
        """A PID file of a user in a directory of Kea's user."""
        path = path or self.pid_file
        path.write_text(f"{pid}\n")
        os.chown(path, owner, owner)
        os.chown(self.run, STRANGER, STRANGER)

    def __call__(self, command: str) -> tuple[list[str], str]:
        self.place(command, "-s", "dhcp4")
        out, err = self._capsys.readouterr()
        return out.splitlines(), err

    def ended(self) -> list[int | None]:
        return [process.poll() for process in self.processes]


@pytest.fixture(name="kea")
def _kea(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Kea]:
    """Where every user may look, which pytest's own directories are not for."""
    as_root()
    directory = Path(tempfile.mkdtemp(prefix="keactrl-trust-"))
    directory.chmod(0o755)
    (directory / "kea-ctrl-agent").write_text("#!/bin/sh\necho 2.6.3\n")
    (directory / "kea-ctrl-agent").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("KEA_PIDFILE_DIR", f"{directory}/run")
    kea = Kea(directory, capsys)
    yield kea
    for process in kea.processes:
        process.kill()
        process.communicate()
    shutil.rmtree(directory)


def test_keas_user_may_say_which_process_is_its_own(kea: Kea) -> None:
    pid = kea.start(STRANGER)
    kea.name(pid, STRANGER)
    assert kea("status")[0][0] == "DHCPv4 server: active"
    assert kea("stop")[0] == ["INFO/keactrl: Stopping kea-dhcp4..."]
    assert kea.processes[0].wait(60) == -signal.SIGTERM


def of_root(kea: Kea) -> int:
    """The file is of Kea's user, and the process is not."""
    pid = kea.start(0)
    kea.name(pid, STRANGER)
    return pid


def of_another_user(kea: Kea) -> int:
    """Not even a file of root's, which Kea's user may move to another name, leads to others' processes."""
    pid = kea.start(STRANGER - 1)
    kea.name(pid, 0)
    return pid


def moved(kea: Kea) -> int:
    """Root's own file, put in the place of another server's."""
    pid = kea.start(0, file="other.conf")
    kea.name(pid, 0)
    return pid


def linked(kea: Kea) -> int:
    pid = kea.start(0, file="other.conf")
    kea.name(pid, 0, kea.place.directory / "others.pid")
    kea.pid_file.symlink_to(kea.place.directory / "others.pid")
    return pid


def disguised(kea: Kea) -> int:
    """A program that only has the name."""
    shutil.copy(PYTHON, kea.evil / "kea-dhcp4")
    pid = kea.start(STRANGER, program=kea.evil / "kea-dhcp4")
    kea.name(pid, STRANGER)
    return pid


@pytest.mark.parametrize("command", ["stop", "reload", "status", "start"])
@pytest.mark.parametrize("forge", [of_root, of_another_user, moved, linked, disguised])
def test_a_pid_file_of_keas_user_leads_to_nobody_else(kea: Kea, forge: Callable[[Kea], int], command: str) -> None:
    pid = forge(kea)
    kea.place.write(dhcp4="no")
    out, err = kea(command)
    assert f"{kea.pid_file} is not believed: process {pid} " in err or command == "start"
    if command == "status":
        assert out[0] == "DHCPv4 server: inactive"
    elif command != "start":
        assert out == ["INFO/keactrl: kea-dhcp4 isn't running."]
    assert kea.ended() == [None]


def test_a_reload_runs_nothing_that_a_process_calls_itself(kea: Kea) -> None:
    """Its first word is a program that leaves a trace; what it executes is not Kea."""
    kea.evil.chmod(0o777)
    evil = kea.evil / "kea-dhcp4"
    evil.write_text(f"#!/bin/sh\ntouch {kea.evil}/trace\n")
    evil.chmod(0o755)
    (kea.place.directory / "dhcp4.conf").write_text('{ "Dhcp4": { "interfaces-config": { "interfaces": [] } } }\n')
    pid = kea.start(STRANGER, first=str(evil))
    kea.name(pid, STRANGER)
    out, _ = kea("reload")
    assert out[0] == "INFO/keactrl: Reloading kea-dhcp4..."
    assert not (kea.evil / "trace").exists()
    assert out[1].startswith("ERROR/keactrl: Reload failed, not reloaded: the main process is python3")
    assert kea.ended() == [None]


def test_a_program_of_another_is_not_run_for_a_reload(kea: Kea) -> None:
    """A daemon of a user's own build, started by hand with a keactrl.conf of root's that names it."""
    shutil.copy(PYTHON, kea.evil / "kea-dhcp4")
    os.chown(kea.evil, STRANGER, STRANGER)
    kea.place.write(dhcp4_srv=str(kea.evil / "kea-dhcp4"))
    kea.name(kea.start(STRANGER, program=kea.evil / "kea-dhcp4"), STRANGER)
    out, _ = kea("reload")
    assert f"is not run, because of {kea.evil}: it belongs to user nobody" in out[1]
    assert kea.ended() == [None]


def test_a_number_that_became_anothers_is_not_signalled(kea: Kea) -> None:
    """What was looked at has ended between the look and the signal."""
    pid = kea.start(0)
    with pytest.raises(FailedError, match=r"could not|is gone"):
        processes.send(pid, "kea-dhcp4", signal.SIGTERM, lambda: False)
    assert kea.ended() == [None]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def padded(path: Path) -> None:
    path.write_text(f"{' ' * 100}{os.getpid()}\n")


@pytest.mark.parametrize("make", [fifo, endless, padded, Path.mkdir])
def test_a_pid_file_that_is_none_does_not_hold_anybody(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x.pid")
    assert processes.running(str(tmp_path / "x.pid"), proc.command_name(os.getpid())) == 0


# -- the rights of another


def what_it_is() -> str:
    fields = ("Uid", "Gid", "Groups", "NoNewPrivs", "CapEff", "CapPrm")
    return "|".join((proc.status_field(os.getpid(), name, proc.PROC) or "").replace("\t", " ") for name in fields)


def test_work_is_done_in_the_rights_of_the_process(kea: Kea) -> None:
    own = rights_of(kea.start(STRANGER))
    assert own == Rights(STRANGER, STRANGER, ())
    said = do_with(own._replace(groups=(4, 6)), what_it_is, 60)
    one = " ".join([str(STRANGER)] * 4)
    assert said == f"{one}|{one}|4 6|1|{0:016x}|{0:016x}"
    assert os.geteuid() == 0


def test_what_the_work_raises_is_told() -> None:
    def fail() -> str:
        raise ValueError("no\udc80 luck")

    with pytest.raises(FailedError, match=r"no\? luck"):
        do_with(rights_of(os.getpid()), fail, 60)


def test_work_that_is_killed_is_told() -> None:
    def end() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    with pytest.raises(FailedError, match="was ended"):
        do_with(rights_of(os.getpid()), end, 60)


def test_work_that_does_not_end_is_ended() -> None:
    def wait() -> str:
        time.sleep(3600)
        return ""

    with pytest.raises(FailedError, match="not done within"):
        do_with(rights_of(os.getpid()), wait, 0.1)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_process_that_is_gone_has_no_rights() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(FailedError, match="is gone"):
        rights_of(process.pid)
