# SPDX-License-Identifier: MPL-2.0
"""`systemctl reload` with an answer: what our drop-in puts in place of a bare signal as a Kea unit's ExecReload.

    python3 -I -m kea_agent.unit_reload MAINPID

It runs in the unit's own context (user, environment). It refuses a file that does not pass the checks, waits until
the daemon handles SIGHUP, sends it, and succeeds only when the server is proven to serve the file. When the agent
itself has systemd reload the unit, it has just checked and will verify: then the script that calls this module
(units/usr/libexec/kea-agent/unit-reload) finds its voucher and only signals.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kea_agent import gate, keaconf, log, proc, settings, verify
from kea_agent.accounts import for_kea
from kea_agent.daemons import DAEMONS, Daemon, option
from kea_agent.endpoints import wanted
from kea_agent.errors import ConfigError, SettingsError
from kea_agent.history import History
from kea_agent.levels import Judge, UnitView
from kea_agent.plain import printable
from kea_agent.settings import CheckSettings
from kea_agent.verify import Limits, Prover, Standing, Target, before

SETTINGS = Path("/etc/kea-agent")

_LIMITS = Limits(ha=0)
_START_TIMEOUT = 30.0


class RefusedError(Exception):
    """The reload was not done, or did not work; the message says which and what holds."""


def main(argv: Sequence[str]) -> int:
    """Reload one daemon; 0 only when it is proven to serve its file."""
    log.for_commands()
    try:
        said = reload(int(argv[0]), rehearsed=True)
    except (RefusedError, OSError) as error:
        print(f"<3>{printable(str(error))}", file=sys.stderr)
        return 1
    print(f"<6>{printable(said)}", file=sys.stderr)
    return 0


def reload(pid: int, *, rehearsed: bool = False, program: str | None = None, process: int | None = None) -> str:
    """Check, signal and prove; returns what is proven, raises RefusedError otherwise.

    Only what a unit runs can be rehearsed: the sandbox is made like the unit. `program` checks the file in place of
    the process's own first word, which may be anything; `process` is a pidfd of it, where its number might get another's.
    """
    begun = proc.command_line(pid)
    argv = begun if program is None else (program, *begun[1:])
    daemon = _daemon(argv)
    config_file = option(argv, "-c") or daemon.config_path
    document = _checked(daemon, config_file, argv, rehearsed=rehearsed)
    if waiting := gate.starting_obstacle(pid, _START_TIMEOUT, time.sleep):
        raise RefusedError(f"{config_file}: not reloaded: {waiting.reason}")
    endpoints = wanted(daemon, document.root, argv, os.environ)
    was = before(endpoints, endpoints.control, pid, _LIMITS.command, time.sleep)
    if process is None:
        os.kill(pid, signal.SIGHUP)
    else:
        signal.pidfd_send_signal(process, signal.SIGHUP)
    target = Target.of(pid, endpoints, document.root)
    proof = Prover(target, was, _LIMITS, lambda: pid if proc.is_alive(pid) else 0).prove()
    if proof.standing is not Standing.SERVING:
        raise RefusedError(f"{config_file}: reload of {daemon.binary}: {proof.reason}")
    words = "was told to reload; " if proof.reason == verify.UNPROVEN else "was reloaded: "
    return f"{config_file}: {daemon.binary} {words}{proof.reason}"


def _daemon(argv: Sequence[str]) -> Daemon:
    name = Path(argv[0]).name if argv else "a process that is gone"
    found = next((daemon for daemon in DAEMONS if daemon.binary == name), None)
    if found is None:
        raise RefusedError(f"not reloaded: the main process is {name}, which is no Kea daemon")
    return found


def _checked(daemon: Daemon, config_file: str, argv: Sequence[str], *, rehearsed: bool) -> keaconf.Document:
    wishes = _settings()
    wishes = wishes if rehearsed else replace(wishes, rehearsal="off")
    try:
        document = keaconf.read(config_file, daemon.root_key, max_bytes=wishes.max_config_bytes)
    except ConfigError as error:
        raise RefusedError(f"not reloaded, still serving the old file: {error}") from error
    # This is the unit's own context: where it is root's, so is Kea.
    judgement = Judge(daemon, History()).judge(document, UnitView(argv, os.environ, for_kea("root")), wishes)
    if judgement.problem or judgement.could_not:
        raise RefusedError(f"not reloaded, still serving the old file: {judgement.problem or judgement.could_not}")
    return document


def _settings() -> CheckSettings:
    """The agent's; where they are wrong the agent tells it, and a reload goes by the defaults."""
    try:
        return settings.load(SETTINGS).check
    except SettingsError:
        return CheckSettings()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
