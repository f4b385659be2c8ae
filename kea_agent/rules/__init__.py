# SPDX-License-Identifier: MPL-2.0
"""Rules for what Kea accepts and regrets, or refuses where no Kea is at hand: one small function each, by topic.

A rule looks at a `Config` and yields a `Problem` for each place; `kea_agent.lint` finds the places in the files.
docs/usage/rules.md has every rule with a bad and a good example, and the tests run them.
"""

from __future__ import annotations

from kea_agent.rules import control, ddns, ha, hooks, keywords, options, pools, reservations, service, subnets
from kea_agent.rules.base import RULES, Problem, Rule, Severity, Version, parse_version
from kea_agent.rules.model import Config

__all__ = ["RULES", "TOPICS", "Config", "Problem", "Rule", "Severity", "Version", "parse_version"]

TOPICS = (subnets, pools, reservations, ha, control, hooks, ddns, service, options, keywords)
