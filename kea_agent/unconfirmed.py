# SPDX-License-Identifier: MPL-2.0
"""Changes that nobody has confirmed yet, and who takes them back when nobody does.

systemd does: a transient timer runs `kea-agent rollback --unconfirmed DAEMON`, so no process of ours has to live until
then. The timer is there before the note, and the note before the file is written. A reboot ends the timer and leaves
the note; kea-agent-unconfirmed.service then takes the change back before Kea starts.

    /var/backups/kea-agent/dhcp4.unconfirmed
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from kea_agent.errors import AgentError
from kea_agent.files import sync_directory, write_atomically
from kea_agent.replacing import BACKUPS, Replaced

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_COMMAND = "/usr/bin/kea-agent"
_PATIENCE = 30.0  # seconds that systemd may take to start or stop a timer


@dataclass(frozen=True)
class Unconfirmed:
    """A change that waits. `kept`: what the file held before, None if there was none; `until` is monotonic (seconds)."""

    daemon: str
    path: str
    kept: str | None
    until: float
    boot: str

    @property
    def replaced(self) -> Replaced:
        """What takes it back."""
        return Replaced(Path(self.path), Path(self.kept) if self.kept else None)

    @property
    def seconds_left(self) -> float | None:
        """Until it is taken back; None after a reboot, which ended the timer."""
        return self.until - time.monotonic() if self.boot == boot() else None

    def __str__(self) -> str:
        """The change and its time, as a sentence goes on about them."""
        left = self.seconds_left
        if left is None:
            return f"a change of {self.path} from before the last boot waits to be taken back"
        if left > 0:
            return f"a change of {self.path} waits for kea-agent confirm {self.daemon}, {left:.0f} s are left"
        return f"a change of {self.path} was not confirmed in time; if it is not taken back now, its timer was stopped"


def boot() -> str:
    """What tells this boot from every other."""
    return _BOOT_ID.read_text().strip()


def find(daemon: str, directory: Path = BACKUPS) -> Unconfirmed | None:
    """The daemon's change that waits, None where none does; raises AgentError for a note that cannot be read."""
    path = _note(daemon, directory)
    try:
        return _checked(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise AgentError(
            f"{path}: cannot tell whether a change of {daemon} waits to be confirmed: {error}; what its file held before "
            f"is in {directory / daemon}; remove the note when you have looked"
        ) from error


def start(daemon: str, replaced: Replaced, seconds: float, directory: Path = BACKUPS) -> Unconfirmed:
    """From now on the change that is about to be made will be taken back; raises AgentError."""
    kept = str(replaced.kept) if replaced.kept else None
    _stop_timer(daemon)
    made = Unconfirmed(daemon, str(replaced.path), kept, time.monotonic() + seconds, boot())
    _start_timer(daemon, seconds)
    try:
        write_atomically(_note(daemon, directory), json.dumps(asdict(made)) + "\n", 0o600, durable=True)
    except OSError as error:
        _stop_timer(daemon)
        raise AgentError(f"{_note(daemon, directory)}: {error.strerror}; nothing was changed") from error
    return made


def end(daemon: str, directory: Path = BACKUPS) -> None:
    """It is confirmed, or was taken back: nothing waits any more; raises AgentError."""
    try:
        _note(daemon, directory).unlink(missing_ok=True)
        sync_directory(directory)
    except OSError as error:
        raise AgentError(f"{_note(daemon, directory)}: cannot be removed: {error.strerror}") from error
    _stop_timer(daemon)


def _unit(daemon: str) -> str:
    """The name, without its ending, of the timer and of the service that it starts."""
    return f"kea-agent-unconfirmed-{daemon}"


def _note(daemon: str, directory: Path) -> Path:
    return directory / f"{daemon}.unconfirmed"


def _start_timer(daemon: str, seconds: float) -> None:
    about = f"Taking back the change of {daemon} that nobody confirmed"
    words = [
        f"--unit={_unit(daemon)}",
        f"--on-active={seconds:.0f}s",
        "--timer-property=AccuracySec=100ms",
        "--collect",
    ]
    _systemd(
        ["systemd-run", "--quiet", *words, f"--description={about}", _COMMAND, "rollback", "--unconfirmed", daemon]
    )


def _stop_timer(daemon: str) -> None:
    """One that is not there is as good as stopped."""
    try:
        _systemd(["systemctl", "stop", f"{_unit(daemon)}.timer"])
    except AgentError as error:
        if "not loaded" not in str(error):
            raise


def _systemd(words: list[str]) -> None:
    """Run one of systemd's commands; raises AgentError."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"{words[0]}: {error}; nothing was changed") from error
    if done.returncode != 0:
        raise AgentError(f"{' '.join(words[:3])}: {done.stderr.strip()}; nothing was changed")


def _checked(fields: dict[str, object]) -> Unconfirmed:
    found = Unconfirmed(**fields)  # type: ignore[arg-type]  # checked on the next line
    texts = (found.daemon, found.path, found.boot, "" if found.kept is None else found.kept)
    if not all(isinstance(text, str) for text in texts) or not isinstance(found.until, (int, float)):
        raise TypeError("wrong types")
    return found
