# SPDX-License-Identifier: MPL-2.0
"""MariaDB and PostgreSQL beside a lab's nodes, on the bridge's own address, with the schema of the lab's Kea.

They run from an image of their own, in the lab's network and cgroup; `lab down` takes them along.
"""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from labkit import Lab, cgroups, host, images, mounts
from labkit.host import Progress
from labkit.network import Network

Kind = Literal["mysql", "postgresql"]

KINDS: Final[tuple[Kind, ...]] = ("mysql", "postgresql")
HOST: Final = "198.18.0.1"
NAME: Final = "kea"
PASSWORD: Final = "geheim-2024"

_USER: Final = {"mysql": "mysql:mysql", "postgresql": "postgres:postgres"}
_SOCKETS: Final = {"mysql": "/run/mysqld", "postgresql": "/run/postgresql"}
_SCHEMA: Final = {"mysql": "mysql/dhcpdb_create.mysql", "postgresql": "pgsql/dhcpdb_create.pgsql"}
_STOP: Final = {"mysql": signal.SIGTERM, "postgresql": signal.SIGINT}
_SERVER: Final = {
    "mysql": [
        *("/usr/sbin/mariadbd", f"--bind-address={HOST}", "--socket=/run/mysqld/mysqld.sock", "--skip-name-resolve"),
        *("--innodb-flush-log-at-trx-commit=0", "--log-bin-trust-function-creators=1"),
    ],
    "postgresql": [
        *("/usr/lib/postgresql/17/bin/postgres", "-D", "/var/lib/postgresql/17/main"),
        *("-c", "config_file=/etc/postgresql/17/main/postgresql.conf", "-c", f"listen_addresses={HOST}"),
        *("-c", "ssl=off", "-c", "fsync=off", "-c", "jit=off", "-c", "dynamic_shared_memory_type=mmap"),
    ],
}
_CLIENT: Final = {
    "mysql": ["mariadb", "--skip-column-names"],
    "postgresql": ["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "/run/postgresql"],
}
_DUMP: Final = {
    "mysql": ["mariadb-dump", "--skip-comments", "--routines"],
    "postgresql": ["pg_dump", "-h", "/run/postgresql"],
}


@dataclass
class DatabaseServer:
    """One of the two, in a lab. `start` it before anything else is asked of it."""

    lab: Lab
    kind: Kind
    root: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # PostgreSQL keeps a piece of shared memory that outlives it when it is killed, but not its namespace.
        words = Network(self.lab.spec.name).enter("unshare", "--ipc", *self._inside(*_SERVER[self.kind]))
        group = cgroups.create(cgroups.of_lab(self.lab.spec.name) / "databases")
        with (self.root.parent / f"{self.kind}.log").open("ab") as log:
            command = cgroups.enter_and_exec(group, *words)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        for _ in host.wait_for():
            if self._client("postgres" if self.kind == "postgresql" else "mysql", "select 1").returncode == 0:
                return
        raise AssertionError((self.root.parent / f"{self.kind}.log").read_text()[-2000:])

    def stop(self) -> None:
        """End it the way its administrator would."""
        if self._process:
            self._process.send_signal(_STOP[self.kind])
            self._process.wait(host.PATIENCE)
            self._process = None

    def sql(self, text: str, database: str = NAME) -> str:
        """Run statements as the administrator; returns what they printed."""
        done = self._client(database, text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, database: str) -> None:
        """An empty database in which Kea's user may do everything."""
        owner = f" owner {NAME}" if self.kind == "postgresql" else f"; grant all on {database}.* to {NAME}"
        self.sql(f"create database {database}{owner}", "mysql" if self.kind == "mysql" else "postgres")

    def dump(self, database: str = NAME) -> str:
        """All that is in a database, as text; without what a dump says of itself."""
        done = subprocess.run(
            self._inside(*_DUMP[self.kind], database), capture_output=True, text=True, check=True, cwd="/"
        )
        return "\n".join(
            line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
        )

    def init(self) -> None:
        """Kea's user, and its database as `kea-admin db-init` of this suite makes it."""
        word = "password" if self.kind == "postgresql" else "identified by"
        self.sql(f"create user {NAME} {word} '{PASSWORD}'", "mysql" if self.kind == "mysql" else "postgres")
        self.create(NAME)
        script = self.lab.nodes[0].root / "usr/share/kea/scripts" / _SCHEMA[self.kind]
        self.sql((f"set role {NAME};\n" if self.kind == "postgresql" else "") + script.read_text())

    def _client(self, database: str, text: str) -> subprocess.CompletedProcess[str]:
        words = self._inside(*_CLIENT[self.kind], database)
        return subprocess.run(words, input=text, capture_output=True, text=True, check=False, cwd="/")

    def _inside(self, *words: str) -> list[str]:
        user = "root:root" if self.kind == "mysql" and words[0] in ("mariadb", "mariadb-dump") else _USER[self.kind]
        return ["chroot", f"--userspec={user}", str(self.root), *words]


def bring_up(lab: Lab) -> dict[Kind, DatabaseServer]:
    """Both, running and ready for Kea."""
    image = images.ensure("databases", Progress(quiet=True))
    home = lab.nodes[0].state / "databases"
    root = mounts.mount_overlay(image, home, "1g")
    with (root / "etc/postgresql/17/main/pg_hba.conf").open("a") as access:
        access.write("host all all 198.18.0.0/16 scram-sha-256\n")
    servers = {kind: DatabaseServer(lab, kind, root) for kind in KINDS}
    for kind, server in servers.items():
        owner, group = _USER[kind].split(":")
        host.run("chroot", root, "install", "-d", "-o", owner, "-g", group, _SOCKETS[kind])
        server.start()
        server.init()
    return servers


def take_down(servers: dict[Kind, DatabaseServer]) -> None:
    """End both and remove what they wrote."""
    for server in servers.values():
        server.stop()
        home = server.root.parent
    mounts.unmount_below(home)
