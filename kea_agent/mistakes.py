# SPDX-License-Identifier: MPL-2.0
"""A mistake in the agent itself: told with its place, without what the agent was working on."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger(__name__)


def tell(what: str, error: BaseException) -> str:
    """Log where in the code a mistake happened; returns a sentence for people.

    The message of the exception stays out of it: it may quote a configuration, and with it a secret.
    """
    where = "".join(traceback.format_tb(error.__traceback__))
    words = f"a mistake in the agent ({type(error).__name__}) ended {what}"
    logger.critical("%s; please report it with these lines:\n%s", words, where.rstrip())
    return words
