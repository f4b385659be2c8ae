# SPDX-License-Identifier: MPL-2.0
"""Going back and trying out, on hosts: what is kept, rollback, apply, and changes that nobody confirms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agenthost import CONFIG, AgentHost
from labkit import DAEMONS, Lab
from labkit.host import PATIENCE, wait_for
from labkit.nodes import Node
from labkit.spec import Daemon
from saving import LIFETIME, edited, good_edit, main_pid, on_every_suite, shell, untouched

CANDIDATE = "/root/candidate.conf"
REAL = "/etc/kea/site/dhcp4.conf"
BACKUPS = "/var/backups/kea-agent"
NOTE = f"{BACKUPS}/dhcp4.unconfirmed"
TIMER = "kea-agent-unconfirmed-dhcp4.timer"
KEA = ["setpriv", "--reuid=_kea", "--regid=_kea", "--clear-groups", "--"]
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
KEEP = """
import sys, time
from kea_agent import keaconf
from kea_agent.daemons import BY_NAME
from kea_agent.history import History
daemon = BY_NAME[sys.argv[1]]
found = keaconf.read(daemon.config_path, daemon.root_key)
name = daemon.config_path.rpartition("/")[2]
known = {"hash": None, "kea_version": None, "proof": "it serves the new configuration", "at": time.time()}
assert History().keep(daemon.name, name, found.tree, meaning=found.meaning, **known)
"""

pytestmark = on_every_suite


def kea_agent(node: Node, *words: str, code: int = 0, timeout: float = 120) -> str:
    """Run a verb as root; its output, after its exit code was what it has to be."""
    done = node.run(["kea-agent", *words], check=False, timeout=timeout)
    print(f"$ kea-agent {' '.join(words)}\n{done.stdout}{done.stderr}[{done.returncode}]")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def as_json(node: Node, *words: str, code: int = 0) -> dict[str, Any]:
    """What a verb's machine form says."""
    found: dict[str, Any] = json.loads(kea_agent(node, *words, "--json", code=code))
    return found


def keep(node: Node, daemon: Daemon = "dhcp4") -> int:
    """Have the file as it is kept as the last known good; the number of its revision."""
    node.run([*KEA, "/usr/bin/python3", "-c", KEEP, daemon])
    return int(as_json(node, "history", daemon)[daemon][0]["number"])


def attributes(node: Node, path: str) -> str:
    """Owner, group, mode and extended attributes."""
    script = 'stat --format="%u %g %a" "$1"; python3 -c "import os, sys; print([(n, os.getxattr(*sys.argv[1:], n)) for n in sorted(os.listxattr(sys.argv[1]))])" "$1"'
    return node.run(["sh", "-c", script, "sh", path]).stdout


def listed(node: Node, directory: str) -> set[str]:
    """The names in a directory, hidden ones too."""
    return set(node.run(["ls", "-A", directory]).stdout.split())


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something to be so."""
    for _ in wait_for(seconds, every=0.2):
        if is_so():
            return
    raise AssertionError(f"not within {seconds} s: {what}")


@pytest.fixture
def kept(host: AgentHost, good: str) -> Iterator[str]:
    """The good configuration, with a comment and an include, runs and is the last known good; nothing waits after."""
    start, _, rest = good.partition("{")
    text = f'{start}{{\n// site notes, which no revision has\n<?include "/etc/kea/nothing.inc"?>{rest}'
    host.node.write("/etc/kea/nothing.inc", "# nothing\n")
    host.node.replace(CONFIG, text)
    host.node.run(["chown", "root:_kea", CONFIG])
    host.node.run(["chmod", "0640", CONFIG])
    kea_agent(host.node, "reload", "dhcp4")
    keep(host.node)
    yield text
    host.node.run(["kea-agent", "confirm"], check=False)
    host.node.systemctl("start", "kea-agent", host.node.unit("dhcp4"))
    for _ in wait_for(every=0.1):
        if host.node.run(["kea-agent", "reload", "dhcp4"], check=False).returncode == 0:
            break
    host.node.run(["rm", "-rf", "/etc/kea/site", CANDIDATE])


# One character a byte: UTF-8, a byte that is not, escapes, and numbers that are easily changed. (None that Kea writes as
# "1e-07.0": data.cc until 3.0 puts ".0" behind every number without a point, and its config-get is no JSON then.)
ODD = (
    r'"user-context": { "a": "\u00fc\u00c3\u00bc", "b": "'
    "\xc3\xbc"
    '", "c": "'
    "\xff"
    r'", "d": "\"\\\/\n\u0001 <?include",'
    r'"n": [1.5e-7, 1E3, -0.0, 0.1, 5e-324, 9223372036854775807, -9223372036854775808, 1.0, 125000000000000000000.0] },'
)


def test_kea_reads_the_same_in_a_revision(host: AgentHost, kept: str) -> None:
    """Kea's own word for it: config-get, and its hash where it has one."""
    node = host.node
    start, key, rest = kept.partition('"valid-lifetime"')
    write = "import sys; open(sys.argv[1], 'wb').write(sys.argv[2].encode('latin-1'))"
    node.run(["python3", "-c", write, CANDIDATE, start + ODD + key + rest])
    kea_agent(node, "apply", CANDIDATE)
    before = node.control("dhcp4", "config-get")["arguments"]
    assert before["Dhcp4"]["user-context"]["n"][0] == 1.5e-7
    kea_agent(node, "rollback", "dhcp4", str(keep(node)), "--yes")
    kea_agent(node, "reload", "--again", "dhcp4")
    assert node.control("dhcp4", "config-get")["arguments"] == before


@pytest.mark.parametrize("daemon", DAEMONS)
def test_kea_reads_what_is_kept(host: AgentHost, daemon: Daemon) -> None:
    keep(host.node, daemon)
    stem = {"ddns": "dhcp-ddns"}.get(daemon, daemon)
    path = f"/var/lib/kea-agent/{daemon}/kea-{stem}.conf"
    assert host.node.run(["stat", "--format=%U %G %a", path]).stdout == "_kea _kea 600\n"
    done = host.node.run([*KEA, "env", "KEA_LOCKFILE_DIR=none", f"kea-{stem}", "-t", path], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    compared = host.node.run(["kea-agent", "diff", path, f"/etc/kea/kea-{stem}.conf"])
    assert "no difference" in compared.stdout


def test_history_tells_what_is_kept(host: AgentHost, kept: str) -> None:
    number = keep(host.node)
    good_edit(host, kept)
    assert keep(host.node) == number + 1
    rows = as_json(host.node, "history", "dhcp4")["dhcp4"]
    assert [row["number"] for row in rows[:2]] == [number + 1, number]
    assert rows[0]["changes"] == 1
    text = kea_agent(host.node, "history", "dhcp4")
    assert f"dhcp4: the last known good is revision {number + 1}\n" in text
    shown = kea_agent(host.node, "history", "dhcp4", "--show", str(number))
    written = LIFETIME.search(kept)
    assert written
    assert f'"valid-lifetime": {json.loads(shown)["Dhcp4"]["valid-lifetime"]},' == written[0]
    done = host.node.run([*NOBODY, "kea-agent", "history"], check=False)
    assert (done.returncode, "only root and the agent's user" in done.stderr) == (3, True)
    kea_agent(host.node, "history", "--show", "1", code=2)
    kea_agent(host.node, "history", "dhcp4", "--show", "4711", code=3)


def test_rollback_leaves_the_file_what_it_was(host: AgentHost, kept: str) -> None:
    node = host.node
    old = host.lifetime()
    shell(
        node,
        f"mkdir /etc/kea/site; mv $CONFIG {REAL}; ln -s site/dhcp4.conf $CONFIG; chown root:_kea {REAL}; chmod 0640 {REAL}",
    )
    node.run(["python3", "-c", f"import os; os.setxattr('{REAL}', 'user.note', b'mine')"], check=False)
    before, outcomes = attributes(node, REAL), host.outcomes()
    text, new = edited(kept)
    node.write(REAL, text)
    host.wait_for("applied", outcomes)
    assert host.lifetime() == new
    told = as_json(node, "rollback", "dhcp4", "--yes")
    assert told["outcome"] in ("applied", "unchanged")
    assert [(each["path"], each["after"]) for each in told["changes"]] == [(["valid-lifetime"], old)]
    assert host.lifetime() == old
    assert node.run(["readlink", CONFIG]).stdout == "site/dhcp4.conf\n"
    assert attributes(node, REAL) == before
    assert listed(node, "/etc/kea/site") == {"dhcp4.conf"}
    assert node.read(told["replaced"]) == text
    assert node.run(["stat", "--format=%U %a", told["replaced"], BACKUPS]).stdout == "root 600\nroot 700\n"


def test_rollback_says_what_it_cannot(host: AgentHost, kept: str) -> None:
    node = host.node
    with untouched(host):
        assert "--yes" in kea_agent(node, "rollback", "dhcp4", code=2)
        assert "which DAEMON" in kea_agent(node, "rollback", code=2)
        assert "has no revision '4711'" in kea_agent(node, "rollback", "dhcp4", "4711", "--yes", code=3)
        done = node.run([*NOBODY, "kea-agent", "rollback", "dhcp4", "--yes"], check=False)
        assert (done.returncode, "only root may roll back" in done.stderr) == (3, True)
        assert node.read(CONFIG) == kept


def test_rollback_without_the_agent(host: AgentHost, kept: str) -> None:
    node = host.node
    node.systemctl("stop", "kea-agent")
    with untouched_server(host):
        text, _ = edited(kept)
        node.replace(CONFIG, text)
        told = kea_agent(node, "rollback", "dhcp4", "--yes", code=3)
    assert "the agent is not running" in told
    assert f"systemctl reload {node.unit('dhcp4')}" in told
    assert node.run(["kea-agent", "diff", CONFIG, "/var/lib/kea-agent/dhcp4/kea-dhcp4.conf"]).returncode == 0


class untouched_server:  # noqa: N801  # reads as a sentence
    """Kea's process is the same and runs the same."""

    def __init__(self, host: AgentHost) -> None:
        self._host = host

    def _seen(self) -> object:
        return main_pid(self._host, self._host.node.unit("dhcp4")), self._host.lifetime()

    def __enter__(self) -> None:
        self._before = self._seen()

    def __exit__(self, *_: object) -> None:
        assert self._seen() == self._before


def test_a_file_of_the_agents_user_leads_root_nowhere(host: AgentHost, kept: str) -> None:
    """Kea's user may own /etc/kea: a link of its making must not have root write elsewhere."""
    node = host.node
    shell(node, "printf '{}' > /root/precious; rm $CONFIG; ln -s /root/precious $CONFIG; chown -h _kea $CONFIG")
    told = kea_agent(node, "rollback", "dhcp4", "--yes", code=3)
    assert "a symlink of one user to a file of another is not followed" in told
    assert node.read("/root/precious") == "{}"
    node.replace(CONFIG, kept)
    shell(node, "rm /root/precious")


def test_apply_takes_the_very_file(host: AgentHost, kept: str) -> None:
    node = host.node
    before = attributes(node, CONFIG)
    text, new = edited(kept)
    node.write(CANDIDATE, text)
    told = kea_agent(node, "apply", CANDIDATE)
    assert "~ valid-lifetime: " in told
    assert "dhcp4: applied: " in told or "dhcp4: unchanged: " in told
    assert host.lifetime() == new
    assert node.read(CONFIG) == text
    assert attributes(node, CONFIG) == before
    replaced = told.rpartition(" is in ")[2].strip()
    assert node.read(replaced) == kept
    assert [name for name in listed(node, "/etc/kea") if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda text: text.replace("valid-lifetime", "valid-lifetime\n", 1), ":", id="syntax"),
        pytest.param(lambda text: text.replace("valid-lifetime", "valid-liftime", 1), "valid-liftime", id="rules"),
        pytest.param(lambda text: LIFETIME.sub(r'\g<1>"soon",', text, count=1), "valid-lifetime", id="kea"),
        pytest.param(lambda text: text.replace('"Dhcp4"', '"Dhcp9"'), "cannot tell which daemon", id="whose"),
    ],
)
def test_apply_refuses_a_bad_file(host: AgentHost, kept: str, spoil: Callable[[str], str], says: str) -> None:
    node = host.node
    node.write(CANDIDATE, spoil(kept))
    stamp = node.run(["stat", "--format=%y %i", CONFIG]).stdout
    with untouched(host):
        told = kea_agent(node, "apply", CANDIDATE, code=3 if says.startswith("cannot") else 1)
        assert CANDIDATE in told
        assert says in told
        kea_agent(node, "apply", CANDIDATE, "--confirm", "10s", code=3 if says.startswith("cannot") else 1)
    assert node.run(["stat", "--format=%y %i", CONFIG]).stdout == stamp
    assert [name for name in listed(node, "/etc/kea") if name.startswith(".")] == []
    assert "could not be found" in node.run(["systemctl", "status", TIMER], check=False).stderr


def test_apply_puts_back_what_the_server_does_not_take(host: AgentHost, kept: str) -> None:
    node = host.node
    node.systemctl("stop", node.unit("dhcp4"))
    text, _ = edited(kept)
    node.write(CANDIDATE, text)
    told = as_json(node, "apply", CANDIDATE, "--confirm", "1h", code=3)
    assert told["outcome"] == "deferred"
    assert told["put_back"]["outcome"] == "deferred"
    assert told["seconds_to_confirm"] is None
    assert node.read(CONFIG) == kept
    assert node.run(["test", "-e", NOTE], check=False).returncode == 1


def test_apply_of_another_daemons_file(host: AgentHost, kept: str) -> None:
    with untouched(host):
        told = kea_agent(host.node, "apply", "/etc/kea/kea-dhcp6.conf", "dhcp4", code=1)
        assert '"Dhcp4"' in told
        kea_agent(host.node, "apply", "/etc/kea/absent.conf", code=3)
        kea_agent(host.node, "apply", "/etc/kea/kea-dhcp4.conf", "--confirm", "1s", code=2)


def test_a_confirmed_change_stays(host: AgentHost, kept: str) -> None:
    node = host.node
    text, new = edited(kept)
    node.write(CANDIDATE, text)
    told = as_json(node, "apply", CANDIDATE, "--confirm", "60s")
    assert 0 < told["seconds_to_confirm"] <= 60
    assert node.systemctl("is-active", TIMER) == "active"
    for words in (["apply", CANDIDATE], ["rollback", "dhcp4", "--yes"]):
        assert "waits for kea-agent confirm dhcp4, " in kea_agent(node, *words, code=3)
    assert "waits for kea-agent confirm dhcp4" in kea_agent(node, "history", "dhcp4")
    assert kea_agent(node, "confirm", "dhcp4") == "dhcp4: confirmed\n"
    assert node.systemctl("is-active", TIMER, check=False) == "inactive"
    assert (host.lifetime(), node.read(CONFIG)) == (new, text)
    assert kea_agent(node, "confirm", code=3) == "nothing waits to be confirmed\n"


@pytest.mark.parametrize("agent", ["runs", "killed", "stopped"])
def test_an_unconfirmed_change_is_taken_back(host: AgentHost, kept: str, agent: str) -> None:
    """Byte for byte, whatever became of the agent and of whoever typed it."""
    node = host.node
    old = host.lifetime()
    text, new = edited(kept)
    node.write(CANDIDATE, text)
    kea_agent(node, "apply", CANDIDATE, "--confirm", "10s")
    assert host.lifetime() == new
    if agent == "killed":
        node.systemctl("kill", "--signal=KILL", "kea-agent")
    if agent == "stopped":
        node.systemctl("stop", "kea-agent")
    wait_until(lambda: node.read(CONFIG) == kept, "the file is as it was", 40)
    wait_until(lambda: host.lifetime() == old, "the server is as it was")
    said = "was taken back: nobody confirmed it"
    wait_until(lambda: said in host.journal("kea-agent-unconfirmed-dhcp4"), f"the journal says: {said}")
    replaced = host.journal("kea-agent-unconfirmed-dhcp4").rpartition("it is in ")[2].split()[0]
    assert node.read(replaced) == text
    assert attributes(node, CONFIG).startswith("0 ")
    wait_until(lambda: node.run(["test", "-e", NOTE], check=False).returncode == 1, "nothing waits any more")


def test_whoever_applies_may_be_killed_at_once(host: AgentHost, kept: str) -> None:
    """The connection is cut the moment the new file is there."""
    node = host.node
    old = host.lifetime()
    text, _ = edited(kept)
    node.write(CANDIDATE, text)
    script = (
        'kea-agent apply "$1" --confirm 10s & pid=$!; '
        'while ! cmp -s "$1" "$2"; do kill -0 $pid || exit 1; done; kill -KILL $pid; wait $pid; true'
    )
    node.run(["bash", "-c", script, "bash", CANDIDATE, CONFIG])
    assert node.read(CONFIG) == text
    wait_until(lambda: node.read(CONFIG) == kept, "the file is as it was", 40)
    wait_until(lambda: host.lifetime() == old, "the server is as it was")


def apply_for_an_hour(host: AgentHost, kept: str) -> str:
    """Apply another file that waits for its confirmation; returns its text."""
    text, _ = edited(kept)
    host.node.write(CANDIDATE, text)
    kea_agent(host.node, "apply", CANDIDATE, "--confirm", "1h")
    return text


def test_taken_back_by_hand(host: AgentHost, kept: str) -> None:
    node = host.node
    old = host.lifetime()
    text = apply_for_an_hour(host, kept)
    assert "waits for kea-agent confirm dhcp4" in kea_agent(node, "rollback", "--unconfirmed")
    assert node.read(CONFIG) == text
    kea_agent(node, "rollback", "--unconfirmed", "dhcp4")
    assert (host.lifetime(), node.read(CONFIG)) == (old, kept)
    assert node.systemctl("is-active", TIMER, check=False) == "inactive"
    assert "nothing is unconfirmed" in kea_agent(node, "rollback", "--unconfirmed", "dhcp4")


def test_a_reboot_takes_back_what_nobody_confirmed(host: AgentHost, kept: str) -> None:
    node = host.node
    old = host.lifetime()
    apply_for_an_hour(host, kept)
    lab = Lab.find(node.spec.name)
    lab.power_off(node.name)
    lab.power_on(node.name)
    lab.wait_ready(60)
    assert node.read(CONFIG) == kept
    assert host.lifetime() == old
    assert "was taken back: nobody confirmed it before the reboot" in host.journal("kea-agent-unconfirmed")
    kea_agent(node, "reload", "dhcp4")
