# SPDX-License-Identifier: MPL-2.0
"""A pipeline with a real server process, sockets, files and checker; only systemd, the rehearsal and Kea's answers are stand-ins."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fakes import NEW_HASH, FakeKea

from kea_agent.daemons import DDNS, Daemon
from kea_agent.history import History
from kea_agent.keaconf import Document
from kea_agent.levels import Judge
from kea_agent.outcome import Outcome, Urge
from kea_agent.pipeline import Memory, Pipeline
from kea_agent.rehearsal import Rehearsal, Standing
from kea_agent.settings import CheckSettings, ControlSettings, GateSettings, ReloadSettings, Settings, VerifySettings
from kea_agent.store import Store
from kea_agent.units import Unit

# A server as the kernel sees it: handles SIGHUP, holds a UDP port, and gives it up or dies when told.
SERVER = """
import signal, socket, sys
signal.signal(signal.SIGHUP, lambda *_: None)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", int(sys.argv[1])))
address = sock.getsockname()
print(address[1], flush=True)
for line in sys.stdin:
    sock.close()
    if line == "reopen\\n":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(address)
    elif line != "close\\n":
        sys.exit()
    print("done", flush=True)
"""
PARTNER_AWAY = {
    "ha-mode": "hot-standby",
    "ha-servers": {
        "local": {"role": "primary", "state": "hot-standby", "scopes": []},
        "remote": {"role": "standby", "in-touch": False, "last-state": "", "communication-interrupted": False},
    },
}
QUICK = Settings(
    check=CheckSettings(timeout_seconds=5),
    control=ControlSettings(timeout_seconds=0.5),
    reload=ReloadSettings(start_timeout_seconds=0.2),
    verify=VerifySettings(timeout_seconds=4, ha_timeout_seconds=0.5),
    gate=GateSettings(),
)


class FakeSystemd:
    """One unit and its fallback, and what happens when one of them is reloaded or started."""

    def __init__(self, unit: Unit | None, on_reload: Callable[[], object]) -> None:
        self.known = unit
        self.stand_in: Unit | None = None
        self.on_reload = on_reload
        self.on_restart: Callable[[str], object] = lambda _: None
        self.reloads = 0
        self.restarts: list[str] = []

    def unit(self) -> Unit | None:
        return self.known

    def reload(self, unit: Unit, timeout: float) -> str:
        self.reloads += 1
        self.on_reload()
        return "done"

    def fallback(self) -> Unit | None:
        return self.stand_in

    def restart(self, name: str, timeout: float) -> str:
        self.restarts.append(name)
        self.on_restart(name)
        return "done"


@contextmanager
def started(directory: Path, daemon: Daemon) -> Iterator[Host]:
    """A host with a server that runs."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", SERVER, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        host = Host(directory, server, daemon)
        try:
            yield host
        finally:
            host.kea.close()
            server.kill()


class Host:
    """A running server, its file, its checker and its pipeline."""

    def __init__(self, directory: Path, server: subprocess.Popen[str], daemon: Daemon) -> None:
        assert server.stdout
        self.server = server
        self.port = int(server.stdout.readline())
        self.directory = directory
        self.daemon = daemon
        self.file = directory / "kea.conf"
        self.kea = FakeKea.unix(directory / "control")
        self.checker("exit 0")
        self.rehearsal = Rehearsal(Standing.PASSED, "it served", 0.1)
        self.rehearsals = 0
        self.during_rehearsal: Callable[[Callable[[], object]], object] = lambda go_on: None
        self.systemd = FakeSystemd(self._unit(), self.reload)
        self.save()
        self.pipeline = self.new_pipeline()

    def new_pipeline(self, pause: Callable[[float], object] = time.sleep, settings: Settings = QUICK) -> Pipeline:
        memory = Memory(Store(self.directory), History(self.directory))
        return Pipeline(
            self.daemon, self.systemd, memory, settings, pause, Judge(self.daemon, memory.history, self.rehearse)
        )

    def rehearse(self, daemon: Daemon, document: Document, *, timeout: float, go_on: Callable[[], object]) -> Rehearsal:
        self.rehearsals += 1
        self.during_rehearsal(go_on)
        return self.rehearsal

    def checker(self, script: str) -> None:
        path = self.directory / "checker"
        path.write_text(f"#!/bin/sh\necho run >> {self.directory}/checks\n{script}\n")
        path.chmod(0o755)

    @property
    def checks(self) -> int:
        path = self.directory / "checks"
        return path.read_text().count("run") if path.exists() else 0

    def save(self, extra: str = "", comment: str = "") -> None:
        """A configuration newer than the server's last commit."""
        own = f'"ip-address": "127.0.0.1", "port": {self.port}' if self.daemon is DDNS else '"valid-lifetime": 1'
        socket = f'"control-socket": {{ "socket-type": "unix", "socket-name": "{self.directory}/control" }}'
        self.file.write_text(f'{{ {comment} "{self.daemon.root_key}": {{ {own}, {socket} {extra} }} }}\n')

    def run(self, urge: Urge = Urge.IF_NEEDED) -> tuple[Outcome, str, bool]:
        done, is_to_be_retried = self.pipeline.run(settled=0.01, urge=urge)
        return done.outcome, done.reason, is_to_be_retried

    def reload(self) -> None:
        """A reload that works: a commit, and the port opened anew."""
        self.kea.commit(NEW_HASH)
        self.tell_server("reopen")

    def tell_server(self, word: str) -> None:
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(word + "\n")
        self.server.stdin.flush()
        if word == "die":
            self.server.wait()
        else:
            self.server.stdout.readline()

    def _unit(self) -> Unit:
        argv = (str(self.directory / "checker"), "-c", str(self.file))
        path = "/org/freedesktop/systemd1/unit/x"
        return Unit("kea-x.service", path, "loaded", "active", "running", self.server.pid, True, argv, {})
