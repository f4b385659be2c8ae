# SPDX-License-Identifier: MPL-2.0
"""What root's own commands do with what Kea's user, or a configuration, says."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from labkit.keaconfigs import find_hooks
from labkit.network import Network
from labs import EVERY_SUITE

# A hook library that says who loads it, wherever its user may write.
HOOK = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void tell(void) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r"), *out = fopen("/tmp/lab-hook/who", "a");
    if (!out || !status) return;
    fprintf(out, "euid %d\n", (int)geteuid());
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "Groups", 6) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "CapEff", 6)) fputs(line, out);
    fclose(out);
}
"""
CANDIDATE = "/root/lab-candidate.conf"

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


@pytest.fixture
def hooked(host: AgentHost, tmp_path: Path) -> Iterator[str]:
    """The configuration with a library that Kea's user, or whoever writes the file, put there."""
    (tmp_path / "hook.c").write_text(HOOK)
    library = f"{find_hooks(host.node.root)}/libdhcp_lab.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "hook.so", tmp_path / "hook.c"], check=True)
    target = Path(f"{host.node.root}{library}")
    target.write_bytes((tmp_path / "hook.so").read_bytes())
    host.node.run(["install", "-d", "-m", "1777", "/tmp/lab-hook"])
    text = host.node.read(CONFIG)
    assert '"hooks-libraries": [' in text
    yield text.replace('"hooks-libraries": [', f'"hooks-libraries": [ {{ "library": "{library}" }},', 1)
    host.node.run(["rm", "-rf", library, "/tmp/lab-hook", CANDIDATE])


def loaders(host: AgentHost) -> dict[str, set[str]]:
    """What each process that loaded the library said of itself."""
    found: dict[str, set[str]] = {}
    for line in host.node.read("/tmp/lab-hook/who").splitlines():
        name, _, value = line.replace(":", " ").partition(" ")
        found.setdefault(name, set()).add(value.strip())
    return found


@pytest.mark.parametrize("mode", ["0600", "0644"])
@pytest.mark.parametrize("verb", ["check", "apply"])
def test_a_hook_library_gets_no_rights_of_roots(host: AgentHost, hooked: str, verb: str, mode: str) -> None:
    """Whether Kea's user may read the file or only root may, and gets its text."""
    node = host.node
    node.write(CANDIDATE, hooked)
    node.run(["chmod", mode, CANDIDATE])
    kea = node.run(["id", "-u", "_kea"]).stdout.strip()
    done = node.run(["kea-agent", verb, CANDIDATE], check=False, timeout=120)
    print(done.stdout, done.stderr)
    seen = loaders(host)
    assert seen["euid"] == {kea}
    assert seen["NoNewPrivs"] == {"1"} or verb == "apply"
    assert seen["CapEff"] <= {"0" * 16} or verb == "apply"
    assert "0" not in {word for groups in seen["Groups"] for word in groups.split()}


def test_a_file_that_only_root_may_read_is_checked(host: AgentHost) -> None:
    node = host.node
    text = node.read(CONFIG)
    node.write(CANDIDATE, text.replace('"valid-lifetime": 3600', '"valid-lifetime": "soon"'))
    node.run(["chmod", "0600", CANDIDATE])
    line = next(number for number, each in enumerate(text.splitlines(), 1) if '"valid-lifetime": 3600' in each)
    bad = node.run(["kea-agent", "check", CANDIDATE], check=False)
    assert bad.returncode == 1
    assert f"{CANDIDATE}:{line}:" in bad.stdout
    assert "[kea]" in bad.stdout, "Kea has said so, too"
    assert "/dev/stdin" not in bad.stdout
    node.write(CANDIDATE, text)
    good = node.run(["kea-agent", "check", CANDIDATE], check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    node.run(["rm", CANDIDATE])


def test_apply_leaves_no_copy_beside_the_file(host: AgentHost) -> None:
    node = host.node
    before = node.run(["ls", "-A", "/etc/kea"]).stdout
    node.write(CANDIDATE, node.read(CONFIG).replace('"valid-lifetime": 3600', '"valid-lifetime": "soon"'))
    trace = node.run(["sh", "-c", f"kea-agent apply {CANDIDATE}; ls -A /etc/kea > /tmp/lab-ls"], check=False)
    assert "does not pass" in trace.stdout
    assert node.read("/tmp/lab-ls") == before
    node.run(["rm", CANDIDATE, "/tmp/lab-ls"])


AGENT_CONFIG = "/etc/kea/kea-ctrl-agent.conf"
# Takes connections on the host outside of the node, and says what it was sent.
THIEF = """
import socket, sys
server = socket.create_server(("198.18.0.1", int(sys.argv[1])))
print("ready", flush=True)
server.settimeout(60)
connection, _ = server.accept()
connection.settimeout(5)
print("received", repr(connection.recv(4096)), flush=True)
"""


def test_no_password_leaves_the_host_and_no_file_of_roots_is_one(host: AgentHost) -> None:
    """The configuration names a file of root's as the password, and another host to send it to."""
    node = host.node
    node.run(["sh", "-c", "umask 077; echo top-secret-word > /root/lab-secret"])
    before = node.read(AGENT_CONFIG)
    named = (
        '{ "Control-agent": { "http-host": "198.18.0.1", "http-port": 8199, "authentication": { "type": "basic", '
        '"clients": [ { "user": "kea", "password-file": "/root/lab-secret" } ] } } }'
    )
    node.systemctl("stop", "kea-agent")
    try:
        node.replace(AGENT_CONFIG, named)
        outside = Network(node.spec.name).enter(sys.executable, "-c", THIEF, "8199")
        with subprocess.Popen(outside, stdout=subprocess.PIPE, text=True) as thief:
            assert thief.stdout is not None
            assert thief.stdout.readline() == "ready\n"
            said = [node.run(["kea-agent", *words], check=False) for words in (["diff", "ctrl-agent"], ["metrics"])]
            thief.kill()
            heard = thief.stdout.read()
        assert "no address of this host" in said[0].stderr
        assert "Authorization" not in heard
        assert "received" not in heard or "b''" in heard
        node.replace(AGENT_CONFIG, named.replace("198.18.0.1", "127.0.0.1").replace("8199", "8198"))
        with node.start(["python3", "-c", THIEF.replace("198.18.0.1", "127.0.0.1"), "8198"]) as thief:
            assert thief.stdout is not None
            assert thief.stdout.readline() == "ready\n"
            node.run(["timeout", "30", "kea-agent", "diff", "ctrl-agent"], check=False)
            heard = thief.communicate(timeout=60)[0]
        assert "top-secret-word" not in base64_words(heard)
    finally:
        node.replace(AGENT_CONFIG, before)
        node.run(["rm", "/root/lab-secret"])
        node.systemctl("start", "kea-agent")


def base64_words(heard: str) -> str:
    """What was sent, with what it says in base64."""
    words = [word for word in re.split(r"[^A-Za-z0-9+/=]", heard) if len(word) > 7 and len(word) % 4 == 0]
    return heard + " ".join(base64.b64decode(word).decode(errors="replace") for word in words)


@pytest.mark.parametrize("odd", ["/dev/zero", "/run/kea/lab-fifo"])
def test_a_password_file_that_is_none_costs_one_pass(host: AgentHost, odd: str) -> None:
    """The pass of that file ends, and its memory is as before; the next file is taken in."""
    node = host.node
    node.run(["setpriv", "--reuid=_kea", "--regid=_kea", "--init-groups", "--", "mkfifo", "/run/kea/lab-fifo"])
    before, text = host.outcomes("ctrl-agent"), node.read(AGENT_CONFIG)
    password = re.search(r'"password(?:-file)?": "[^"]*"', text)
    assert password
    try:
        node.replace(AGENT_CONFIG, text.replace(password[0], f'"password-file": "{odd}"'))
        for _ in wait_for(every=0.2):
            if host.outcomes("ctrl-agent") != before:
                break
        else:
            raise AssertionError("the pass did not end")
        pid = node.systemctl("show", "--property=MainPID", "--value", "kea-agent")
        peak = re.search(r"VmHWM:\s+(\d+) kB", node.read(f"/proc/{pid}/status"))
        assert peak
        assert int(peak[1]) < 300_000
    finally:
        node.replace(AGENT_CONFIG, text)
        node.run(["rm", "/run/kea/lab-fifo"])
    done = node.run(["kea-agent", "reload", "ctrl-agent"], check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


AS_KEA = ["setpriv", "--reuid=_kea", "--regid=_kea", "--init-groups", "--"]
MARK = "/var/lib/kea/lab-mark"
EVIL = f"#!/bin/sh\nid -u >> {MARK}\necho 3.0.4\n"


@pytest.fixture
def lair(host: AgentHost) -> Iterator[str]:
    """A directory of Kea's user with programs that say who runs them."""
    script = (
        f"mkdir -p /var/lib/kea/lab/as; cp /bin/sleep /var/lib/kea/lab/as/kea-dhcp4; cat > /var/lib/kea/lab/kea-dhcp4 <<'END'\n{EVIL}END\n"
        "chmod 0755 /var/lib/kea/lab/kea-dhcp4"
    )
    host.node.run([*AS_KEA, "sh", "-euc", script])
    yield "/var/lib/kea/lab"
    host.node.run(["rm", "-rf", "/var/lib/kea/lab", MARK])


def runners(host: AgentHost) -> set[str]:
    """The users that ran one of them."""
    return set(host.node.run(["sh", "-c", f"cat {MARK} 2>/dev/null || true"]).stdout.split())


def test_a_keactrl_conf_of_keas_user_is_not_believed(host: AgentHost, lair: str) -> None:
    node = host.node
    owner = node.run(["stat", "-c", "%U:%G", "/etc/kea"]).stdout.strip()
    lines = "".join(
        f"{name}={value}\n"
        for name, value in {
            "dhcp4_srv": f"{lair}/kea-dhcp4",
            "dhcp6_srv": f"{lair}/kea-dhcp4",
            "dhcp_ddns_srv": f"{lair}/kea-dhcp4",
            "ctrl_agent_srv": f"{lair}/kea-dhcp4",
            "kea_dhcp4_config_file": "/etc/kea/kea-dhcp4.conf",
            "dhcp4": "yes",
            "dhcp6": "no",
            "dhcp_ddns": "no",
            "ctrl_agent": "no",
            "kea_verbose": "no",
        }.items()
    )
    node.run(["chown", "_kea:_kea", "/etc/kea"])  # as it is from Debian 13 on
    try:
        for writer in (AS_KEA, []):  # its own file, and one of root's in its directory
            node.run([*writer, "sh", "-c", "rm -f /etc/kea/keactrl.conf; cat > /etc/kea/keactrl.conf"], stdin=lines)
            for words in (["version"], ["status"], ["reload", "-s", "dhcp4"]):
                done = node.run(["keactrl", *words], check=False, timeout=150)
                assert "not used: it says what root runs" in done.stderr
                assert "/etc/kea belongs to user" in done.stderr
                assert done.returncode == 0, done.stdout + done.stderr
            named = node.run(["keactrl", "version", "-c", "/etc/kea/keactrl.conf"], check=False)
            assert named.returncode != 0
        assert runners(host) == set()
    finally:
        node.run(["rm", "-f", "/etc/kea/keactrl.conf"])
        node.run(["chown", owner, "/etc/kea"])


def test_a_forged_status_stops_no_other_unit(host: AgentHost) -> None:
    node, unit = host.node, host.node.unit("dhcp4")
    node.run(["systemd-run", "--unit=lab-foreign", "--property=Type=exec", "sleep", "infinity"])
    node.systemctl("stop", "kea-agent")
    node.run(["install", "-d", "-o", "_kea", "-g", "_kea", "/run/kea-agent"])
    forged = '{"daemons": {"dhcp4": {"unit": "lab-foreign.service", "config_file": "/etc/shadow", "last": {"at": 1e300, "outcome": "broken", "reason": "\\u001b[31m\\u009b"}}}, "pid": 1, "generated_at": 1e300, "started_at": -1}'
    try:
        node.run([*AS_KEA, "sh", "-c", "cat > /run/kea-agent/status.json"], stdin=forged)
        for words in (["keactrl", "status"], ["kea-agent", "status"], ["keactrl", "status", "--json"]):
            done = node.run(words, check=False)
            assert "Traceback" not in done.stderr
            assert "\x1b" not in done.stdout + done.stderr
        node.run(["keactrl", "stop", "-s", "dhcp4"], check=False, timeout=150)
        assert node.systemctl("is-active", "lab-foreign") == "active"
        node.run(["rm", "/run/kea-agent/status.json"])
        node.run([*AS_KEA, "mkfifo", "/run/kea-agent/status.json"])
        for words in (["keactrl", "status"], ["kea-agent", "status"]):
            node.run(["timeout", "60", *words], check=False)
            assert node.run(["timeout", "60", *words], check=False).returncode != 124
    finally:
        node.run(["rm", "-f", "/run/kea-agent/status.json"])
        node.systemctl("stop", "lab-foreign")
        node.systemctl("start", unit)
        node.systemctl("start", "kea-agent")


def test_a_daemon_by_its_pid_file_is_reloaded_with_its_own_rights(host: AgentHost, lair: str) -> None:
    """What its process calls itself is a program of Kea's user."""
    node, unit = host.node, host.node.unit("dhcp4")
    node.systemctl("stop", "kea-agent", unit)
    start = f"exec -a {lair}/kea-dhcp4 {lair}/as/kea-dhcp4 300"
    kea = node.run(["id", "-u", "_kea"]).stdout.strip()
    try:
        with node.start([*AS_KEA, "bash", "-c", start]) as process:
            pid = node.run(["sh", "-c", "until pgrep -x kea-dhcp4; do sleep 0.05; done"]).stdout.strip()
            name = "/run/kea/kea-dhcp4.kea-dhcp4.pid"
            node.run(["sh", "-c", "mkdir -p /run/kea; chown _kea:_kea /run/kea"])
            node.run([*AS_KEA, "sh", "-c", f"echo {pid} > {name}"])
            done = node.run(["keactrl", "reload", "-s", "dhcp4"], check=False, timeout=150)
            print(done.stdout, done.stderr)
            node.run(["sh", "-c", f"kill {pid}; rm -f {name}"], check=False)
            process.communicate(timeout=30)
        assert runners(host) <= {kea}
    finally:
        node.systemctl("start", unit)
        node.systemctl("start", "kea-agent")
