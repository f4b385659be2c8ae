# SPDX-License-Identifier: MPL-2.0
"""Every way people and programs save a file, on every Kea, under every unit name.

One good edit is exactly one verified reload, by the agent's word and by Kea's own log; one bad edit is none, with the
reason in status, journal and metrics.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from labkit.nodes import Node
from labs import EVERY_HOST

VERSIONS = "/etc/kea/versions"
INCLUDED = "/etc/kea/lifetime.inc"
NEW = "/root/new.conf"
LIFETIME = re.compile(r'("valid-lifetime":\s*)\S+,')
_numbers = count(4000)

HALVES = f"""
import time
text = open({NEW!r}).read()
with open({CONFIG!r}, "w") as stream:
    for half in (text[: len(text) // 2], text[len(text) // 2 :]):
        stream.write(half)
        stream.flush()
        time.sleep(1)
"""


def shell(script: str) -> Callable[[Node], None]:
    """Save by a shell script; the new text is in $NEW."""
    preamble = f"set -e; NEW={NEW} CONFIG={CONFIG} VERSIONS={VERSIONS} INCLUDED={INCLUDED}; "
    return lambda node: void(node, ["sh", "-c", preamble + script])


def void(node: Node, argv: list[str]) -> None:
    node.run(argv)


WAYS: dict[str, Callable[[Node], None]] = {
    "in place": shell("cat $NEW > $CONFIG"),
    "two halves": lambda node: void(node, ["python3", "-c", HALVES]),
    "mv over": shell("cp $NEW $CONFIG.tmp; mv $CONFIG.tmp $CONFIG"),
    "symlink swapped": shell("cp $NEW $VERSIONS/$$; ln -s $VERSIONS/$$ $CONFIG.tmp; mv -T $CONFIG.tmp $CONFIG"),
    "directory symlink swapped": shell(
        "mkdir $VERSIONS/$$; cp $NEW $VERSIONS/$$/kea.conf; ln -s $$ $VERSIONS/tmp; mv -T $VERSIONS/tmp $VERSIONS/current"
    ),
    "sed -i": shell("""value=$(sed -n 's/.*"valid-lifetime": *\\([^,]*\\),.*/\\1/p' $NEW)
        sed -i "s/\\(\\"valid-lifetime\\": *\\)[^,]*,/\\1$value,/" $CONFIG"""),
    "vim": shell("vim.tiny -es -c '%d' -c \"0r $NEW\" -c wq $CONFIG"),
    "included file": shell("""sed -n 's/.*"valid-lifetime": *\\([^,]*\\),.*/\\1/p' $NEW > $INCLUDED"""),
    "parent moved away and back": shell(
        "mv /etc/kea /etc/kea.away; cat $NEW > /etc/kea.away/kea-dhcp4.conf; sleep 0.2; mv /etc/kea.away /etc/kea"
    ),
}
PREPARE = {
    "symlink swapped": "mv $CONFIG $VERSIONS/first; ln -s $VERSIONS/first $CONFIG",
    "directory symlink swapped": "mkdir $VERSIONS/first; mv $CONFIG $VERSIONS/first/kea.conf; "
    "ln -s first $VERSIONS/current; ln -s versions/current/kea.conf $CONFIG",
    "included file": "sed -n 's/.*\"valid-lifetime\": *\\([^,]*\\),.*/\\1/p' $CONFIG > $INCLUDED; "
    'sed -i "s#\\(\\"valid-lifetime\\": *\\)[^,]*,#\\1<?include \\"$INCLUDED\\"?>,#" $CONFIG',
}


@pytest.fixture
def plain(host: AgentHost) -> Iterator[str]:
    """The configuration that the server runs, as a plain file; what a test made of it is undone."""
    text = host.node.read(CONFIG)
    host.node.run(["mkdir", "-p", VERSIONS])
    settle(host)
    yield text
    shell("rm -rf $VERSIONS $INCLUDED $CONFIG; cat $NEW > $CONFIG")(_with_new(host.node, text))
    settle(host)


def _with_new(node: Node, text: str) -> Node:
    node.write(NEW, text)
    return node


def settle(host: AgentHost) -> None:
    """Wait until the agent has nothing more to do with the file as it is."""
    for _ in wait_for(every=0.2):
        if host.status()["config_in_sync"] and host.status()["config_valid"]:
            return
    raise AssertionError(f"not in sync: {host.status()}")


@pytest.mark.parametrize("host", EVERY_HOST, indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_one_good_edit_is_one_reload_and_one_bad_edit_is_none(host: AgentHost, way: str, plain: str) -> None:
    if way in PREPARE:
        shell(PREPARE[way])(host.node)
        settle(host)
    good_edit(host, way, plain)
    bad_edit(host, way, plain)


def good_edit(host: AgentHost, way: str, plain: str) -> None:
    lifetime = next(_numbers)
    before, reloads = host.outcomes(), host.reloads()
    WAYS[way](_with_new(host.node, LIFETIME.sub(rf"\g<1>{lifetime},", plain)))
    host.wait_for("applied", before)
    assert host.lifetime() == lifetime
    time.sleep(1.5)  # whatever else the way of saving stirs up must have had its time
    assert host.outcomes()["applied"] == before["applied"] + 1
    assert host.reloads() == reloads + 1
    status = host.status()
    assert (status["config_valid"], status["config_in_sync"], status["reload_successful"]) == (True, True, True)
    assert host.outcomes()["rejected"] == before["rejected"]


def bad_edit(host: AgentHost, way: str, plain: str) -> None:
    before, reloads, lifetime = host.outcomes(), host.reloads(), host.lifetime()
    WAYS[way](_with_new(host.node, LIFETIME.sub(r'\g<1>"soon",', plain)))
    reason = host.wait_for("rejected", before)
    place = INCLUDED if way == "included file" else "/etc/kea/"
    assert re.match(rf"{place}\S*:\d+[:.]\d+: ", reason), reason
    assert "integer" in reason
    assert "the server was not touched" in reason
    host.wait_logged(reason)
    assert host.metric("kea_agent_config_valid") == 0
    assert host.metric("kea_agent_config_in_sync") == 0
    assert (host.reloads(), host.lifetime(), host.outcomes()["applied"]) == (reloads, lifetime, before["applied"])


@pytest.mark.parametrize("host", EVERY_HOST, indirect=True)
def test_config_write_saves_what_runs_already(host: AgentHost, plain: str) -> None:
    """`config-set` and `config-write` together: the file now means what runs, so HA need not suffer a reload."""
    lifetime = next(_numbers)
    # The packages' own file is root's, and Kea writes in place.
    host.node.run(["chown", "_kea", CONFIG])
    running = host.node.control("dhcp4", "config-get")["arguments"]
    running.pop("hash", None)
    running["Dhcp4"]["valid-lifetime"] = lifetime
    before, reloads = host.outcomes(), host.reloads()
    assert host.node.control("dhcp4", "config-set", running)["result"] == 0
    written = host.node.control("dhcp4", "config-write")
    assert written["result"] == 0, written
    host.wait_for("unchanged", before)
    status = host.status()
    assert (status["config_valid"], status["config_in_sync"]) == (True, True)
    assert (host.lifetime(), host.reloads(), host.outcomes()["applied"]) == (lifetime, reloads, before["applied"])
