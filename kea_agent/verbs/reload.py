# SPDX-License-Identifier: MPL-2.0
"""`kea-agent reload`: ask the running agent for a pass now."""

from __future__ import annotations

import argparse
import json
from typing import Any

from kea_agent import local
from kea_agent.errors import AgentError, ExitCode
from kea_agent.foreign import printable
from kea_agent.outcome import Outcome

_TIMEOUT = 600.0


def main(arguments: argparse.Namespace) -> int:
    """Print how each pass ended; exits with the worst of them."""
    request = {"verb": "reload", "daemons": arguments.daemons, "again": arguments.again, "force": arguments.force}
    results = _results(local.ask(request, timeout=_TIMEOUT))
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for name, done in results.items():
            print(printable(f"{name}: {done['outcome']}: {done['reason']}"))
    return max((Outcome(done["outcome"]).exit_code for done in results.values()), default=ExitCode.NOT_DONE)


def _results(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How each pass ended, in an answer of whatever is behind the socket; raises AgentError."""
    results = answer.get("results")
    known = {outcome.value for outcome in Outcome}
    if not isinstance(results, dict) or not all(
        isinstance(done, dict) and done.get("outcome") in known and "reason" in done for done in results.values()
    ):
        raise AgentError("the agent's answer makes no sense; kea-agent status says how the daemons are")
    return results
