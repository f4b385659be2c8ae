# SPDX-License-Identifier: MPL-2.0
"""The daemons as data, and the options of their command lines."""

from __future__ import annotations

import pytest

from kea_agent.daemons import BY_NAME, DAEMONS, option


def test_names_are_those_of_the_design() -> None:
    assert list(BY_NAME) == ["dhcp4", "dhcp6", "ddns", "ctrl-agent"]


def test_nothing_is_shared_between_daemons() -> None:
    for values in (
        [daemon.root_key for daemon in DAEMONS],
        [daemon.binary for daemon in DAEMONS],
        [daemon.config_path for daemon in DAEMONS],
        [name for daemon in DAEMONS for name in daemon.unit_names],
    ):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    ("daemon", "names"),
    [
        ("dhcp4", ("isc-kea-dhcp4-server.service", "kea-dhcp4-server.service", "kea-dhcp4.service")),
        ("ddns", ("isc-kea-dhcp-ddns-server.service", "kea-dhcp-ddns-server.service", "kea-dhcp-ddns.service")),
        ("ctrl-agent", ("isc-kea-ctrl-agent.service", "kea-ctrl-agent.service")),
    ],
)
def test_unit_names_of_the_packages(daemon: str, names: tuple[str, ...]) -> None:
    assert BY_NAME[daemon].unit_names == names


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        (["kea-dhcp4", "-c", "/etc/kea/a.conf"], "/etc/kea/a.conf"),
        (["kea-dhcp4", "-c/etc/kea/a.conf", "-p", "67"], "/etc/kea/a.conf"),
        (["kea-dhcp4", "-c", "/a", "-d", "-c", "/b"], "/b"),
        (["kea-dhcp4", "-d"], None),
        (["kea-dhcp4", "-c"], None),
        ([], None),
    ],
)
def test_option(argv: list[str], value: str | None) -> None:
    assert option(argv, "-c") == value
    assert option(tuple(argv), "-c") == value
