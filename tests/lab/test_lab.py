# SPDX-License-Identifier: MPL-2.0
"""The lab itself: what the other tests stand on."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from labkit import Lab, LabSpec, NotReadyError, cgroups, down, keaconfigs, mounts
from labkit.lab import STATE
from labkit.network import Network
from labs import NAME, UpLab

LAB = str(Path(__file__).with_name("lab"))
OWN = f"{NAME}-own"

pytestmark = pytest.mark.xdist_group("lab")


def lab_command(*words: str) -> subprocess.CompletedProcess[str]:
    """`lab WORDS`, as typed."""
    return subprocess.run([LAB, *words], capture_output=True, text=True, check=False, timeout=120)


def left_of(name: str) -> list[str]:
    """Whatever of a lab is still on this machine."""
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True).stdout)
    places = [STATE / name, cgroups.of_lab(name), Path("/run/netns") / Network(name).namespace]
    places += [Path("/run/systemd/nspawn") / kind / f"{name}-node1" for kind in ("propagate", "unix-export")]
    return [
        *(str(place) for place in places if place.exists()),
        *(f"mount {point}" for point in mounts.mounted_below(STATE / name)),
        *(f"link {link['ifname']}" for link in links if link["ifname"].startswith(f"vb-{name}"[:10])),
        *(f"process {pid}" for pid in _processes(name)),
    ]


def _processes(name: str) -> Iterator[str]:
    """Those that live: one that was killed is there until init, which is not the lab's, has noticed."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"/kea-agent-lab/{name}/" in (entry / "cgroup").read_text() and (entry / "cmdline").read_bytes():
                yield entry.name
        except OSError:
            continue


@pytest.fixture
def own_name() -> Iterator[str]:
    """A lab of the test's own: the worker's lab is not for taking down."""
    yield OWN
    down(OWN)


def test_up_again_reuses_and_down_leaves_nothing(own_name: str) -> None:
    words = ("up", "--name", own_name, "--no-agent")
    first = lab_command(*words)
    assert first.returncode == 0, first.stderr
    before = Lab.find(own_name).node("node1").leader()
    assert before is not None
    again = lab_command(*words)
    assert again.returncode == 0, again.stderr
    assert "booting" not in again.stderr
    assert Lab.find(own_name).node("node1").leader() == before
    assert left_of(own_name) != []
    assert lab_command("down", "--name", own_name).returncode == 0
    assert left_of(own_name) == []
    assert lab_command("down", "--name", own_name).returncode == 0, "a lab that is not there is down"


def test_other_words_make_another_lab(own_name: str) -> None:
    first = Lab.up(LabSpec(name=own_name)).node("node1").leader()
    second = Lab.up(LabSpec(name=own_name, units="isc"))
    assert second.node("node1").leader() != first
    assert second.node("node1").systemctl("is-active", "isc-kea-dhcp4-server.service") == "active"


def test_exec_passes_exit_codes_and_streams_on(up: UpLab) -> None:
    lab = up(suite="trixie")
    for code in (0, 1, 7, 255):
        assert (
            lab_command("exec", "--name", lab.spec.name, "node1", "--", "sh", "-c", f"exit {code}").returncode == code
        )
    done = lab_command("exec", "--name", lab.spec.name, "node1", "--", "sh", "-c", "hostname; echo no >&2")
    assert (done.stdout, done.stderr) == ("node1\n", "no\n")
    done = lab_command("exec", "--name", lab.spec.name, "node2", "--", "true")
    assert (done.returncode, done.stderr) == (1, f"lab: lab '{lab.spec.name}' has no node2, only node1\n")
    assert lab_command("exec", "--name", "nowhere", "node1", "--", "true").returncode == 1
    assert lab_command("up", "--name", "nowhere", "--nodes", "1", "--ha", "hot-standby").returncode == 2


def test_a_unit_that_stopped_is_named(own_name: str) -> None:
    lab = Lab.up(LabSpec(name=own_name))
    lab.node("node1").systemctl("stop", "kea-dhcp6-server.service")
    done = lab_command("status", "--name", own_name)
    assert done.returncode == 1
    assert "  not ready: node1 kea-dhcp6-server.service: inactive" in done.stdout
    with pytest.raises(NotReadyError, match=r"^node1 kea-dhcp6-server\.service: inactive"):
        lab.wait_ready(1)


def test_up_names_the_unit_that_does_not_start_and_shows_its_journal(
    own_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = tmp_path / "templates"
    shutil.copytree(keaconfigs.TEMPLATES, templates)
    with (templates / "kea-dhcp-ddns.conf").open("a") as stream:
        stream.write("}\n")
    monkeypatch.setattr(keaconfigs, "TEMPLATES", templates)
    with pytest.raises(NotReadyError) as caught:
        Lab.up(LabSpec(name=own_name))
    # The others may not be up yet: it does not wait for them once one has failed.
    failed = [problem.unit for problem in caught.value.problems if problem.final]
    assert failed == ["kea-dhcp-ddns-server.service"]
    assert "node1 kea-dhcp-ddns-server.service: failed" in str(caught.value)
    assert "syntax error" in str(caught.value)
    # It is left to be looked at.
    assert Lab.find(own_name).node("node1").leader() is not None
