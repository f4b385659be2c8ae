# SPDX-License-Identifier: MPL-2.0
"""The wheel in a plain virtual environment, with what pip brings and the system packages that docs/usage/install.md names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
# Every module, so that nothing is needed that neither the wheel nor its dependencies have.
IMPORT_ALL = """
import pkgutil, kea_agent
from importlib import import_module
names = [found.name for found in pkgutil.walk_packages(kea_agent.__path__, "kea_agent.")]
print(len([import_module(name) for name in names if not name.endswith("__main__")]), kea_agent.__file__)
"""

pytestmark = pytest.mark.xdist_group("rpm")


def run(*words: str | Path, code: int = 0) -> str:
    """What a command prints; its complaints are in the failure."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the programs of an environment in which nothing but the wheel was asked for."""
    work = tmp_path_factory.mktemp("wheel")
    run(TOP / "packaging/build-sdist", work, "wheel")
    run("/usr/bin/python3", "-m", "venv", work / "environment")
    [wheel] = work.glob("*.whl")
    run(work / "environment/bin/pip", "--disable-pip-version-check", "install", "--quiet", f"{wheel}[web-config]")
    return work / "environment/bin"


def test_the_packages_that_the_page_names_are_debians() -> None:
    [names] = re.findall(r"^# apt-get install (.+?)  ", (TOP / "docs/usage/install.md").read_text(), re.MULTILINE)
    shown = run("dpkg-query", "--show", "--showformat", "${Status}\n", *names.split())
    assert set(shown.splitlines()) == {"install ok installed"}


def test_everything_is_there(programs: Path) -> None:
    number, place = run(programs / "python", "-IWerror", "-c", IMPORT_ALL).split()
    assert int(number) > 100
    assert Path(place).is_relative_to(programs.parent)


def test_the_programs_do_their_work(programs: Path, tmp_path: Path) -> None:
    file = tmp_path / "kea-dhcp4.conf"
    file.write_text('{ "Dhcp4": { "valid-lifetme": 1 } }')
    (tmp_path / "settings").mkdir()
    assert "keyword-unknown" in run(programs / "kea-agent", "check", "--level", "rules", file, code=1)
    assert run(programs / "kea-agent", "run", "--test", "--settings", tmp_path / "settings") == ""
    # Without a command it tells that, or that there is no Kea, and no traceback.
    assert run(programs / "keactrl", code=1).startswith("ERROR/keactrl: ")
