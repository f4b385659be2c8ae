# SPDX-License-Identifier: MPL-2.0
"""Rehearsals on every Kea: what is good passes, what a start can see is refused in Kea's words, the host is left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from agenthost import AgentHost
from labkit.spec import DAEMONS, Daemon
from labs import EVERY_SUITE, UpLab
from rehearsing import PATHS, assert_left_alone, live, rehearse, rehearse_text

on_every_suite = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)
HAS_HASH = ("trixie", "sid")


@pytest.fixture(autouse=True)
def _the_host_is_left_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing that a test here rehearses may show on the host, before or after its answer."""
    if "host" not in request.fixturenames:
        yield
        return
    host = request.getfixturevalue("host")
    before = live(host)
    yield
    assert_left_alone(host, before)


@on_every_suite
@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_file_that_is_good_passes(host: AgentHost, daemon: Daemon) -> None:
    found = rehearse(host.node, daemon)
    assert found["standing"] == "passed", found["reason"]
    assert found["is_whole"]
    if daemon != "ctrl-agent":
        config = host.node.control(daemon, "config-get")["arguments"]
        assert found["config"] == config
    if daemon != "ctrl-agent" and host.node.spec.suite in HAS_HASH:
        assert found["hash"] == host.node.control(daemon, "config-hash-get")["arguments"]["hash"]


# A thing that is wrong, as a substitution in the lab's own file, and what Kea says of it.
DATA = r'"name": "/var/lib/kea/'
SOCKET = r'"socket-name": "/run/kea/'
OUTPUT = r'"output": "stdout"'
WRONG: dict[str, tuple[Daemon, str, str, str]] = {
    "interface that does not exist": ("dhcp4", r'"interfaces": \[ "host0" \]', '"interfaces": [ "nope0" ]', "nope0"),
    "address that is not there": ("dhcp4", r'"interfaces": \[ "host0" \]', '"interfaces": [ "host0/192.0.2.9" ]', "192.0.2.9"),
    "hook library missing": ("dhcp4", r"libdhcp_stat_cmds\.so", "libdhcp_missing.so", "hook"),
    "control socket somewhere else": ("dhcp4", SOCKET, '"socket-name": "/nonexistent/', "nonexistent"),
    "lease file somewhere else": ("dhcp4", DATA, '"name": "/nonexistent/', "nonexistent"),
    "lease file where nobody may write": ("dhcp4", DATA, '"name": "/usr/', "/usr"),
    "pool outside its subnet": ("dhcp4", r'"pool": "198\.18\.16\.0 - ', '"pool": "198.18.16.0 - 199.', "pool|range"),
    "dhcp6 interface": ("dhcp6", r'"interfaces": \[ "host0" \]', '"interfaces": [ "nope0" ]', "nope0"),
    "dhcp6 lease file": ("dhcp6", DATA, '"name": "/nonexistent/', "nonexistent"),
    "ddns address": ("ddns", r'"ip-address": "[^"]*"', '"ip-address": "192.0.2.9"', "192.0.2.9|53001"),
    "ctrl-agent address": ("ctrl-agent", r'"http-host": "[^"]*"', '"http-host": "192.0.2.9"', "192.0.2.9|assign"),
}  # fmt: skip


@on_every_suite
@pytest.mark.parametrize("case", WRONG)
def test_what_a_start_can_see_is_refused(host: AgentHost, case: str) -> None:
    daemon, pattern, replacement, says = WRONG[case]
    text, times = re.subn(pattern, replacement, host.node.read(PATHS[daemon]), count=1)
    assert times == 1, f"{PATHS[daemon]} has no {pattern}"
    found = rehearse_text(host.node, daemon, text)
    assert found["standing"] == "refused", found["reason"]
    assert re.search(says, found["reason"]), found["reason"]
    assert "candidate" not in found["reason"]


# The mode that something has is another in each version.
NOTED = ">/run/mode stat --format=%a"
# A thing that is wrong with the host: how it comes, how it goes, and what is said of the file, which is fine.
HOST: dict[str, tuple[str, str, str, str]] = {
    "lease file of root": (
        f"{NOTED} /var/lib/kea/kea-leases4.csv; chown root:root /var/lib/kea/kea-leases4.csv; chmod 0600 /var/lib/kea/kea-leases4.csv",
        "chown _kea:_kea /var/lib/kea/kea-leases4.csv; chmod $(cat /run/mode) /var/lib/kea/kea-leases4.csv; rm /run/mode",
        "refused",
        "kea-leases4.csv",
    ),
    "data directory of root": (
        f"{NOTED} /var/lib/kea; chown root:root /var/lib/kea; chmod 0755 /var/lib/kea; mv /var/lib/kea/kea-leases4.csv /var/lib/away",
        "mv /var/lib/away /var/lib/kea/kea-leases4.csv; chown _kea:_kea /var/lib/kea; chmod $(cat /run/mode) /var/lib/kea; rm /run/mode",
        "refused",
        "kea-leases4.csv",
    ),
    "interface without its address": (
        "ip address delete 198.18.0.11/16 dev host0",
        "ip address replace 198.18.0.11/16 dev host0",
        "refused",
        "host0",
    ),
    "interface without a link": (
        "ip link set host0 down",
        "ip link set host0 up; ip -6 address replace 2001:db8:18::11/64 dev host0 nodad",
        "passed",
        "not on host0, which has no link now",
    ),
    "no socket": (
        "systemctl stop kea-agent-rehearse.socket",
        "systemctl start kea-agent-rehearse.socket",
        "not rehearsed",
        "systemctl start kea-agent-rehearse.socket",
    ),
    "a unit that runs as root": (
        "mkdir -p /run/systemd/system/$UNIT.d; printf '[Service]\\nUser=\\n' > /run/systemd/system/$UNIT.d/lab.conf; systemctl daemon-reload",
        "rm -r /run/systemd/system/$UNIT.d; systemctl daemon-reload",
        "not rehearsed",
        "runs as root",
    ),
}  # fmt: skip


@pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)
@pytest.mark.parametrize("case", HOST)
def test_the_host_is_as_it_is(host: AgentHost, case: str) -> None:
    breaks, mends, standing, says = HOST[case]
    unit = f"UNIT={host.node.unit('dhcp4')}; "
    host.node.run(["sh", "-c", unit + breaks])
    try:
        found = rehearse(host.node, "dhcp4")
    finally:
        host.node.run(["sh", "-c", unit + mends])
    assert found["standing"] == standing, found["reason"]
    assert says in found["reason"]
    assert found["may_pass_later"] == (case == "interface without its address")


CONTROL = r'"control-socket": \{[^}]*\},'
# What a rehearsal must not refuse: a substitution, and the suites on whose Kea it is right.
RIGHT: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "no control channel": (CONTROL, "", ("bookworm", "trixie", "sid")),
    "control channel over HTTP only": (
        CONTROL,
        '"control-sockets": [ { "socket-type": "http", "socket-address": "127.0.0.1", "socket-port": 8004 } ],',
        ("sid",),
    ),
    "log to a file": (OUTPUT, '"output": "/var/log/kea/lab.log"', ("bookworm", "trixie", "sid")),
    "log to syslog": (OUTPUT, '"output": "syslog"', ("bookworm", "trixie", "sid")),
    "leases elsewhere": (DATA, '"name": "/tmp/', ("bookworm",)),
    "every interface": (r'"interfaces": \[ "host0" \]', '"interfaces": [ "*" ]', ("bookworm", "trixie", "sid")),
    "its address": (r'"interfaces": \[ "host0" \]', '"interfaces": [ "host0/198.18.0.11" ]', ("bookworm", "trixie", "sid")),
    "UDP sockets": (r'"dhcp-socket-type": "raw"', '"dhcp-socket-type": "udp"', ("bookworm", "trixie", "sid")),
}  # fmt: skip


@on_every_suite
def test_what_serves_passes(host: AgentHost) -> None:
    text = host.node.read(PATHS["dhcp4"])
    for pattern, replacement, suites in RIGHT.values():
        if host.node.spec.suite in suites:
            changed, times = re.subn(pattern, replacement, text, count=1)
            assert times == 1, pattern
            found = rehearse_text(host.node, "dhcp4", changed)
            assert found["standing"] == "passed", found["reason"]
            assert (found["config"] is None) == ("control-socket" not in changed)


@on_every_suite
def test_keys_that_only_root_may_read(host: AgentHost) -> None:
    make = (
        "cd /etc/kea; openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -keyout lab.key -out lab.pem 2>/dev/null; "
        "chmod 0644 lab.pem; chown root:root lab.key; chmod 0600 lab.key"
    )
    files = [
        f'"{key}": "/etc/kea/lab.{end}"'
        for key, end in (("trust-anchor", "pem"), ("cert-file", "pem"), ("key-file", "key"))
    ]
    text = re.sub(r'("http-port":)', ", ".join(files) + r", \1", host.node.read(PATHS["ctrl-agent"]), count=1)
    host.node.run(["sh", "-c", make])
    try:
        refused = rehearse_text(host.node, "ctrl-agent", text)
        host.node.run(["chown", "_kea", "/etc/kea/lab.key"])
        passed = rehearse_text(host.node, "ctrl-agent", text)
    finally:
        host.node.run(["sh", "-c", "rm /etc/kea/lab.key /etc/kea/lab.pem"])
    assert refused["standing"] == "refused"
    assert re.search("key|denied", refused["reason"]), refused["reason"]
    assert passed["standing"] == "passed", passed["reason"]


@on_every_suite
def test_a_library_that_is_none(host: AgentHost) -> None:
    hooks = host.node.run(["sh", "-c", "dirname /usr/lib/*/kea/hooks/libdhcp_ha.so"]).stdout.strip()
    text = host.node.read(PATHS["dhcp4"]).replace("libdhcp_stat_cmds.so", "libdhcp_lab.so")
    host.node.run(["sh", "-c", f"echo nothing > {hooks}/libdhcp_lab.so"])
    try:
        found = rehearse_text(host.node, "dhcp4", text)
    finally:
        host.node.run(["rm", f"{hooks}/libdhcp_lab.so"])
    assert found["standing"] == "refused"
    assert "libdhcp_lab.so" in found["reason"]


@on_every_suite
def test_the_command_line(host: AgentHost) -> None:
    node = host.node
    assert node.run(["kea-agent", "check", "--level", "rehearsal"], check=False).returncode == 0
    text = node.read(PATHS["dhcp4"]).replace("/var/lib/kea/", "/nonexistent/")
    node.run(["sh", "-c", "umask 022; cat > /srv/kea-dhcp4.conf"], stdin=text)
    words = ["--disable", "lease-file-directory", "/srv/kea-dhcp4.conf"]
    told = node.run(["kea-agent", "check", "--level", "rehearsal", *words], check=False)
    assert (told.returncode, "rehearsed, and it would not start" in told.stdout) == (1, True), told.stdout
    words = [
        "setpriv",
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "kea-agent",
        "check",
        "--level",
        "rehearsal",
        "--disable",
        "lease-file-directory",
    ]
    told = node.run([*words, "/srv/kea-dhcp4.conf"], check=False)
    node.run(["rm", "/srv/kea-dhcp4.conf"])
    assert told.returncode != 0
    assert "only root and Kea's own user may ask" in told.stdout, told.stdout


@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
@pytest.mark.parametrize("mode", ["hot-standby", "load-balancing"])
def test_ha_passes_and_its_mistakes_do_not(up: UpLab, suite: str, mode: str) -> None:
    node = up(suite=suite, nodes=2, ha=mode).nodes[0]
    for daemon in ("dhcp4", "dhcp6"):
        found = rehearse(node, daemon)
        assert found["standing"] == "passed", found["reason"]
    text = node.read(PATHS["dhcp4"])
    wrong = (
        (r'("this-server-name": )"server1"', r'\1"server9"', "server9"),
        (rf'"{mode}"', '"load-balancing"' if mode == "hot-standby" else '"hot-standby"', "HA_CONFIGURATION_FAILED"),
        (r"198\.18\.0\.11:8010", "198.18.0.99:8010", "assign requested address"),
    )
    # Kea before 2.3.7 opens no listener of its own unless it is told to: there the last one serves.
    for pattern, replacement, says in wrong[: 2 if suite == "bookworm" else None]:
        broken, times = re.subn(pattern, replacement, text)
        assert times
        found = rehearse_text(node, "dhcp4", broken)
        assert found["standing"] == "refused", found["reason"]
        assert says in found["reason"]
