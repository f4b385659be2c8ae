# SPDX-License-Identifier: MPL-2.0
"""config-get without what Kea put there by itself, so that it can be laid beside a file.

config-get says everything: defaults, values that a subnet has from its shared network or the globals, empty lists. A
file says what its author wanted to say. What only the server says is a difference if it is a thing (a subnet, a pool,
a reservation, an option) or a value that is neither Kea's default nor inherited.

Defaults: src/lib/dhcpsrv/parsers/simple_parser{4,6}.cc and src/bin/d2/d2_simple_parser.cc of 2.2.0 to 3.3.0. Where Kea
changed one, both count. A key that is not here is taken to be at its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kea_agent.diff.identity import members, option_codes

Tree = dict[str, Any]
Codes = dict[tuple[str, str], str]

_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "valid-lifetime": (7200,),
    "preferred-lifetime": (3600,),
    "renew-timer": (900, 1000),
    "rebind-timer": (1800, 2000),
    "decline-probation-period": (86400,),
    "echo-client-id": (True,),
    "match-client-id": (True,),
    "authoritative": (False,),
    "calculate-tee-times": (False, True),
    "t1-percent": (0.5,),
    "t2-percent": (0.8, 0.875),
    "cache-threshold": (0.25,),
    "allocator": ("iterative",),
    "pd-allocator": ("iterative",),
    "reservations-global": (False,),
    "reservations-in-subnet": (True,),
    "reservations-out-of-pool": (False,),
    "reservations-lookup-first": (False,),
    "early-global-reservations-lookup": (False,),
    "ip-reservations-unique": (True,),
    "store-extended-info": (False,),
    "stash-agent-options": (False,),
    "rapid-commit": (False,),
    "parked-packet-limit": (256,),
    "dhcp4o6-port": (0,),
    "statistic-default-sample-count": (20,),
    "statistic-default-sample-age": (0,),
    "ddns-send-updates": (True,),
    "ddns-override-no-update": (False,),
    "ddns-override-client-update": (False,),
    "ddns-replace-client-name": ("never",),
    "ddns-generated-prefix": ("myhost",),
    "ddns-update-on-renew": (False,),
    "ddns-use-conflict-resolution": (True,),
    "ddns-conflict-resolution-mode": ("check-with-dhcid",),
    "hostname-char-set": ("[^A-Za-z0-9.-]",),
    "dns-server-timeout": (100, 500),
    "ip-address": ("127.0.0.1",),
    "port": (53001, 53),
    "http-host": ("127.0.0.1",),
    "http-port": (8000,),
    "severity": ("INFO",),
    "host-reservation-identifiers": (["hw-address", "duid", "circuit-id", "client-id"], ["hw-address", "duid"]),
    "mac-sources": (["any"],),
    "relay-supplied-options": ([],),
    "always-send": (False,),
    "never-send": (False,),
    # Without a word in the file, it is Kea that finds the option to be binary.
    "csv-format": (True, False),
}
# What config-get leaves out when it is the default.
_UNSAID: dict[str, tuple[Any, ...]] = {
    "dhcp-socket-type": ("raw",),
    "outbound-interface": ("same-as-inbound",),
    "service-sockets-max-retries": (0,),
    "service-sockets-retry-wait-time": (5000,),
    "service-sockets-require-all": (False,),
    "reconnect-wait-time": (0,),
    "max-reconnect-tries": (0,),
    "on-fail": ("stop-retry-exit",),
    "debuglevel": (0,),
    "exclude-first-last-24": (False,),
    "ignore-dhcp-server-identifier": (False,),
    "ignore-rai-link-selection": (False,),
    "lenient-option-parsing": (False,),
}
_FROM_VALID = {"min-valid-lifetime": "valid-lifetime", "max-valid-lifetime": "valid-lifetime"}
_FROM_PREFERRED = {"min-preferred-lifetime": "preferred-lifetime", "max-preferred-lifetime": "preferred-lifetime"}
_DERIVED = _FROM_VALID | _FROM_PREFERRED
_NOTHING: tuple[Any, ...] = ("", [], {}, None, "0.0.0.0", "::")  # noqa: S104 - no address to bind, but config-get's way of saying none


def said(running: Tree, file: Tree) -> Tree:
    """What of config-get the file would have to say; both in normal form."""
    return _map(running, file, {}, option_codes(running, file))


def wanted(file: Tree, running: Tree) -> Tree:
    """The file without what config-get would not repeat, because it is the default; both in normal form."""
    return _wanted(file, running, option_codes(running, file))


def _wanted(file: Tree, running: Tree, codes: Codes) -> Tree:
    return {
        key: _wanted_value(key, value, running.get(key), codes)
        for key, value in file.items()
        if key in running or not _goes_without_saying(key, value)
    }


def _wanted_value(key: str, value: Any, running: Any, codes: Codes) -> Any:
    if isinstance(value, dict) and isinstance(running, dict):
        return _wanted(value, running, codes)
    if isinstance(value, list) and isinstance(running, list):
        known = members(key, running, codes)
        return [_wanted_value("", item, known.get(name), codes) for name, item in members(key, value, codes).items()]
    return value


def _goes_without_saying(key: str, value: Any) -> bool:
    # kea-dhcp-ddns does not repeat user-context, and Kea 2.2 not compatibility.
    return key in ("user-context", "compatibility") or value in _NOTHING or value in _UNSAID.get(key, ())


def _map(running: Tree, file: Tree, above: Mapping[str, Any], codes: Codes) -> Tree:
    here = {**above, **{key: value for key, value in running.items() if not isinstance(value, (dict, list))}}
    found = {key: _value(key, running, file, above, here, codes) for key in running}
    return {key: value for key, value in found.items() if value is not None}


def _value(key: str, running: Tree, file: Tree, above: Mapping[str, Any], here: Mapping[str, Any], codes: Codes) -> Any:
    """The value as far as it is to be compared; None where Kea put it there."""
    value = running[key]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return _list(key, value, file.get(key), here, codes) or (value if key in file else None)
    if isinstance(value, dict):
        inside = file.get(key)
        return _map(value, inside if isinstance(inside, dict) else {}, {}, codes) or (value if key in file else None)
    return value if key in file or not _is_keas_own(key, value, above, here) else None


def _is_keas_own(key: str, value: Any, above: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    if value in _NOTHING or key not in _DEFAULTS | _DERIVED:
        return True
    if key in _DERIVED:
        return value in (here.get(_DERIVED[key]), above.get(key))
    return bool(value == above[key]) if key in above else value in _DEFAULTS[key]


def _list(key: str, items: list[Any], file: Any, here: Mapping[str, Any], codes: Codes) -> list[Any]:
    known = members(key, file, codes) if isinstance(file, list) else {}
    return [
        _member(item, known.get(name), here, codes) if isinstance(item, dict) else item
        for name, item in members(key, items, codes).items()
    ]


def _member(item: Tree, file: Any, here: Mapping[str, Any], codes: Codes) -> Tree:
    if isinstance(file, dict):
        return _map(item, file, here, codes)
    named = {key: item[key] for key in _NAMING if item.get(key) not in _NOTHING}
    return named | _map(item, {}, here, codes)


# What a thing that only the server has is shown by, whatever Kea's defaults.
_NAMING = (
    "id", "subnet", "pool", "prefix", "prefix-len", "name", "code", "space", "library", "user", "output", "test", "data",
    "hw-address", "duid", "circuit-id", "client-id", "flex-id", "ip-address", "ip-addresses", "prefixes", "hostname",
)  # fmt: skip
