# SPDX-License-Identifier: MPL-2.0
"""The dashboards. `python3 packaging/grafana/dashboards.py` writes the JSON files beside this one."""

from __future__ import annotations

from pathlib import Path

from grafana import Dashboard, Panel, Query, Row, Variable, text

HOST = 'instance=~"$instance"'
OF = f'{HOST}, daemon=~"$daemon"'
SUBNET = f'{OF}, subnet=~"$subnet"'
RATE = "[$__rate_interval]"

INSTANCE = Variable("instance", "kea_agent_build_info", "instance")
DAEMON = Variable("daemon", f"kea_up{{{HOST}}}", "daemon")
HA_DAEMON = Variable("daemon", f"kea_ha_info{{{HOST}}}", "daemon")
SUBNETS = Variable("subnet", f"kea_subnet_addresses{{{OF}}}", "subnet", multiple=False)

RELATIONSHIP = "{{instance}} {{daemon}} {{relationship}}"


def _ratio(assigned: str, there_are: str, labels: str) -> str:
    return f"{assigned}{{{labels}}} / ({there_are}{{{labels}}} > 0)"


def _is_one(family: str) -> str:
    most, least = (f"{how} by (daemon, pair, version) ({family}{{{OF}}})" for how in ("max", "min"))
    return f"{most} == bool {least}"


def _of_networks(family: str) -> str:
    return f'sum by (instance, daemon, shared_network) ({family}{{{OF}, shared_network!=""}})'


def _now() -> Row:
    return Row("Now", (
        Panel("Daemons that answer", "kea_up: no is a daemon that should answer and does not.",
              (Query(f"kea_up{{{OF}}}"),), "stat", states=True, height=6),
        Panel("The server runs the file on disk", "kea_agent_config_in_sync.",
              (Query(f"kea_agent_config_in_sync{{{OF}}}"),), "stat", states=True, height=6),
        Panel("HA state", "The state that each server is in.",
              (Query(f"kea_ha_state{{{OF}}} == 1", "{{instance}} {{daemon}}: {{state}}"),), "stat", height=6),
    ))  # fmt: skip


def _packets() -> Row:
    return Row("Packets", (
        Panel("Received", "By type.", (
            Query(f"sum by (daemon, message) (rate(kea_messages_received_total{{{OF}}}{RATE}))", "{{daemon}} {{message}}"),
        ), unit="pps", stack=True),
        Panel("Sent", "By type.", (
            Query(f"sum by (daemon, message) (rate(kea_messages_sent_total{{{OF}}}{RATE}))", "{{daemon}} {{message}}"),
        ), unit="pps", stack=True),
        Panel("By host", "All packets received.", (
            Query(f"rate(kea_packets_received_total{{{OF}}}{RATE})"),
        ), unit="pps"),
        Panel("Dropped", "All, and those of which Kea tells why (most reasons from 3.1.4 on). A standby drops what is not for it.", (
            Query(f"rate(kea_packets_dropped_total{{{OF}}}{RATE})", "{{instance}} {{daemon}} all"),
            Query(f"rate(kea_packets_dropped_by_reason_total{{{OF}}}{RATE})", "{{instance}} {{daemon}} {{reason}}"),
        ), unit="pps"),
        Panel("Clients that got no lease", "By cause: everything is taken, or no pool is for them.", (
            Query(f"rate(kea_allocation_failures_total{{{OF}}}{RATE})", "{{instance}} {{daemon}} {{cause}}"),
        ), unit="cps"),
        Panel("Packet queue", "Waiting packets (last 100) and the limit.", (
            Query(f'kea_packet_queue_length{{{OF}, window="100"}}'),
            Query(f"kea_packet_queue_limit{{{OF}}}", "{{instance}} {{daemon}} limit"),
        )),
    ))  # fmt: skip


def _leases() -> Row:
    return Row("Leases", (
        Panel("Fullest subnets", "Assigned addresses of all. A full subnet of a shared network does no harm while the network has room.", (
            Query(f"topk(10, {_ratio('kea_subnet_assigned_addresses', 'kea_subnet_addresses', OF)})", "{{instance}} {{subnet}} {{subnet_name}}"),
        ), "bargauge", "percentunit", most=1),
        Panel("Shared networks", "Assigned addresses of all.", (
            Query(f"{_of_networks('kea_subnet_assigned_addresses')} / {_of_networks('kea_subnet_addresses')}", "{{instance}} {{shared_network}}"),
        ), "bargauge", "percentunit", most=1),
        Panel("Leases", "Addresses and prefixes that are leased.", (
            Query(f"sum by (instance, daemon) (kea_subnet_assigned_addresses{{{OF}}})"),
            Query(f"sum by (instance, daemon) (kea_subnet_assigned_prefixes{{{OF}}})", "{{instance}} {{daemon}} prefixes"),
        )),
        Panel("Declined addresses", "Out of use because somebody else was found on them.", (
            Query(f"sum by (instance, daemon) (kea_subnet_declined_addresses{{{OF}}})"),
        )),
        Panel("New leases", "Each new lease counted.", (
            Query(f"sum by (instance, daemon) (rate(kea_subnet_address_assignments_total{{{OF}}}{RATE}))"),
        ), unit="cps"),
        Panel("DNS updates", "Of the DDNS daemon.", (
            Query(f"rate(kea_ddns_updates_sent_total{{{HOST}}}{RATE})", "{{instance}} sent"),
            Query(f"rate(kea_ddns_update_errors_total{{{HOST}}}{RATE})", "{{instance}} refused"),
            Query(f"rate(kea_ddns_update_timeouts_total{{{HOST}}}{RATE})", "{{instance}} not answered"),
        ), unit="cps"),
    ))  # fmt: skip


def _units(labels: str) -> Row:
    return Row("Units", (
        Panel("Memory", "As systemd counts it.", (Query(f"kea_unit_memory_bytes{{{labels}}}"),), unit="bytes", width=6),
        Panel("CPU", "Seconds a second.", (Query(f"rate(kea_unit_cpu_seconds_total{{{labels}}}{RATE})"),), unit="percentunit", width=6),
        Panel("Restarts", "By systemd, because the unit ended by itself; the last hour.",
              (Query(f"increase(kea_unit_restarts_total{{{labels}}}[1h])"),), width=6),
        Panel("Running since", "Start of the main process.",
              (Query(f"time() - kea_unit_start_time_seconds{{{labels}}}"),), "stat", "s", width=6),
    ))  # fmt: skip


OVERVIEW = Dashboard("kea-overview", "Kea: overview", "All hosts with kea-agent.", (INSTANCE, DAEMON),
                     (_now(), _packets(), _leases(), _units(OF)))  # fmt: skip

HA = Dashboard("kea-ha", "Kea: High Availability", "The relationships as each server sees them.", (INSTANCE, HA_DAEMON), (
    Row("States", (
        Panel("This server", "The state that each server is in.",
              (Query(f"kea_ha_state{{{OF}}} == 1", RELATIONSHIP + ": {{state}}"),), "state-timeline", width=12),
        Panel("The partner", "The state that the partner was last seen in.",
              (Query(f"kea_ha_partner_state{{{OF}}} == 1", RELATIONSHIP + ": {{state}}"),), "state-timeline", width=12),
        Panel("Roles", "Mode, roles and names (names from Kea 2.5.5 on).", (Query(f"kea_ha_info{{{OF}}}"),), "table", width=24, height=6),
    )),
    Row("Who serves whom", (
        Panel("Scopes that this server serves", "", (Query(f"kea_ha_scope_served{{{OF}}}", RELATIONSHIP + " {{scope}}"),), "stat", states=True),
        Panel("Scopes that the partner served when last seen", "", (Query(f"kea_ha_partner_scope_served{{{OF}}}", RELATIONSHIP + " {{scope}}"),), "stat", states=True),
        Panel("DHCP is enabled", "A server that is waiting, syncing or ready answers nobody.", (Query(f"kea_dhcp_enabled{{{OF}}}"),), "stat", states=True),
    )),
    Row("Between the two", (
        Panel("In touch", "Whether this server ever heard from its partner.", (Query(f"kea_ha_partner_in_touch{{{OF}}}", RELATIONSHIP),), "stat", states=True),
        Panel("Last heard from", "", (Query(f"kea_ha_partner_contact_age_seconds{{{OF}}}", RELATIONSHIP),), unit="s"),
        Panel("Communication interrupted", "", (Query(f"kea_ha_communication_interrupted{{{OF}}}", RELATIONSHIP),), most=1),
        Panel("Clients of a silent partner", "0 while it is not silent. None left: it is taken to be down.", (
            Query(f"kea_ha_connecting_clients{{{OF}}}", RELATIONSHIP + " asking"),
            Query(f"kea_ha_unacked_clients{{{OF}}}", RELATIONSHIP + " without an answer"),
            Query(f"kea_ha_unacked_clients_left{{{OF}}}", RELATIONSHIP + " left"),
            Query(f"kea_ha_analyzed_packets{{{OF}}}", RELATIONSHIP + " packets looked at"),
        )),
        Panel("Same configuration", "What is each host's own aside; changes are taken in one after the other.",
              (Query(_is_one("kea_ha_config_fingerprint"), "{{daemon}} {{pair}}"),), "stat", states=True),
        Panel("Clock skew", "HA ends beyond 60 s (told from Kea 2.7.2 on).", (Query(f"kea_ha_clock_skew_seconds{{{OF}}}", RELATIONSHIP),), unit="s", least=None),
        Panel("Lease updates that were not sent", "", (Query(f"rate(kea_ha_unsent_updates_total{{{OF}}}{RATE})", RELATIONSHIP),), unit="cps"),
    )),
))  # fmt: skip

ONE_SUBNET = Dashboard("kea-subnet", "Kea: one subnet", "Addresses, prefixes and pools of one subnet.", (INSTANCE, DAEMON, SUBNETS), (
    Row("Addresses", (
        Panel("Leased", "Of all addresses.", (Query(_ratio("kea_subnet_assigned_addresses", "kea_subnet_addresses", SUBNET)),), unit="percentunit", most=1),
        Panel("Addresses", "", (
            Query(f"kea_subnet_addresses{{{SUBNET}}}", "{{instance}} all"),
            Query(f"kea_subnet_assigned_addresses{{{SUBNET}}}", "{{instance}} leased"),
            Query(f"kea_subnet_declined_addresses{{{SUBNET}}}", "{{instance}} declined"),
            Query(f"kea_subnet_registered_addresses{{{SUBNET}}}", "{{instance}} registered"),
        )),
        Panel("Time left", "Until all are leased if it goes on as in the last day; nothing while it does not grow.", (
            Query(f"(kea_subnet_addresses{{{SUBNET}}} - kea_subnet_assigned_addresses{{{SUBNET}}}) / (deriv(kea_subnet_assigned_addresses{{{SUBNET}}}[1d]) > 0)"),
        ), "stat", "s"),
        Panel("Coming and going", "", (
            Query(f"rate(kea_subnet_address_assignments_total{{{SUBNET}}}{RATE})", "{{instance}} new leases"),
            Query(f"rate(kea_subnet_reclaimed_leases_total{{{SUBNET}}}{RATE})", "{{instance}} expired"),
            Query(f"rate(kea_subnet_address_lease_reuses_total{{{SUBNET}}}{RATE})", "{{instance}} from the cache"),
            Query(f"rate(kea_subnet_reclaimed_declined_addresses_total{{{SUBNET}}}{RATE})", "{{instance}} declined, back in use"),
        ), unit="cps"),
        Panel("Clients that got no lease", "", (
            Query(f"rate(kea_subnet_allocation_failures_total{{{SUBNET}}}{RATE})", "{{instance}} {{cause}}"),
            Query(f"rate(kea_subnet_allocation_failures_by_place_total{{{SUBNET}}}{RATE})", "{{instance}} in the {{place}}"),
        ), unit="cps"),
        Panel("Reservation conflicts", "Reserved addresses that somebody else has.", (
            Query(f"rate(kea_subnet_reservation_conflicts_total{{{SUBNET}}}{RATE})"),
        ), unit="cps"),
    )),
    Row("Pools", (
        Panel("Leased, by pool", "By Kea's pool id.", (
            Query(_ratio("kea_pool_assigned_addresses", "kea_pool_addresses", SUBNET), "{{instance}} pool {{pool_id}}"),
        ), "bargauge", "percentunit", most=1),
        Panel("Addresses, by pool", "", (
            Query(f"kea_pool_addresses{{{SUBNET}}}", "{{instance}} pool {{pool_id}} all"),
            Query(f"kea_pool_assigned_addresses{{{SUBNET}}}", "{{instance}} pool {{pool_id}} leased"),
            Query(f"kea_pool_declined_addresses{{{SUBNET}}}", "{{instance}} pool {{pool_id}} declined"),
        )),
        Panel("New leases, by pool", "", (
            Query(f"rate(kea_pool_address_assignments_total{{{SUBNET}}}{RATE})", "{{instance}} pool {{pool_id}}"),
        ), unit="cps"),
    )),
    Row("Prefixes to delegate (DHCPv6)", (
        Panel("Delegated", "Of all prefixes.", (Query(_ratio("kea_subnet_assigned_prefixes", "kea_subnet_prefixes", SUBNET)),), unit="percentunit", most=1),
        Panel("Prefixes", "", (
            Query(f"kea_subnet_prefixes{{{SUBNET}}}", "{{instance}} all"),
            Query(f"kea_subnet_assigned_prefixes{{{SUBNET}}}", "{{instance}} delegated"),
        )),
        Panel("Delegated, by pool", "By Kea's pool id.", (
            Query(_ratio("kea_pd_pool_assigned_prefixes", "kea_pd_pool_prefixes", SUBNET), "{{instance}} pool {{pool_id}}"),
        ), "bargauge", "percentunit", most=1),
    )),
))  # fmt: skip

AGENT = Dashboard("kea-agent", "Kea: the agent", "What kea-agent did with what was saved, and how it is itself.", (INSTANCE, DAEMON), (
    Row("Configuration", (
        Panel("The file on disk is valid", "", (Query(f"kea_agent_config_valid{{{OF}}}"),), "stat", states=True, width=6, height=6),
        Panel("The server runs it", "", (Query(f"kea_agent_config_in_sync{{{OF}}}"),), "stat", states=True, width=6, height=6),
        Panel("The last reload succeeded", "", (Query(f"kea_agent_config_last_reload_successful{{{OF}}}"),), "stat", states=True, width=6, height=6),
        Panel("Since the last good reload", "", (Query(f"time() - kea_agent_config_last_reload_success_timestamp_seconds{{{OF}}}"),), "stat", "s", width=6, height=6),
        Panel("Outcomes", "Passes by what they ended with.", (
            Query(f"increase(kea_agent_outcomes_total{{{OF}}}{RATE}) > 0", "{{instance}} {{daemon}} {{outcome}}"),
        ), width=12),
        Panel("Time a stage (9 of 10 are shorter)", "", (
            Query(f"histogram_quantile(0.9, sum by (le, stage) (rate(kea_agent_stage_duration_seconds_bucket{{{OF}}}[1d])))", "{{stage}}"),
        ), unit="s", width=12),
    )),
    Row("Safety", (
        Panel("The fallback serves", "The unit itself cannot start.", (Query(f"kea_agent_fallback_active{{{OF}}}"),), "stat", width=6, height=6),
        Panel("Age of the last known good configuration", "", (Query(f"time() - kea_agent_last_known_good_timestamp_seconds{{{OF}}}"),), "stat", "s", width=6, height=6),
        Panel("Findings that did not keep a file from being loaded", "kea-agent check tells them.", (Query(f"kea_agent_config_warnings{{{OF}}}"),), "stat", width=12, height=6),
        Panel("Rehearsals", "New configurations tried with the real daemon.", (
            Query(f"sum by (daemon, result) (increase(kea_agent_rehearsals_total{{{OF}}}{RATE}))", "{{daemon}} {{result}}"),
        ), width=12),
        Panel("Recoveries", "Steps taken to bring a server back.", (
            Query(f"sum by (daemon, step, result) (increase(kea_agent_recoveries_total{{{OF}}}{RATE}))", "{{daemon}} {{step}} {{result}}"),
        ), width=12),
    )),
    Row("Scrapes", (
        Panel("Parts of a scrape: time", "Near web.scrape_timeout_seconds a part goes missing.", (
            Query(f"kea_agent_collector_duration_seconds{{{OF}}}", "{{instance}} {{daemon}} {{collector}}"),
        ), unit="s"),
        Panel("Parts of a scrape that are missing", "", (
            Query(f"kea_agent_collector_success{{{OF}}} == 0", "{{instance}} {{daemon}} {{collector}}"),
        ), "table"),
        Panel("Statistics that the agent does not know", "A newer Kea has some.", (Query(f"kea_unknown_statistics{{{OF}}}"),)),
        Panel("Every statistic of Kea is told", "Not with tens of thousands of subnets.", (Query(f"kea_agent_statistics_complete{{{OF}}}"),), "stat", states=True, width=24, height=5),
    )),
    Row("Watching", (
        Panel("Directories watched", "", (Query(f"kea_agent_inotify_watches{{{HOST}}}", "{{instance}}"),), "stat", width=6),
        Panel("Events", "", (Query(f"rate(kea_agent_inotify_events_total{{{HOST}}}{RATE})", "{{instance}}"),), unit="cps", width=6),
        Panel("Queue overflows", "Everything was read again.", (Query(f"increase(kea_agent_inotify_overflows_total{{{HOST}}}[1h])", "{{instance}}"),), width=6),
        Panel("Connections to the system bus that were made again", "", (Query(f"increase(kea_agent_dbus_reconnects_total{{{HOST}}}[1h])", "{{instance}}"),), width=6),
    )),
    _units(f'{HOST}, daemon="kea-agent"'),
    Row("Versions", (
        Panel("kea-agent", "", (Query(f"kea_agent_build_info{{{HOST}}}", "{{instance}} {{version}}"),), "stat", width=12),
        Panel("Kea", "", (Query(f"kea_info{{{OF}}}", "{{instance}} {{daemon}} {{version}}"),), "stat", width=12),
    )),
))  # fmt: skip

DASHBOARDS = (OVERVIEW, HA, ONE_SUBNET, AGENT)


def write(directory: Path) -> None:
    """One file for each dashboard, named after its uid."""
    for dashboard in DASHBOARDS:
        (directory / f"{dashboard.uid}.json").write_text(text(dashboard))


if __name__ == "__main__":
    write(Path(__file__).parent)
