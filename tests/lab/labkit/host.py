# SPDX-License-Identifier: MPL-2.0
"""Running things on the machine that carries the lab, and telling a person what is going on."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .spec import LabError

# Seconds for what comes sooner or later, however busy the machine is. Where time is the point, a test says how much.
PATIENCE: Final = 90.0

TOOLS: Final = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "ip": "iproute2",
}


def require() -> None:
    """Say all that is missing before anything is touched."""
    if os.geteuid() != 0:
        raise LabError("the lab mounts, makes namespaces and boots hosts: run it as root")
    missing = sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))
    if missing:
        raise LabError(f"missing tools: apt-get install {' '.join(missing)}")


def run(*argv: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of the carrying machine; a failure shows what it said."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {said}")
    return done


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock. The file goes away with the lock, so nothing stays behind.

    Yields the descriptor: a child that inherits it goes on holding the lock when this process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path)
    try:
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    """A lock on a file that somebody removed meanwhile locks nothing: look again."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


class Progress:
    """One line for each step on stderr, with the seconds since the start."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._quiet = quiet

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._start

    def __call__(self, text: str) -> None:
        """Tell one step."""
        if not self._quiet:
            print(f"[{self.seconds:5.1f}s] {text}", file=sys.stderr, flush=True)


def wait_for(seconds: float = PATIENCE, every: float = 0.05) -> Iterator[float]:
    """Yield the seconds left, at least once, until the time is over."""
    end = time.monotonic() + seconds
    while True:
        yield max(0.0, end - time.monotonic())
        if time.monotonic() >= end:
            return
        time.sleep(every)


def tail(path: Path, lines: int) -> Sequence[str]:
    """The last lines of a log, or nothing where there is none."""
    try:
        return path.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
