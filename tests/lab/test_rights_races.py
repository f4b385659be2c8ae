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
