# SPDX-License-Identifier: MPL-2.0
"""What the agent's user may have systemd do, and that nothing beyond it works: not by name, verb, or transient unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import pytest
from fallbacks import Stage, staged
from labkit import DAEMONS
from labkit.spec import UNITS
from labs import EVERY_SUITE, UpLab

MANAGER = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
REFUSED = re.compile("[Dd]enied|authentication|not permitted|not found|not loaded|only valid for start|instance name")
PROOF = "/root/lab-got-in"
OWN = sorted({name for naming in UNITS.values() for name in naming.values()})
FALLBACKS = [f"kea-agent-fallback@{daemon}.service" for daemon in DAEMONS]
# The verbs of systemctl that change something, and that nobody has allowed.
OTHER_VERBS = (
    "start", "try-restart", "reload-or-restart", "enable", "disable", "mask --runtime", "unmask", "revert", "freeze",
    "clean", "reset-failed", "add-wants --runtime multi-user.target",
)  # fmt: skip
OTHER_UNITS = (
    "lab-foreign.service", "kea-agent.service", "kea-agent-fallback@evil.service", "kea-agent-fallback@.service",
    "kea-agent-fallback@dhcp4-x.service", "kea-agent-fallback-directory@kea.service", "dbus.service", "multi-user.target",
    "kea-dhcp4.socket", "kea-dhcp4-server.service.mount",
)  # fmt: skip

pytestmark = pytest.mark.parametrize("stage", EVERY_SUITE, indirect=True)


@pytest.fixture
def stage(up: UpLab, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A host with a unit that is nobody's business."""
    with staged(up(**request.param)) as stages:
        node = stages[0].node
        node.write("/run/systemd/system/lab-foreign.service", "[Service]\nExecStart=sleep infinity\nExecReload=true\n")
        node.systemctl("daemon-reload")
        node.systemctl("start", "lab-foreign.service")
        yield stages[0]
        node.systemctl("stop", "lab-foreign.service")
        node.run(["rm", "/run/systemd/system/lab-foreign.service"])


def assert_refused(stage: Stage, *words: str) -> None:
    """The command fails, for want of a right or of a unit."""
    done = stage.as_kea(*words)
    assert done.returncode != 0, words
    assert REFUSED.search(done.stderr), (words, done.stderr)


def systemctl(stage: Stage, words: str) -> None:
    """`systemctl WORDS` is refused."""
    assert_refused(stage, "systemctl", "--no-ask-password", *words.split())


def transient(name: str, *auxiliary: str) -> list[str]:
    """A call that would run a command as root, in a unit of that name."""
    run = ["ExecStart", "a(sasb)", "1", "/usr/bin/touch", "2", "touch", PROOF, "false"]
    others = list(chain.from_iterable([other, "1", *run] for other in auxiliary))
    return [
        *MANAGER,
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        name,
        "replace",
        "1",
        *run,
        str(len(auxiliary)),
        *others,
    ]


def test_what_is_allowed_works(stage: Stage) -> None:
    for daemon in DAEMONS:
        own = stage.own(daemon)
        for words in (f"restart {own}", f"stop {own}", f"restart {own}", f"kill --signal=CONT {own}"):
            done = stage.as_kea("systemctl", "--no-ask-password", *words.split())
            assert done.returncode == 0, (words, done.stderr)
        # A restart started the unit that was stopped.
        stage.wait_served(daemon)
        assert stage.is_up(own)
        stage.swap_in(daemon)
        assert stage.as_kea("systemctl", "--no-ask-password", "stop", stage.fallback(daemon)).returncode == 0
        stage.node.systemctl("start", own)


def test_other_verbs_are_refused(stage: Stage) -> None:
    for unit in (stage.own("ddns"), stage.fallback("ddns")):
        for verb in OTHER_VERBS:
            systemctl(stage, f"{verb} {unit}")
        systemctl(stage, f"set-property --runtime {unit} CPUWeight=1")
        systemctl(stage, f"--job-mode=isolate restart {unit}")
    systemctl(stage, f"kill {stage.fallback('ddns')}")
    systemctl(stage, f"reload {stage.fallback('ddns')}")
    systemctl(stage, "daemon-reload")
    # What every unit that is started later would be given.
    systemctl(stage, "set-environment PYTHONPATH=/tmp LD_PRELOAD=/tmp/lab-evil.so")
    systemctl(stage, "unset-environment PATH")
    stage.node.write("/tmp/lab-evil.service", "[Service]\nExecStart=true\n")
    systemctl(stage, "link --runtime /tmp/lab-evil.service")
    assert stage.is_up(stage.own("ddns"))


def test_nothing_is_mounted_into_a_unit(stage: Stage) -> None:
    # Only one that runs, and has a mount namespace of its own, is asked about.
    stage.swap_in("ddns")
    systemctl(stage, f"bind {stage.fallback('ddns')} /root /tmp")
    stage.node.systemctl("start", stage.own("ddns"))


def test_other_units_are_refused(stage: Stage) -> None:
    for unit in OTHER_UNITS:
        for verb in ("restart", "stop", "reload", "kill"):
            systemctl(stage, f"{verb} {unit}")
    assert stage.is_up("lab-foreign.service")


def test_a_name_without_a_unit_starts_nothing(stage: Stage) -> None:
    absent = [name for name in OWN if stage.show(name, "LoadState") == "not-found"]
    assert absent
    for name in absent:
        for call in (["RestartUnit", "ss", name, "replace"], ["EnqueueUnitJob", "sss", name, "restart", "replace"]):
            assert_refused(stage, "busctl", "call", *MANAGER, *call)


def test_no_transient_unit_under_an_allowed_name(stage: Stage) -> None:
    for name in (*OWN, *FALLBACKS):
        assert_refused(stage, "busctl", "call", *transient(name))
    assert_refused(stage, "busctl", "call", *transient("lab-any.service", OWN[0], FALLBACKS[0]))
    assert_refused(stage, "busctl", "call", *transient(FALLBACKS[0], "lab-any.service"))
    assert stage.node.run(["test", "-e", PROOF], check=False).returncode == 1


def test_another_instance_does_nothing_for_root_either(stage: Stage) -> None:
    done = stage.node.run(["systemctl", "start", "kea-agent-fallback@evil.service"], check=False)
    assert done.returncode != 0
    assert "name one of dhcp4, dhcp6, ddns, ctrl-agent" in "\n".join(
        stage.node.journal("kea-agent-fallback@evil.service")
    )


def test_symlinks_for_directories_that_systemd_makes_lead_nowhere(stage: Stage) -> None:
    """Whose units make /run/lock/kea gives it to Kea's user, who may put something else there."""
    own = stage.own()
    stage.node.run(["mkdir", "/etc/lab-target"])
    for target, unit in (("/etc/lab-target", own), ("/etc/lab-new", own), ("/etc/lab-new", stage.fallback())):
        stage.as_kea("sh", "-c", f"rm -rf /run/lock/kea; ln -s {target} /run/lock/kea")
        stage.restart_as_kea(unit)
        assert stage.shell("stat -c '%n %U:%G %a' /etc/lab-*") == "/etc/lab-target root:root 755\n"
    stage.node.run(["rm", "-r", "/run/lock/kea", "/etc/lab-target"])
