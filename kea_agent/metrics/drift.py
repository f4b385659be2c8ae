# SPDX-License-Identifier: MPL-2.0
"""Do the partners of a pair run the same? A number of each one's configuration, for Prometheus to compare.

No Kea tells another how it is configured, and its own hash has what is each host's own in it. So each agent makes a
number out of what its server runs (`config-get`), without what is the host's own, without secrets, and whatever the
order of subnets and other things in a list. Two versions of Kea tell one configuration in two ways, so the version is a label.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from kea_agent.diff.compare import HOST_LOCAL
from kea_agent.metrics.families import Definition, Sample
from kea_agent.redact import is_secret

FINGERPRINT = Definition(
    "kea_ha_config_fingerprint",
    "A number made of what the server runs but the host's own: partners with two numbers run two configurations.",
    ("pair", "version"),
)
DEFINITIONS = (FINGERPRINT,)

# What a scrape waits for the number: most are there at once, that of 10,000 subnets with the next scrape.
_PATIENCE_SECONDS = 0.05


class Drift:
    """One daemon's number; made beside the scrape, as it takes a second with 10,000 subnets."""

    def __init__(self, daemon: str) -> None:
        self._daemon = daemon
        self._newest = object()  # stands for the configuration, which is large and not kept
        self._found: tuple[object, dict[str, int]] = (self._newest, {})

    def learn(self, root: object) -> None:
        """Another configuration runs; `root` is the inside of config-get."""
        self._newest = object()
        if pairs := _pairs(_map(root)):
            worker = threading.Thread(target=self._make, args=(self._newest, _map(root), pairs), daemon=True)
            worker.start()
            worker.join(_PATIENCE_SECONDS)

    def samples(self, version: str) -> Iterator[Sample]:
        """One for each pair that the server belongs to; none while the number is being made."""
        of, found = self._found
        for pair, value in found.items() if of is self._newest else ():
            yield Sample(FINGERPRINT, (self._daemon, pair, version), value)

    def _make(self, of: object, root: Mapping[str, Any], pairs: list[str]) -> None:
        found = dict.fromkeys(pairs, fingerprint(root))
        if of is self._newest:
            self._found = (of, found)


def fingerprint(value: Any) -> int:
    """32 bits; in Python rather than by json, which would hold the interpreter's lock all the while."""
    if isinstance(value, dict):
        kept = (key for key in sorted(value) if key not in HOST_LOCAL and not is_secret(key))
        return _of(f"{key}:{fingerprint(value[key])}" for key in kept)
    if isinstance(value, list):
        found = [fingerprint(item) for item in value]
        return _of(map(str, sorted(found) if any(isinstance(item, dict) for item in value) else found))
    return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"))


def _of(parts: Iterator[str]) -> int:
    return zlib.crc32(",".join(parts).encode("utf-8", "surrogatepass"))


def _pairs(root: Mapping[str, Any]) -> list[str]:
    """Every relationship by its peers' names and URLs, which are the same on both sides and nowhere else."""
    hooks = [hook for hook in _list(root.get("hooks-libraries")) if "/libdhcp_ha." in str(hook.get("library"))]
    listed = [each for hook in hooks for each in _list(_map(hook.get("parameters")).get("high-availability"))]
    peers = [sorted(f"{peer.get('name')}={peer.get('url')}" for peer in _list(each.get("peers"))) for each in listed]
    return [" ".join(each) for each in peers if each]


def _list(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
