# SPDX-License-Identifier: MPL-2.0
"""`kea-agent metrics`: whom it asks, and what it writes; the collecting itself is tested in the lab."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBus, FakeKea, running

from kea_agent import cli, local
from kea_agent.errors import ExitCode, NoAgentError
from kea_agent.metrics import alone
from kea_agent.settings import load

PAGE = 'kea_up{daemon="dhcp4"} 1.0\nx{a="ü"} 1\n'


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "ask", lambda *_, **__: {"metrics": PAGE})


def absent(*_: object, **__: object) -> dict[str, Any]:
    raise NoAgentError("the agent is not running")


@pytest.mark.usefixtures("answer")
def test_it_prints_what_the_agent_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metrics"]) == ExitCode.OK
    assert capsys.readouterr().out == PAGE


@pytest.mark.usefixtures("answer")
def test_a_file_is_replaced_as_a_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path, before = tmp_path / "kea.prom", os.umask(0o077)
    try:
        path.write_text("old")
        inode = path.stat().st_ino
        assert cli.main(["metrics", "--output", str(path)]) == ExitCode.OK
    finally:
        os.umask(before)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (PAGE, 0o644)
    assert path.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["kea.prom"]


@pytest.mark.usefixtures("answer")
@pytest.mark.parametrize("name", ["absent/kea.prom", "directory"])
def test_a_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "directory").mkdir()
    assert cli.main(["metrics", "--output", str(tmp_path / name)]) == ExitCode.NOT_DONE
    assert f"{tmp_path / name}: cannot be written: " in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["directory"]


def test_without_an_agent_only_root_may_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "ask", absent)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["metrics", "--settings", str(tmp_path)]) == ExitCode.NOT_DONE
    assert "only root may ask Kea itself" in capsys.readouterr().err


def test_wrong_settings_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "ask", absent)
    (tmp_path / "kea-agent.toml").write_text("[web]\nlisten = 3\n")
    assert cli.main(["metrics", "--settings", str(tmp_path)]) == ExitCode.USAGE


class Bus(FakeBus):
    """A bus that also has all properties of a unit at once."""

    def properties(self, path: str, names: object) -> dict[str, Any]:
        return {"ActiveState": "active"}


@pytest.fixture
def unit(tmp_path: Path) -> Callable[[Path], Bus]:
    def made(config: Path) -> Bus:
        return Bus({"kea-dhcp4-server.service": running("/usr/sbin/kea-dhcp4", "-c", str(config), pid=os.getpid())})

    return made


def test_kea_and_the_units_are_asked_without_an_agent(tmp_path: Path, unit: Callable[[Path], Bus]) -> None:
    config = tmp_path / "kea-dhcp4.conf"
    with FakeKea.unix(tmp_path / "s") as kea:
        kea.statistics = {"pkt4-received": 7}
        config.write_text(
            f'{{"Dhcp4": {{"control-socket": {{"socket-type": "unix", "socket-name": "{tmp_path}/s"}}}}}}'
        )
        page = alone.scrape(load(tmp_path), unit(config)).decode()  # type: ignore[arg-type]
    assert 'kea_up{daemon="dhcp4"} 1.0\n' in page
    assert re.search(r'^kea_\w*received\w*\{daemon="dhcp4".*\} 7', page, re.MULTILINE), page
    assert "kea_agent_outcomes" not in page
    assert 'daemon="dhcp6"' not in page


def test_a_file_that_cannot_be_read_does_not_cost_the_scrape(tmp_path: Path, unit: Callable[[Path], Bus]) -> None:
    page = alone.scrape(load(tmp_path), unit(tmp_path / "absent")).decode()  # type: ignore[arg-type]
    assert 'kea_up{daemon="dhcp4"} ' in page
