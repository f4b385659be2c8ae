# SPDX-License-Identifier: MPL-2.0
"""`kea-agent reload`: ask the running agent for a pass now."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from kea_agent import local
from kea_agent.errors import ExitCode
from kea_agent.plain import printable

_TIMEOUT = 600.0


def main(arguments: argparse.Namespace) -> int:
    """Print how each pass ended; exits with the worst of them."""
    ended = local.ask_for_passes(arguments.daemons, again=arguments.again, force=arguments.force, timeout=_TIMEOUT)
    if arguments.json:
        print(json.dumps({name: asdict(done) for name, done in ended.items()}, indent=1))
    else:
        for name, done in ended.items():
            print(printable(f"{name}: {done.outcome}: {done.reason}"))
    return max((done.outcome.exit_code for done in ended.values()), default=ExitCode.NOT_DONE)
