# SPDX-License-Identifier: MPL-2.0
"""Units as systemd tells of them, through a bus of our own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBus, exec_start, running

from kea_agent.daemons import DHCP4
from kea_agent.errors import BusError, DeniedError, NoReloadError
from kea_agent.units import Unit, discover, read, signal_reload

ISC, DEBIAN, FEDORA = DHCP4.unit_names
ARGV = ("/usr/sbin/kea-dhcp4", "-c", "/etc/kea/kea-dhcp4.conf")


def unit(bus: FakeBus) -> Unit:
    found = discover(bus, DHCP4)
    assert found is not None
    return found


def test_a_running_unit() -> None:
    found = unit(
        FakeBus({DEBIAN: running(*ARGV, Unit_CanReload=True, Service_Environment=["KEA_PIDFILE_DIR=/run/kea"])})
    )
    assert found == Unit(
        name=DEBIAN,
        path=f"/org/freedesktop/systemd1/unit/{DEBIAN}",
        load_state="loaded",
        active_state="active",
        sub_state="running",
        main_pid=4203,
        can_reload=True,
        argv=ARGV,
        environment={"KEA_PIDFILE_DIR": "/run/kea"},
    )
    assert found.config_file == "/etc/kea/kea-dhcp4.conf"
    assert found.is_running
    assert found.state == "active (running)"


@pytest.mark.parametrize("name", DHCP4.unit_names)
def test_every_known_name_is_found(name: str) -> None:
    assert unit(FakeBus({name: running(*ARGV)})).name == name


def test_the_first_known_name_wins() -> None:
    assert unit(FakeBus({FEDORA: running(*ARGV), ISC: running(*ARGV)})).name == ISC


def test_an_alias_leads_to_the_unit() -> None:
    assert unit(FakeBus({FEDORA: running(*ARGV)}, aliases={ISC: FEDORA})).name == FEDORA


def test_a_configured_name_is_the_only_one() -> None:
    bus = FakeBus({DEBIAN: running(*ARGV), "kea@lab.service": running(*ARGV, pid=7)})
    found = discover(bus, DHCP4, "kea@lab.service")
    assert found is not None
    assert found.main_pid == 7
    assert discover(bus, DHCP4, "none.service") is None


def test_no_unit() -> None:
    assert discover(FakeBus({}), DHCP4) is None


def test_a_masked_unit_counts_and_has_no_file() -> None:
    found = unit(FakeBus({DEBIAN: {"Unit.LoadState": "masked", "Unit.ActiveState": "inactive"}}))
    assert found.state == "masked"
    assert found.argv == ()
    assert found.config_file is None
    assert not found.is_running


def test_a_unit_that_is_gone() -> None:
    found = read(FakeBus({}), "/org/freedesktop/systemd1/unit/none.service")
    assert (found.load_state, found.state, found.main_pid) == ("not-found", "not-found", 0)


@pytest.mark.parametrize(
    ("active", "pid", "is_running"),
    [
        ("active", 7, True),
        ("reloading", 7, True),
        ("active", 0, False),
        ("activating", 7, False),
        ("deactivating", 7, False),
        ("failed", 0, False),
        ("inactive", 0, False),
    ],
)
def test_is_running(active: str, pid: int, is_running: bool) -> None:
    assert unit(FakeBus({DEBIAN: running(*ARGV, pid=pid, Unit_ActiveState=active)})).is_running is is_running


def test_how_it_ended_and_whose_it_is() -> None:
    found = unit(
        FakeBus(
            {
                DEBIAN: running(
                    *ARGV,
                    Service_Result="exit-code",
                    Unit_UnitFileState="disabled",
                    Service_User="_kea",
                )
            }
        )
    )
    assert (found.result, found.unit_file_state, found.user) == ("exit-code", "disabled", "_kea")


# -- the command line


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (["k", "-c", "${CONF}"], ("k", "-c", "/etc/kea/x y.conf")),
        (["k", "-c${CONF}"], ("k", "-c/etc/kea/x y.conf")),
        (["k", "$OPTIONS", "-c", "f"], ("k", "-d", "-X", "-c", "f")),
        (["k", "$NONE", "-c", "f"], ("k", "-c", "f")),
        (["k", "${NONE}", "-c", "f"], ("k", "", "-c", "f")),
        # systemd.service(5): no braces, no expansion within a word; two dollars are one.
        (["k", "-c", "/etc/$OPTIONS"], ("k", "-c", "/etc/$OPTIONS")),
        (["k", "-c", "/etc/$${CONF}$$"], ("k", "-c", "/etc/${CONF}$")),
    ],
)
def test_variables_in_the_command_line(words: list[str], argv: tuple[str, ...]) -> None:
    environment = ["CONF=/etc/kea/x y.conf", "OPTIONS=-d  -X"]
    assert unit(FakeBus({DEBIAN: running(*words, Service_Environment=environment)})).argv == argv


def test_the_executed_file_comes_first_whatever_the_first_word() -> None:
    start = exec_start("kea", "-c", "f", path="/usr/sbin/kea-dhcp4")
    found = unit(FakeBus({DEBIAN: running("", Service_ExecStart=start)}))
    assert found.argv == ("/usr/sbin/kea-dhcp4", "-c", "f")


def test_no_variable_says_which_file_is_executed() -> None:
    start = exec_start("kea", "-c", "f", path="/usr/sbin/${NAME}")
    found = unit(FakeBus({DEBIAN: running("", Service_ExecStart=start, Service_Environment=["NAME=../../tmp/x"])}))
    assert found.argv == ("/usr/sbin/${NAME}", "-c", "f")


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_an_environment_file_that_is_none_does_not_hold_anybody(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "kea")
    properties = running(*ARGV, Service_Environment=["A=own"], Service_EnvironmentFiles=[(str(tmp_path / "kea"), True)])
    assert unit(FakeBus({DEBIAN: properties})).environment == {"A": "own"}


def test_a_unit_without_a_command() -> None:
    assert unit(FakeBus({DEBIAN: running("", Service_ExecStart=[])})).argv == ()


def test_environment_files_come_after_the_units_own(tmp_path: Path) -> None:
    (tmp_path / "kea").write_bytes(
        b"# comment\n"
        b"; another=one\n"
        b"\n"
        b"no assignment\n"
        b"A=over\n"
        b"OPTIONS=-d -X\n"
        b'QUOTED="x  y" \n'
        b"SINGLE='$z'\n"
        b"UNBALANCED=don't\n"
        b"EMPTY=\n"
        b"  SPACED = in front\n"
        b"BYTES=\xfc\n"
    )
    files: list[Any] = [[str(tmp_path / "kea"), False], [str(tmp_path / "none"), True]]
    properties = running(*ARGV, Service_Environment=["A=own", "B=b=c"], Service_EnvironmentFiles=files)
    assert unit(FakeBus({DEBIAN: properties})).environment == {
        "A": "over",
        "B": "b=c",
        "OPTIONS": "-d -X",
        "QUOTED": "x  y",
        "SINGLE": "$z",
        "UNBALANCED": "don't",
        "EMPTY": "",
        "SPACED": "in front",
        "BYTES": "\udcfc",
    }


# -- reloading


def test_a_unit_that_can_reload_gets_a_job() -> None:
    bus = FakeBus({DEBIAN: running(*ARGV, Unit_CanReload=True)})
    assert signal_reload(bus, unit(bus)) == "/org/freedesktop/systemd1/job/1"
    assert bus.done == [("reload", DEBIAN)]


def test_a_unit_that_cannot_reload_is_signalled() -> None:
    bus = FakeBus({DEBIAN: running(*ARGV)})
    assert signal_reload(bus, unit(bus)) is None
    assert bus.done == [("kill", DEBIAN, signal.SIGHUP)]


def test_a_unit_that_lost_its_reload_meanwhile_is_signalled() -> None:
    bus = FakeBus({DEBIAN: running(*ARGV, Unit_CanReload=True)})
    bus.reload_error = NoReloadError("no ExecReload")
    assert signal_reload(bus, unit(bus)) is None
    assert bus.done == [("kill", DEBIAN, signal.SIGHUP)]


@pytest.mark.parametrize("error", [BusError("gone"), DeniedError("denied")])
def test_a_refusal_is_not_worked_around(error: BusError) -> None:
    bus = FakeBus({DEBIAN: running(*ARGV, Unit_CanReload=True)})
    bus.reload_error = error
    with pytest.raises(type(error)):
        signal_reload(bus, unit(bus))
    assert bus.done == []
