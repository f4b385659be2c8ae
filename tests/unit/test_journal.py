# SPDX-License-Identifier: MPL-2.0
"""Which of Kea's log lines is the reason (kea.md, 5.2)."""

from __future__ import annotations

import time

import pytest

from kea_agent import journal
from kea_agent.journal import clause, complaint, most_telling

PLACE = "[kea-dhcp4.dhcp4/4203.140530740802048]"


def line(severity: str, said: str) -> str:
    return f"2026-11-20 20:33:08.140 {severity:<5} {PLACE} {said}\n"


NOISE = line(
    "INFO", "DHCP4_DYNAMIC_RECONFIGURATION initiate server reconfiguration using file: /etc/kea/kea-dhcp4.conf"
)
PARSER = "DHCP4_PARSER_FAIL failed to create or run parser for configuration element subnet4: bad pool"
LOAD = "DHCP4_CONFIG_LOAD_FAIL configuration error using file: /etc/kea/kea-dhcp4.conf, reason: bad pool"
UNRECOVERABLE = (
    "DHCP4_CONFIG_UNRECOVERABLE_ERROR DHCPv4 server new configuration failed with an error which cannot be recovered"
)
FAIL = "DHCP4_DYNAMIC_RECONFIGURATION_FAIL dynamic server reconfiguration failed with file: /etc/kea/kea-dhcp4.conf"
BIND = "DHCP_DDNS_QUEUE_MGR_START_ERROR application could not start DDNS queue manager: address in use"
OPEN = "DHCPSRV_OPEN_SOCKET_FAIL failed to open socket: the interface d0 is down"
INIT = "DHCP4_INIT_FAIL failed to initialize Kea server: Unable to open database: unable to open '/var/lib/kea/kea-leases4.csv'"
FILE = "DCTL_CONFIG_FILE_LOAD_FAIL Control-agent reason: unable to setup TCP acceptor: bind: Address already in use"
RUNNING = "DHCP4_ALREADY_RUNNING kea-dhcp4 already running? DHCPv4: kea-dhcp4.kea-dhcp4.pid already running"
RELOAD_ERROR = "DCTL_CFG_FILE_RELOAD_ERROR configuration reload failed: bad port"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], None),
        ([NOISE], None),
        ([f"ERROR {LOAD}\n", "INFO  COMMAND_RECEIVED Received command 'status-get'\n"], LOAD),
        ([f"{LOAD}\n"], LOAD),
        ([NOISE, line("ERROR", PARSER), line("FATAL", UNRECOVERABLE), line("ERROR", LOAD), line("FATAL", FAIL)], LOAD),
        ([line("ERROR", PARSER), line("FATAL", FAIL)], PARSER),
        ([line("FATAL", UNRECOVERABLE), line("FATAL", FAIL)], FAIL),
        ([line("ERROR", BIND), line("INFO", "DCTL_CONFIG_COMPLETE server has completed configuration: X")], BIND),
        ([line("WARN", OPEN), line("WARN", "DHCPSRV_NO_SOCKETS_OPEN no interface configured to listen")], OPEN),
        ([line("ERROR", RELOAD_ERROR)], RELOAD_ERROR),
        # Starts.
        ([line("ERROR", LOAD), line("ERROR", INIT)], LOAD),
        ([f"{INIT}\n"], INIT),
        ([f"DCTL_PARSER_FAIL Parser error: bind: Address already in use\n{FILE}\n"], FILE),
        ([line("FATAL", RUNNING), line("INFO", "DHCP4_SHUTDOWN server shutdown")], RUNNING),
        ([line("WARN", "COMMAND_PROCESS_ERROR2 Error while processing command: X")], "COMMAND_PROCESS_ERROR2 Error while processing command: X"),
        # systemd's own words are no complaint of Kea's.
        (["kea-dhcp4-server.service: Main process exited, code=killed, status=1/HUP\n", "ERROR ] \n"], None),
        (["\ufffd\ufffd ERROR\n", line("ERROR", LOAD)], LOAD),
    ],
)  # fmt: skip
def test_the_most_telling(lines: list[str], said: str | None) -> None:
    assert most_telling("".join(lines)) == said


def test_a_unit_that_never_was_has_said_nothing() -> None:
    assert complaint("kea-agent-test-no-such.service", time.time()) is None
    assert clause("kea-agent-test-no-such.service", time.time(), {}) == ""


def test_what_kea_quotes_of_its_configuration_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    quoted = 'DHCP4_PARSER_FAIL not a number: "password": "in the file", or somewhere of https://user:pw@host'
    monkeypatch.setattr(journal, "complaint", lambda unit, since: f"{quoted}; was it older")
    told = clause("kea-x.service", 0.0, {"Dhcp4": {"lease-database": {"password": "older"}}})
    assert told == (
        '; kea said: DHCP4_PARSER_FAIL not a number: "password": "*****", or somewhere of https://*****@host; was it *****'
    )
