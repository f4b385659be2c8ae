# SPDX-License-Identifier: MPL-2.0
"""The words of `lab`, on top of labkit."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import host, images, ready
from .host import Progress
from .lab import Lab, NotReadyError, down, newest_deb
from .nodes import Node
from .spec import DAEMONS, HA_MODES, NAMINGS, SUITES, LabError, LabSpec, Suite, UsageError

EPILOG = """exit codes: 0 done and ready, 1 not ready or failed, 2 usage; exec and load pass on those of their command.

examples:
  lab up --suite sid --ha hot-standby      two hosts, a pair
  lab exec node1 -- journalctl -fu kea-dhcp4-server
  lab load -- -4 -r 20 -R 200 -p 5         four-way exchanges, 20 a second, of 200 clients, for 5 seconds
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the words say; the exit code."""
    words = parser().parse_args(arguments)
    action: Callable[[argparse.Namespace], int] = words.action
    try:
        return action(words)
    except UsageError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except LabError as error:
        heading = "not ready:\n" if isinstance(error, NotReadyError) else ""
        print(f"lab: {heading}{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; `lab down` removes what there is", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="lab",
        description="Booted hosts with Kea, to test kea-agent on.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--name", default=os.environ.get("KEA_AGENT_LAB") or "lab", help="which lab (default: $KEA_AGENT_LAB, or lab)"
    )
    verbs = top.add_subparsers(required=True, metavar="VERB")
    _add_up(verbs.add_parser("up", parents=[common], help="boot the hosts, and wait until all of them serve"))
    run = verbs.add_parser("exec", parents=[common], help="run a command in a host")
    run.add_argument("node", metavar="NODE")
    run.add_argument("command", nargs="+", metavar="COMMAND")
    run.set_defaults(action=_exec)
    load = verbs.add_parser("load", parents=[common], help="run perfdhcp in the lab's network")
    load.add_argument("command", nargs="+", metavar="PERFDHCP-ARG")
    load.set_defaults(action=_load)
    verbs.add_parser("status", parents=[common], help="what runs, and is it ready").set_defaults(action=_status)
    verbs.add_parser("down", parents=[common], help="remove everything of the lab").set_defaults(action=_down)
    build = verbs.add_parser("images", help="build the images only")
    build.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    build.set_defaults(action=_images)
    return top


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--suite", choices=SUITES, default="trixie", help="Kea 2.2.0, 2.6.3 or 3.0.x (default: trixie)")
    up.add_argument("--nodes", type=int, choices=(1, 2), help="how many hosts (default: 1, with --ha 2)")
    up.add_argument("--units", choices=NAMINGS, default="debian", help="whose names Kea's units have (default: debian)")
    up.add_argument("--ha", choices=HA_MODES, default="none", help="are the two hosts a pair (default: none)")
    up.add_argument("--heartbeat", type=int, default=1000, metavar="MS", help="HA heartbeat-delay (default: 1000)")
    agent = up.add_mutually_exclusive_group()
    agent.add_argument("--deb", type=Path, metavar="FILE", help="kea-agent's package (default: the newest in dist/)")
    agent.add_argument("--no-agent", action="store_true", help="Kea alone")
    up.set_defaults(action=_up)


def _spec(words: argparse.Namespace, progress: Progress) -> LabSpec:
    deb: Path | None = words.deb.resolve() if words.deb else None
    if deb and not deb.is_file():
        raise UsageError(f"{deb} is not there")
    if not deb and not words.no_agent:
        deb = newest_deb()
        progress(f"agent: {deb}" if deb else "agent: none, dist/ has no kea-agent_*_all.deb")
    nodes = words.nodes or (1 if words.ha == "none" else 2)
    return LabSpec(words.name, words.suite, nodes, words.units, words.ha, words.heartbeat, deb)


def _up(words: argparse.Namespace) -> int:
    progress = Progress()
    lab = Lab.up(_spec(words, progress), progress)
    _print_summary(lab)
    progress("ready")
    return 0


def _exec(words: argparse.Namespace) -> int:
    Lab.find(words.name).node(words.node).exec(words.command)
    return 0


def _load(words: argparse.Namespace) -> int:
    command = Lab.find(words.name).load_command(words.command)
    os.execvp(command[0], command)


def _status(words: argparse.Namespace) -> int:
    host.require()
    lab = Lab.find(words.name)
    _print_summary(lab)
    problems = lab.problems()
    for problem in problems:
        print(f"  not ready: {problem}")
    return 1 if problems else 0


def _down(words: argparse.Namespace) -> int:
    down(words.name)
    return 0


def _images(words: argparse.Namespace) -> int:
    host.require()
    unknown = [suite for suite in words.suites if suite not in SUITES]
    if unknown:
        raise UsageError(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    chosen: list[Suite] = [suite for suite in SUITES if not words.suites or suite in words.suites]
    progress = Progress()
    for suite in chosen:
        print(images.ensure(suite, progress))
    return 0


def _print_summary(lab: Lab) -> None:
    spec = lab.spec
    agent = spec.deb.name if spec.deb else "no agent"
    print(f"lab {spec.name}: {spec.suite}, HA {spec.ha}, unit names of {spec.units}, {agent}")
    for node in lab.nodes:
        print(f"  {node.name}  {node.address}  {node.address6}  {_daemons(node)}")


def _daemons(node: Node) -> str:
    """Kea's version, and the HA states where there are any."""
    if node.leader() is None:
        return "does not run"
    states = {daemon: ready.high_availability(node, daemon) for daemon in DAEMONS if daemon != "ctrl-agent"}
    told = [f"{daemon} {state}" for daemon, state in states.items() if state]
    return "  ".join([_version(node), *told])


def _version(node: Node) -> str:
    try:
        return f"Kea {node.control('dhcp4', 'version-get')['text']}"
    except (OSError, ValueError, KeyError):
        return "dhcp4 does not answer"
