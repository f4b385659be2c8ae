# SPDX-License-Identifier: MPL-2.0
"""The names and labels of kea-exporter 0.7.1, for Grafana's dashboard 12688 and others of its kind.

Its `pool` is the text of a pool in the configuration, found by taking Kea's pool id for the place in the list, and
empty for a whole subnet; one that is not in the list had no series. Unlike there, subnets of shared networks are told.
"""

from __future__ import annotations

from collections.abc import Mapping

from kea_agent.metrics.collection import Scrape
from kea_agent.metrics.exposition import escape
from kea_agent.metrics.legacy import PACKETS, Layout, Old, Table, page

_FAILURES = {
    "allocation_failures_by_place_total/subnet": "subnet",
    "allocation_failures_by_place_total/shared-network": "shared-network",
    "allocation_failures_total/no-pools": "no-pools",
    "allocation_failures_with_classes_total": "classes",
}
_LEASES = {
    "declined_addresses": "addresses_declined_total",
    "reclaimed_declined_addresses_total": "addresses_declined_reclaimed_total",
    "reclaimed_leases_total": "addresses_reclaimed_total",
}
_LEASES_4 = {**_LEASES, "addresses": "addresses_total", "assigned_addresses": "addresses_assigned_total"}
_LEASES_6 = {**_LEASES, "addresses": "na_total", "assigned_addresses": "na_assigned_total"}
_SUBNET = {"reservation_conflicts_total": "reservation_conflicts_total"}
_SUBNET_4 = {**_SUBNET, "address_lease_reuses_total": "leases_reused_total"}
_SUBNET_6 = {
    **_SUBNET,
    "address_lease_reuses_total": "na_reuses_total",
    "prefix_lease_reuses_total": "pd_reuses_total",
    "prefixes": "pd_total",
    "assigned_prefixes": "pd_assigned_total",
}
# Families of subnets that had no label `pool`.
_WITHOUT_POOL = {
    "allocations_failed_total", "reservation_conflicts_total", "leases_reused_total", "pd_total", "pd_assigned_total",
}  # fmt: skip


def _table(daemon: str, leases: Mapping[str, str], subnet: Mapping[str, str]) -> Table:
    return {
        **PACKETS[daemon],
        **{f"kea_subnet_{ours}": Old("allocations_failed_total", f'context="{of}"') for ours, of in _FAILURES.items()},
        **{f"kea_subnet_{ours}": Old(name) for ours, name in {**leases, **subnet}.items()},
        **{f"kea_pool_{ours}": Old(name) for ours, name in leases.items()},
    }


TABLES = {"dhcp4": _table("dhcp4", _LEASES_4, _SUBNET_4), "dhcp6": _table("dhcp6", _LEASES_6, _SUBNET_6)}


def render(scrape: Scrape) -> bytes:
    """The page."""

    def place(daemon: str, old: Old, labels: Mapping[str, str]) -> str | None:
        if "subnet" not in labels:
            return None
        told = f'subnet="{labels["subnet"]}",subnet_id="{labels["subnet_id"]}"'
        if old.name in _WITHOUT_POOL:
            return told
        pool = _pool(scrape, daemon, labels)
        return None if pool is None else f'{told},pool="{pool}"'

    return page(scrape, Layout(TABLES, place))


def _pool(scrape: Scrape, daemon: str, labels: Mapping[str, str]) -> str | None:
    if "pool_id" not in labels:
        return ""
    pools, place = scrape.pools.get(daemon, {}).get(labels["subnet_id"], ()), int(labels["pool_id"])
    return escape(pools[place]) if place < len(pools) else None
