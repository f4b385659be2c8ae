# SPDX-License-Identifier: MPL-2.0
"""`kea-agent rollback`: write a configuration that was proven to run over the file, and have it taken in.

With `--unconfirmed`, what `apply --confirm` replaced: this is what its timer runs, and a boot.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from kea_agent import keaconf, log, replacing, unconfirmed
from kea_agent.daemons import BY_NAME
from kea_agent.diff.text import as_json
from kea_agent.errors import AgentError, ConfigError, ExitCode, SettingsError
from kea_agent.history import History, Revision
from kea_agent.phrases import iso
from kea_agent.plain import printable
from kea_agent.settings import Settings
from kea_agent.unconfirmed import Unconfirmed
from kea_agent.verbs import changing
from kea_agent.verbs.changing import Result, Subject
from kea_agent.verbs.subjects import own_settings

logger = logging.getLogger(__name__)


def main(arguments: argparse.Namespace) -> int:
    """Exits by how the pass ended, 3 without one."""
    if arguments.daemon is None and not arguments.unconfirmed:
        raise SettingsError("kea-agent rollback: which DAEMON?")
    changing.need_root("roll back")
    if arguments.unconfirmed:
        return _take_back_all(arguments)
    if not arguments.yes and (arguments.json or not sys.stdin.isatty()):
        raise SettingsError("kea-agent rollback: nobody can be asked here, so it needs --yes")
    return _roll_back(changing.subject(BY_NAME[arguments.daemon], own_settings(arguments.settings)), arguments)


def _roll_back(about: Subject, arguments: argparse.Namespace) -> int:
    changing.need_none_unconfirmed(about.name)
    history = History()
    revision = history.find(about.name, arguments.revision) if arguments.revision else _default(history, about)
    tree = history.tree(revision)
    found = changing.differences(about, tree[about.daemon.root_key])
    if not arguments.json:
        where, when = printable(str(about.path)), iso(revision.proven_at)
        print(f"{about.name}: {where} goes back to revision {revision.number}, proven {when}:")
        changing.print_differences(found)
        print("A revision is one file: comments and include directives are not in it.")
    if not arguments.yes and not _is_wanted():
        print("nothing was changed")
        return ExitCode.NOT_DONE
    kept, result = _write(about, history.text(revision), force=arguments.force)
    if arguments.json:
        changed = None if isinstance(found, ConfigError) else as_json(found)
        told = {"daemon": about.name, "file": str(about.path), "revision": revision.number, "replaced": kept}
        print(json.dumps(told | {"changes": changed} | result.as_json(), indent=1))
    else:
        print(printable(f"{about.path} was written" + (f"; what it held is in {kept}" if kept else "")))
        print(f"{about.name}: {result}")
    return result.exit_code


def _write(about: Subject, data: bytes, *, force: bool) -> tuple[str | None, Result]:
    with replacing.locked(about.name):
        changing.need_none_unconfirmed(about.name)
        replaced = replacing.keep(about.name, about.path)
        replacing.write(about.path, data)
        return str(replaced.kept) if replaced.kept else None, changing.ask_for_pass(about, force=force)


def _default(history: History, about: Subject) -> Revision:
    """The last known good, or the one before where the file means that already."""
    last = history.last(about.name)
    if last is None:
        raise AgentError(f"no configuration of {about.name} was proven to run yet, so there is none to go back to")
    if _meaning(about) != last.meaning:
        return last
    before = [each for each in history.revisions(about.name) if each.number < last.number]
    if not before:
        raise AgentError(f"{about.path} is the last known good configuration already, and none is kept from before it")
    return before[0]


def _meaning(about: Subject) -> str | None:
    try:
        return keaconf.read(str(about.path), about.daemon.root_key).meaning
    except ConfigError:
        return None


def _is_wanted() -> bool:
    try:
        return input("Write it? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False


# What nobody confirmed


def _take_back_all(arguments: argparse.Namespace) -> int:
    """The named daemon's now, or, with no name, those that a reboot left; one that fails does not keep the others."""
    log.configure("info")
    return max(_try_to_take_back(name, arguments) for name in BY_NAME if arguments.daemon in (None, name))


def _try_to_take_back(name: str, arguments: argparse.Namespace) -> ExitCode:
    try:
        with replacing.locked(name, wait=True):
            found = unconfirmed.find(name)
            if found is None or (arguments.daemon is None and found.seconds_left is not None):
                logger.info("%s: %s", name, found or "nothing is unconfirmed")
                return ExitCode.OK
            return _take_back(found, arguments)
    except AgentError as error:
        logger.error("%s: %s", name, error)
        return ExitCode.NOT_DONE


def _take_back(found: Unconfirmed, arguments: argparse.Namespace) -> ExitCode:
    is_booting = found.seconds_left is None
    kept = _kept_if_possible(found)
    found.replaced.put_back()
    unconfirmed.end(found.daemon)
    why = "nobody confirmed it before the reboot" if is_booting else "nobody confirmed it"
    logger.warning("%s: the change of %s was taken back: %s; it is in %s", found.daemon, found.path, why, kept)
    if is_booting:
        logger.info("%s: Kea has not been started yet and will read the file", found.daemon)
        return ExitCode.OK
    result = changing.insist_on_pass(_subject(found, arguments))
    logger.log(logging.INFO if result.is_good else logging.ERROR, "%s: %s", found.daemon, result)
    return result.exit_code


def _subject(found: Unconfirmed, arguments: argparse.Namespace) -> Subject:
    """Wrong settings, perhaps just edited, are no reason to leave the server as it is."""
    try:
        settings = own_settings(arguments.settings)
    except SettingsError as error:
        logger.error("the settings are not used: %s", error)
        settings = Settings()
    return changing.subject(BY_NAME[found.daemon], settings)


def _kept_if_possible(found: Unconfirmed) -> str:
    """A disk too full for the change that goes does not keep the one before from coming back."""
    try:
        return str(replacing.keep(found.daemon, found.replaced.path).kept)
    except AgentError as error:
        logger.error("%s: the change that is taken back cannot be kept: %s", found.daemon, error)
        return "no file"
