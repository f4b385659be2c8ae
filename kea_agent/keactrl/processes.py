# SPDX-License-Identifier: MPL-2.0
"""Daemons without systemd: their PID files, as the script reads them and Kea writes them, and signals.

Kea names its PID file after its configuration file and its binary (src/lib/process/daemon.cc, makePIDFileName).
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Mapping, Sequence

from kea_agent import proc
from kea_agent.foreign import printable
from kea_agent.keactrl import say
from kea_agent.keactrl.errors import FailedError
from kea_agent.regular import read_regular

_PID_DIGITS = 10
_MOST_OF_A_PID_FILE = 64  # bytes
_RELOAD_SECONDS = 600.0
_COMM_LENGTH = 15  # the kernel cuts names there (proc(5))


def pid_directory(prefix: str, environ: Mapping[str, str]) -> str:
    """Where Kea keeps PID files: KEA_PIDFILE_DIR, even an empty one, else /run/kea, or below a source build's prefix."""
    run = "/run" if prefix == "/usr" else f"{prefix}/var/run"
    return environ.get("KEA_PIDFILE_DIR", f"{run}/kea")


def pid_file(directory: str, config_file: str, binary: str) -> str:
    """The PID file of a daemon; the configuration's name loses its last extension."""
    name = config_file.rpartition("/")[2]
    stem = name.rpartition(".")[0] if "." in name else name
    return f"{directory}/{stem}.{binary}.pid"


def running(path: str, binary: str) -> int:
    """The PID in the file if that process is this daemon, else 0.

    The script takes any live process for the daemon; a PID that was given to another program is a stale file.
    Raises PermissionError where the file cannot be read: then it is not known.
    """
    try:
        text = read_regular(path, _MOST_OF_A_PID_FILE).strip()
    except PermissionError:
        raise
    except OSError:
        return 0
    pid = int(text) if text.isdigit() and len(text) < _PID_DIGITS else 0
    return pid if pid and proc.command_name(pid) == binary[:_COMM_LENGTH] and proc.is_alive(pid) else 0


def start(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Start a daemon in the background as `sh` does: no input, and not ended by Ctrl-C. Raises OSError."""
    for keyboard in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(keyboard, signal.SIG_IGN)
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    os.posix_spawnp(argv[0], [*argv], environ, file_actions=[no_input], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])


def send(pid: int, name: str, number: signal.Signals) -> None:
    """Send a signal to a daemon; raises FailedError with the script's sentence and the reason."""
    try:
        os.kill(pid, number)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        if isinstance(error, PermissionError):
            why += f"; process {pid} belongs to {_owner(pid)}: do it as root"
        raise FailedError(f"could not send signal {number.value} to process {name}, PID {pid}: {why}") from error


def reload(pid: int) -> None:
    """Check the daemon's file, signal it, and prove that it serves the file; raises FailedError.

    For root with the rights of the daemon's own user: what it runs for that, and where, is what the process says.
    """
    owner = _uid(pid)
    if os.geteuid() == 0 and owner:
        _reload_as(owner, pid)
        return
    from kea_agent import unit_reload, verify  # noqa: PLC0415 - the other commands do without the checks

    try:
        said = unit_reload.reload(pid)
    except (unit_reload.RefusedError, OSError) as error:
        raise FailedError(str(error)) from error
    if said.endswith(verify.UNPROVEN):
        say.aside(said)


def _reload_as(uid: int, pid: int) -> None:
    import subprocess  # noqa: PLC0415 - the other commands do without

    from kea_agent.accounts import Account, of_user  # noqa: PLC0415

    try:
        account = of_user(str(uid))
    except KeyError:
        account = Account(str(uid), uid, uid)
    place = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = account.runs([sys.executable, "-ISc", _RELOAD, place, str(pid)])
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_RELOAD_SECONDS, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedError(f"as user {account.name}: {error}") from error
    said = printable(" ".join((done.stdout + done.stderr).split()))
    if done.returncode != 0:
        raise FailedError(said or f"as user {account.name}: it exited with {done.returncode}")
    if said:
        say.aside(said)


# What is told is what is open only: a proof needs no words.
_RELOAD = """
import sys
sys.path[:0] = [sys.argv[1], "/usr/lib/python3/dist-packages"]
from kea_agent import unit_reload, verify
try:
    said = unit_reload.reload(int(sys.argv[2]))
except (unit_reload.RefusedError, OSError) as error:
    sys.exit(str(error))
print(said if said.endswith(verify.UNPROVEN) else "")
"""


def user_name(uid: int) -> str:
    """The user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _owner(pid: int) -> str:
    uid = _uid(pid)
    return "another user" if uid is None else user_name(uid)


def _uid(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
