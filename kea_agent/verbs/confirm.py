# SPDX-License-Identifier: MPL-2.0
"""`kea-agent confirm`: keep a change that `apply --confirm` made."""

from __future__ import annotations

import argparse
import json

from kea_agent import replacing, unconfirmed
from kea_agent.daemons import BY_NAME
from kea_agent.errors import ExitCode
from kea_agent.verbs import changing


def main(arguments: argparse.Namespace) -> int:
    """Keep those that wait, or the daemon's; 3 where none does."""
    changing.need_root("confirm a change")
    kept = [name for name in BY_NAME if arguments.daemon in (None, name) and _confirm(name)]
    if arguments.json:
        print(json.dumps({"confirmed": kept}))
    else:
        print("\n".join(f"{name}: confirmed" for name in kept) or "nothing waits to be confirmed")
    return ExitCode.OK if kept else ExitCode.NOT_DONE


def _confirm(name: str) -> bool:
    if unconfirmed.find(name) is None:
        return False
    with replacing.locked(name, wait=True):
        if unconfirmed.find(name) is None:  # taken back while it was waited for
            return False
        unconfirmed.end(name)
    return True
