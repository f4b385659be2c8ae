# SPDX-License-Identifier: MPL-2.0
"""kea-agent's verbs. Each imports only what it needs, so that the quick ones are quick."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kea_agent import __version__, log
from kea_agent.daemons import BY_NAME
from kea_agent.errors import AgentError, ExitCode, SettingsError
from kea_agent.plain import printable, printable_lines

_NAMES = ", ".join(BY_NAME)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns its exit code (errors.ExitCode)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["keactrl"]:
        from kea_agent.keactrl.main import main as keactrl  # noqa: PLC0415 - its arguments are its own business

        return keactrl(words[1:])
    arguments = parser().parse_args(words)
    log.for_commands()
    try:
        return int(importlib.import_module(f"kea_agent.verbs.{arguments.verb}").main(arguments))
    except SettingsError as error:
        print(printable_lines(str(error)), file=sys.stderr)
        return ExitCode.USAGE
    except AgentError as error:
        print(f"kea-agent: {printable(str(error))}", file=sys.stderr)
        return ExitCode.NOT_DONE
    except RecursionError:
        print(
            f"kea-agent: {arguments.verb}: something that it read is nested too deeply to be a file of Kea's",
            file=sys.stderr,
        )
        return ExitCode.NOT_DONE
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kea_agent"):
            raise
        print(
            f"kea-agent: {arguments.verb} needs Python's {error.name}: install it as a package, or by pip",
            file=sys.stderr,
        )
        return ExitCode.NOT_DONE
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.NOT_DONE


def parser() -> argparse.ArgumentParser:
    """The command line, as the man page documents it."""
    top = argparse.ArgumentParser(
        prog="kea-agent",
        description="Checks, reloads and proves every saved configuration of ISC Kea DHCP.",
        epilog="kea-agent keactrl ... is the command of Kea's manual: man keactrl. More, and the exit codes: man kea-agent",
    )
    top.add_argument("--version", action="version", version=f"kea-agent {__version__}", help="print the version")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (fill, words) in _VERBS.items():
        about = f"{words[0].upper()}{words[1:]}."
        fill(verbs.add_parser(name, help=words, description=about, epilog="More, and the exit codes: man kea-agent"))
    return top


def _run(verb: argparse.ArgumentParser) -> None:
    _add_settings(verb)
    verb.add_argument(
        "--web.config.file",
        dest="web_config_file",
        type=os.path.abspath,
        metavar="FILE",
        help="TLS and passwords, in the format that Prometheus's exporters share; wins over the setting",
    )
    verb.add_argument("--test", action="store_true", help="only check the settings; exit 2 if they are wrong")


def _status(verb: argparse.ArgumentParser) -> None:
    _add_json(verb)


def _check(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "what",
        nargs="*",
        metavar="DAEMON|FILE",
        help=f"{_NAMES}, or a file of one of them (default: the files of all)",
    )
    verb.add_argument(
        "--level",
        choices=("syntax", "rules", "kea", "rehearsal"),
        default="kea",
        help="how deep to look (default: kea); rehearsal needs root or Kea's user",
    )
    verb.add_argument(
        "--kea-version", type=_version, metavar="X.Y", help="the Kea that is to read it (default: the one installed)"
    )
    verb.add_argument(
        "--disable", action="append", default=[], metavar="ID", help="do not ask this rule; may be given again"
    )
    verb.add_argument("--previous", metavar="FILE", help="the configuration before, to find subnets whose id changed")
    _add_settings(verb)
    form = verb.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        choices=("text", "json", "github", "sarif"),
        default="text",
        help="how to print what is found (default: text)",
    )
    form.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def _diff(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "what",
        nargs="*",
        metavar="DAEMON|FILE",
        help="what its server runs is compared with its file (default: of all); two words are compared with each other",
    )
    _add_settings(verb)
    verb.add_argument("--peer", action="store_true", help="leave out what each host of a pair has for itself")
    _add_json(verb)


def _history(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("daemon", nargs="?", metavar="DAEMON", choices=[*BY_NAME], help=f"{_NAMES} (default: all)")
    verb.add_argument("--all", action="store_true", help="also those older than the ten newest")
    verb.add_argument("--show", metavar="REVISION", help="print this configuration, secrets masked")
    verb.add_argument("--with-secrets", action="store_true", help="with --show, as root: nothing is masked")
    _add_json(verb)


def _rollback(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("daemon", nargs="?", metavar="DAEMON", choices=[*BY_NAME], help=_NAMES)
    verb.add_argument(
        "revision",
        nargs="?",
        metavar="REVISION",
        help="its number, or how its hash begins (default: the last known good)",
    )
    verb.add_argument("--unconfirmed", action="store_true", help="take back now what apply --confirm changed")
    verb.add_argument("--yes", action="store_true", help="do not ask first")
    verb.add_argument("--force", action="store_true", help="also while the HA partner is away")
    _add_settings(verb)
    _add_json(verb)


def _apply(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", metavar="FILE", help="the new configuration; its top-level key says whose")
    verb.add_argument(
        "daemon", nargs="?", metavar="DAEMON", choices=[*BY_NAME], help=f"{_NAMES}: only where the file cannot tell"
    )
    verb.add_argument(
        "--confirm", type=_duration, metavar="TIME", help="taken back after this time (300, 5m, 1h) unless confirmed"
    )
    verb.add_argument("--force", action="store_true", help="also while the HA partner is away")
    _add_settings(verb)
    _add_json(verb)


def _confirm(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "daemon", nargs="?", metavar="DAEMON", choices=[*BY_NAME], help=f"{_NAMES} (default: all that wait)"
    )
    _add_json(verb)


def _metrics(verb: argparse.ArgumentParser) -> None:
    _add_settings(verb)
    verb.add_argument("--output", type=Path, metavar="FILE", help="replace this file as a whole instead of printing")


def _reload(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("daemons", nargs="*", metavar="DAEMON", type=_daemon, help=f"{_NAMES} (default: all installed)")
    verb.add_argument("--again", action="store_true", help="also if the server runs its file already")
    verb.add_argument(
        "--force",
        action="store_true",
        help="the same, and also while the HA partner is away, a link is down, or loading would silence the server for long",
    )
    _add_json(verb)


def _add_settings(verb: argparse.ArgumentParser) -> None:
    words = "directory of kea-agent.toml (default: /etc/kea-agent)"
    verb.add_argument("--settings", type=Path, default=Path("/etc/kea-agent"), help=words)


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")


def _daemon(text: str) -> str:
    # `choices` would have to allow the empty list as well, and says so to people.
    if text not in BY_NAME:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {_NAMES})")
    return text


def _version(text: str) -> tuple[int, int, int]:
    from kea_agent.rules import parse_version  # noqa: PLC0415 - only this verb needs the rules

    try:
        return parse_version(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> float:
    """Seconds, from ten of them to a day."""
    match = re.fullmatch(r"([0-9]{1,6})([smh]?)", text)
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0
    if not 10 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from 10s to 24h, such as 90, 90s, 5m or 1h")
    return float(seconds)


_VERBS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "status": (_status, "what every daemon runs, and how its last change ended"),
    "check": (_check, "judge configurations without touching a daemon"),
    "reload": (_reload, "have the running agent check, reload and prove daemons now"),
    "diff": (_diff, "what differs in meaning between files and running servers"),
    "history": (_history, "the configurations that the servers were proven to run"),
    "rollback": (_rollback, "write one of those over the file, and have the server take it"),
    "apply": (_apply, "put a file in the place of a daemon's, if the server is proven to run it"),
    "confirm": (_confirm, "keep a change made with apply --confirm"),
    "metrics": (_metrics, "one scrape, as Prometheus gets it"),
    "run": (_run, "be the agent (what kea-agent.service does)"),
}


if __name__ == "__main__":
    sys.exit(main())
