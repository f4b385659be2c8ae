# SPDX-License-Identifier: MPL-2.0
"""High Availability as samples: each relationship, both ends as this server sees them (Kea 2.2 to 3.3).

Kea numbers its relationships by their order; `relationship` is that number, from 1. Names came to `status-get` with
2.5.5 and clocks with 2.7.2. A server without a partner (passive-backup, or a backup) has only its own end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kea_agent.metrics.families import Definition, Sample, number

_OF = ("relationship",)

INFO = Definition(
    "kea_ha_info",
    "The mode, roles and names of an HA relationship, always 1.",
    (*_OF, "mode", "role", "server", "partner_role", "partner"),
)
STATE = Definition("kea_ha_state", "The HA state of this server: 1 for the one it is in.", (*_OF, "state"))
PARTNER_STATE = Definition(
    "kea_ha_partner_state", "The HA state that the partner was last seen in: 1 for that one.", (*_OF, "state")
)
SCOPE = Definition("kea_ha_scope_served", "Whether this server serves the clients of a scope (1) or not (0).",
                   (*_OF, "scope"))  # fmt: skip
PARTNER_SCOPE = Definition(
    "kea_ha_partner_scope_served",
    "Whether the partner, when last seen, served the clients of a scope (1) or not (0).",
    (*_OF, "scope"),
)
IN_TOUCH = Definition("kea_ha_partner_in_touch", "Whether this server ever heard from its partner (1) or not (0).", _OF)
AGE = Definition("kea_ha_partner_contact_age_seconds", "How long ago this server last heard from its partner.", _OF)
INTERRUPTED = Definition(
    "kea_ha_communication_interrupted", "Whether the partner has been silent for too long (1) or not (0).", _OF
)
CONNECTING = Definition(
    "kea_ha_connecting_clients", "Clients of the silent partner that are asking; 0 while it is not silent.", _OF
)
UNACKED = Definition(
    "kea_ha_unacked_clients", "Clients that the silent partner did not answer; 0 while it is not silent.", _OF
)
UNACKED_LEFT = Definition(
    "kea_ha_unacked_clients_left", "How many more such clients until the partner is taken to be down.", _OF
)
ANALYZED = Definition(
    "kea_ha_analyzed_packets", "Packets to the silent partner that were looked at; 0 while it is not silent.", _OF
)
SKEW = Definition(
    "kea_ha_clock_skew_seconds", "The partner's clock less this server's; HA ends beyond 60 either way.", _OF
)
UNSENT = Definition(
    "kea_ha_unsent_updates_total", "Lease updates that were not sent because the partner was unavailable.", _OF
)

DEFINITIONS = (
    INFO, STATE, PARTNER_STATE, SCOPE, PARTNER_SCOPE, IN_TOUCH, AGE, INTERRUPTED, CONNECTING, UNACKED, UNACKED_LEFT,
    ANALYZED, SKEW, UNSENT,
)  # fmt: skip

STATES = (
    "backup", "communication-recovery", "hot-standby", "in-maintenance", "load-balancing", "partner-down",
    "partner-in-maintenance", "passive-backup", "ready", "syncing", "terminated", "waiting",
)  # fmt: skip
PARTNER_STATES = (*STATES, "unavailable")

_NUMBERS = {
    AGE: "age",
    CONNECTING: "connecting-clients",
    UNACKED: "unacked-clients",
    UNACKED_LEFT: "unacked-clients-left",
    ANALYZED: "analyzed-packets",
    SKEW: "clock-skew",
}


@dataclass(frozen=True)
class Ends:
    """One relationship in `status-get`; `remote` is empty where there is no partner."""

    mode: str
    local: Mapping[str, Any]
    remote: Mapping[str, Any]


def relationships(status: Mapping[str, Any]) -> list[Ends]:
    """Every relationship in `status-get`'s arguments; what is not shaped like one is left out."""
    listed = status.get("high-availability")
    maps = [_map(entry) for entry in (listed if isinstance(listed, list) else ())]
    servers = [(str(entry.get("ha-mode", "")), _map(entry.get("ha-servers"))) for entry in maps]
    ends = [Ends(mode, _map(each.get("local")), _map(each.get("remote"))) for mode, each in servers]
    return [each for each in ends if each.local]


def samples(daemon: str, status: Mapping[str, Any]) -> Iterator[Sample]:
    """Every relationship in `status-get`."""
    for place, ends in enumerate(relationships(status), 1):
        key = (daemon, str(place))
        yield from _info(key, ends)
        yield from _one_of(STATE, key, STATES, ends.local.get("state"))
        yield from _scopes(key, ends)
        if ends.remote:
            yield from _partner(key, ends.remote)


def unsent(daemon: str, counts: Mapping[int, float]) -> Iterator[Sample]:
    """The unsent updates that `ha-heartbeat` told, by the relationship's index."""
    for index, count in counts.items():
        yield Sample(UNSENT, (daemon, str(index + 1)), count)


def _info(key: tuple[str, ...], ends: Ends) -> Iterator[Sample]:
    words = [end.get(name) for end in (ends.local, ends.remote) for name in ("role", "server-name")]
    yield Sample(INFO, (*key, ends.mode, *(str(word or "") for word in words)), 1)


def _partner(key: tuple[str, ...], remote: Mapping[str, Any]) -> Iterator[Sample]:
    yield from _one_of(PARTNER_STATE, key, PARTNER_STATES, remote.get("last-state"))
    yield Sample(IN_TOUCH, key, float(remote.get("in-touch") is True))
    yield Sample(INTERRUPTED, key, float(remote.get("communication-interrupted") is True))
    for definition, name in _NUMBERS.items():
        value = number(remote.get(name))
        # Before the first contact Kea says 0 for an age that is not known.
        if value is not None and not (definition is AGE and remote.get("in-touch") is not True):
            yield Sample(definition, key, value)


def _scopes(key: tuple[str, ...], ends: Ends) -> Iterator[Sample]:
    """Scopes are named for servers: one that nobody serves is known by the server's name."""
    near, far = _words(ends.local.get("scopes")), _words(ends.remote.get("last-scopes"))
    names = {str(end["server-name"]) for end in (ends.local, ends.remote) if end.get("server-name")}
    for scope in sorted({*near, *far, *names}):
        yield Sample(SCOPE, (*key, scope), float(scope in near))
        if ends.remote:
            yield Sample(PARTNER_SCOPE, (*key, scope), float(scope in far))


def _one_of(definition: Definition, key: tuple[str, ...], known: Iterable[str], state: object) -> Iterator[Sample]:
    """One sample a state; a state that nobody knows yet is added to the others, none at all (before contact) is not."""
    for each in dict.fromkeys([*known, *([str(state)] if state else [])]):
        yield Sample(definition, (*key, each), float(each == state))


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
