# SPDX-License-Identifier: MPL-2.0
"""Kea without systemd: keactrl, a keactrl.conf and configuration files in a directory of their own, as in Kea's own test.

The shape is that of src/bin/keactrl/tests/keactrl_tests.sh.in: the files' names have two dots, no server opens a socket
to DHCP clients, and all of them log into one file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenthost import AgentHost
from labkit.host import PATIENCE, wait_for
from labkit.nodes import Node

HERE = "/root/by-hand"
CONF = f"{HERE}/keactrl_test.conf"
LOG = f"{HERE}/test.log"
ENVIRONMENT = {
    "KEA_PIDFILE_DIR": HERE,
    "KEA_LOCKFILE_DIR": HERE,
    "KEA_LOG_FILE_DIR": HERE,
    "KEA_LOGGER_DESTINATION": LOG,
}
BINARIES = {"dhcp4": "kea-dhcp4", "dhcp6": "kea-dhcp6", "dhcp_ddns": "kea-dhcp-ddns", "ctrl_agent": "kea-ctrl-agent"}
FILES = {
    "dhcp4": f"{HERE}/dhcp4_test_config.conf.json",
    "dhcp6": f"{HERE}/dhcp6_test_config.conf.json",
    "dhcp_ddns": f"{HERE}/d2_test_config.conf.json",
    "ctrl_agent": f"{HERE}/ca_test_config.conf.json",
}
_LIFETIMES = {"valid-lifetime": 4000, "renew-timer": 1000, "rebind-timer": 2000}
_MEMORY = {"lease-database": {"type": "memfile", "persist": False}, "interfaces-config": {"interfaces": []}}
_V4 = {"id": 1, "subnet": "10.0.0.0/24", "pools": [{"pool": "10.0.0.10-10.0.0.100"}]}
_V6 = {"id": 1, "subnet": "2001:db8:1::/64", "pools": [{"pool": "2001:db8:1::10-2001:db8:1::100"}]}
CONFIGS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "dhcp4": {"Dhcp4": {**_MEMORY, **_LIFETIMES, "subnet4": [_V4]}},
    "dhcp6": {
        "Dhcp6": {**_MEMORY, **_LIFETIMES, "server-id": {"type": "LLT", "persist": False}, "subnet6": [_V6]},
    },
    "dhcp_ddns": {
        "DhcpDdns": {"ip-address": "127.0.0.1", "port": 53001, "tsig-keys": [], "forward-ddns": {}, "reverse-ddns": {}}
    },
    "ctrl_agent": {"Control-agent": {"http-host": "127.0.0.1"}},
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What one keactrl said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def keactrl(
    host: AgentHost, *words: str, under: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Done:
    """Run keactrl in the node. Its output goes to files: daemons started by hand keep it open."""
    variables = [f"{name}={value}" for name, value in (environment or {}).items()]
    script = """cd /; "$@" </dev/null >/run/keactrl.out 2>/run/keactrl.err; code=$?
        printf '%s\\0' "$code"; cat /run/keactrl.out; printf '\\0'; cat /run/keactrl.err"""
    words = ("env", *variables, *under, "keactrl", *words)
    code, out, err = host.node.run(["sh", "-c", script, "sh", *words], timeout=240).stdout.split("\0")
    print(f"$ keactrl {' '.join(words[words.index('keactrl') + 1 :])}\n{out}{err}[{code}]")
    return Done(int(code), out, err)


@dataclass(frozen=True)
class ByHand:
    """The directory in a node, and what runs from it."""

    host: AgentHost

    @property
    def node(self) -> Node:
        return self.host.node

    def write(self, *enabled: str, verbose: bool = False, control: bool = False, **more: str) -> None:
        """The configuration files, with control sockets or without, and a keactrl.conf that enables these servers."""
        self.node.run(["mkdir", "-p", HERE])
        for server, config in CONFIGS.items():
            text = json.dumps(_complete(config, server, control=control), indent=1)
            self.node.write(FILES[server], text)
        variables = {"prefix": "/usr", "kea_verbose": "yes" if verbose else "no", **more}
        for server, binary in BINARIES.items():
            variables[f"{binary.replace('-', '_')}_config_file"] = FILES[server]
            variables[f"{server}_srv"] = f"/usr/sbin/{binary}"
            variables[server] = "yes" if server in enabled else "no"
        self.node.write(CONF, "".join(f"{name}={value}\n" for name, value in variables.items()))

    def __call__(self, command: str, *words: str) -> Done:
        """keactrl with this keactrl.conf."""
        return keactrl(self.host, command, "-c", CONF, *words, environment=ENVIRONMENT)

    def log(self) -> str:
        return self.node.run(["cat", LOG], check=False).stdout

    def count(self, message: str) -> int:
        """How often a message was logged."""
        return len(re.findall(rf"\b{message}\b", self.log()))

    def wait_for(self, message: str, count: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until a message was logged this often; more often is wrong as well."""
        for _ in wait_for(seconds, every=0.1):
            if self.count(message) >= count:
                break
        assert self.count(message) == count, f"{message}\n{self.log()}"

    def pids(self) -> dict[str, int]:
        """The processes that run from the directory, each server with no more than one."""
        found = self.node.run(["pgrep", "--full", "--list-full", f"^/usr/sbin/kea-.* -c {HERE}/"], check=False).stdout
        told = [line.split() for line in found.splitlines()]
        pids = {server: int(words[0]) for words in told for server, file in FILES.items() if file in words}
        assert len(pids) == len(told), found
        return pids

    def wait_for_servers(self, *servers: str, seconds: float = PATIENCE) -> dict[str, int]:
        """Wait until exactly these run."""
        for _ in wait_for(seconds, every=0.1):
            if set(self.pids()) == set(servers):
                break
        assert set(self.pids()) == set(servers), self.log()
        return self.pids()

    def remove(self) -> None:
        """End whatever still runs, and forget everything."""
        for pid in self.pids().values():
            self.node.run(["kill", "-KILL", str(pid)], check=False)
        self.node.run(["rm", "-rf", HERE])


def _complete(config: Mapping[str, Mapping[str, object]], server: str, *, control: bool) -> dict[str, object]:
    """With a logger as the tests of Kea have it, in a spelling that every Kea knows."""
    logger = {"name": BINARIES[server], "output_options": [{"output": LOG}], "severity": "INFO"}
    # Later Keas take sockets in this directory only. The control agent answers over HTTP.
    socket = {"control-socket": {"socket-type": "unix", "socket-name": f"/run/kea/by-hand-{server}"}}
    more = socket if control and server != "ctrl_agent" else {}
    return {top: {**body, **more, "loggers": [logger]} for top, body in config.items()}
