# SPDX-License-Identifier: MPL-2.0
"""`kea-agent reload`: ask the running agent for a pass now."""

from __future__ import annotations

import argparse
import json

from kea_agent import local
from kea_agent.errors import ExitCode
from kea_agent.outcome import Outcome

_TIMEOUT = 600.0


def main(arguments: argparse.Namespace) -> int:
    """Print how each pass ended; exits with the worst of them."""
    request = {"verb": "reload", "daemons": arguments.daemons, "again": arguments.again, "force": arguments.force}
    results = local.ask(request, timeout=_TIMEOUT)["results"]
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for name, done in results.items():
            print(f"{name}: {done['outcome']}: {done['reason']}")
    return max((Outcome(done["outcome"]).exit_code for done in results.values()), default=ExitCode.NOT_DONE)
