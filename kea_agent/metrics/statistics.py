# SPDX-License-Identifier: MPL-2.0
"""Kea's statistics and what becomes of each: the one table, for every statistic of Kea 2.2 to 3.3.

Kea tells a statistic of the whole server by a bare name and the others by where they belong: `subnet[7].NAME`,
`subnet[7].pool[0].NAME`, `subnet[7].pd-pool[0].NAME`, and in the DDNS daemon `key[NAME.].NAME`. Each of these scopes
has families of its own, so that a sum over one never counts anything twice; for the same reason a total that Kea
keeps (`pkt4-received`) is not in the family of its parts. Facts: alloc_engine.cc, dhcp4_srv.cc and dhcp6_srv.cc of
Kea 3.3 and the statistics of 2.2.0, 2.6.3 and 3.0.4 as they answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a statistic is of."""

    SERVER = "server"
    SUBNET = "subnet"
    POOL = "pool"
    PD_POOL = "pd-pool"
    KEY = "key"


# What is added to `daemon` in every family of a scope; the values come out of Kea's name and its configuration.
SCOPE_LABELS: Mapping[Scope, tuple[str, ...]] = {
    Scope.SERVER: (),
    Scope.SUBNET: ("subnet", "subnet_id", "shared_network"),
    Scope.POOL: ("subnet", "subnet_id", "shared_network", "pool_id"),
    Scope.PD_POOL: ("subnet", "subnet_id", "shared_network", "pool_id"),
    Scope.KEY: ("key",),
}


@dataclass(frozen=True)
class Family:
    """A metric family; `label` is the one label that tells its parts apart, beside those of the scope."""

    name: str
    scope: Scope
    meaning: str
    sources: tuple[str, ...]
    label: str | None = None

    @property
    def kind(self) -> str:
        """`counter` or `gauge`, which is how Prometheus's names end, too."""
        return "counter" if self.name.endswith("_total") else "gauge"

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that a series can have, those of the user context of a subnet aside."""
        return ("daemon", *SCOPE_LABELS[self.scope], *((self.label,) if self.label else ()))

    @property
    def help(self) -> str:
        """One sentence and Kea's own names."""
        return f"{self.meaning} Kea: {', '.join(self.sources)}."


@dataclass(frozen=True)
class Entry:
    """Where one statistic goes: the family, and the value of the family's own label if it has one."""

    family: Family
    value: str | None = None


_Parts = Mapping[str, str]  # Kea's name -> value of the label

_RECEIVED = "discover offer request ack nak release decline inform lease-query unknown"
_RECEIVED_6 = (
    "solicit advertise request reply renew rebind release decline infrequest dhcpv4-query dhcpv4-response"
    " addr-reg-inform addr-reg-reply lease-query unknown"
)
_SENT = "offer ack nak lease-query-response-unassigned lease-query-response-unknown lease-query-response-active"
_SENT_6 = "advertise reply dhcpv4-response addr-reg-reply lease-query-reply"
_DROPS = (
    "parse-failed queue-full duplicate rfc-violation admin-filtered not-for-us processing-failed limit-exceeded"
    " service-disabled"
)


def _parts(prefix: str, words: str, suffix: str = "") -> dict[str, str]:
    return {f"{prefix}{word}{suffix}": word for word in words.split()}


def _packets() -> Iterator[tuple[str, str, str | None, _Parts]]:
    received = _parts("pkt4-", _RECEIVED, "-received") | _parts("pkt6-", _RECEIVED_6, "-received")
    sent = _parts("pkt4-", _SENT, "-sent") | _parts("pkt6-", _SENT_6, "-sent")
    drops = _parts("pkt4-", _DROPS) | _parts("pkt6-", _DROPS)
    yield "packets_received_total", "DHCP packets received.", None, _same("pkt4-received", "pkt6-received")
    yield "messages_received_total", "DHCP packets received, by message type.", "message", received
    yield "packets_sent_total", "DHCP packets sent.", None, _same("pkt4-sent", "pkt6-sent")
    yield "messages_sent_total", "DHCP packets sent, by message type.", "message", sent
    yield (
        "packets_dropped_total",
        "Received packets that were dropped, for whatever reason.",
        None,
        _same("pkt4-receive-drop", "pkt6-receive-drop"),
    )
    yield (
        "packets_dropped_by_reason_total",
        "Received packets that were dropped, where Kea tells why (most reasons since 3.1.4).",
        "reason",
        drops,
    )


def _allocation() -> Iterator[tuple[str, str, str | None, _Parts]]:
    """Of the server and of each subnet. Every failure is in one cause and in one place; `classes` overlaps with all."""
    causes = {
        **{f"v{family}-allocation-fail": "exhausted" for family in "46"},
        **{f"v{family}-allocation-fail-no-pools": "no-pools" for family in "46"},
    }
    places = {f"v{family}-allocation-fail-{place}": place for place in ("subnet", "shared-network") for family in "46"}
    yield (
        "allocation_failures_total",
        "Clients that got no lease, because every address that was tried is taken or no pool is for them.",
        "cause",
        causes,
    )
    yield (
        "allocation_failures_by_place_total",
        "Clients that got no lease, by whether a subnet or a whole shared network was tried.",
        "place",
        places,
    )
    yield (
        "allocation_failures_with_classes_total",
        "Clients that got no lease and were in a client class; also counted in the other two.",
        None,
        _same("v4-allocation-fail-classes", "v6-allocation-fail-classes"),
    )
    yield (
        "reservation_conflicts_total",
        "Reserved addresses that could not be given because somebody else has them.",
        None,
        _same("v4-reservation-conflicts", "v6-reservation-conflicts"),
    )
    yield (
        "address_lease_reuses_total",
        "Leases that were given again from the cache, without being written.",
        None,
        _same("v4-lease-reuses", "v6-ia-na-lease-reuses"),
    )
    yield (
        "prefix_lease_reuses_total",
        "Leases of prefixes that were given again from the cache, without being written.",
        None,
        _same("v6-ia-pd-lease-reuses"),
    )


_ASSIGNED = ("assigned_addresses", "Addresses that are leased.", None, ("assigned-addresses", "assigned-nas"))
_ASSIGNMENTS = (
    "address_assignments_total",
    "Addresses that were leased, each new lease counted.",
    None,
    ("cumulative-assigned-addresses", "cumulative-assigned-nas"),
)
_DECLINED = (
    "declined_addresses",
    "Addresses out of use because a client found somebody else on them.",
    None,
    ("declined-addresses",),
)
_UNDECLINED = (
    "reclaimed_declined_addresses_total",
    "Declined addresses that came back into use.",
    None,
    ("reclaimed-declined-addresses",),
)
_RECLAIMED = ("reclaimed_leases_total", "Expired leases that were reclaimed.", None, ("reclaimed-leases",))
_PREFIXES = ("assigned_prefixes", "Prefixes that are delegated.", None, ("assigned-pds",))
_DELEGATIONS = (
    "prefix_assignments_total",
    "Prefixes that were delegated, each new lease counted.",
    None,
    ("cumulative-assigned-pds",),
)
_REGISTRATIONS = (
    "address_registrations_total",
    "Addresses that clients made themselves and registered (RFC 9686).",
    None,
    ("cumulative-registered-nas",),
)
_ALL_ADDRESSES = ("addresses", "Addresses there are to lease.", None, ("total-addresses", "total-nas"))
_ALL_PREFIXES = ("prefixes", "Prefixes there are to delegate.", None, ("total-pds",))
_REGISTERED = (
    "registered_addresses",
    "Addresses that clients made themselves and have registered (RFC 9686).",
    None,
    ("registered-nas",),
)
_LEASES = (_ASSIGNED, _ASSIGNMENTS, _DECLINED, _UNDECLINED, _RECLAIMED)

_DDNS_PREFIXES = ("ncr-", "queue-mgr-", "update-")
_DDNS = {
    "ddns_requests_received_total": ("Requests to change DNS that were received.", "ncr-received"),
    "ddns_requests_invalid_total": ("Requests to change DNS that made no sense.", "ncr-invalid"),
    "ddns_request_errors_total": ("Errors while receiving requests to change DNS.", "ncr-error"),
    "ddns_queue_full_total": ("Times that the queue of requests to change DNS was full.", "queue-mgr-queue-full"),
    "ddns_updates_signed_total": ("Updates sent to DNS servers with a signature.", "update-signed"),
    "ddns_updates_unsigned_total": ("Updates sent to DNS servers without a signature.", "update-unsigned"),
}
_DDNS_UPDATES = {
    "updates_sent_total": ("Updates sent to DNS servers.", "update-sent"),
    "update_successes_total": ("Updates that the DNS server accepted.", "update-success"),
    "update_timeouts_total": ("Updates that the DNS server did not answer.", "update-timeout"),
    "update_errors_total": ("Updates that the DNS server refused, or that went wrong.", "update-error"),
}


def _same(*sources: str) -> dict[str, str]:
    """Statistics that are the whole of a family: there is no label to tell them apart."""
    return dict.fromkeys(sources, "")


def _rows() -> Iterator[tuple[Scope, str, str, str | None, _Parts]]:
    """Scope, name, meaning, own label, and Kea's statistics with the label's values."""
    for row in (*_packets(), *_allocation()):
        yield Scope.SERVER, f"kea_{row[0]}", *row[1:]
    for row in _allocation():
        yield Scope.SUBNET, f"kea_subnet_{row[0]}", *row[1:]
    for scope, prefix, listed in (
        (Scope.SERVER, "kea_", (*_LEASES, _PREFIXES, _DELEGATIONS, _REGISTRATIONS)),
        (
            Scope.SUBNET,
            "kea_subnet_",
            (_ALL_ADDRESSES, *_LEASES, _ALL_PREFIXES, _PREFIXES, _DELEGATIONS, _REGISTERED, _REGISTRATIONS),
        ),
        (Scope.POOL, "kea_pool_", (_ALL_ADDRESSES, *_LEASES)),
        (Scope.PD_POOL, "kea_pd_pool_", (_ALL_PREFIXES, _PREFIXES, _DELEGATIONS, _RECLAIMED)),
    ):
        for name, meaning, label, sources in listed:
            yield scope, prefix + name, meaning, label, _same(*sources)
    for name, (meaning, source) in _DDNS.items():
        yield Scope.SERVER, f"kea_{name}", meaning, None, _same(source)
    for name, (meaning, source) in _DDNS_UPDATES.items():
        yield Scope.SERVER, f"kea_ddns_{name}", meaning, None, _same(source)
        yield Scope.KEY, f"kea_ddns_key_{name}", meaning, None, _same(source)


_SPELLED = {
    Scope.SERVER: "{}",
    Scope.SUBNET: "subnet[].{}",
    Scope.POOL: "subnet[].pool[].{}",
    Scope.PD_POOL: "subnet[].pd-pool[].{}",
    Scope.KEY: "key[].{}",
}


def _table() -> tuple[tuple[Family, ...], dict[tuple[Scope, str], Entry]]:
    families, entries = [], {}
    for scope, name, meaning, label, parts in _rows():
        family = Family(name, scope, meaning, tuple(_SPELLED[scope].format(source) for source in parts), label)
        families.append(family)
        entries.update({(scope, source): Entry(family, value or None) for source, value in parts.items()})
    return tuple(families), entries


FAMILIES, ENTRIES = _table()


def server_statistics(daemon: str) -> tuple[str, ...]:
    """The names of everything that a DHCP server may tell of itself."""
    others = "6" if daemon == "dhcp4" else "4"
    foreign = (f"pkt{others}-", f"v{others}-", *_DDNS_PREFIXES)
    return tuple(name for scope, name in ENTRIES if scope is Scope.SERVER and not name.startswith(foreign))
