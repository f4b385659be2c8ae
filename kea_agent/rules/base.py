# SPDX-License-Identifier: MPL-2.0
"""What a rule is, and the register that every rule enters itself into."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from kea_agent.daemons import CTRL_AGENT, DDNS, DHCP4, DHCP6
from kea_agent.keaconf_places import Path
from kea_agent.rules.model import Config

Version = tuple[int, int, int]

DHCP = (DHCP4.name, DHCP6.name)
ONLY_DHCP6 = (DHCP6.name,)
ONLY_DDNS = (DDNS.name,)
ONLY_CTRL_AGENT = (CTRL_AGENT.name,)
ANY = (*DHCP, DDNS.name, CTRL_AGENT.name)


class Severity(StrEnum):
    """error: Kea refuses it, serves nobody, or loses leases by it. warning: it does what nobody wants. info: advice."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Problem:
    """One place where a rule is broken, in one sentence; `severity` only where it is less than the rule's own."""

    path: Path
    message: str
    severity: Severity | None = None
    is_key: bool = False


Find = Callable[[Config], Iterable[Problem]]


@dataclass(frozen=True)
class Rule:
    """`says` is what is wrong in one sentence, `do` what helps. It holds for Kea from `since` to just before `before`."""

    id: str
    severity: Severity
    says: str
    do: str
    daemons: tuple[str, ...]
    find: Find
    since: Version | None = None
    before: Version | None = None

    def applies(self, config: Config) -> bool:
        """Whether it is for this daemon and, as far as that is known, for this version of Kea."""
        if config.daemon not in self.daemons:
            return False
        if config.version is None:
            return True
        return (self.since or config.version) <= config.version and (
            self.before is None or config.version < self.before
        )

    def worst(self, version: Version | None) -> Severity:
        """Its severity; what is true of some versions only is no error while the version is not known."""
        is_certain = version is not None or (self.since is None and self.before is None)
        return self.severity if is_certain or self.severity is not Severity.ERROR else Severity.WARNING


RULES: dict[str, Rule] = {}


def rule(
    name: str,
    severity: Severity,
    *,
    says: str,
    do: str,
    daemons: tuple[str, ...] = DHCP,
    since: Version | None = None,
    before: Version | None = None,
) -> Callable[[Find], Find]:
    """Enter a function into the register as the rule called `name`."""

    def enter(find: Find) -> Find:
        RULES[name] = Rule(name, severity, says, do, daemons, find, since, before)
        return find

    return enter


def parse_version(text: str) -> Version:
    """`3.0.4` or `3.0`, which means the last 3.0 there will be; ValueError for anything else."""
    found = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?(?:-git)?", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a version of Kea such as 3.0 or 2.6.3")
    return int(found[1]), int(found[2]), int(found[3] or 999)
