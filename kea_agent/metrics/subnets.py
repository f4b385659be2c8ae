# SPDX-License-Identifier: MPL-2.0
"""The labels of each subnet, out of the configuration that the server runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kea_agent.metrics.exposition import escape

_KEYS = {"dhcp4": ("Dhcp4", "subnet4"), "dhcp6": ("Dhcp6", "subnet6")}
# Who has subnets.
DAEMONS = tuple(_KEYS)


def labels(daemon: str, configuration: Mapping[str, Any], context: Sequence[str]) -> dict[str, str]:
    """By subnet id, the labels as they stand in a sample; `context` are fields of the user context.

    `configuration` is what `config-get` answers. A field becomes `subnet_` and its name, if the subnet has it.
    """
    return {
        str(subnet["id"]): _spelled(subnet, network, context)
        for subnet, network in _subnets(daemon, configuration)
        if isinstance(subnet.get("id"), int)
    }


def pools(daemon: str, configuration: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By subnet id, the address pools as the configuration spells them, in its order."""
    return {
        str(subnet["id"]): tuple(str(pool.get("pool", "")) for pool in _maps(subnet, "pools"))
        for subnet, _ in _subnets(daemon, configuration)
        if isinstance(subnet.get("id"), int)
    }


def has_hook(daemon: str, configuration: Mapping[str, Any], stem: str) -> bool:
    """Whether `libdhcp_STEM.so` is loaded."""
    root = configuration.get(_KEYS.get(daemon, ("", ""))[0])
    return any(f"/libdhcp_{stem}." in f"/{hook.get('library')}" for hook in _maps(root, "hooks-libraries"))


def _subnets(daemon: str, configuration: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    root_key, key = _KEYS.get(daemon, ("", ""))
    root = configuration.get(root_key)
    for subnet in _maps(root, key):
        yield subnet, ""
    for network in _maps(root, "shared-networks"):
        for subnet in _maps(network, key):
            yield subnet, str(network.get("name", ""))


def _maps(of: object, key: str) -> list[Mapping[str, Any]]:
    listed = of.get(key) if isinstance(of, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _spelled(subnet: Mapping[str, Any], network: str, context: Sequence[str]) -> str:
    told = _context(subnet.get("user-context"), context)
    told |= {"subnet": str(subnet.get("subnet", "")), "subnet_id": str(subnet["id"])}
    if network:
        told["shared_network"] = network
    return ",".join(f'{name}="{escape(told[name])}"' for name in sorted(told))


def _context(user_context: object, fields: Sequence[str]) -> dict[str, str]:
    """Only plain values: a list or a map is not a label."""
    known = user_context if isinstance(user_context, dict) else {}
    found = {}
    for name in fields:
        value = known.get(name)
        if isinstance(value, (str, int, float)):
            text = value if isinstance(value, str) else str(value).lower()
            found[f"subnet_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"] = text
    return found
