# SPDX-License-Identifier: MPL-2.0
"""One file, or one answer of Kea's, hurts one pass: the agent stays, and the other daemons have their turns."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from labs import EVERY_SUITE

DHCP6 = "/etc/kea/kea-dhcp6.conf"
SECRET = "s3cr3t-w0rd"

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


@contextmanager
def saved(host: AgentHost, text: str, path: str = CONFIG) -> Iterator[None]:
    """A file for a while; the one before is back, and taken in, afterwards."""
    before = host.node.read(path)
    host.node.replace(path, text)
    try:
        yield
    finally:
        host.node.replace(path, before)
        daemon = "dhcp6" if path == DHCP6 else "dhcp4"
        for _ in wait_for(every=0.5):
            if host.node.run(["kea-agent", "reload", daemon], check=False, timeout=150).returncode == 0:
                break


def agents_pid(host: AgentHost) -> str:
    """It is another one when the agent was started again."""
    return host.node.systemctl("show", "--property=MainPID,NRestarts", "kea-agent")


def assert_dhcp6_has_its_turn(host: AgentHost) -> None:
    """An edit of the other daemon's file goes in."""
    before, text = host.outcomes("dhcp6"), host.node.read(DHCP6)
    lifetime = 4000 + int(time.time()) % 1000
    with saved(host, re.sub(r'"valid-lifetime": \d+', f'"valid-lifetime": {lifetime}', text, count=1), DHCP6):
        host.wait_for("applied", before, "dhcp6")


@pytest.mark.parametrize("kind", ["comments", "hashes", "commented lines"])
def test_a_file_that_is_slow_to_look_at_for_a_pattern(host: AgentHost, kind: str) -> None:
    """Each of them is good, and a finding of the rules has its lines shown."""
    node, pid, before = host.node, agents_pid(host), host.outcomes()
    noise = {"comments": "/* */ " * 60, "hashes": "#" * 150_000 + "\n", "commented lines": '// "eth0"\n' * 60}[kind]
    text = node.read(CONFIG)
    with saved(host, text.replace('"Dhcp4": {', f'"Dhcp4": {{ {noise} "valid-lifetme": 1, {noise}', 1)):
        reason = host.wait_for("rejected", before)
        assert "valid-lifetme" in reason
        assert_dhcp6_has_its_turn(host)
        done = node.run(["kea-agent", "check", "dhcp4"], check=False, timeout=60)
        assert done.returncode == 1
    assert agents_pid(host) == pid


def test_an_answer_of_keas_that_is_nested_deep(host: AgentHost) -> None:
    """By config-set the server takes what no file could have; the agent goes on comparing, and so do the others."""
    node, pid = host.node, agents_pid(host)
    config = node.control("dhcp4", "config-get")["arguments"]
    config.pop("hash", None)
    context: dict[str, object] = {}
    for _ in range(600):
        context = {"a": context}
    config["Dhcp4"]["user-context"] = context
    answer = node.control("dhcp4", "config-set", config)
    print(answer)
    before = host.outcomes("dhcp4")
    text = node.read(CONFIG)
    with saved(host, text.replace('"Dhcp4": {', '"Dhcp4": { /* another byte */', 1)):
        for _ in wait_for(every=0.2):
            if host.outcomes("dhcp4") != before:
                break
        assert_dhcp6_has_its_turn(host)
        assert host.metric("kea_agent_mistakes_total") == 0
    assert agents_pid(host) == pid
    assert node.run(["kea-agent", "reload", "--again", "dhcp4"], check=False, timeout=150).returncode == 0


def test_a_file_that_never_reads_the_same_twice(host: AgentHost) -> None:
    """Every look finds another text; the looks become rare."""
    node, text = host.node, host.node.read(CONFIG)
    known = host.journal().count("dhcp4: rejected")
    with saved(host, text.replace('"Dhcp4": {', '"Dhcp4": { <?include "/proc/self/schedstat"?>', 1)):
        node.run(["sleep", "12"])
        told = host.journal().count("dhcp4: rejected") - known
    assert 1 <= told < 40
    assert_dhcp6_has_its_turn(host)


@pytest.mark.parametrize(
    "typo",
    [
        f'"lease-database": {{ "type": "memfile", "pasword": "{SECRET}" }}',
        f"'password': '{SECRET}'",
        f'"password" = "{SECRET}"',
        f'"password":: "{SECRET}"',
        f'"lease-database": {{ "type": "mysql", "name": "kea", "host": "kea:{SECRET}@db", "password": 1 }}',
        f'"password": {SECRET}',
        f'"hosts-databases": [ {{ "password": ["{SECRET}"] }} ]',
        '<?include "/etc/kea/lab-secret"?>',
    ],
)
def test_nobody_is_told_a_secret(host: AgentHost, typo: str) -> None:
    """Status, page, journal and what `check` prints for a CI log."""
    node, before, text = host.node, host.outcomes(), host.node.read(CONFIG)
    node.write("/etc/kea/lab-secret", f"{SECRET} and more\n")
    node.run(["chmod", "0644", "/etc/kea/lab-secret"])
    with saved(host, text.replace('"Dhcp4": {', f'"Dhcp4": {{ {typo},', 1)):
        for _ in wait_for(every=0.2):
            if host.outcomes() != before:
                break
        told = {
            "status": json.dumps(host.status()),
            "page": node.run(["curl", "--silent", "http://127.0.0.1:9673/"]).stdout,
            "check": node.run(["kea-agent", "check", "dhcp4"], check=False).stdout,
            "json": node.run(["kea-agent", "check", "--json", "dhcp4"], check=False).stdout,
            "text": node.run(["kea-agent", "status"], check=False).stdout,
            "journal": host.journal(),
        }
    node.run(["rm", "/etc/kea/lab-secret"])
    assert {name for name, words in told.items() if SECRET in words} == set()
