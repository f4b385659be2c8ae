# SPDX-License-Identifier: MPL-2.0
"""keactrl's command line, as the script of the installed Kea takes it: the first word is the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kea_agent.keactrl.errors import RefusedError
from kea_agent.keactrl.servers import Installation
from kea_agent.keactrl.words import split

COMMANDS = ("start", "stop", "reload", "status", "version")
_ALL = "all"
_NO_SERVERS = "servers not specified"


class Arguments(NamedTuple):
    """One command line. `conf_path` None: the default. `options`: what follows `--`, from Kea 3.3.0 on."""

    command: str
    conf_path: str | None = None
    names: tuple[str, ...] = (_ALL,)
    options: str = ""
    json: bool = False
    compat_exit: bool = False

    @property
    def is_all(self) -> bool:
        """Whether no server is singled out."""
        return _ALL in self.names

    def includes(self, name: str) -> bool:
        """Whether the command is for this server."""
        return self.is_all or name in self.names


def parse(argv: Sequence[str], kea: Installation) -> Arguments:
    """Take the command line apart; raises RefusedError with the script's own words."""
    command = argv[0] if argv else ""
    if not command:
        raise RefusedError("missing command", usage(kea))
    if command in COMMANDS:
        return _options(Arguments(command), iter(argv[1:]), kea)
    if command in questions(kea):
        return Arguments(command)
    raise RefusedError(f"invalid command: {command}")


def questions(kea: Installation) -> tuple[str, ...]:
    """The first words that only ask something."""
    help_words = ("-h", "--help") if kea.has_server_options else ()
    return ("-v", "--version", *(("-V",) if kea.has_extended_version else ()), *help_words)


def usage(kea: Installation) -> str:
    """The script's usage, in the wording of its generation."""
    if not kea.has_server_options:
        return (
            "usage is keactrl command [-c keactrl-config-file] [-s server[,server,..]]\n"
            "commands: start stop reload status version\n"
        )
    return (
        "usage: keactrl command [-c keactrl-config-file] [-s server[,server,...]] [-- server-options]\n\n"
        "commands: start stop reload status version\n"
        "server-options: options to be passed to the servers.\n"
        "                They will be combined with options in keactrl.conf file.\n"
        "                example: -- -F -X\n"
    )


def _options(found: Arguments, words: Iterator[str], kea: Installation) -> Arguments:
    for word in words:
        if word in ("-c", "--ctrl-config"):
            found = found._replace(conf_path=_value(words, "keactrl-config-file not specified", kea))
        elif word in ("-s", "--server"):
            found = found._replace(names=_names(_value(words, _NO_SERVERS, kea), kea))
        elif word == "--" and kea.has_server_options:
            return found._replace(options=" ".join(words))
        else:
            found = _own_option(found, word, kea)
    return found


def _own_option(found: Arguments, word: str, kea: Installation) -> Arguments:
    if word == "--compat-exit":
        return found._replace(compat_exit=True)
    if word == "--json" and found.command == "status":
        return found._replace(json=True)
    raise RefusedError(f"invalid option: {word}", usage(kea))


def _value(words: Iterator[str], missing: str, kea: Installation) -> str:
    value = next(words, "")
    if not value:
        raise RefusedError(missing, usage(kea))
    return value


def _names(text: str, kea: Installation) -> tuple[str, ...]:
    if not text.rstrip(",\n"):
        raise RefusedError(_NO_SERVERS, usage(kea))
    names = tuple(split(text.replace(",", " ")))
    known = {_ALL, *(server.name for server in kea.servers)}
    for name in names:
        if name not in known:
            raise RefusedError(f"invalid server name: {name}")
    return names
