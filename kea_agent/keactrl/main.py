# SPDX-License-Identifier: MPL-2.0
"""The command: from the words typed to an exit code (the script's: 0, 1, and 2 where a variable is missing)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kea_agent.errors import ConfigError
from kea_agent.keactrl import report, say
from kea_agent.keactrl.arguments import COMMANDS, Arguments, parse, usage
from kea_agent.keactrl.errors import MissingVariableError, RefusedError, UntrustedConfError
from kea_agent.keactrl.servers import CTRL_AGENT, NETCONF, Installation
from kea_agent.keactrl.sources import ConfSource, Source, UnitSource
from kea_agent.keactrl.systemd import AgentView, Units, is_booted
from kea_agent.plain import printable

if TYPE_CHECKING:
    from kea_agent.keactrl.conf import Conf

_OK, _ERROR, _MISSING_VARIABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    environ = dict(os.environ)
    kea = Installation(environ)
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        return _run(sys.argv[1:] if argv is None else argv, kea, environ)
    except ConfigError as error:
        say.error(printable(str(error)))
        return _ERROR
    except RefusedError as error:
        say.error(str(error))  # what the caller typed goes back as the script gives it back
        say.line(error.usage, end="")
        return _ERROR
    except MissingVariableError as error:
        say.aside(f"{error.name}: parameter not set in keactrl.conf", "ERROR")
        return _MISSING_VARIABLE
    except BrokenPipeError:
        sys.stderr.close()
        return _ERROR


def _run(argv: Sequence[str], kea: Installation, environ: dict[str, str]) -> int:
    arguments = parse(argv, kea)
    if arguments.command not in COMMANDS:
        return _answer(arguments.command, kea)
    view = AgentView()
    units = Units()
    source = _source(arguments, kea, units, view, environ)
    if arguments.command == "status":
        has_worked = _status(arguments, kea, source, view)
    else:
        has_worked = _act(arguments, kea, source, units, environ)
    return _OK if has_worked or (arguments.compat_exit and arguments.command != "status") else _ERROR


def _answer(question: str, kea: Installation) -> int:
    if question in ("-h", "--help"):
        say.line(usage(kea), end="")
        return _OK
    if not kea.is_installed:
        raise RefusedError("no Kea is installed")
    say.line(kea.extended_version if question == "-V" else kea.version)
    return _OK


def _source(
    arguments: Arguments, kea: Installation, units: Units, view: AgentView, environ: Mapping[str, str]
) -> Source:
    path = arguments.conf_path or kea.conf_path
    has_units = arguments.conf_path is None and is_booted() and kea.is_installed
    if os.path.isfile(path):
        from kea_agent.keactrl import conf  # noqa: PLC0415 - packaged Kea has none

        try:
            found = conf.read(path, kea.prefix, environ)
        except UntrustedConfError as error:
            # Debian gives /etc/kea to Kea's user. A file that is only looked for there must not end every command.
            if not has_units:
                raise
            say.aside(f"{path} is not used, systemd's units are: {error.why}; {error.way_out}")
        else:
            _check(found, kea)
            return ConfSource(found, kea, units, environ)
    if has_units:
        return UnitSource(kea, units, view, environ)
    raise RefusedError(f"keactrl configuration file doesn't exist in {path}.")


def _check(found: Conf, kea: Installation) -> None:
    """What the script asks for before anything else; of the DDNS server it asks for the flag, not for the binary."""
    control_agent = ("ctrl_agent_srv",) if CTRL_AGENT in kea.servers else ()
    netconf = ("netconf_srv",) if NETCONF in kea.servers else ()
    for name in ("dhcp4_srv", "dhcp6_srv", "dhcp_ddns", *control_agent, *netconf):
        if name not in found:
            raise RefusedError(f"{name} parameter not specified")
    if kea.has_server_options:
        _ = found["kea_verbose"]


def _status(arguments: Arguments, kea: Installation, source: Source, view: AgentView) -> bool:
    if arguments.json:
        return report.as_json(kea.servers, source, view, kea.version)
    return report.as_text(kea.servers, source, view)


def _act(arguments: Arguments, kea: Installation, source: Source, units: Units, environ: dict[str, str]) -> bool:
    from kea_agent.keactrl.commands import Commands  # noqa: PLC0415 - `status` does without D-Bus and the checks

    os.umask(os.umask(0) | 0o027)
    var = "/var" if kea.prefix == "/usr" else f"{kea.prefix}/var"
    environ.setdefault("KEA_LOGGER_DESTINATION", f"{var}/log/kea.log")
    commands = Commands(arguments, kea, source, units, environ)
    return {
        "start": commands.start, "stop": commands.stop, "reload": commands.reload, "version": commands.version,
    }[arguments.command]()  # fmt: skip
