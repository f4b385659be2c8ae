# SPDX-License-Identifier: MPL-2.0
"""A Kea built from source for a directory, with daemons that only look like Kea's: a keactrl runs in it, then the other.

Both see the same paths, files, environment and processes. What they print, their exit codes and what became of the
daemons is compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from keactrl_scripts import Script, generation, number

REPOSITORY: Final = Path(__file__).parents[2]
ROOT: Final = "%ROOT%"  # in texts and words of a case: where the sandbox is
TEMPLATE: Final = "%TEMPLATE%"  # as a keactrl.conf: the one that Kea installs
CONF: Final = f"{ROOT}/etc/kea/keactrl.conf"
CONFIGS: Final[Mapping[str, str]] = {
    "kea-dhcp4": f"{ROOT}/etc/oracle4.conf.json",
    "kea-dhcp6": f"{ROOT}/etc/oracle6.conf.json",
    "kea-dhcp-ddns": f"{ROOT}/etc/oracle-ddns.conf",
    "kea-ctrl-agent": f"{ROOT}/etc/oracle-agent.conf",
    "kea-netconf": f"{ROOT}/etc/oracle-netconf.conf",
}
DEAD: Final = "%DEAD%"  # in a PID file: the PID of a process that has ended
_SECONDS: Final = 30
_SETTLED: Final = 3.0
_PR_SET_CHILD_SUBREAPER: Final = 36

# `read` on a pipe that nobody writes to waits without a process of its own; a signal gets through. When the pipe ends,
# the tests have, however they did.
_FAKE: Final = f"""#!/bin/sh
name=${{0##*/}}
case ${{1-}} in
-v) echo "%VERSION%"; exit ;;
-V) printf '%s\\npremium: no\\nlinked with:\\n- nothing\\n' "%EXTENDED%"; exit ;;
-t) exit ;;
esac
exec 3<{ROOT}/pipe
trap 'hup=yes; echo "hup $name" >>{ROOT}/log' HUP
umask >{ROOT}/umask
echo "start $* logger ${{KEA_LOGGER_DESTINATION-}}" >>{ROOT}/log
while hup=; do read -r _ <&3 || [ "$hup" ] || exit; done
"""


@dataclass(frozen=True)
class Case:
    """A command line with everything that it depends on."""

    argv: tuple[str, ...]
    conf: str | None = ""
    running: frozenset[str] = frozenset()
    pid_files: Mapping[str, str] = field(default_factory=dict)
    pid_directory: Literal["set", "unset", "empty"] = "set"
    no_configs: bool = False
    configs: Mapping[str, str] = field(default_factory=lambda: CONFIGS)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        more = [f"{name}={getattr(self, name)!r}" for name in ("running", "pid_files") if getattr(self, name)]
        return f"{self.argv} {' '.join(more)} KEA_PIDFILE_DIR {self.pid_directory}, keactrl.conf:\n{self.conf}"


@dataclass(frozen=True)
class Answer:
    """What a keactrl printed and returned, and what became of the daemons."""

    stdout: str
    code: int
    effects: tuple[str, ...]
    stderr: str = field(compare=False)


class Sandbox:
    """The directory and its daemons. Use `answers` of a case; the fakes go with the sandbox."""

    def __init__(self, script: Script, root: Path, *, netconf: bool) -> None:
        self.root = root
        self.script = script
        self.pool: dict[str, subprocess.Popen[bytes]] = {}
        self._tool = root / "tool" / "keactrl"
        for name in ("sbin", "etc/kea", "run", "var/run/kea", "var/log", "tool", "empty"):
            (root / name).mkdir(parents=True)
        os.mkfifo(root / "pipe")
        for name in ("log", "umask", "pipe"):
            # Also for a daemon that is not root.
            (root / name).touch()
            (root / name).chmod(0o666)
        self._pipe = os.open(root / "pipe", os.O_RDWR)
        self._write(self._tool, script.render(root, netconf=netconf))
        for name in self.binaries(netconf=netconf):
            self.add_daemon(name)

    def binaries(self, *, netconf: bool) -> list[str]:
        """The daemons that such a Kea has."""
        left_out = {"kea-ctrl-agent"} if generation(self.script.version) != "A" else set()
        return [name for name in CONFIGS if name not in left_out | (set() if netconf else {"kea-netconf"})]

    def add_daemon(self, path: str, *, before: str = "") -> None:
        """A daemon below sbin; `before` is run first in it."""
        version = self.script.version
        extended = f"{version} (tarball)" if number(version) < (3,) else f"{version} ({version} (tarball))"
        text = _FAKE.replace("%VERSION%", version).replace("%EXTENDED%", extended).replace(ROOT, str(self.root))
        first, _, rest = text.partition("\n")
        self._write(self.root / "sbin" / path, f"{first}\n{before}\n{rest}")

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def expand(self, text: str) -> str:
        """The text with the sandbox's own paths."""
        if text == TEMPLATE:
            return self.script.render_conf(self.root)
        return text.replace(ROOT, str(self.root))

    # -- running

    def theirs(self, case: Case, *, under: Sequence[str] = (), tty: bool = False) -> Answer:
        """What the real script does; `under` runs it."""
        return self.run([*under, str(self._tool)], case, tty=tty)

    def ours(self, case: Case, *more: str, under: Sequence[str] = (), tty: bool = False) -> Answer:
        """What the implementation does; `more` stands right behind the command."""
        argv = (*case.argv[:1], *more, *case.argv[1:])
        return self.run([*under, sys.executable, "-m", "kea_agent.keactrl"], case, argv, tty=tty)

    def run(self, tool: Sequence[str], case: Case, argv: Sequence[str] | None = None, *, tty: bool = False) -> Answer:
        """Put everything into place, run, and see."""
        self._prepare(case)
        words = [*tool, *(self.expand(word) for word in (case.argv if argv is None else argv))]
        before = _children()
        run = _on_terminal if tty else _on_file
        try:
            stdout, code, stderr = run(words, cwd=self.root / "empty", env=self._environment(case))
            return Answer(self._without_pids(stdout), code, tuple(sorted(self._effects(stdout, code))), stderr)
        finally:
            _end(_children() - before)

    def _environment(self, case: Case) -> dict[str, str]:
        directory = {"set": str(self.root / "run"), "empty": ""}.get(case.pid_directory)
        return {
            "PATH": f"{self.root}/sbin:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            **({} if directory is None else {"KEA_PIDFILE_DIR": directory}),
            **{name: self.expand(value) for name, value in case.environment.items()},
        }

    def _prepare(self, case: Case) -> None:
        self.pool = {name: process for name, process in self.pool.items() if process.poll() is None}
        (self.root / "log").write_text("")
        conf = Path(self.expand(CONF))
        conf.unlink(missing_ok=True)
        if case.conf is not None:
            conf.write_text(self.expand(case.conf), errors="surrogateescape")
        for path in map(Path, map(self.expand, case.configs.values())):
            path.unlink(missing_ok=True)
            if not case.no_configs:
                path.write_text("{}\n")
        self._write_pid_files(case)

    def _write_pid_files(self, case: Case) -> None:
        for directory in ("run", "var/run/kea"):
            for old in (self.root / directory).iterdir():
                old.unlink()
        here = {path.name for path in (self.root / "sbin").iterdir()}
        texts = {name: f"{self._daemon(name).pid}\n" for name in sorted(case.running & here)}
        # An empty KEA_PIDFILE_DIR means the file system's top, where nothing is put.
        directory = "run" if case.pid_directory == "set" else "var/run/kea"
        for name, text in (texts | dict(case.pid_files)).items():
            stem = case.configs[name].rpartition("/")[2]
            stem = stem.rpartition(".")[0] if "." in stem else stem
            content = text.replace(DEAD, str(_dead_pid())) if DEAD in text else text
            (self.root / directory / f"{stem}.{name}.pid").write_text(content)

    def _daemon(self, name: str) -> subprocess.Popen[bytes]:
        """The fake of this name, started where it does not run; one that nobody hurt is used for the next case too."""
        process = self.pool.get(name)
        if process is None or process.poll() is not None:
            process = self.pool[name] = self.start([], name)
        return process

    def start(self, prefix: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        """A daemon that handles signals by now."""
        log = self.root / "log"
        log.write_text("")
        process = subprocess.Popen([*prefix, self.root / "sbin" / name, "-c", self.expand(CONFIGS[name])])
        wait_until(lambda: bool(log.read_text()), f"{name} runs")
        log.write_text("")
        return process

    def _without_pids(self, text: str) -> str:
        for name, process in self.pool.items():
            text = re.sub(rf"\b{process.pid}\b", f"<{name}>", text)
        return text

    def _effects(self, stdout: str, code: int) -> Iterator[str]:
        """Who was ended, and who was started how, once all of it has happened."""
        for name in re.findall(r"^INFO/keactrl: Stopping (\S+)\.\.\.", stdout, re.MULTILINE):
            if code == 0 and "Stop failed" not in stdout:
                self._wait_for_end(name)
        yield from (f"{name}: {process.poll()}" for name, process in self.pool.items() if process.poll() is not None)
        begun = [Path(path) for path in re.findall(r"^INFO/keactrl: Starting (/\S+)", stdout, re.MULTILINE)]
        count = sum(path.parent == self.root / "sbin" and path.exists() for path in begun)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len(self._started()) >= count, "all are started")
        yield from self._started()

    def _wait_for_end(self, name: str) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired, KeyError):
            self.pool[name].wait(_SETTLED)

    def _started(self) -> list[str]:
        # Who got a SIGHUP is left out: the implementation sends it only where it can prove what came of it.
        return [line for line in (self.root / "log").read_text().splitlines() if line.startswith("start ")]

    def close(self) -> None:
        """End the daemons and remove everything."""
        for process in self.pool.values():
            process.kill()
            process.wait()
        os.close(self._pipe)
        shutil.rmtree(self.root)


@contextlib.contextmanager
def sandbox(script: Script, *, netconf: bool = False) -> Iterator[Sandbox]:
    """A sandbox that everybody can read, which pytest's own directories are not."""
    root = Path(tempfile.mkdtemp(prefix="keactrl-"))
    root.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    _adopt(True)
    try:
        made = Sandbox(script, root, netconf=netconf)
        try:
            yield made
        finally:
            made.close()
    finally:
        _adopt(False)


def _on_file(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> tuple[str, int, str]:
    """Into files: what was started keeps its output open."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run(
            words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False, timeout=_SECONDS,
            umask=0o022,
        )  # fmt: skip
        out.seek(0)
        err.seek(0)
        return os.fsdecode(out.read()), done.returncode, os.fsdecode(err.read())


def _on_terminal(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> tuple[str, int, str]:
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with os.fdopen(theirs, "wb", buffering=0) as out:
            done = subprocess.run(
                words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, check=False,
                timeout=_SECONDS,
            )  # fmt: skip
        return _until_hangup(screen), done.returncode, ""


def _until_hangup(screen: io.FileIO) -> str:
    """Everything that was written: a terminal that nobody writes to any more ends with an error."""
    text = b""
    with contextlib.suppress(OSError):
        while chunk := screen.read(65536):
            text += chunk
    return os.fsdecode(text)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what soon is so."""
    end = time.monotonic() + _SETTLED
    while not condition():
        assert time.monotonic() < end, f"not in {_SETTLED:g} s: {what}"
        time.sleep(0.002)


def _dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


# -- what keactrl starts is nobody's child once it is gone; here it becomes ours, and none is forgotten


def _adopt(value: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(value))


def _children() -> set[int]:
    found: set[int] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= set(map(int, children.read_text().split()))
    return found


def _end(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
