# SPDX-License-Identifier: MPL-2.0
"""kea-agent-fallback@DAEMON.service: who serves, from which file, with which rights, and who stops whom."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fallbacks import KEPT_LIFETIME, Stage, staged
from labkit import DAEMONS, Lab
from labkit.host import wait_for
from labkit.keaconfigs import FILES
from labkit.spec import Daemon
from labs import EVERY_HOST, EVERY_SUITE, UpLab
from load import Report, load, measured
from pairlabs import grouped_pair

# perfdhcp: four messages a client, a second for late answers.
EXCHANGES = ["-r", "20", "-R", "40", "-p", "2", "-W", "1000000"]
VERSIONS: dict[Daemon, str] = {"dhcp4": "-4", "dhcp6": "-6"}
BINARIES = {"dhcp4": "kea-dhcp4", "dhcp6": "kea-dhcp6", "ddns": "kea-dhcp-ddns", "ctrl-agent": "kea-ctrl-agent"}
# systemd's RestartSec= of Kea's own units with our drop-in, and a little.
RETRY_SECONDS = 6
RATE = 100
DROP_IN = "/run/systemd/system/{}.d/99-lab.conf"


@pytest.fixture
def lab(up: UpLab, request: pytest.FixtureRequest) -> Lab:
    """The lab that the parameter asks for."""
    return up(**request.param)


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    """Its first host."""
    with staged(lab) as stages:
        yield stages[0]


every_host = pytest.mark.parametrize("lab", EVERY_HOST, indirect=True)
every_suite = pytest.mark.parametrize("lab", EVERY_SUITE, indirect=True)


@every_host
def test_it_serves_what_was_kept_until_its_own_unit_is_started(lab: Lab, stage: Stage) -> None:
    for daemon in DAEMONS:
        stage.break_file(daemon)
        stage.swap_in(daemon)
    since = time.monotonic()
    for daemon in DAEMONS:
        assert stage.is_up(stage.fallback(daemon))
        assert stage.show(stage.own(daemon), "ActiveState") == "inactive"
        assert stage.shell(f"cat /proc/{stage.main_pid(stage.fallback(daemon))}/comm").strip() == BINARIES[daemon][:15]
    for daemon, version in VERSIONS.items():
        assert stage.config(daemon)["valid-lifetime"] == KEPT_LIFETIME
        assert Report.of(lab.load([version, *EXCHANGES]).stdout).lost == 0
    # Its own unit was about to be started again by systemd; that was called off.
    time.sleep(max(0.0, since + RETRY_SECONDS - time.monotonic()))
    assert [stage.show(stage.own(daemon), "SubState") for daemon in DAEMONS] == ["dead"] * 4
    # All at once: in Debian 12 a DHCP server's unit wants those of the other two daemons.
    for daemon in DAEMONS:
        stage.mend_file(daemon)
    for daemon in DAEMONS:
        stage.node.systemctl("reset-failed", stage.own(daemon), check=False)
        assert stage.restart_as_kea(stage.own(daemon)).returncode == 0
        stage.wait_served(daemon)
        assert stage.is_up(stage.own(daemon))
        assert stage.show(stage.fallback(daemon), "ActiveState") == "inactive"
    assert stage.config("dhcp4")["valid-lifetime"] == 3600


@every_suite
def test_it_leaves_no_trace(stage: Stage) -> None:
    look = "find /etc/kea /run/kea /run/lock/kea /var/log/kea -maxdepth 1 -printf '%p %M %u:%g\\n' | sort; ls -1 /"
    before = stage.shell(look)
    owner = stage.shell("stat -c '%a %U:%G' /var/lib/kea /var/lib/kea-agent")
    stage.swap_in("dhcp4")
    stage.swap_in("dhcp6")
    stage.node.systemctl("stop", stage.fallback("dhcp4"), stage.fallback("dhcp6"))
    assert stage.node.run(["pgrep", "kea-dhcp[46]$"], check=False).stdout == ""
    assert ":0043" not in stage.open_ports()
    assert (stage.is_up(stage.own("dhcp4")), stage.show(stage.own("dhcp4"), "ActiveState")) == (False, "inactive")
    stage.node.systemctl("start", stage.own("dhcp4"), stage.own("dhcp6"))
    stage.wait_served("dhcp4")
    stage.wait_served("dhcp6")
    assert stage.shell(look) == before
    assert stage.shell("stat -c '%a %U:%G' /var/lib/kea /var/lib/kea-agent") == owner


@every_suite
def test_a_person_who_starts_its_own_unit_in_vain(stage: Stage) -> None:
    stage.break_file("dhcp4")
    stage.swap_in("dhcp4")
    stage.node.systemctl("start", stage.own(), check=False)
    for _ in wait_for(every=0.1):
        if stage.show(stage.own(), "SubState").startswith("auto-restart"):
            break
    assert stage.show(stage.own(), "Result") == "exit-code"
    assert stage.show(stage.fallback(), "ActiveState") == "inactive"
    stage.swap_in("dhcp4")
    assert stage.config("dhcp4")["valid-lifetime"] == KEPT_LIFETIME


@every_suite
def test_the_gap_when_they_change_places(lab: Lab, stage: Stage) -> None:
    for what, unit in (("to the fallback", stage.fallback()), ("back to its own unit", stage.own())):
        with load(lab, RATE, offers_only=True) as clients:
            assert stage.restart_as_kea(unit).returncode == 0
            stage.wait_served("dhcp4")
        lost = clients.report.lost
        measured(f"{lab.spec.suite}: {what}: {lost * 1000 // RATE} ms without DHCP ({clients.report})")
        assert lost < 2 * RATE
        assert stage.is_up(unit)


@every_suite
def test_a_reboot_tries_its_own_unit_first(lab: Lab, stage: Stage) -> None:
    stage.swap_in("dhcp4")
    lab.power_off("node1")
    lab.power_on("node1")
    for _ in wait_for(every=0.5):
        if stage.node.leader() and stage.node.run(["systemctl", "is-active", stage.own()], check=False).returncode == 0:
            break
    stage.wait_served("dhcp4")
    assert stage.config("dhcp4")["valid-lifetime"] == 3600
    assert stage.show(stage.fallback(), "ActiveState") == "inactive"
    assert stage.show(stage.fallback(), "UnitFileState") == "static"


@every_suite
def test_the_words_and_the_environment_are_those_of_its_own_unit(stage: Stage) -> None:
    binary = stage.shell("command -v kea-dhcp4").strip()
    stage.shell("mkdir /etc/kea/site; cp -p /etc/kea/kea-dhcp4.conf /etc/kea/site/other.conf; echo LAB=b >/run/lab-env")
    text = f"""[Service]
        Environment=KEA_LAB=a
        EnvironmentFile=/run/lab-env
        ExecStart=
        ExecStart={binary} -d -c /etc/kea/site/other.conf
    """
    stage.node.run(["install", "-D", "/dev/stdin", DROP_IN.format(stage.own())], stdin=text)
    stage.node.systemctl("daemon-reload")
    stage.swap_in("dhcp4")
    pid = stage.main_pid(stage.fallback())
    assert stage.shell(f"tr '\\0' ' ' </proc/{pid}/cmdline").split() == [binary, "-d", "-c", "/etc/kea/other.conf"]
    environment = stage.shell(f"tr '\\0' '\\n' </proc/{pid}/environ").split()
    assert {"KEA_LAB=a", "LAB=b", "KEA_LOCKFILE_DIR=/run/lock/kea"} <= set(environment)
    assert stage.config("dhcp4")["valid-lifetime"] == KEPT_LIFETIME


@every_suite
def test_directories_that_went_with_its_own_unit_are_made_again(stage: Stage) -> None:
    drop_in = DROP_IN.format(stage.own())
    stage.node.run(["install", "-D", "/dev/stdin", drop_in], stdin="[Service]\nRuntimeDirectoryPreserve=no\n")
    stage.node.systemctl("daemon-reload")
    for daemon in ("dhcp6", "ddns", "ctrl-agent"):
        stage.node.systemctl("stop", stage.own(daemon))
    stage.swap_in("dhcp4")
    told = stage.shell("stat -c '%n %a %U:%G' /run/kea /run/lock/kea").splitlines()
    assert told == ["/run/kea 750 _kea:_kea", "/run/lock/kea 750 _kea:_kea"]


@every_suite
@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("rm kea-dhcp4.conf", "no such file or directory; nothing good is kept", id="nothing kept"),
        pytest.param("rm kea-dhcp4.conf; mkdir kea-dhcp4.conf", "not a file", id="directory"),
        pytest.param("rm kea-dhcp4.conf; mkfifo kea-dhcp4.conf", "not a file", id="fifo"),
        pytest.param("ln -sf /etc/shadow kea-dhcp4.conf", "not a file that user", id="shadow"),
        # Readable by everybody in a directory that is closed.
        pytest.param("ln -sf /root/closed/s kea-dhcp4.conf", "permission denied", id="closed directory"),
        pytest.param("cd ..; rm -r dhcp4; ln -s /root/closed dhcp4", "permission denied", id="directory elsewhere"),
        pytest.param("chown root:root kea-dhcp4.conf", "not a file that user", id="unreadable"),
    ],
)
def test_what_is_refused_costs_one_start_of_its_own_unit(stage: Stage, script: str, said: str) -> None:
    stage.shell("mkdir /root/closed; chmod 700 /root/closed; echo lab-secret >/root/closed/s; chmod 644 /root/closed/s")
    stage.shell(f"cd /var/lib/kea-agent/dhcp4; {script}")
    since = time.time()
    assert stage.restart_as_kea(stage.fallback()).returncode != 0
    stage.wait_up(stage.own())
    journal = stage.shell(f"journalctl --no-pager --output cat --since @{since - 1:.3f}")
    assert "not started on the last known good configuration" in journal
    assert said in journal
    assert "lab-secret" not in journal
    stage.wait_served("dhcp4")


@every_suite
def test_another_user_is_refused(stage: Stage) -> None:
    stage.node.run(["install", "-D", "/dev/stdin", DROP_IN.format(stage.own())], stdin="[Service]\nUser=root\n")
    stage.node.systemctl("daemon-reload")
    since = time.time()
    assert stage.restart_as_kea(stage.fallback()).returncode != 0
    assert "runs as root" in stage.shell(f"journalctl --no-pager --unit {stage.fallback()} --since @{since - 1:.3f}")


@every_suite
def test_symlinks_of_kea_in_its_own_directory_lead_nowhere(stage: Stage) -> None:
    """A mount point that is a symlink would be made, or covered, by systemd as root."""
    planted = {".operator": "/etc/nologin", ".last-known-good": "/etc/lab-new", "kea-dhcp4.conf": "/etc/lab-file"}
    for name, target in planted.items():
        stage.shell(f"rm -rf /etc/kea/{name}; ln -s {target} /etc/kea/{name}; chown -h _kea /etc/kea/{name}")
    stage.node.systemctl("stop", stage.own())
    stage.swap_in("dhcp4")
    assert stage.config("dhcp4")["valid-lifetime"] == KEPT_LIFETIME
    assert stage.shell("ls -d /etc/nologin /etc/lab-new /etc/lab-file 2>/dev/null || true") == ""


@every_suite
def test_it_has_no_more_rights_than_kea(stage: Stage) -> None:
    wanted = {"dhcp4": "2400", "dhcp6": "400", "ddns": "400", "ctrl-agent": "0"}
    for daemon in DAEMONS:
        stage.swap_in(daemon)
        status = stage.shell(f"cat /proc/{stage.main_pid(stage.fallback(daemon))}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        sets = [fields[name].lstrip("0") or "0" for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")]
        assert sets == [wanted[daemon]] * 4
        # With it AppArmor keeps kea-dhcp4 and kea-dhcp6 from starting kea-lfc.
        assert fields["NoNewPrivs"] == ("0" if daemon in VERSIONS else "1")
        stage.node.systemctl("start", stage.own(daemon))


@every_suite
@pytest.mark.parametrize("daemon", list(FILES))
def test_kea_says_why_it_did_not_start(stage: Stage, daemon: Daemon) -> None:
    since = time.time()
    stage.break_file(daemon)
    ask = f"from kea_agent.journal import complaint; print(complaint('{stage.own(daemon)}', {since - 1}))"
    said = stage.node.run(["python3", "-I", "-c", ask]).stdout
    assert f"/etc/kea/{FILES[daemon]}:1.3: Invalid character: n" in said


@pytest.mark.parametrize("lab", [grouped_pair("trixie"), grouped_pair("sid"), grouped_pair("bookworm")], indirect=True)
def test_a_partner_on_its_fallback_is_a_partner(lab: Lab) -> None:
    with staged(lab) as stages:
        first = stages[0]
        first.break_file("dhcp4")
        first.swap_in("dhcp4")
        lab_is_normal(lab)
        assert first.is_up(first.fallback())
        assert Report.of(lab.load(["-4", *EXCHANGES]).stdout).lost == 0


def lab_is_normal(lab: Lab) -> None:
    """Wait until both servers have each other back."""
    states: list[str] = []
    for _ in wait_for(every=0.5):
        found = [node.control("dhcp4", "status-get")["arguments"]["high-availability"] for node in lab.nodes]
        servers = [each[0]["ha-servers"] for each in found]
        states = [
            each[side].get("state", each[side].get("last-state")) for each in servers for side in ("local", "remote")
        ]
        if set(states) == {"hot-standby"}:
            return
    raise AssertionError(states)
