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


def test_the_environment_of_keas_unit_is_for_its_user_alone(host: AgentHost, hooked: str) -> None:
    """A file of Kea's user with the unit's environment may name a library that every program loads."""
    node, unit = host.node, host.node.unit("dhcp4")
    library = re.search(r'"library": "([^"]*libdhcp_lab.so)"', hooked)
    assert library
    drop_in = f"/run/systemd/system/{unit}.d/lab-preload.conf"
    node.run(["install", "-d", drop_in.rpartition("/")[0]])
    node.write(drop_in, f"[Service]\nEnvironment=LD_PRELOAD={library[1]}\n")
    node.systemctl("daemon-reload")
    try:
        done = node.run(["kea-agent", "check", "--level", "rehearsal", "dhcp4"], check=False, timeout=120)
        print(done.stdout, done.stderr)
        assert loaders(host)["euid"] == {node.run(["id", "-u", "_kea"]).stdout.strip()}
    finally:
        node.run(["rm", drop_in])
        node.systemctl("daemon-reload")


def spoilt(text: str) -> str:
    """A configuration that Kea refuses, with the mistake in the line that has the lifetime."""
    return re.sub(r'"valid-lifetime": \d+', '"valid-lifetime": "soon"', text, count=1)


def test_a_file_that_only_root_may_read_is_checked(host: AgentHost) -> None:
    node = host.node
    text = node.read(CONFIG)
    node.write(CANDIDATE, spoilt(text))
    node.run(["chmod", "0600", CANDIDATE])
    line = next(number for number, each in enumerate(text.splitlines(), 1) if '"valid-lifetime"' in each)
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
    node.write(CANDIDATE, spoilt(node.read(CONFIG)))
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
