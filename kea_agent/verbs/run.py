# SPDX-License-Identifier: MPL-2.0
"""`kea-agent run`: be the agent."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from kea_agent import settings
from kea_agent.errors import ExitCode


def main(arguments: argparse.Namespace) -> int:
    """Serve until told to stop, or only check the settings."""
    if arguments.test:
        _test(arguments)
        return ExitCode.OK
    asyncio.run(_serve(arguments))
    return ExitCode.OK


def _test(arguments: argparse.Namespace) -> None:
    from kea_agent.web.live import LiveConfig  # noqa: PLC0415 - the agent itself has it from its site

    wanted = settings.load(arguments.settings)
    if file := arguments.web_config_file or wanted.web.config_file:
        LiveConfig().use(Path(file))


async def _serve(arguments: argparse.Namespace) -> None:
    from kea_agent.agent import Agent, Places  # noqa: PLC0415 - `run --test` needs none of it

    await Agent(Places(settings=arguments.settings, web_config=arguments.web_config_file or "")).run()
