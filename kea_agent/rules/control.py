# SPDX-License-Identifier: MPL-2.0
"""Control sockets, the Control Agent, and the directories that Kea confines itself to.

Directories: since 2.4.2, 2.6.3 and 2.7.9 (src/lib/util/filesystem.cc, PathChecker). 3.0.4's `-t` refuses a socket elsewhere;
2.6.3's does not, and a reload takes the server's control socket and its DHCP sockets away (measured).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from kea_agent.daemons import CTRL_AGENT, DDNS
from kea_agent.rules.base import ANY, DHCP, ONLY_CTRL_AGENT, Problem, Severity, rule
from kea_agent.rules.model import Config, Node
from kea_agent.rules.words import quoted

_TLS = ("trust-anchor", "cert-file", "key-file")
_LOCAL = ("127.0.0.1", "::1", "localhost")


def confines_paths(version: tuple[int, int, int] | None) -> bool:
    """Whether this Kea takes files in its own directories only; an unknown one may."""
    if version is None:
        return True
    return version >= (2, 7, 9) or (2, 6, 3) <= version < (2, 7, 0) or (2, 4, 2) <= version < (2, 5, 0)


def _sockets(config: Config) -> Iterator[Node]:
    single = config.root.node("control-socket")
    if single:
        yield single
    yield from config.root.nodes("control-sockets")


@rule(
    "control-socket-missing",
    Severity.INFO,
    says="The daemon has no control socket: nobody can ask it what it runs, and how it is.",
    do='Add a "control-socket" (from Kea 3.0 on "control-sockets") of type unix.',
    daemons=(*DHCP, DDNS.name),
)
def _missing(config: Config) -> Iterator[Problem]:
    if not config.root.map.get("control-socket") and not config.root.map.get("control-sockets"):
        yield Problem(config.root.path, "there is no control socket")


@rule(
    "control-socket-directory",
    Severity.ERROR,
    says="Kea 2.4.2, 2.6.3, 2.7.9 and later take a unix control socket in /run/kea only; it is lost, and DHCP with it.",
    do="Write the name without a directory, or set KEA_CONTROL_SOCKET_DIR for the unit.",
    daemons=(*DHCP, DDNS.name),
)
def _socket_directory(config: Config) -> Iterator[Problem]:
    for socket in _sockets(config):
        if socket.map.get("socket-type", "unix") == "unix":
            allowed = _allowed(config, "KEA_CONTROL_SOCKET_DIR", "/run/kea")
            yield from _strays(config, socket, "socket-name", allowed)


@rule(
    "lease-file-directory",
    Severity.ERROR,
    says="Kea 2.4.2, 2.6.3, 2.7.9 and later keep the lease file in /var/lib/kea only; a reload leaves the server deaf.",
    do="Write the name without a directory, or set KEA_DHCP_DATA_DIR for the unit.",
)
def _lease_directory(config: Config) -> Iterator[Problem]:
    database = config.root.node("lease-database")
    if database and database.text("type") == "memfile" and database.map.get("persist") is not False:
        yield from _strays(config, database, "name", _allowed(config, "KEA_DHCP_DATA_DIR", "/var/lib/kea"))


@rule(
    "log-file-directory",
    Severity.WARNING,
    says="Kea 2.4.2, 2.6.3, 2.7.9 and later log to files in /var/log/kea only; a reload with this file fails.",
    do="Write the name without a directory, or set KEA_LOG_FILE_DIR for the unit.",
    daemons=ANY,
)
def _log_directory(config: Config) -> Iterator[Problem]:
    for logger in config.root.nodes("loggers"):
        for key in ("output-options", "output_options"):
            for output in logger.nodes(key):
                if output.text("output") not in ("stdout", "stderr") and not _is_syslog(output):
                    yield from _strays(config, output, "output", _allowed(config, "KEA_LOG_FILE_DIR", "/var/log/kea"))


def _is_syslog(output: Node) -> bool:
    return (output.text("output") or "").startswith("syslog")


def _allowed(config: Config, variable: str, usual: str) -> str:
    """The directory that the unit names, else the usual one."""
    return ((config.environment or {}).get(variable) or usual).rstrip("/")


def _strays(config: Config, owner: Node, key: str, allowed: str) -> Iterator[Problem]:
    """Certain only where the host is known: without its unit's environment, or with -X, other directories may be right."""
    written = owner.text(key)
    if not written or not confines_paths(config.version) or config.is_unconfined:
        return
    directory = posixpath.dirname(written)
    # Built for another prefix, Kea has /opt/kea/var/lib/kea and the like: such a directory is taken for its own.
    if directory and directory != allowed and not directory.endswith(allowed.removeprefix("/var")):
        is_certain = config.environment is not None and config.version is not None
        yield Problem(owner.at(key), f"{quoted(written)} is not in {allowed}", None if is_certain else Severity.WARNING)


@rule(
    "log-severity-unknown",
    Severity.WARNING,
    says="A logger has a severity that Kea does not know: it logs from INFO on.",
    do="Use DEBUG, INFO, WARN, ERROR, FATAL or NONE.",
    daemons=ANY,
)
def _severity(config: Config) -> Iterator[Problem]:
    """In any case of letters (logger_level.cc, 2.2.0 to 3.3.0)."""
    for logger in config.root.nodes("loggers"):
        name = logger.text("severity")
        if name is not None and name.upper() not in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"):
            yield Problem(logger.at("severity"), f"there is no severity {quoted(name)}")


@rule(
    "lease-file-relative",
    Severity.WARNING,
    says="Before Kea 2.4.2 and 2.6.3 a lease file without a directory is looked for in the working directory, `/`.",
    do="Write its whole path.",
)
def _lease_relative(config: Config) -> Iterator[Problem]:
    database = config.root.node("lease-database")
    if database is None or config.version is None or confines_paths(config.version):
        return
    name = database.text("name")
    if database.text("type") == "memfile" and name and not name.startswith("/"):
        yield Problem(database.at("name"), f"{quoted(name)} has no directory")


@rule(
    "http-credentials-in-clear",
    Severity.WARNING,
    says="Passwords are asked for over HTTP without TLS: everybody on the way can read them.",
    do='Set "trust-anchor", "cert-file" and "key-file", or listen on 127.0.0.1.',
    daemons=ANY,
)
def _in_clear(config: Config) -> Iterator[Problem]:
    for listener, key in _listeners(config):
        login = listener.node("authentication")
        if login and login.map.get("clients") and not any(listener.map.get(name) for name in _TLS):
            is_local = listener.map.get(key, "127.0.0.1") in _LOCAL
            message = "there is a password and no TLS"
            yield Problem(login.path, message, Severity.INFO if is_local else None)


@rule(
    "http-without-authentication",
    Severity.WARNING,
    says="Commands are taken over HTTP from everybody who reaches the port; Kea 3.1 and later refuse that without -X.",
    do='Add "authentication" with clients, or TLS with "cert-required".',
    daemons=ANY,
)
def _without_authentication(config: Config) -> Iterator[Problem]:
    for listener, key in _listeners(config):
        if listener.map.get("authentication") or any(listener.map.get(name) for name in _TLS):
            continue
        is_local = listener.map.get(key, "127.0.0.1") in _LOCAL
        is_refused = key == "socket-address" and config.version is not None and config.version >= (3, 1, 0)
        severity = Severity.INFO if is_local and not is_refused else None
        yield Problem(listener.path, "there is no authentication and no TLS", severity)


def _listeners(config: Config) -> Iterator[tuple[Node, str]]:
    """Everything that takes commands over HTTP, and the key of its address."""
    if config.daemon == CTRL_AGENT.name:
        yield config.root, "http-host"
        return
    for socket in config.root.nodes("control-sockets"):
        if socket.map.get("socket-type") in ("http", "https"):
            yield socket, "socket-address"


@rule(
    "control-agent-without-sockets",
    Severity.WARNING,
    says="The Control Agent has no control socket of a DHCP server: it has nobody to pass commands on to.",
    do='Add "control-sockets" with "dhcp4" or "dhcp6".',
    daemons=ONLY_CTRL_AGENT,
)
def _agent_sockets(config: Config) -> Iterator[Problem]:
    sockets = config.root.map.get("control-sockets")
    if not sockets or (type(sockets) is dict and not {"dhcp4", "dhcp6"} & sockets.keys()):
        path = config.root.at("control-sockets") if sockets else config.root.path
        yield Problem(path, "there is no control socket of dhcp4 or dhcp6")


@rule(
    "control-agent-removed",
    Severity.WARNING,
    says="Kea 3.1.8 and later have no Control Agent; the daemons listen on HTTP themselves.",
    do='Move its listener to "control-sockets" of each daemon.',
    daemons=ONLY_CTRL_AGENT,
    since=(3, 1, 8),
)
def _agent_removed(config: Config) -> Iterator[Problem]:
    if config.version is not None:
        yield Problem(config.root.path, "this Kea has no Control Agent")
