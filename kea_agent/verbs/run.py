# SPDX-License-Identifier: MPL-2.0
"""`kea-agent run`: be the agent."""

from __future__ import annotations

import argparse
import asyncio

from kea_agent import settings
from kea_agent.errors import ExitCode


def main(arguments: argparse.Namespace) -> int:
    """Serve until told to stop, or only check the settings."""
    if arguments.test:
        settings.load(arguments.settings)
        return ExitCode.OK
    asyncio.run(_serve(arguments))
    return ExitCode.OK


async def _serve(arguments: argparse.Namespace) -> None:
    from kea_agent.agent import Agent, Places  # noqa: PLC0415 - `run --test` needs none of it

    await Agent(Places(settings=arguments.settings)).run()
