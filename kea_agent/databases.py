# SPDX-License-Identifier: MPL-2.0
"""The databases of a configuration: which there are, the file without them, and whether this Kea can use them.

No client library of ours: Kea's own binary is asked. Each database, whatever its role, is given to it as a read-only
hosts database of a configuration that holds nothing else. So it connects with the real parameters, compares the schema's
version (one for all roles of a database), and cannot write: leases, timers, sockets and the operator's other
hook libraries are not there, and since 2.5.6 `readonly` keeps Kea from running `kea-admin db-init` on an empty database
(MySqlConnection::initializeSchema in src/lib/mysql/mysql_connection.cc of 2.6.3 and 3.0.4; PostgreSQL's is the same).

    2.3.6 and later   `kea-dhcp* -T` opens the hosts database and ends
    before            a start, ended as soon as it says STARTED: the databases are open then; its PID file is in a
                      directory of its own, for the time of the start

The configuration comes through a pipe: it holds passwords, and AppArmor (Debian, Ubuntu) lets Kea read no other place
than /etc/kea, which does not concern a pipe.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kea_agent import check, database_faults
from kea_agent.accounts import Account
from kea_agent.check import Limits
from kea_agent.daemons import BY_NAME, Daemon
from kea_agent.errors import ConfigError
from kea_agent.keaconf import Document, json_text
from kea_agent.keaconf_places import Path, Places
from kea_agent.plain import printable
from kea_agent.redact import within
from kea_agent.verdict import Verdict

Role = Literal["lease", "hosts", "config", "forensic"]

TYPES = ("mysql", "postgresql")
CONNECT_SECONDS = 5  # Kea's own default; MySQL's client takes twice as long where a name has no address (measured)
PROBE_SECONDS = 20.0  # for one database

_HAS_T = (2, 3, 6)
_BACKENDS = ("libdhcp_mysql.so", "libdhcp_pgsql.so")  # since 2.7.4 there is no such database without them
_FORENSIC = "libdhcp_legal_log.so"
# What decides how a database is reached. The rest is about what Kea does with it, or how long it tries.
_CONNECTION = (
    *("type", "name", "user", "password", "host", "port", "trust-anchor", "cert-file", "key-file", "cipher-list"),
    *("read-timeout", "write-timeout", "tcp-user-timeout"),
)


@dataclass(frozen=True)
class Database:
    """One database as written; `path` is where its parameters stand in the document's tree."""

    role: Role
    type: str
    path: Path
    parameters: Mapping[str, Any]

    @property
    def connection(self) -> dict[str, Any]:
        """What decides how it is reached, bounded in time."""
        words = {key: self.parameters[key] for key in _CONNECTION if key in self.parameters}
        return {**words, "connect-timeout": _bounded(self.parameters.get("connect-timeout"))}

    def is_answered_by(self, other: Database) -> bool:
        """Whether what was learnt of the other one is true of this one."""
        same = (self.connection, self.may_be_away) == (other.connection, other.may_be_away)
        return same and (self.role != "hosts" or other.role == "hosts")

    @property
    def may_be_away(self) -> bool:
        """Whether Kea serves while it is away because the file says so: never for leases (2.6.3, 3.0.4).

        `retry-on-startup` came with 2.5.5; `on-fail` alone is about a connection that was there. Without tries
        left, serve-retry-exit exits at once; stop-retry-exit, which is the default, serves nobody meanwhile.
        """
        if self.role == "lease" or self.parameters.get("retry-on-startup") is not True:
            return False
        has_tries = all(self.parameters.get(key) for key in ("max-reconnect-tries", "reconnect-wait-time"))
        on_fail = self.parameters.get("on-fail")
        return on_fail == "serve-retry-continue" or (on_fail == "serve-retry-exit" and has_tries)

    def __str__(self) -> str:
        where, port = self.parameters.get("host") or "localhost", self.parameters.get("port")
        where, name = f"{where}:{port}" if port else where, self.parameters.get("name") or ""
        return printable(within(f'the {self.role} database ({self.type} "{name}" on {where})'))


def databases(daemon_name: str, tree: Mapping[str, Any]) -> tuple[Database, ...]:
    """The MySQL and PostgreSQL databases in a document's tree, as Kea opens them; bears any tree."""
    key = BY_NAME[daemon_name].root_key
    if daemon_name not in ("dhcp4", "dhcp6"):
        return ()
    return tuple(
        Database(role, node["type"], (key, *path), node)
        for role, path, node in _sections(_map(tree.get(key)))
        if isinstance(node, dict) and node.get("type") in TYPES
    )


def without_databases(daemon_name: str, tree: dict[str, Any]) -> dict[str, Any]:
    """A copy for a place without them, on which the real daemon starts; the same object where there are none.

    lease-database             becomes a memfile that is not kept
    hosts-database(s)          goes
    config-control             goes as a whole: its timer would fetch from nowhere
    libdhcp_legal_log          goes where it logs into a database; to a file it might not be allowed

    All else stays, the backends' hook libraries too. What works on these databases (host_cmds, host_cache, radius, subnet_cmds,
    class_cmds, lease_cmds, stat_cmds, limits, lease_query of 3.0.4; mysql_cb and pgsql_cb before) starts without them.
    """
    found = databases(daemon_name, tree)
    if not found:
        return tree
    key = BY_NAME[daemon_name].root_key
    return {**tree, key: _without(tree[key], {database.path[1:] for database in found})}


def probe(
    daemon: Daemon,
    document: Document,
    argv: Sequence[str],
    environment: Mapping[str, str],
    limits: Limits,
    account: Account | None = None,
) -> Verdict:
    """Can the Kea that is installed use the databases of a document, with the unit's options and environment.

    `limits` is for all of them together; two roles in the same database are one question. The first that cannot be used
    is the problem; one that Kea bears to be away, or that could not be asked about, is a warning; one that lets Kea wait
    is `could_not`.
    """
    started = time.monotonic()
    kea = _Kea(daemon, document, argv, environment, limits, account, started + limits.timeout)
    warnings: tuple[str, ...] = ()
    for database in _distinct(databases(daemon.name, document.tree)):
        answer = kea.ask(database)
        warnings += answer.warnings
        if answer.problem or answer.could_not:
            return replace(answer, seconds=time.monotonic() - started, warnings=warnings)
    return Verdict("databases", None, time.monotonic() - started, warnings)


def _distinct(found: Iterable[Database]) -> list[Database]:
    kept: list[Database] = []
    for database in found:
        if not any(database.is_answered_by(other) for other in kept):
            kept.append(database)
    return kept


@dataclass(frozen=True)
class _Kea:
    """Whom to ask, and until when (`time.monotonic`)."""

    daemon: Daemon
    document: Document
    argv: Sequence[str]
    environment: Mapping[str, str]
    limits: Limits
    account: Account | None
    deadline: float

    def ask(self, database: Database) -> Verdict:
        """One database."""
        limits = replace(self.limits, timeout=min(self.deadline - time.monotonic(), PROBE_SECONDS))
        try:
            code, output = self._run(database, limits)
        except (OSError, ValueError) as error:
            return self._not_asked(database, str(error))
        if code is None:
            why = f"{database} gave {self.argv[0]} no answer within {max(limits.timeout, 0):.0f} s"
            return replace(_FINE, could_not=why)
        return _FINE if code == 0 else self._judged(database, code, output)

    def _run(self, database: Database, limits: Limits) -> tuple[int | None, str]:
        version = check.version_of(self.argv[0], self.account)
        is_start = version is not None and version < _HAS_T
        words = [self.argv[0], *check.options_of(self.argv), "-c" if is_start else "-T", check.STDIN]
        until = f"DHCP{self.daemon.name[-1]}_STARTED".encode() if is_start else None
        text = json_text(_reduced(self.daemon, self.document, database))
        with tempfile.TemporaryDirectory() as directory:
            if self.account:
                os.chown(directory, self.account.uid, self.account.gid)
            environment = {**check.quiet_environment(self.environment), "KEA_PIDFILE_DIR": directory}
            return check.run_kea(words, environment, limits, self.account, text=text, until=until)

    def _judged(self, database: Database, code: int, output: str) -> Verdict:
        tree = self.document.tree
        fault = database_faults.found_in(output, tree)
        if fault is None:
            return self._not_asked(database, database_faults.last_words(output, code, tree))
        if fault.kind == "hosts" and database.role != "hosts":
            return _FINE
        told = _placed(self.document, database, f"{database} {fault}")
        if fault.kind == "connection" and database.may_be_away:
            return _warned(f"{told}; Kea serves without it and keeps trying, as the file says")
        return replace(_FINE, problem=told, may_pass_later=fault.kind == "connection")

    def _not_asked(self, database: Database, why: str) -> Verdict:
        """No verdict, and neither time nor another file would bring one: that holds nothing back."""
        return _warned(f"{self.document.path}: {database} was not looked at: {self.argv[0]}: {why}")


_FINE = Verdict("databases", None, 0.0)


def _warned(words: str) -> Verdict:
    return replace(_FINE, warnings=(words,))


def _sections(root: Mapping[str, Any]) -> Iterator[tuple[Role, Path, Any]]:
    yield "lease", ("lease-database",), root.get("lease-database")
    yield "hosts", ("hosts-database",), root.get("hosts-database")
    for index, node in enumerate(_list(root.get("hosts-databases"))):
        yield "hosts", ("hosts-databases", index), node
    for index, node in enumerate(_list(_map(root.get("config-control")).get("config-databases"))):
        yield "config", ("config-control", "config-databases", index), node
    for index, hook in enumerate(_list(root.get("hooks-libraries"))):
        if _library(hook) == _FORENSIC:
            yield "forensic", ("hooks-libraries", index, "parameters"), _map(hook).get("parameters")


def _without(root: Mapping[str, Any], gone: set[Path]) -> dict[str, Any]:
    kept = dict(root)
    if ("lease-database",) in gone:
        kept["lease-database"] = {"type": "memfile", "persist": False}
    if ("hosts-database",) in gone:
        del kept["hosts-database"]
    for key, below in (("hosts-databases", ()), ("hooks-libraries", ("parameters",))):
        if any(path[0] == key for path in gone):
            kept[key] = [item for index, item in enumerate(root[key]) if (key, index, *below) not in gone]
    if any(path[0] == "config-control" for path in gone):
        del kept["config-control"]
    return kept


def _reduced(daemon: Daemon, document: Document, database: Database) -> dict[str, Any]:
    """A configuration with one database in it and nothing that listens, fires or writes."""
    off = {"reclaim-timer-wait-time": 0, "flush-reclaimed-timer-wait-time": 0}
    root = {
        "interfaces-config": {"interfaces": []},
        "lease-database": {"type": "memfile", "persist": False},
        "expired-leases-processing": off,
        "hosts-database": {**database.connection, "readonly": True},
        "hooks-libraries": [{"library": path} for path in _backends(document.root)],
    }
    if daemon.name == "dhcp6":  # else it would write one
        root["server-id"] = {"type": "EN", "enterprise-id": 1, "identifier": "01", "persist": False}
    return {daemon.root_key: root}


def _backends(root: Mapping[str, Any]) -> list[str]:
    return [hook["library"] for hook in _list(root.get("hooks-libraries")) if _library(hook) in _BACKENDS]


def _placed(document: Document, database: Database, words: str) -> ConfigError:
    """The words with the place of a database; with the file's name alone where it changed meanwhile."""
    try:
        place = Places(document).find([database.path])[database.path].best
    except (ConfigError, KeyError):
        return ConfigError(words, file=document.path)
    return ConfigError(words, file=place.file, line=place.line, column=place.column)


def _bounded(seconds: Any) -> int:
    is_usable = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds < CONNECT_SECONDS
    return seconds if is_usable else CONNECT_SECONDS


def _library(hook: Any) -> str:
    path = _map(hook).get("library")
    return path.rpartition("/")[2] if isinstance(path, str) else ""


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
