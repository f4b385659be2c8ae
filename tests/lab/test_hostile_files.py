# SPDX-License-Identifier: MPL-2.0
"""Files that cost as much as possible, and files with a secret where a mistake is, on every Kea."""

from __future__ import annotations

import json
from functools import partial

import pytest
from agenthost import CONFIG, AgentHost
from saving import (
    INCLUDED,
    LIFETIME,
    agent_life,
    assert_in_sync,
    edited,
    good_edit,
    on_every_suite,
    others_go_on,
    outcome_of,
    untouched,
)

SECRET = "Zk9-hunter2"
NUMBER = "83647561928374650192837465"

# A finding stands right beside each, so that the place of it is shown.
COSTLY = {
    "40 comments after a string": '"shared-networks": [ { "name": "x" %s } ],' % ("/* a */ " * 40),
    "150,000 signs in a line": '"shared-networks": [ { "name": "x" } ], %s\n' % ("#" * 150_000),
    "150,000 signs in a comment": '"shared-networks": [ { "name": "x" /* %s */ } ],' % ("#" * 150_000),
    "100,000 escapes in a comment": '"shared-networks": [ { "name": "x" } ], # %s\n' % ('"\\"' * 50_000),
}


@on_every_suite
@pytest.mark.parametrize("case", COSTLY)
def test_a_valid_file_that_is_costly_to_look_at_is_applied(host: AgentHost, case: str, good: str) -> None:
    text, lifetime = edited(good)
    agent = agent_life(host)
    text = LIFETIME.sub(lambda found: f"{COSTLY[case]} {found[0]}", text, count=1)
    outcome_of(host, "applied", lambda: host.node.replace(CONFIG, text), says="it serves the new")
    assert host.lifetime() == lifetime
    assert_in_sync(host)
    others_go_on(host)
    # Not ended by its watchdog, nor by anybody else.
    assert agent_life(host) == agent
    good_edit(host, good)


# What stands before "valid-lifetime", and what is in the file that it may include.
SECRETS = {
    "misspelt": (f'"hosts-database": {{ "type": "mysql", "pasword": "{SECRET}" }},', ""),
    "unquoted": (f'"hosts-database": {{ "type": "mysql", "password": {SECRET} }},', ""),
    "equals": (f'"hosts-database": {{ "type": "mysql", "password" = "{SECRET}" }},', ""),
    "list": (f'"hosts-database": {{ "type": "mysql", "password": [ "{SECRET}" ] }},', ""),
    "number": (f'"hosts-database": {{ "type": "mysql", "password": {NUMBER} }},', ""),
    "uri": (f'"hosts-database": {{ "type": "no", "host": "kea:{SECRET}@db.example.org" }},', ""),
    "hook": (f'"hooks-libraries": [ {{ "library": 1, "parameters": {{ "api_key": "{SECRET}" }} }} ],', ""),
    "option": (
        f'"option-def": [ {{ "name": "x", "code": 222, "type": "ipv4-address" }} ], "option-data": [ {{ "name": "x", "data": "{SECRET}" }} ],',
        "",
    ),
    "included": (f'"hosts-database": {{ "type": "mysql", <?include "{INCLUDED}"?> }},', f"{SECRET}\n"),
}


@on_every_suite
def test_no_secret_beside_a_mistake_is_told(host: AgentHost, good: str) -> None:
    known = len(host.journal())
    for case, (member, included) in SECRETS.items():
        print(case)
        host.node.write(INCLUDED, included or "# nothing\n")
        text = LIFETIME.sub(lambda found: f"{member}\n {found[0]}", good, count=1)  # noqa: B023 - called at once
        save = partial(host.node.replace, CONFIG, text)
        with untouched(host):
            outcome_of(host, "rejected", save, says="the server was not touched")
        for place, said in _told(host, known).items():
            assert SECRET not in said, (case, place)
            assert NUMBER not in said, (case, place)
    good_edit(host, good)


def _told(host: AgentHost, known: int) -> dict[str, str]:
    """Everything that anybody, or a CI job's log, gets to see."""

    def said(*command: str) -> str:
        done = host.node.run(list(command), check=False)
        return done.stdout + done.stderr

    revision = json.loads(said("kea-agent", "history", "--json", "dhcp4"))["dhcp4"][0]["number"]
    return {
        "status.json": host.node.read("/run/kea-agent/status.json"),
        "status": said("kea-agent", "status"),
        "page": said("curl", "--silent", "http://127.0.0.1:9673/"),
        "metrics": host.metrics(),
        "journal": host.journal()[known:],
        "history": said("kea-agent", "history", "dhcp4")
        + said("kea-agent", "history", "dhcp4", "--show", str(revision)),
        "check": "".join(
            said("kea-agent", "check", "--format", form, CONFIG) for form in ("text", "json", "github", "sarif")
        ),
        "diff": said("kea-agent", "diff", "dhcp4") + json.dumps(said("kea-agent", "diff", "--json", "dhcp4")),
    }
