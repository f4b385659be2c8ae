# SPDX-License-Identifier: MPL-2.0
"""Everything that a file can be instead of a configuration, on every Kea.

Each is told in a clear sentence (status, journal, metrics), touches no Kea, holds up neither the other daemons nor the
agent, and is forgotten with the next good file.
"""

from __future__ import annotations

import re

import pytest
from agenthost import CONFIG, AgentHost
from labkit.host import wait_for
from saving import (
    INCLUDED,
    LIFETIME,
    NEW_LIFETIMES,
    agent_life,
    assert_in_sync,
    edited,
    good_edit,
    on_every_suite,
    others_go_on,
    outcome_of,
    rejected,
    settings,
    shell,
    untouched,
)

HUGE = 50_000_000


# The cases: a script that puts something at $CONFIG, and what the reason says.

CASES: dict[str, tuple[str, str]] = {
    "unreadable": (
        "chown root $CONFIG; chmod 0000 $CONFIG",
        rf'^{CONFIG}: cannot read it: permission denied for user "_kea"',
    ),
    "a directory": ("rm $CONFIG; mkdir $CONFIG", rf"^{CONFIG}: cannot read it: is a directory"),
    "a FIFO": ("rm $CONFIG; mkfifo $CONFIG", rf"^{CONFIG}: cannot read it: not a regular file"),
    "a symlink to itself": (
        "rm $CONFIG; ln -s $CONFIG $CONFIG",
        rf"^{CONFIG}: cannot read it: too many levels of symbolic links",
    ),
    "include loop": (
        """echo '<?include "'$CONFIG'"?>' > $INCLUDED; echo '<?include "'$INCLUDED'"?>' > $CONFIG""",
        rf'^{INCLUDED}:1:1: cannot include "{CONFIG}": include loop: {CONFIG} -> {INCLUDED} -> {CONFIG};',
    ),
    "0 bytes": (": > $CONFIG", rf"^{CONFIG}: empty file"),
    "NULs only": (
        "size=$(stat -c %s $CONFIG); head -c $size /dev/zero > $CONFIG",
        rf'^{CONFIG}:1:1: invalid character "\\x00"',
    ),
    "NUL in a string": (
        """sed -i 's/"renew-timer"/"user-context": { "a": "b\\x00c" }, "renew-timer"/' $CONFIG""",
        rf"^{CONFIG}:\d+:\d+: control character 0x00 in a string",
    ),
    "not UTF-8 and wrong": (
        """LC_ALL=C sed -i 's/"renew-timer"/"caf\\xe9": 1, "renew-timer"/' $CONFIG""",
        rf'^{CONFIG}:\d+:\d+: "caf.*" is no keyword of Kea \[keyword-unknown\]',
    ),
    "50 MB of garbage": (
        f"{{ printf '\\377'; head -c {HUGE} /dev/urandom; }} > $CONFIG.new; mv $CONFIG.new $CONFIG",
        rf'^{CONFIG}:1:1: invalid character "\\xff"',
    ),
    "too large": (
        "{ head -c 68000000 /dev/zero | tr '\\0' '\\n'; cat $CONFIG; } > $CONFIG.new; mv $CONFIG.new $CONFIG",
        rf"^{CONFIG}: cannot read it: the configuration would have more than 67108864 bytes",
    ),
}


@on_every_suite
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_configuration_is_rejected(host: AgentHost, case: str, good: str) -> None:
    script, says = CASES[case]
    rejected(host, lambda: shell(host.node, script), says=says)
    good_edit(host, good)


@on_every_suite
def test_broken_json_is_told_with_file_line_and_column(host: AgentHost, good: str) -> None:
    broken = good.replace('"renew-timer": 900,', '"renew-timer": 900', 1)
    line = broken[: broken.index('"rebind-timer"')].count("\n") + 1
    column = broken.splitlines()[line - 1].index('"rebind-timer"') + 1
    says = f'^{CONFIG}:{line}:{column}: expected "," or "}}" before "rebind-timer"; '
    rejected(host, lambda: host.node.write(CONFIG, broken), says=says)
    good_edit(host, good)


@on_every_suite
def test_a_missing_include_is_rejected_and_its_arrival_is_enough(host: AgentHost, good: str) -> None:
    text = LIFETIME.sub(rf'\g<1><?include "{INCLUDED}"?>,', good, count=1)
    says = rf'^{CONFIG}:\d+:\d+: cannot include "{INCLUDED}": no such file or directory;'
    rejected(host, lambda: host.node.replace(CONFIG, text), says=says)
    lifetime = next(NEW_LIFETIMES)
    outcome_of(host, "applied", lambda: host.node.write(INCLUDED, f"{lifetime}\n"), says="it serves the new")
    assert host.lifetime() == lifetime
    good_edit(host, good)


@on_every_suite
def test_a_file_deleted_for_good_is_told_and_the_same_file_back_is_no_change(host: AgentHost, good: str) -> None:
    says = f"^{CONFIG}: cannot read it: no such file or directory;"
    rejected(host, lambda: shell(host.node, "rm $CONFIG"), says=says)
    with untouched(host):
        outcome_of(host, "unchanged", lambda: host.node.replace(CONFIG, good), says="means what the server runs")
    assert_in_sync(host)
    good_edit(host, good)


# What looks bad and is not.

HARMLESS: dict[str, str] = {
    "not UTF-8 in a comment": r"LC_ALL=C sed -i '1s/^/# caf\xe9 \xff\xfe\n/' $CONFIG",
    "NUL in a comment": r"sed -i '1s/^/# a\x00b\n/' $CONFIG",
}


@on_every_suite
@pytest.mark.parametrize("case", HARMLESS)
def test_odd_bytes_in_a_comment_mean_nothing(host: AgentHost, case: str, good: str) -> None:
    with untouched(host):
        outcome_of(host, "unchanged", lambda: shell(host.node, HARMLESS[case]), says="means what the server runs")
        assert_in_sync(host)
        others_go_on(host)
    good_edit(host, good)


@on_every_suite
def test_a_string_that_is_not_utf8_is_for_kea_to_judge_and_kea_takes_it(host: AgentHost, good: str) -> None:
    script = r"""LC_ALL=C sed -i 's/"renew-timer"/"user-context": { "a": "caf\xe9" }, "renew-timer"/' $CONFIG"""
    outcome_of(host, "applied", lambda: shell(host.node, script), says="it serves the new")
    # The agent has to find its own bytes again in what it remembers.
    with untouched(host):
        outcome_of(host, "unchanged", lambda: shell(host.node, "echo >> $CONFIG"), says="means what the server runs")
    good_edit(host, good)


@on_every_suite
def test_a_huge_file_that_is_valid_is_applied(host: AgentHost, good: str) -> None:
    text, lifetime = edited(good)
    host.node.write("/root/good.conf", text)
    filler = f"yes '// {'x' * 96}' | head -n {HUGE // 100}"
    script = f"{{ {filler}; cat /root/good.conf; }} > $CONFIG.new; mv $CONFIG.new $CONFIG"
    agent = agent_life(host)
    outcome_of(host, "applied", lambda: shell(host.node, script), says="it serves the new")
    print(host.status()["last"]["seconds"])
    assert host.lifetime() == lifetime
    others_go_on(host)
    assert agent_life(host) == agent
    good_edit(host, good)


@on_every_suite
def test_a_file_beyond_the_limit_is_rejected_until_the_limit_is_raised(host: AgentHost, good: str) -> None:
    settings(host, "[check]\nmax_config_bytes = 65536\n")
    text, lifetime = edited(good)
    says = f"^{CONFIG}: cannot read it: the configuration would have more than 65536 bytes;"
    rejected(host, lambda: host.node.replace(CONFIG, "\n" * 65536 + text), says=says)
    before = host.outcomes()
    settings(host, "[check]\nmax_config_bytes = 100000\n")
    host.wait_for("applied", before)
    assert host.lifetime() == lifetime
    good_edit(host, good)


@on_every_suite
def test_a_name_that_is_not_utf8_beside_the_file_is_no_business_of_the_agent(host: AgentHost, good: str) -> None:
    before, events = host.outcomes(), inotify_events(host)
    with untouched(host):
        shell(host.node, r"name=/etc/kea/$(printf 'caf\351\377'); echo > $name; mv $name $name.old; rm $name.old")
        for _ in wait_for(every=0.1):
            if inotify_events(host) > events:
                break
        else:
            raise AssertionError("the agent saw nothing of it")
        others_go_on(host)
    assert host.outcomes() == before
    good_edit(host, good)


def inotify_events(host: AgentHost) -> float:
    """How much the kernel has told the agent."""
    found = re.search(r"^kea_agent_inotify_events_total (\S+)$", host.metrics(), re.MULTILINE)
    assert found
    return float(found[1])
