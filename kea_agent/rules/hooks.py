# SPDX-License-Identifier: MPL-2.0
"""Hook libraries, and databases, which are hook libraries since Kea 3.0. Measured with `-t` and `-T` of 2.6.3 and 3.0.4."""

from __future__ import annotations

from collections.abc import Iterator

from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.model import Config, Node
from kea_agent.rules.words import quoted

_DATABASE_HOOKS = {"mysql": "mysql", "postgresql": "pgsql"}


@rule(
    "hook-twice",
    Severity.WARNING,
    says="A hook library is loaded twice, and so does its work twice.",
    do="Take one of the two out.",
)
def _twice(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for hook in config.hooks:
        name = (hook.text("library") or "").rpartition("/")[2]
        if name and name in seen:
            yield Problem(hook.at("library"), f"{quoted(name)} is loaded already")
        seen.add(name)


@rule(
    "database-hook-missing",
    Severity.ERROR,
    says="Kea 3.0 and later reach MySQL and PostgreSQL through a hook that is not loaded; a reload leaves the server deaf.",
    do="Load libdhcp_mysql.so or libdhcp_pgsql.so.",
    since=(3, 0, 0),
)
def _database_hook(config: Config) -> Iterator[Problem]:
    for database in _all_databases(config):
        stem = _DATABASE_HOOKS.get(database.text("type") or "")
        if stem and config.hook(stem) is None:
            yield Problem(database.at("type"), f"libdhcp_{stem}.so is not loaded")


@rule(
    "config-backend-hook-missing",
    Severity.ERROR,
    says="Before Kea 2.7 a configuration backend needs a hook that is not loaded; a reload leaves the server deaf.",
    do="Load libdhcp_mysql_cb.so or libdhcp_pgsql_cb.so.",
    before=(2, 7, 0),
)
def _backend_hook(config: Config) -> Iterator[Problem]:
    control = config.root.node("config-control")
    for database in control.nodes("config-databases") if control and config.version else ():
        stem = _DATABASE_HOOKS.get(database.text("type") or "")
        if stem and config.hook(f"{stem}_cb") is None:
            yield Problem(database.at("type"), f"libdhcp_{stem}_cb.so is not loaded")


def _all_databases(config: Config) -> Iterator[Node]:
    yield from config.databases
    control = config.root.node("config-control")
    yield from control.nodes("config-databases") if control else ()


@rule(
    "hosts-database-type",
    Severity.ERROR,
    says="Reservations cannot be in a memfile database; a reload leaves the server deaf.",
    do='Write them into the file under "reservations", or use mysql or postgresql.',
)
def _hosts_type(config: Config) -> Iterator[Problem]:
    for database in config.databases:
        if database.path[1] != "lease-database" and database.text("type") == "memfile":
            yield Problem(database.at("type"), "memfile is for leases only")


@rule(
    "leases-not-persistent",
    Severity.WARNING,
    says="Leases are kept in memory only: a restart forgets them, and their addresses are given away again.",
    do='Take "persist": false out.',
)
def _not_persistent(config: Config) -> Iterator[Problem]:
    database = config.root.node("lease-database")
    if database and database.text("type") == "memfile" and database.map.get("persist") is False:
        pair = "; the pair loses them when both restart" if config.relationships else ""
        yield Problem(database.at("persist"), f"leases do not survive a restart{pair}")


@rule(
    "host-cmds-missing",
    Severity.INFO,
    says="Reservations are in a database and the host_cmds hook is not loaded: they cannot be managed over the API.",
    do="Load libdhcp_host_cmds.so if you have it.",
)
def _host_cmds(config: Config) -> Iterator[Problem]:
    for database in config.databases:
        if database.path[1] != "lease-database" and config.hook("host_cmds") is None:
            yield Problem(database.path, "libdhcp_host_cmds.so is not loaded")


@rule(
    "subnet-cmds-with-config-backend",
    Severity.WARNING,
    says="subnet_cmds changes what runs, and the next fetch from the configuration backend changes it back.",
    do="Use cb_cmds with a configuration backend, and take subnet_cmds out.",
)
def _subnet_cmds(config: Config) -> Iterator[Problem]:
    hook, control = config.hook("subnet_cmds"), config.root.node("config-control")
    if hook and control and control.map.get("config-databases"):
        yield Problem(hook.path, 'libdhcp_subnet_cmds beside "config-databases"')
