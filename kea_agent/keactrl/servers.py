# SPDX-License-Identifier: MPL-2.0
"""The servers by keactrl's names, and what of Kea is installed: its version decides how the script behaves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.keactrl import say
from kea_agent.reading import stranger

SBIN = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/sbin")
_WITHOUT_CTRL_AGENT = (3, 1, 8)
_WITH_SERVER_OPTIONS = (3, 3, 0)


class Server(NamedTuple):
    """One server in the script's words. `daemon` is the agent's name of it; it knows nothing of kea-netconf."""

    name: str
    binary: str
    title: str
    file_title: str
    config_path: str
    daemon: Daemon | None

    @property
    def config_variable(self) -> str:
        """The variable of keactrl.conf with its configuration file."""
        return self.binary.replace("-", "_") + "_config_file"

    @property
    def binary_variable(self) -> str:
        """The variable of keactrl.conf with the path of its binary."""
        return f"{self.name}_srv"

    @property
    def options_variable(self) -> str:
        """The variable of keactrl.conf with its options (3.3.0 and later)."""
        return f"{self.name}_cli_options"


def _server(name: str, daemon: str, title: str, file_title: str) -> Server:
    known = BY_NAME[daemon]
    return Server(name, known.binary, title, file_title, known.config_path, known)


DHCP4 = _server("dhcp4", "dhcp4", "DHCPv4 server", "Kea DHCPv4")
DHCP6 = _server("dhcp6", "dhcp6", "DHCPv6 server", "Kea DHCPv6")
DHCP_DDNS = _server("dhcp_ddns", "ddns", "DHCP DDNS", "Kea DHCP DDNS")
CTRL_AGENT = _server("ctrl_agent", "ctrl-agent", "Control Agent", "Kea Control Agent")
NETCONF = Server("netconf", "kea-netconf", "Netconf agent", "Kea Netconf", "/etc/kea/kea-netconf.conf", None)


class Installation:
    """The Kea that is installed here, by the search path and the directories that packages use."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._directories = (*filter(None, environ.get("PATH", "").split(os.pathsep)), *SBIN)

    def binary(self, name: str) -> str | None:
        """The path of a Kea binary, None where it is not installed."""
        paths = (f"{directory}/{name}" for directory in self._directories)
        return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)

    @property
    def is_installed(self) -> bool:
        """Whether there is any daemon of it."""
        return self._any_binary is not None

    @cached_property
    def prefix(self) -> str:
        """Where Kea is installed, `/usr` or a source build's prefix: what the script was built with."""
        found = self._any_binary
        return os.path.realpath(found).rpartition("/")[0].rpartition("/")[0] if found else "/usr"

    @cached_property
    def conf_path(self) -> str:
        """Where keactrl.conf is looked for without -c."""
        return "/etc/kea/keactrl.conf" if self.prefix == "/usr" else f"{self.prefix}/etc/kea/keactrl.conf"

    @cached_property
    def version(self) -> str:
        """What `kea-dhcp4 -v` (or another daemon's) prints; empty where no Kea is installed."""
        return self._ask("-v")

    @cached_property
    def extended_version(self) -> str:
        """The version as the script's -V has it, e.g. `2.6.3 (tarball)`; from 3.0 Kea wraps it in its version again."""
        first = self._ask("-V").partition("\n")[0]
        inner = first.removeprefix(f"{self.version} (").removesuffix(")")
        return inner if inner.startswith(self.version) else first

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        """The servers that the script of this version knows, in the order in which it acts on them."""
        ctrl_agent = (CTRL_AGENT,) if self.has_ctrl_agent else ()
        netconf = (NETCONF,) if self.binary(NETCONF.binary) else ()
        return (DHCP4, DHCP6, DHCP_DDNS, *ctrl_agent, *netconf)

    @cached_property
    def has_ctrl_agent(self) -> bool:
        """Generation A. Where the Control Agent is installed, Kea need not be asked for its version (10 ms)."""
        return bool(self.binary(CTRL_AGENT.binary)) or self._number < _WITHOUT_CTRL_AGENT

    @cached_property
    def has_server_options(self) -> bool:
        """Generation C."""
        return not self.has_ctrl_agent and self._number >= _WITH_SERVER_OPTIONS

    @cached_property
    def has_extended_version(self) -> bool:
        """Whether the script knows -V (2.5.8 and later)."""
        return self._number >= (2, 5, 8)

    @property
    def _number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())

    def _ask(self, option: str) -> str:
        if self._any_binary is None:
            return ""
        if found := stranger(self._any_binary):
            say.aside(f"{self._any_binary} is not run, because of {found.filename}: {found.strerror}")
            return ""
        import subprocess  # noqa: PLC0415 - `status` does without while there is a Control Agent: a fifth of its time

        done = subprocess.run([self._any_binary, option], capture_output=True, check=False, text=True, errors="replace")
        return done.stdout.strip()

    @cached_property
    def _any_binary(self) -> str | None:
        found = (self.binary(server.binary) for server in (DHCP4, DHCP6, DHCP_DDNS, CTRL_AGENT))
        return next(filter(None, found), None)
