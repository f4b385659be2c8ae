# SPDX-License-Identifier: MPL-2.0
"""The High Availability pair as this server sees it, and whether a reload would leave anybody without DHCP.

A reload restarts this server's HA state machine at `waiting`, even for an unchanged file, and it serves nothing
until it is back (Kea 2.2 to 3.3). That is harmless exactly while the partner is in touch and in its normal state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# States in which the server answers clients although the pair is not whole.
SERVING = {"communication-recovery", "partner-down", "partner-in-maintenance", "terminated"}
# Those of them that last until the partner or an operator does something: there is nothing to wait for.
ALONE = {"partner-down", "partner-in-maintenance", "terminated"}


_URL = re.compile(r"https?://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+):(?P<port>\d{1,5})(?:/|$)")


@dataclass(frozen=True)
class Listener:
    """An address and port that Kea opens for its partner; without `is_explicit` only Kea 2.3.7 and later do."""

    address: tuple[str, int]
    is_explicit: bool


@dataclass(frozen=True)
class Relationship:
    """One HA relationship in `status-get`; without a partner (passive-backup, backup) `partner_state` is None."""

    mode: str
    local_state: str
    local_role: str
    partner_state: str | None = None
    partner_in_touch: bool = False
    interrupted: bool = False

    @property
    def normal_state(self) -> str:
        """The state in which this server does its share: the mode's own, or `backup` for a backup server."""
        return "backup" if self.local_role == "backup" else self.mode

    @property
    def obstacle(self) -> str | None:
        """Why the partner could not take over now, or None."""
        if self.partner_state is None:
            return None
        if not self.partner_in_touch or self.partner_state == "unavailable":
            return "this server is not in touch with its HA partner"
        if self.interrupted:
            return "communication with the HA partner is interrupted"
        if self.partner_state != self.normal_state:
            return f"the HA partner is in state {self.partner_state}, not {self.normal_state}"
        if self.local_state != self.normal_state:
            return f"this server is in HA state {self.local_state}, not {self.normal_state}"
        return None

    @property
    def is_back(self) -> bool:
        """Whether this server does its share again."""
        return self.local_state == self.normal_state

    @property
    def is_alone(self) -> bool:
        """Whether this server answers clients without its partner, and will not change that by itself."""
        return self.local_state in ALONE

    @property
    def is_serving(self) -> bool:
        """Whether this server answers clients, its share or more."""
        return self.is_back or self.local_state in SERVING


def relationships(status: Mapping[str, Any]) -> tuple[Relationship, ...]:
    """Read the relationships out of `status-get`'s arguments; what is not shaped like HA is left out."""
    listed = status.get("high-availability")
    entries: Iterable[Any] = listed if isinstance(listed, list) else ()
    return tuple(_relationship(entry) for entry in entries if _map(_map(_map(entry).get("ha-servers")).get("local")))


def obstacle(pair: Sequence[Relationship]) -> str | None:
    """The first reason not to reload now; None when every partner could take over, or there is no HA."""
    return next((found for found in (relationship.obstacle for relationship in pair) if found), None)


def is_configured(root: Mapping[str, Any]) -> bool:
    """Whether a configuration loads the HA hook with parameters."""
    return any(_parameters(root))


def listeners(root: Mapping[str, Any]) -> tuple[Listener, ...]:
    """Where this server has a listener of its own for its partners, one a relationship."""
    if _map(root.get("multi-threading")).get("enable-multi-threading") is False:
        return ()
    sections = [section for found in _parameters(root) for section in _maps(found.get("high-availability"))]
    return tuple(listener for section in sections if (listener := _listener(section)))


def _listener(section: Mapping[str, Any]) -> Listener | None:
    threads = _map(section.get("multi-threading"))
    wishes = [threads.get(key) for key in ("enable-multi-threading", "http-dedicated-listener")]
    own = [peer for peer in _maps(section.get("peers")) if peer.get("name") == section.get("this-server-name")]
    found = _URL.match(str(own[0].get("url"))) if own else None
    if found is None or False in wishes:
        return None
    return Listener((found["host"].strip("[]"), int(found["port"])), is_explicit=wishes == [True, True])


def _parameters(root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    hooks = _maps(root.get("hooks-libraries"))
    return [
        _map(hook["parameters"])
        for hook in hooks
        if "libdhcp_ha" in str(hook.get("library")) and hook.get("parameters")
    ]


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _relationship(entry: Mapping[str, Any]) -> Relationship:
    servers = _map(entry.get("ha-servers"))
    local, remote = _map(servers.get("local")), servers.get("remote")
    near = (str(entry.get("ha-mode", "")), str(local.get("state", "")), str(local.get("role", "")))
    if not isinstance(remote, dict):
        return Relationship(*near)
    return Relationship(
        *near,
        partner_state=str(remote.get("last-state", "")),
        partner_in_touch=remote.get("in-touch") is True,
        interrupted=remote.get("communication-interrupted") is True,
    )


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
