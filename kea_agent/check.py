# SPDX-License-Identifier: MPL-2.0
"""Kea's own check of a configuration, `kea-* -t`, and how Kea's programs are run.

`-t` exits 1 for anything wrong, logs on stdout and puts its verdict on stderr (2.2.0 to 3.0.4). It opens no database,
lease file, socket or log, and loads the hook libraries as the calling user: root runs it as Kea's (accounts.py).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Thread

from kea_agent.accounts import Account
from kea_agent.errors import ConfigError
from kea_agent.rules import Version, parse_version
from kea_agent.verdict import Verdict

STDIN = "/dev/stdin"

_VERDICT = re.compile(r"(?:Syntax check failed with|Error encountered): (.*)")
_LEADING_PLACE = re.compile(
    r"(?P<file>/[^:]*):(?P<line>\d+)[.:](?P<column>\d+)(?:-[\d.]+)?: (?P<message>.*)", re.DOTALL
)
_TRAILING_PLACE = re.compile(r" ?\((?P<file>/[^()]*?):(?P<line>\d+):(?P<column>\d+)\)")
_MESSAGE_ID = re.compile(r"[A-Z0-9_]++ ")


@dataclass(frozen=True)
class Limits:
    """How long `-t` may take (seconds) and how much of its output is kept (bytes)."""

    timeout: float = 60.0
    output_bytes: int = 65536


def version_of(binary: str, account: Account | None = None) -> Version | None:
    """The version of an installed Kea; asked once, until the file is another. None for what is not Kea's own program.

    It says so with the rights of `account`, or as who we are.
    """
    try:
        status = os.stat(binary)
    except (OSError, ValueError):
        return None
    return _asked(binary, status.st_mtime_ns, status.st_ino, account) if Path(binary).name.startswith("kea-") else None


@cache
def _asked(binary: str, _mtime: int, _inode: int, account: Account | None) -> Version | None:
    try:
        limits = Limits(timeout=5.0, output_bytes=4096)
        code, output = run_kea([binary, "-v"], quiet_environment({}), limits, account)
        return parse_version(output.strip()) if code == 0 else None
    except (OSError, ValueError):
        return None


def with_kea(
    argv: Sequence[str],
    environment: Mapping[str, str],
    config_file: str,
    limits: Limits,
    account: Account | None = None,
    text: bytes | None = None,
) -> Verdict:
    """Have Kea's own binary check a file, with the unit's options and environment, as `account` or the user we are.

    `text` is given instead of the file where that user could not read it. A checker that cannot be run, or does not
    finish in time, is `could_not` and no verdict on the file.
    """
    started = time.monotonic()
    try:
        command = _command(argv, config_file if text is None else STDIN)
        code, output = run_kea(command, quiet_environment(environment), limits, account, text=text)
    except OSError as error:
        why = f"cannot run {argv[0]} -t: {(error.strerror or str(error)).lower()}"
        return Verdict("kea", None, 0.0, could_not=why)
    verdict = Verdict("kea", None, time.monotonic() - started, tuple(_warnings_in(output)))
    if code is None:
        return replace(verdict, could_not=f"{argv[0]} -t did not finish within {limits.timeout:g} s and was ended")
    if code == -signal.SIGKILL:
        return replace(verdict, could_not=f"{argv[0]} -t was killed, for memory perhaps, before it had a verdict")
    output = output if text is None else output.replace(f"{STDIN}:", f"{config_file}:")
    return verdict if code == 0 else replace(verdict, problem=problem_in(output, config_file, code))


def problem_in(output: str, config_file: str, code: int) -> ConfigError:
    """Find Kea's own sentence, file, line and column in what a failed `-t` printed."""
    verdicts = _VERDICT.findall(output)
    sentence = verdicts[-1] if verdicts else _last_words(output, code)
    if leading := _LEADING_PLACE.match(sentence):
        return _error(leading["message"], leading)
    if trailing := _TRAILING_PLACE.search(sentence):
        return _error(_TRAILING_PLACE.sub("", sentence), trailing)
    return ConfigError(sentence.strip().rstrip("."), file=config_file)


def _warnings_in(output: str) -> Iterator[str]:
    for line in output.split("\n"):
        _, severity, after = line.partition("WARN ")
        _, bracket, said = after.partition("] ")
        if severity and bracket:
            name = _MESSAGE_ID.match(said)
            yield said[name.end() :] if name else said


def _error(message: str, place: re.Match[str]) -> ConfigError:
    return ConfigError(
        message.strip().rstrip("."), file=place["file"], line=int(place["line"]), column=int(place["column"])
    )


def _last_words(output: str, code: int) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    ended = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with {code}"
    return f"kea {ended}" + (f": {lines[-1]}" if lines else " and said nothing")


def _signal_name(number: int) -> str:
    # Most real-time signals have no name of their own.
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _command(argv: Sequence[str], config_file: str) -> list[str]:
    # Kea parses with getopt: `-X` has to come before `-t FILE`.
    return [argv[0], *options_of(argv), "-t", config_file]


def options_of(argv: Sequence[str]) -> list[str]:
    """A daemon's own options, without its file and without `-d`, which would only fill the output."""
    return [word for word in _without_config(argv[1:]) if word != "-d"]


def _without_config(words: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip or word.startswith("-c"):
            skip = not skip and word == "-c"
        else:
            kept.append(word)
    return kept


def quiet_environment(unit: Mapping[str, str]) -> dict[str, str]:
    """The unit's, for a Kea that leaves no lock file: in the unit's own directory `-t` would create one."""
    return {"PATH": os.defpath, **unit, "KEA_LOCKFILE_DIR": "none"}


def may_read(account: Account, files: Sequence[str]) -> bool:
    """Whether a user could read all of these, whatever keeps him from it."""
    command = ["/usr/bin/head", "--bytes=1", "--quiet", "--", *files]
    try:
        return run_kea(command, {"PATH": os.defpath}, Limits(timeout=5.0, output_bytes=4096), account)[0] == 0
    except OSError:  # more files than fit into arguments
        return False


def run_kea(
    command: Sequence[str],
    environment: Mapping[str, str],
    limits: Limits,
    account: Account | None,
    *,
    text: bytes | None = None,
    until: bytes | None = None,
) -> tuple[int | None, str]:
    """`run` for one of Kea's programs, with the rights of `account`, or as who we are where that is None.

    The environment is the unit's, and perhaps from a file of Kea's user: only a process that has his rights gets it.
    """
    os.stat(command[0])
    if not os.access(command[0], os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), command[0])
    words = account.command(command) if account else command
    return run(words, environment, limits, text=text, account=account, until=until)


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    limits: Limits,
    *,
    text: bytes | None = None,
    account: Account | None = None,
    until: bytes | None = None,
) -> tuple[int | None, str]:
    """Exit code (None: killed, its time was over) and output; OSError if it cannot be started.

    `text` is its standard input, `account` who it runs as, if not we. A program that says `until` has said enough and is asked to end. `limits` is for all of it.
    """
    deadline = time.monotonic() + limits.timeout
    with (
        _piped(text, account) as stdin,
        subprocess.Popen(
            command,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            **(account.rights if account else {}),
        ) as process,
    ):
        output, is_whole = _collect(process, deadline, limits.output_bytes, until)
        if is_whole:
            if until and until in output:
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        code = process.returncode
        if code is None:
            os.killpg(process.pid, signal.SIGKILL)
    return code, output.decode(errors="replace")


@contextmanager
def _piped(text: bytes | None, owner: Account | None) -> Iterator[int]:
    """A standard input: a pipe that `owner` may open again by a name (/dev/stdin), or nothing."""
    if text is None:
        yield subprocess.DEVNULL
        return
    reader, writer = os.pipe()
    try:
        if owner:
            os.fchown(reader, owner.uid, owner.gid)
        Thread(target=_write, args=(writer, text), daemon=True).start()
        yield reader
    finally:
        os.close(reader)


def _write(writer: int, text: bytes) -> None:
    """All of it, or as much as the program wants to know."""
    with contextlib.suppress(OSError), open(writer, "wb") as stream:
        stream.write(text)


def _collect(process: subprocess.Popen[bytes], deadline: float, most: int, until: bytes | None) -> tuple[bytes, bool]:
    """Read until the end, or `until`, keeping the last `most` bytes (Kea's verdict comes last); False when time ran out."""
    assert process.stdout is not None
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return kept, True
            kept = (kept + chunk)[-most:]
            if until and until in kept:
                return kept, True
    return kept, False
