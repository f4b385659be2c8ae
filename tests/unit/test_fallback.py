# SPDX-License-Identifier: MPL-2.0
"""What the fallback unit's launcher starts, and what it refuses; the programs and files are real ones of our own."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBus, running

from kea_agent.bus import Bus
from kea_agent.errors import BusError
from kea_agent.fallback import REFUSED, Launch, Places, RefusedError, lay_out, main, plan

OWN = "kea-dhcp4-server.service"
BINARY = "/usr/sbin/kea-dhcp4"
ME = pwd.getpwuid(os.getuid()).pw_name
Connect = Callable[[], Bus]


class Connection(FakeBus):
    """FakeBus that can be closed."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """As the unit's view is when the launcher starts: the operator's files and the state, one below the other."""
    places = Places(settings=tmp_path / "settings", view=tmp_path / "kea")
    kept = places.view / places.kept / "dhcp4"
    kept.mkdir(parents=True)
    (kept / "kea-dhcp4.conf").write_text('{"Dhcp4": {}}')
    operator = places.view / places.operator
    (operator / "tls").mkdir(parents=True)
    (operator / "tls/cert.pem").write_text("certificate")
    (operator / "kea-dhcp4.conf").write_text("{ broken")
    return places


def own_unit(*argv: str, **more: Any) -> Connect:
    """Systemd with the daemon's own unit, which runs as whoever runs the tests."""
    return lambda: Connection({OWN: running(*argv, Service_User=ME, **more)})  # type: ignore[return-value]


def no_bus() -> Bus:
    raise BusError("connect the system bus: no such file or directory")


def planned(places: Places, connect: Connect, daemon: str = "dhcp4") -> Launch:
    return plan([daemon], places, connect)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["-c", "/etc/kea/kea-dhcp4.conf"], []),
        (["-c/etc/kea/kea-dhcp4.conf"], []),
        (["-d", "-c", "/etc/kea/kea-dhcp4.conf", "-X"], ["-d", "-X"]),
        (["-p", "1067", "-c", "/opt/a", "-c", "/etc/kea/kea-dhcp4.conf"], ["-p", "1067"]),
        ([], []),
    ],
)
def test_the_words_of_its_own_unit_with_another_file(places: Places, words: list[str], kept: list[str]) -> None:
    launch = planned(places, own_unit(BINARY, *words))
    assert launch.argv == (BINARY, *kept, "-c", str(places.view / "kea-dhcp4.conf"))
    assert launch.kept.read_text() == '{"Dhcp4": {}}'
    assert launch.own_unit == OWN


def test_the_environment_is_that_of_its_own_unit(places: Places) -> None:
    connect = own_unit(BINARY, Service_Environment=["KEA_LOCKFILE_DIR=/run/lock/kea"])
    assert planned(places, connect).environment == {"KEA_LOCKFILE_DIR": "/run/lock/kea"}


def test_the_name_of_a_file_elsewhere_is_kept(places: Places) -> None:
    launch = planned(places, own_unit(BINARY, "-c", "/srv/kea/site.json"))
    assert launch.argv[-2:] == ("-c", str(places.view / "site.json"))
    assert launch.kept.name == "kea-dhcp4.conf"


def test_the_settings_name_unit_and_file(places: Places) -> None:
    places.settings.mkdir()
    (places.settings / "kea-agent.toml").write_text(
        '[daemon.dhcp4]\nunit = "dhcp@lab.service"\nconfig_file = "/srv/lab.conf"\n'
    )
    units = {"dhcp@lab.service": running(BINARY, "-d", Service_User=ME), OWN: running(BINARY, Service_User="root")}
    launch = planned(places, lambda: Connection(units))  # type: ignore[arg-type, return-value]
    assert launch.argv == (BINARY, "-d", "-c", str(places.view / "lab.conf"))
    assert launch.own_unit == "dhcp@lab.service"


def test_wrong_settings_do_not_keep_it_from_serving(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    places.settings.mkdir()
    (places.settings / "kea-agent.toml").write_text("nonsense")
    assert planned(places, own_unit(BINARY)).argv[0] == BINARY
    assert "<4>the agent's settings are wrong, the packages' names hold: " in capsys.readouterr().err


@pytest.mark.parametrize("connect", [no_bus, lambda: Connection({})])
def test_without_a_unit_to_ask_it_is_as_the_packages_have_it(
    places: Places, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "kea-dhcp4"
    binary.touch(0o755)
    monkeypatch.setattr("kea_agent.fallback._PROGRAMS", str(tmp_path))
    launch = planned(places, connect)
    assert launch.argv == (str(binary), "-c", str(places.view / "kea-dhcp4.conf"))
    assert launch.environment == {}


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (["/usr/bin/chrt", "-f", "1", BINARY, "-d", "-c", "/etc/kea/kea-dhcp4.conf"], (BINARY, "-d")),
        (["/usr/bin/env", "A=b", "kea-dhcp4", "-d", "-c", "/etc/kea/kea-dhcp4.conf"], ("{}/kea-dhcp4", "-d")),
        (["/opt/start-kea", "-c", "/etc/kea/kea-dhcp4.conf"], ("{}/kea-dhcp4",)),
    ],
)
def test_a_unit_that_starts_kea_through_something_else(
    words: list[str],
    argv: tuple[str, ...],
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "kea-dhcp4").touch(0o755)
    monkeypatch.setattr("kea_agent.fallback._PROGRAMS", str(tmp_path))
    launch = planned(places, own_unit(*words))
    assert launch.argv[:-2] == tuple(word.format(tmp_path) for word in argv)
    assert capsys.readouterr().err == f"<4>{words[0]} is left out, kea-dhcp4 is started directly\n"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("", "runs as root and this would run as user"),
        ("0", "runs as 0 and this would run as user"),
        ("kea-lab-nobody", "whom this host does not know"),
    ],
)
def test_another_user_is_refused(places: Places, user: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    connect = lambda: Connection({OWN: running(BINARY, Service_User=user)})  # noqa: E731
    with pytest.raises(RefusedError, match=said):
        planned(places, connect)  # type: ignore[arg-type]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file or directory; nothing good is kept"),
        (Path.mkdir, "not a file that user"),
        (make_fifo, "not a file that user"),
        (lambda path: path.symlink_to("nowhere"), "no such file or directory"),
        (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_refused(places: Places, make: Callable[[Path], None], said: str) -> None:
    kept = places.view / places.kept / "dhcp4/kea-dhcp4.conf"
    kept.unlink()
    make(kept)
    with pytest.raises(RefusedError, match=said):
        planned(places, own_unit(BINARY))


@pytest.mark.parametrize("words", [["evil"], [], ["dhcp4", "dhcp6"], ["../dhcp4"]])
def test_only_a_daemon_can_be_started(places: Places, words: list[str]) -> None:
    with pytest.raises(RefusedError, match="name one of dhcp4, dhcp6, ddns, ctrl-agent"):
        plan(words, places, own_unit(BINARY))


def test_the_operators_files_are_where_they_were(places: Places) -> None:
    launch = planned(places, own_unit(BINARY))
    lay_out(launch, places)
    assert (places.view / "tls/cert.pem").read_text() == "certificate"
    assert launch.config_file.read_text() == '{"Dhcp4": {}}'
    assert (places.view / places.operator / "kea-dhcp4.conf").read_text() == "{ broken"


def test_a_host_without_operators_files(places: Places, tmp_path: Path) -> None:
    bare = Places(settings=places.settings, view=tmp_path / "bare")
    (bare.view / bare.kept / "dhcp4").mkdir(parents=True)
    (bare.view / bare.kept / "dhcp4/kea-dhcp4.conf").write_text("{}")
    launch = planned(bare, own_unit(BINARY))
    lay_out(launch, bare)
    assert launch.config_file.read_text() == "{}"


def test_by_hand_it_says_what_it_refuses_and_exits() -> None:
    command = [sys.executable, "-m", "kea_agent.fallback", "evil"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == REFUSED
    assert done.stderr.startswith("<3>not started on the last known good configuration: name one of dhcp4")
    assert main(["evil"]) == REFUSED
