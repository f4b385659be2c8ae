# SPDX-License-Identifier: MPL-2.0
"""What is installed beside the Python code fits it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kea_agent import __version__
from kea_agent.daemons import DAEMONS

TOP = Path(__file__).parents[2]
SYSTEMD = TOP / "units/usr/lib/systemd/system"
NAMES = {name for daemon in DAEMONS for name in daemon.unit_names}


def test_every_known_unit_has_the_drop_in() -> None:
    dropped_into = {path.parent.name.removesuffix(".d") for path in SYSTEMD.glob("*.service.d/10-kea-agent.conf")}
    assert dropped_into == NAMES
    assert len({path.resolve() for path in SYSTEMD.glob("*.d/*.conf")}) == 1


def test_polkit_lets_the_agent_at_every_known_unit_and_no_other() -> None:
    rules = (TOP / "units/usr/share/polkit-1/rules.d/50-kea-agent.rules").read_text()
    found = re.search(r"var unit = /(.*)/;", rules)
    assert found
    pattern = re.compile(found[1])
    others = [
        "ssh.service",
        "kea-agent.service",
        "kea-dhcp4.service.d",
        "xkea-dhcp4.service",
        "kea-dhcp4-server.socket",
    ]
    assert [name for name in NAMES if not pattern.search(name)] == []
    assert [name for name in others if pattern.search(name)] == []


def test_polkit_never_allows_start() -> None:
    """Since systemd 257 a transient unit with a free name is asked for as `start` of that name, and runs as root."""
    rules = (TOP / "units/usr/share/polkit-1/rules.d/50-kea-agent.rules").read_text()
    found = re.search(r"var verbs = (\[.*\]);", rules)
    assert found
    assert found[1] == '["reload", "kill"]'


def test_the_agent_starts_after_the_dhcp_servers() -> None:
    unit = (SYSTEMD / "kea-agent.service").read_text()
    dhcp = {name for name in NAMES if "dhcp4" in name or "dhcp6" in name}
    assert dhcp <= set(re.findall(r"\S+\.service", unit))


def test_the_versions_agree() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    debian = re.match(r"kea-agent \((.*)\)", (TOP / "debian/changelog").read_text())
    assert debian
    assert project == __version__ == debian[1]
