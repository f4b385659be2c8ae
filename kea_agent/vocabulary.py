# SPDX-License-Identifier: MPL-2.0
"""The words that Kea itself has for keys: whatever else stands where a key should may be anything, a secret too.

Keywords come from grammar.table (2.2.0 to 3.3.0), those of hooks from their parsers. What is not here is not taken for
harmless.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

# Under these, Kea's grammar takes any key (dhcp4_parser.yy, 2.2.0 to 3.3.0).
FREE = frozenset({"user-context", "parameters", "dhcp-queue-control"})

_ROOTS = ("Dhcp4", "Dhcp6", "DhcpDdns", "Control-agent")
_HIGH_AVAILABILITY = "high-availability peers multi-threading state-machine states basic-auth-user basic-auth-password"
_OF_HIGH_AVAILABILITY = """
    this-server-name mode send-lease-updates sync-leases sync-timeout sync-page-limit delayed-updates-limit heartbeat-delay
    max-response-delay max-ack-delay max-unacked-clients max-rejected-lease-updates wait-backup-ack require-client-certs
    restrict-commands name url role auto-failover trust-anchor cert-file key-file enable-multi-threading
    http-dedicated-listener http-listener-threads http-client-threads state pause"""
# The parameters of Kea's other hooks that have values and no secrets (their *_parser.cc and *_config.cc, 2.2.0 to 3.3.0).
_OF_HOOKS = """
    identifier-expression replace-client-id ignore-iaid hostname-expr supersede add remove path base-name time-unit count
    request-parser-format response-parser-format timestamp-format prerotate postrotate sync maximum min-ping-requests
    reply-timeout enable-ping-check ping-cltt-secs ping-channel-threads address-limit prefix-limit rate-limit
    enable-monitoring interval-width-secs stats-mgr-reporting alarm-report-secs requesters dictionary bindaddr
    canonical-mac-address client-id-pop0 client-id-printable deadtime extract-duid identifier-type4 identifier-type6
    peer-updates protocol reselect-subnet-address reselect-subnet-pool retries session-history thread-pool-size timeout
    max-pending-requests assign-role-method require-tls list-match-first server-principal client-principal
    gss-replay-flag gss-sequence-flag tkey-lifetime rekey-interval retry-interval tkey-protocol fallback
    exchange-timeout domain-names"""


class Words(NamedTuple):
    """`known`: every keyword; `plain`: those with values, not maps, under them; `many`: those of them with lists of values."""

    known: frozenset[str]
    plain: frozenset[str]
    many: frozenset[str]


@cache
def words() -> Words:
    """The keywords of every daemon and release, and of High Availability."""
    lines = Path(__file__).with_name("rules").joinpath("grammar.table").read_text(encoding="ascii").splitlines()
    rows = [line.split(" / ")[3:] for line in lines if not line.startswith("#")]
    known, plain, many = (
        {word for value, keys in rows if is_wanted(value) for word in keys.split()}
        for is_wanted in (bool, lambda value: "{" not in value, lambda value: "[" in value and "{" not in value)
    )
    plain |= {*_OF_HIGH_AVAILABILITY.split(), *_OF_HOOKS.split()}
    return Words(frozenset({*known, *plain, *_ROOTS, *_HIGH_AVAILABILITY.split()}), frozenset(plain), frozenset(many))
