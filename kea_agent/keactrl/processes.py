# SPDX-License-Identifier: MPL-2.0
"""Daemons without systemd: their PID files, as the script reads them and Kea writes them, and signals.

Kea names its PID file after its configuration file and its binary (src/lib/process/daemon.cc, makePIDFileName).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from kea_agent import proc
from kea_agent.daemons import option
from kea_agent.keactrl import say
from kea_agent.keactrl.errors import FailedError
from kea_agent.reading import Way, read_regular, stranger, user_name

_PID_DIGITS = 10
_MOST_BYTES = 64  # of a PID file: a number and the end of its line
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
    """The PID in the file if that process is this daemon, else 0; `binary` is the daemon's program, or its name.

    The script takes any live process for the daemon; a PID that was given to another program is a stale file. A file
    that somebody but root and the caller may have put there, as where /run/kea is Kea's user's, only counts for a
    process that could have written it. Raises PermissionError where the file cannot be read: then it is not known.
    """
    try:
        way = Way(path)
    except PermissionError:
        raise
    except OSError:
        return 0
    try:
        text = read_regular(way.name, _MOST_BYTES).strip()
    except PermissionError:
        raise
    except OSError:
        return 0
    finally:
        way.close()
    pid = int(text) if text.isdigit() and len(text) < _PID_DIGITS else 0
    if not pid or proc.command_name(pid) != os.path.basename(binary)[:_COMM_LENGTH] or not proc.is_alive(pid):
        return 0
    if way.stranger and not _may_have_written(pid, path, way.owner, binary):
        say.aside(f"{path} is not believed: process {pid} is not one that could have written it")
        return 0
    return pid


def _may_have_written(pid: int, path: str, owner: int, binary: str) -> bool:
    """Whether the process has the file's user, runs this very program, and was started with a file of that name."""
    users = (proc.status_field(pid, "Uid", proc.PROC) or "").split()
    name = pid_file("", option(proc.command_line(pid), "-c") or "", os.path.basename(binary))
    return {*users} == {str(owner)} and name == f"/{os.path.basename(path)}" and _runs(pid, binary)


def _runs(pid: int, binary: str) -> bool:
    """Whether the process executes that program; one that may not be looked into is none that may be signalled, either."""
    try:
        return _executed(pid) == os.path.realpath(binary)
    except PermissionError:
        return True
    except OSError:
        return False


def _executed(pid: int) -> str:
    """The file that a process executes, also after an update of its package. Raises OSError."""
    return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")


def program(name: str, environ: Mapping[str, str]) -> str:
    """The program that a name stands for; raises FailedError for one that somebody but root and the caller may change."""
    import shutil  # noqa: PLC0415 - `status` runs nothing

    path = name if "/" in name else shutil.which(name, path=environ.get("PATH")) or name
    with suppress(FileNotFoundError, NotADirectoryError):  # whoever runs it says so
        if found := stranger(path):
            raise FailedError(
                f"{name} is not run, because of {found.filename}: {found.strerror}; let only root write it"
            )
    return path


def start(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Start a daemon in the background as `sh` does: no input, and not ended by Ctrl-C. Raises OSError."""
    for keyboard in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(keyboard, signal.SIG_IGN)
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    os.posix_spawnp(argv[0], [*argv], environ, file_actions=[no_input], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])


@contextmanager
def held(pid: int, name: str, is_still: Callable[[], bool]) -> Iterator[int]:
    """A descriptor of a process that is what it was taken for: signals through it reach no other (pidfd_open(2)).

    Raises FailedError for one that is gone.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise FailedError(f"process {name}, PID {pid}, is gone") from error
    try:
        if not is_still():
            raise FailedError(f"process {name}, PID {pid}, is gone, and its number is another's; nothing was done")
        yield process
    finally:
        os.close(process)


def send(pid: int, name: str, number: signal.Signals, is_still: Callable[[], bool]) -> None:
    """Send a signal to a daemon, if it still is what it was; raises FailedError with the script's sentence and the reason."""
    try:
        with held(pid, name, is_still) as process:
            signal.pidfd_send_signal(process, number)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        if isinstance(error, PermissionError):
            why += f"; process {pid} belongs to {_owner(pid)}: do it as root"
        raise FailedError(f"could not send signal {number.value} to process {name}, PID {pid}: {why}") from error


def reload(pid: int, binary: str, environ: Mapping[str, str], is_still: Callable[[], bool]) -> None:
    """Check the daemon's file, signal it, and prove that it serves the file, all in its own rights; raises FailedError."""
    from kea_agent import log, unit_reload, verify  # noqa: PLC0415 - the other commands do without the checks
    from kea_agent.keactrl import rights  # noqa: PLC0415

    log.for_commands()
    with held(pid, os.path.basename(binary), is_still) as process:
        # Its own first word may be anything. Whoever may not look into it has what its source says.
        try:
            checker = _executed(pid)
        except OSError:
            checker = binary
        checker = program(checker, environ)
        own = rights.rights_of(pid)
        said = rights.do_with(own, lambda: unit_reload.reload(pid, program=checker, process=process), _RELOAD_SECONDS)
    if said.endswith(verify.UNPROVEN):
        say.aside(said)


def _owner(pid: int) -> str:
    try:
        return user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "another user"
