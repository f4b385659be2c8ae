# SPDX-License-Identifier: MPL-2.0
"""A host whose fallback units a test plays with by hand: nothing else tells systemd what to do meanwhile."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from labkit import DAEMONS, Lab
from labkit.host import PATIENCE, wait_for
from labkit.keaconfigs import FILES
from labkit.nodes import Node
from labkit.spec import Daemon
from rehearsing import AS_KEA

STATE = "/var/lib/kea-agent"
# In the configuration that was kept, and in no file.
KEPT_LIFETIME = 4711
_SAVED = "/root/lab-kea"


@dataclass(frozen=True)
class Stage:
    """One host; `own` and `fallback` are names of units."""

    node: Node

    def own(self, daemon: Daemon = "dhcp4") -> str:
        """Kea's own unit."""
        return self.node.unit(daemon)

    def fallback(self, daemon: Daemon = "dhcp4") -> str:
        """What serves in its place."""
        return f"kea-agent-fallback@{daemon}.service"

    def kept(self, daemon: Daemon = "dhcp4") -> str:
        """The last known good configuration."""
        return f"{STATE}/{daemon}/{FILES[daemon]}"

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.node.systemctl("show", f"--property={name}", "--value", unit)

    def is_up(self, unit: str) -> bool:
        """Whether it runs."""
        return (self.show(unit, "ActiveState"), self.show(unit, "SubState")) == ("active", "running")

    def wait_up(self, unit: str, seconds: float = PATIENCE) -> None:
        """Wait until it runs."""
        for _ in wait_for(seconds, every=0.1):
            if self.is_up(unit):
                return
        raise AssertionError("\n".join(self.node.journal(unit, 40)))

    def keep(self, daemon: Daemon) -> None:
        """Put the file aside as the last known good one, as the agent does, and mark it where that can be."""
        text = self.node.read(f"/etc/kea/{FILES[daemon]}").replace(
            '"valid-lifetime": 3600', f'"valid-lifetime": {KEPT_LIFETIME}'
        )
        path = self.kept(daemon)
        self.node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "-m", "0750", path.rpartition("/")[0]])
        self.node.run(["install", "-o", "_kea", "-g", "_kea", "-m", "0600", "/dev/stdin", path], stdin=text)

    def break_file(self, daemon: Daemon) -> None:
        """Save nonsense, and let its own unit fail on it."""
        self.node.write(f"/etc/kea/{FILES[daemon]}", "{ nonsense\n")
        self.node.systemctl("restart", self.own(daemon), check=False)
        for _ in wait_for(every=0.05):
            if self.show(self.own(daemon), "SubState").startswith(("auto-restart", "failed")):
                return
        raise AssertionError("\n".join(self.node.journal(self.own(daemon))))

    def mend_file(self, daemon: Daemon) -> None:
        """The file as it was."""
        self.node.run(["cp", "-p", f"{_SAVED}/{FILES[daemon]}", "/etc/kea/"])

    def as_kea(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command as the user that the agent runs as."""
        return self.node.run([*AS_KEA, *words], check=False)

    def restart_as_kea(self, unit: str) -> subprocess.CompletedProcess[str]:
        """What the agent asks of systemd."""
        return self.as_kea("systemctl", "--no-ask-password", "restart", unit)

    def swap_in(self, daemon: Daemon) -> None:
        """The fallback unit takes over, asked for by the agent's user, and runs."""
        done = self.restart_as_kea(self.fallback(daemon))
        assert done.returncode == 0, done.stderr + "\n".join(self.node.journal(self.fallback(daemon), 40))
        self.wait_served(daemon)

    def wait_served(self, daemon: Daemon, seconds: float = PATIENCE) -> None:
        """Wait until somebody answers for the daemon."""
        for _ in wait_for(seconds, every=0.05):
            if self._answers(daemon):
                return
        raise AssertionError(f"nobody answers for {daemon}")

    def config(self, daemon: Daemon) -> dict[str, Any]:
        """What a DHCP server runs."""
        found: dict[str, Any] = self.node.control(daemon, "config-get")["arguments"][daemon.capitalize()]
        return found

    def main_pid(self, unit: str) -> str:
        """Its main process."""
        return self.show(unit, "MainPID")

    def open_ports(self) -> str:
        """The UDP sockets that somebody has open, with no more of them than ports."""
        return self.node.run(["sh", "-c", "cat /proc/net/udp /proc/net/udp6 | awk '{print $2}'"]).stdout

    def shell(self, script: str) -> str:
        """What a script prints."""
        return self.node.run(["sh", "-euc", script]).stdout

    def _answers(self, daemon: Daemon) -> bool:
        if daemon == "ctrl-agent":
            url = "http://127.0.0.1:8000/"
            return self.node.run(["curl", "--silent", "--max-time", "2", url], check=False).returncode == 0
        try:
            return bool(self.node.control(daemon, "version-get")["result"] == 0)
        except (OSError, ValueError):
            return False


@contextmanager
def staged(lab: Lab) -> Iterator[list[Stage]]:
    """The hosts of a lab without the agent, every file kept as last known good; all as before afterwards."""
    stages = [Stage(node) for node in lab.nodes]
    try:
        for stage in stages:
            _prepare(stage)
        yield stages
    finally:
        for stage in stages:
            _restore(stage)
        lab.wait_ready(PATIENCE)


def _prepare(stage: Stage) -> None:
    stage.node.systemctl("stop", "kea-agent")
    stage.shell(f"rm -rf {_SAVED}; cp -a /etc/kea {_SAVED}")
    for daemon in DAEMONS:
        stage.keep(daemon)


def _restore(stage: Stage) -> None:
    units: Sequence[str] = [stage.own(daemon) for daemon in DAEMONS]
    stage.shell(
        f"""
        chmod u+rwx /etc/kea
        find /etc/kea -mindepth 1 -delete
        cp -a {_SAVED}/. /etc/kea/
        for daemon in {" ".join(DAEMONS)}; do rm -rf {STATE}/$daemon; done
        rm -rf /run/systemd/system/*.service.d /etc/kea-agent/kea-agent.d/fallback.toml /root/closed
        systemctl daemon-reload
        systemctl reset-failed
        systemctl restart {" ".join(units)} || true
        systemctl start kea-agent
        """
    )
