# SPDX-License-Identifier: MPL-2.0
"""The rules before a reload: what they may stop, and that they never stop one by a fault of their own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kea_agent import check, lint, redact
from kea_agent.check import Verdict
from kea_agent.daemons import Daemon
from kea_agent.errors import ConfigError
from kea_agent.keaconf import Document
from kea_agent.settings import CheckSettings

logger = logging.getLogger(__name__)

_SILENT = Verdict("rules", None, 0.0)


def judge(
    daemon: Daemon,
    document: Document,
    argv: Sequence[str],
    environment: Mapping[str, str],
    settings: CheckSettings,
    previous: Mapping[str, Any] | None = None,
) -> Verdict:
    """What the rules say of a file, for the Kea that is installed and the unit (argv, environment) that is to run it.

    `previous` is the tree that was last proven to run.
    """
    if settings.rules == "off":
        return _SILENT
    setup = lint.Setup(
        check.version_of(argv[0]), settings.disable, previous=previous, environment=environment, argv=argv
    )
    verdict = _asked(daemon, document, setup)
    if settings.rules == "tell" and verdict.problem:
        return replace(verdict, problem=None, warnings=(str(verdict.problem), *verdict.warnings))
    return verdict


def _asked(daemon: Daemon, document: Document, setup: lint.Setup) -> Verdict:
    try:
        return check.with_rules(daemon, document, setup)
    except ConfigError:  # the file changed meanwhile: the fingerprint before the reload sees that
        return _SILENT
    except Exception:
        # A rule is advice, and a bug in one must not keep a good file from the server: Kea's own check comes next.
        logger.exception("the rules could not judge %s", document.path)
        return _SILENT


def without_secrets(verdict: Verdict, document: Document) -> Verdict:
    """Kea quotes what it cannot read, and that may be a secret."""
    warnings = tuple(redact.cleaned(warning, document.tree) for warning in verdict.warnings)
    problem = verdict.problem
    if problem is not None:
        words = redact.cleaned(problem.message, document.tree)
        problem = ConfigError(words, file=problem.file, line=problem.line, column=problem.column)
    return replace(verdict, problem=problem, warnings=warnings)
