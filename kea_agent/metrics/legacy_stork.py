# SPDX-License-Identifier: MPL-2.0
"""The names and labels of Stork's agent 2.5, for the dashboards kea-dhcp4 and kea-dhcp6 of Stork.

`subnet` and `prefix` are the prefix, and `shared_network` is there, also without Kea's subnet_cmds hook. What Stork's
server exports (`storkserver_…`) and the agent's build information are not here. The misspelt name is Stork's.
"""

from __future__ import annotations

from collections.abc import Mapping

from kea_agent.metrics.collection import Scrape
from kea_agent.metrics.legacy import PACKETS, Layout, Old, Table, family, page

_FAILURES = {
    "allocation_failures_total/exhausted": "allocation_fail_total",
    "allocation_failures_by_place_total/shared-network": "allocation_fail_shared_network_total",
    "allocation_failures_by_place_total/subnet": "allocation_fail_subnet_total",
    "allocation_failures_total/no-pools": "allocation_fail_no_pools_total",
    "allocation_failures_with_classes_total": "allocation_fail_classes_total",
}
_LEASES = {
    "declined_addresses": "addresses_declined_total",
    "reclaimed_declined_addresses_total": "addresses_declined_reclaimed_total",
    "reclaimed_leases_total": "addresses_reclaimed_total",
}
# What the whole server and each subnet have.
_BOTH_4 = {
    **_LEASES,
    **_FAILURES,
    "address_assignments_total": "cumulative_addresses_assigned_total",
    "address_lease_reuses_total": "lease_reuses_total",
    "reservation_conflicts_total": "reservation_conflicts_total",
}
_BOTH_6 = {
    **_LEASES,
    **_FAILURES,
    "address_assignments_total": "cumulative_nas_assigned_total",
    "prefix_assignments_total": "cumulative_pds_assigned_total",
    "address_lease_reuses_total": "ia_na_lease_reuses_total",
    "prefix_lease_reuses_total": "ia_pd_lease_reuses_total",
    "address_registrations_total": "cumulutive_registered_total",
}
_SUBNET_4 = {"addresses": "addresses_total", "assigned_addresses": "addresses_assigned_total"}
_SUBNET_6 = {
    "addresses": "na_total",
    "assigned_addresses": "na_assigned_total",
    "prefixes": "pd_total",
    "assigned_prefixes": "pd_assigned_total",
}
_POOL_4 = {**_LEASES, **_SUBNET_4, "address_assignments_total": "addresses_cumulative_assigned_total"}
_POOL_6 = {
    **_LEASES,
    "addresses": "na_total",
    "assigned_addresses": "na_assigned_total",
    "address_assignments_total": "cumulative_nas_assigned_total",
}
_PD_POOL = {
    "prefixes": "pd_total",
    "assigned_prefixes": "pd_assigned_total",
    "reclaimed_leases_total": "pd_addresses_reclaimed_total",
    "prefix_assignments_total": "cumulative_pds_assigned_total",
}


def _renamed(prefix: str, names: Mapping[str, str], old_prefix: str = "") -> Table:
    return {prefix + ours: Old(old_prefix + name) for ours, name in names.items()}


TABLES: Mapping[str, Table] = {
    "dhcp4": {
        **PACKETS["dhcp4"],
        **_renamed("kea_", _BOTH_4, "global4_"),
        **_renamed("kea_subnet_", {**_BOTH_4, **_SUBNET_4}),
        **_renamed("kea_pool_", _POOL_4, "pool_"),
    },
    "dhcp6": {
        **PACKETS["dhcp6"],
        **_renamed("kea_", _BOTH_6, "global6_"),
        **_renamed("kea_subnet_", {**_BOTH_6, **_SUBNET_6}),
        **_renamed("kea_pool_", _POOL_6, "pool_"),
        **_renamed("kea_pd_pool_", _PD_POOL, "pool_"),
    },
}


def render(scrape: Scrape, uptime: float) -> bytes:
    """The page; `uptime` is the agent's, in seconds."""
    return _agent(scrape, uptime).encode() + page(scrape, Layout(TABLES, _place))


def _agent(scrape: Scrape, uptime: float) -> str:
    values = {
        "storkagent_promkeaexporter_uptime_seconds": ("How long this exporter has run.", round(uptime, 3)),
        "storkagent_monitor_monitored_kea_daemons_total": ("Kea daemons that are installed.", len(scrape.up)),
        "storkagent_promkeaexporter_monitored_dhcp4_daemons_total": ("DHCPv4 servers that answer.", _up(scrape, "dhcp4")),
        "storkagent_promkeaexporter_monitored_dhcp6_daemons_total": ("DHCPv6 servers that answer.", _up(scrape, "dhcp6")),
    }  # fmt: skip
    return "".join(family(name, meaning, [f"{name} {value}\n"]) for name, (meaning, value) in values.items())


def _up(scrape: Scrape, daemon: str) -> int:
    return int(scrape.up.get(daemon, False))


def _place(_daemon: str, _old: Old, labels: Mapping[str, str]) -> str:
    prefix, number = labels.get("subnet", ""), labels["subnet_id"]
    told = f'subnet="{prefix or number}",subnet_id="{number}",prefix="{prefix}"'
    pool = f',pool_id="{labels["pool_id"]}"' if "pool_id" in labels else ""
    return f'{told},shared_network="{labels.get("shared_network", "")}"{pool}'
