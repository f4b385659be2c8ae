# SPDX-License-Identifier: MPL-2.0
"""What the agent's user can bend while root works: names in its own directories, before and during the work.

The names are swapped as fast as the user can; tests/unit/test_replacing.py has the same for the writing of files alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from agenthost import CONFIG, AgentHost
from labs import EVERY_SUITE
from rehearsing import AS_KEA, rehearse_text

PRECIOUS = "/root/lab-precious"
NOTE = "/var/backups/kea-agent/dhcp4.unconfirmed"
CANDIDATE = "/srv/lab-apply.conf"
STOP = "/tmp/lab-stop"
# Fast, and the others of a small machine have their turn, too.
SWAP = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    for one, other in zip(sys.argv[2::2], sys.argv[3::2]):
        os.rename(one, one + ".aside")
        os.rename(other, one)
        os.rename(one + ".aside", other)
    time.sleep(0.0005)
"""
# Waits until a file is read and closed, then makes one directory on the way to it a link to another place, once.
TRAP = """
import ctypes, os, sys
watched, moved, target, ready, sprung = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
inotify = libc.inotify_init()
assert libc.inotify_add_watch(inotify, watched.encode(), 0x10) >= 0  # IN_CLOSE_NOWRITE
open(ready, "w").close()
os.read(inotify, 4096)
os.rename(moved, moved + ".aside")
os.symlink(target, moved)
open(sprung, "w").close()
"""
# Whatever program of root's a trap would have replaced says what only root may read, in the answer that its client gets.
IMPOSTOR = f"#!/bin/sh\ncat {PRECIOUS}/shut >&2\nexit 1\n"
LAIR = "/var/lib/kea/lab-lair"
# Reads the arguments of every process again and again, as anybody may, and says in which the word was.
LISTENER = """
import glob, os, sys
word, stop, ready = sys.argv[1].encode()[::-1], sys.argv[2], sys.argv[3]
seen = set()
open(ready, "w").close()
while not os.path.exists(stop):
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(name, "rb") as file:
                words = file.read()
        except OSError:
            continue
        if word in words:
            seen.add(words.split(b"\\0")[0])
print(sorted(seen))
"""

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


def as_kea(host: AgentHost, script: str) -> None:
    """A script as the agent's user."""
    host.node.run([*AS_KEA, "sh", "-euc", script])


@pytest.fixture
def text(host: AgentHost) -> Iterator[str]:
    """The configuration; a directory of root's that is nobody's business; all as before afterwards, with the agent away meanwhile."""
    node, before = host.node, host.node.read(CONFIG)
    node.systemctl("stop", "kea-agent")
    node.run(
        ["sh", "-euc", f"mkdir {PRECIOUS}; echo top-secret-word > {PRECIOUS}/dhcp4.conf; cp -a /etc/kea /root/lab-kea"]
    )
    # As it is from Debian 13 on.
    node.run(["chown", "_kea:_kea", "/etc/kea"])
    yield before
    clean = (
        "find /etc/kea -mindepth 1 -delete; cp -a /root/lab-kea/. /etc/kea/; rm -r /root/lab-kea {PRECIOUS}; rm -f {NOTE} {CANDIDATE}; "
        "find /var/lib/kea -name 'lab-*' -delete; systemctl stop kea-agent-unconfirmed-dhcp4.timer 2>/dev/null || true; "
        "systemctl reset-failed; systemctl start kea-agent"
    )
    node.run(["sh", "-euc", clean.format(PRECIOUS=PRECIOUS, NOTE=NOTE, CANDIDATE=CANDIDATE)])


def assert_untouched(host: AgentHost) -> None:
    """Nothing came into the directory of root's, and what was there is as it was."""
    seen = host.node.run(["sh", "-c", f"cd {PRECIOUS}; stat -c '%n %U %a' *; cat dhcp4.conf; ls -A | wc -l"]).stdout
    assert seen == "dhcp4.conf root 644\ntop-secret-word\n1\n"


@contextmanager
def swapping(host: AgentHost, *names: str) -> Iterator[None]:
    """The names change places, two by two, all the time."""
    with host.node.start([*AS_KEA, "python3", "-I", "-c", SWAP, STOP, *names]) as process:
        try:
            yield
            assert process.poll() is None, "it swapped to the end"
        finally:
            host.node.write(STOP, "")
            process.communicate(timeout=20)
    host.node.run(["rm", STOP])


def test_names_that_are_swapped_during_rehearsals(host: AgentHost, text: str) -> None:
    leases = "/var/lib/kea/lab-leases.csv"
    links = f"cp {CONFIG} {CONFIG}.lab; ln -s /etc/shadow {CONFIG}.link; mv {CONFIG}.lab {CONFIG}"
    as_kea(host, f"{links}; touch {leases}; chmod 0640 {leases}; ln -s {PRECIOUS}/dhcp4.conf {leases}.link")
    before = host.node.run(["sha256sum", "/etc/shadow", "/etc/passwd"]).stdout
    candidate = text.replace("/var/lib/kea/kea-leases4.csv", leases)
    assert candidate != text
    with swapping(host, CONFIG, f"{CONFIG}.link", leases, f"{leases}.link"):
        told = json.dumps([rehearse_text(host.node, "dhcp4", candidate) for _ in range(3)])
    assert "root:" not in told
    assert "top-secret-word" not in told
    assert host.node.run(["sha256sum", "/etc/shadow", "/etc/passwd"]).stdout == before
    assert_untouched(host)


def test_a_directory_that_became_a_link_leads_roots_verbs_nowhere(host: AgentHost, text: str) -> None:
    node = host.node
    # An operator's layout: root's link to a file in a directory of Kea's user.
    as_kea(host, f"mkdir /etc/kea/site; cp {CONFIG} /etc/kea/site/dhcp4.conf")
    node.run(["ln", "-sf", "site/dhcp4.conf", CONFIG])
    node.write(CANDIDATE, text.replace('"valid-lifetime": 3600', '"valid-lifetime": 3601'))
    node.systemctl("start", "kea-agent")
    done = node.run(["kea-agent", "apply", "--confirm", "10m", CANDIDATE], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    node.systemctl("stop", "kea-agent")
    as_kea(host, f"mv /etc/kea/site /etc/kea/site.away; ln -s {PRECIOUS} /etc/kea/site")
    assert_leads_nowhere(host, "rollback --unconfirmed dhcp4")
    # As after a reboot.
    node.run(["sed", "-i", 's/"boot": "[^"]*"/"boot": "the one before"/', NOTE])
    node.systemctl("start", "kea-agent-unconfirmed.service", check=False)
    assert "is not followed" in "\n".join(node.journal("kea-agent-unconfirmed.service"))
    assert_untouched(host)
    node.run(["rm", NOTE])
    assert_leads_nowhere(host, "rollback dhcp4 --yes")
    assert_leads_nowhere(host, f"apply {CANDIDATE}")


def assert_leads_nowhere(host: AgentHost, words: str) -> None:
    """The verb says why not, and nothing came of it."""
    done = host.node.run(["kea-agent", *words.split()], check=False)
    assert (done.returncode, "is not followed" in done.stderr) == (3, True), (words, done.stdout, done.stderr)
    assert_untouched(host)


@pytest.mark.parametrize("program", ["/usr/sbin/ip", "/usr/bin/setpriv", "/usr/bin/env"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_directory_that_becomes_a_link_while_it_is_rehearsed_leads_nowhere(
    host: AgentHost, text: str, depth: int, program: str
) -> None:
    """The files below the lair look like the host's own; each directory on the way becomes a link to its like."""
    node = host.node
    node.run(["sh", "-euc", f"umask 077; echo top-secret-word > {PRECIOUS}/shut"])
    directory, _, name = node.run(["readlink", "-f", program]).stdout.strip().rpartition("/")
    parts = directory.strip("/").split("/")
    below = f"{LAIR}{directory}"
    # What the impostor itself needs has to be there as well, where it takes the place of all programs.
    as_kea(host, f"mkdir -p {below}; cp /bin/sh /bin/cat {below}; rm -f {below}/{name}")
    # Read after the one that is watched, so that the trap has the time.
    as_kea(host, f"cd {below}; touch $(seq -f zz%g 3000)")
    as_kea(host, f"cat > {below}/{name} <<'END'\n{IMPOSTOR}END\nchmod 0755 {below}/{name}")
    moved = "/".join([LAIR, *parts[:depth]])
    target = "/" + "/".join(parts[:depth])
    candidate = text.replace('"output": "stdout"', f'"output": "{below}/kea.log"')
    assert candidate != text
    command = [
        *AS_KEA,
        "python3",
        "-I",
        "-c",
        TRAP,
        f"{below}/{name}",
        moved,
        target,
        f"{STOP}.ready",
        f"{STOP}.sprung",
    ]
    with node.start(command) as trap:
        node.run(["sh", "-c", f"until [ -e {STOP}.ready ]; do sleep 0.02; done"])
        told = json.dumps(rehearse_text(node, "dhcp4", candidate))
        trap.communicate(timeout=60)
    assert node.run(["test", "-e", f"{STOP}.sprung"], check=False).returncode == 0
    node.run(["rm", f"{STOP}.ready", f"{STOP}.sprung", f"{PRECIOUS}/shut"])
    node.run(["sh", "-c", f"rm -rf {LAIR} {LAIR}.aside"])
    assert "top-secret-word" not in told
    assert_untouched(host)


def test_a_link_in_a_runtime_directory_leads_root_nowhere(host: AgentHost, text: str) -> None:
    """What is named below /run comes into an emptied place, by hand: not where a copied link leads."""
    node = host.node
    as_kea(host, "ln -sfn /etc /run/kea/lab-link; touch /run/kea/lab-file; ln -sfn /run/kea /run/kea/lab-loop")
    before = node.run(["sh", "-c", "ls -la /etc | sha256sum"]).stdout
    for name in ("/run/kea/lab-link/passwd", "/run/kea/lab-link/lab-new", "/run/kea/lab-loop/lab-file"):
        candidate = text.replace('"output": "stdout"', f'"output": "{name}"')
        assert candidate != text
        told = rehearse_text(node, "dhcp4", candidate)
        assert "broken" not in json.dumps(told)
    assert node.run(["sh", "-c", "ls -la /etc | sha256sum"]).stdout == before
    as_kea(host, "rm /run/kea/lab-link /run/kea/lab-file /run/kea/lab-loop")


def test_a_secret_of_the_units_environment_is_in_nobodys_arguments(host: AgentHost, text: str) -> None:
    node, secret = host.node, "top-secret-word"
    drop_in = f"/run/systemd/system/{node.unit('dhcp4')}.d/lab-secret.conf"
    node.run(["install", "-d", drop_in.rpartition("/")[0]])
    node.write(drop_in, f"[Service]\nEnvironment=LAB_SECRET={secret}\n")
    node.systemctl("daemon-reload")
    ready = f"{STOP}.ready"
    anybody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    # The word is given backwards: the listener's own arguments are read, too.
    with node.start([*anybody, "python3", "-I", "-c", LISTENER, secret[::-1], STOP, ready]) as listener:
        node.run(["sh", "-c", f"until [ -e {ready} ]; do sleep 0.02; done"])
        passed = [rehearse_text(node, "dhcp4", text)["standing"] for _ in range(3)]
        node.write(STOP, "")
        said, _ = listener.communicate(timeout=60)
    node.run(["rm", STOP, ready, drop_in])
    node.systemctl("daemon-reload")
    assert passed == ["passed"] * 3
    assert said.strip() == "[]"
