# SPDX-License-Identifier: MPL-2.0
"""The .rpm: built from the tree with Debian's rpmbuild, installed into a root of rpm's own, upgraded and erased.

The root has a shell, a systemctl that writes down what it was told, and one package that provides what ours requires,
in the versions that Fedora has. The Python in it is never run: that the modules can be imported, %check has proven.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
CONFIG = "etc/kea-agent/kea-agent.toml"
UNITS = "kea-agent.service kea-agent-rehearse.socket"
# What Fedora's packages provide, by their names there; the first column is what ours asks for.
PROVIDED = {
    "/usr/bin/python3": "",
    "iproute": "",
    "polkit": "",
    "systemd": "257",
    "python(abi)": "{python}",
    "python{python}dist(prometheus-client)": "0.21",
    "python{python}dist(pyinotify)": "0.9.6",
    "python{python}dist(pystemd)": "0.15.3",
    "python{python}dist(sdnotify)": "0.3.2",
    "python{python}dist(pyasyncore)": "1.0.4",
}
PYTHON = subprocess.run(
    ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=True, capture_output=True, text=True
).stdout.strip()  # fmt: skip
# Writes down what it is told to do; what it is asked, a file answers.
SYSTEMCTL = """\
#!/bin/sh
case "$*" in
*is-active*@dhcp6*) [ -e /fallback ] ;;
*is-active*) false ;;
*) echo "$*" >>/told ;;
esac
"""
STUB = """\
Name: distribution
Version: 1
Release: 1
Summary: What the distribution has
License: MPL-2.0
BuildArch: noarch
{provides}
%description
Nothing but names.
%files
"""

pytestmark = pytest.mark.xdist_group("rpm")


def run(*words: str | Path, **environment: str) -> str:
    """What a command prints; its complaints are in the failure."""
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build the tree's .rpm with a release of that suffix, each time in another place."""

    def build_in(suffix: str) -> Path:
        target, work = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("elsewhere")
        run(TOP / "packaging/build-rpm", target, TMPDIR=str(work), **({"DIST": suffix} if suffix else {}))
        return target

    return build_in


@pytest.fixture(scope="module")
def first(build: Callable[[str], Path]) -> Path:
    """The directory of the tree's .rpm and its source."""
    return build("")


def binary(directory: Path) -> Path:
    """The package to install."""
    [found] = directory.glob("*.noarch.rpm")
    return found


@dataclass(frozen=True)
class Root:
    """A root file system that rpm looks after."""

    path: Path

    def rpm(self, *words: str | Path) -> str:
        """Run rpm on it; what it and the scriptlets say."""
        words = ("rpm", "--root", self.path, *words)
        done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def told(self) -> list[str]:
        """What systemctl was told since the last look."""
        log = self.path / "told"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def files(self) -> set[str]:
        """Everything that is there beside rpm's own and the shell's."""
        skipped = ("var/lib/rpm", "usr/lib/sysimage", "lib", "lib64", "bin", "usr/bin/systemctl", "told")
        names = {str(path.relative_to(self.path)) for path in self.path.rglob("*") if not path.is_dir()}
        return {
            name for name in names if not name.startswith(tuple(f"{each}/" for each in skipped)) and name not in skipped
        }


def put_shell(root: Path) -> None:
    """A shell with its libraries, and the systemctl that writes down."""
    shell = Path("/bin/dash")
    needed = re.findall(r"(/\S+)", run("ldd", shell))
    for file, place in [(shell, "bin/sh"), *((Path(each), each.lstrip("/")) for each in needed)]:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / place)
    stub = root / "usr/bin/systemctl"
    stub.parent.mkdir(parents=True)
    stub.write_text(SYSTEMCTL)
    stub.chmod(0o755)


def stub_package(work: Path) -> Path:
    """The package that provides what ours requires."""
    named = {name.format(python=PYTHON): version.format(python=PYTHON) for name, version in PROVIDED.items()}
    provides = "\n".join(f"Provides: {name}{f' = {version}' if version else ''}" for name, version in named.items())
    (work / "distribution.spec").write_text(STUB.format(provides=f"{provides}\nProvides: /bin/sh"))
    run("rpmbuild", "--define", f"_topdir {work}", "-bb", work / "distribution.spec")
    return binary(work / "RPMS/noarch")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """An empty root with everything that ours requires."""
    made = Root(tmp_path / "root")
    made.path.mkdir()
    put_shell(made.path)
    made.rpm("--initdb")
    made.rpm("--install", stub_package(tmp_path))
    return made


def test_the_same_bytes_twice(first: Path, build: Callable[[str], Path]) -> None:
    again = build("")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert [name for name in names if (first / name).read_bytes() != (again / name).read_bytes()] == []


def test_rpmlint_says_nothing(first: Path) -> None:
    told = run("rpmlint", "--config", TOP / "rpm/rpmlint.toml", *first.glob("*.rpm"), TOP / "rpm/kea-agent.spec")
    assert re.search(r"1 packages and 1 specfiles checked; 0 errors, 0 warnings", told), told


def test_what_it_requires_is_said(first: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        ["rpm", "--root", tmp_path / "root", "--install", "--test", binary(first)], capture_output=True, text=True, check=False
    )  # fmt: skip
    missing = re.findall(r"^\t(\S+).* is needed by", done.stderr, re.MULTILINE)
    wanted = {name.format(python=PYTHON) for name in PROVIDED}
    # The stand-in for asyncore is for Python 3.12 and later.
    unneeded = {f"python{PYTHON}dist(pyasyncore)"} if tuple(map(int, PYTHON.split("."))) < (3, 12) else set()
    assert set(missing) == (wanted | {"/bin/sh"}) - unneeded


def test_it_comes_and_goes(first: Path, build: Callable[[str], Path], root: Root) -> None:
    empty = root.files()
    root.rpm("--install", binary(first))
    assert root.told() == [f"--no-reload preset {UNITS}"]
    assert root.rpm("--verify", "--nouser", "--nogroup", "kea-agent") == ""
    own = "[web]\nlisten = []\n"
    (root.path / CONFIG).write_text(own)
    root.rpm("--upgrade", binary(build(".next")))
    assert root.told() == ["try-restart kea-agent.service"]
    assert ((root.path / CONFIG).read_text(), (root.path / f"{CONFIG}.rpmnew").exists()) == (own, False)
    (root.path / "fallback").touch()
    said = root.rpm("--erase", "kea-agent")
    assert "kea-agent: dhcp6 is served by kea-agent-fallback@dhcp6.service on its last known good" in said
    (root.path / "fallback").unlink()
    assert root.told() == [f"--no-reload disable --now {UNITS}"]
    # What a person wrote is never lost; everything else is.
    assert root.files() - empty == {f"{CONFIG}.rpmsave"}


def test_owners_modes_and_places(first: Path) -> None:
    query = "[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES} %{FILEFLAGS:fflags}\n]"
    lines = [
        line.split(" ")
        for line in run("rpm", "--query", "--queryformat", query, "--package", binary(first)).splitlines()
    ]
    assert {owner for _, owner, *_ in lines} == {"root:root"}
    plain = {"-rw-r--r--", "drwxr-xr-x", "lrwxrwxrwx"}
    programs = {name for mode, _, name, _ in lines if mode == "-rwxr-xr-x"}
    assert {mode for mode, *_ in lines} == plain | {"-rwxr-xr-x"}
    own = sorted(path.name for path in (TOP / "units/usr/libexec/kea-agent").iterdir())
    assert programs == {"/usr/bin/kea-agent", "/usr/sbin/keactrl", *(f"/usr/libexec/kea-agent/{name}" for name in own)}
    flags = {name: flag for _, _, name, flag in lines}
    assert flags[f"/{CONFIG}"] == "cn"
    units = {str(path.relative_to(TOP / "units")) for path in (TOP / "units").rglob("*") if not path.is_dir()}
    assert {f"/{name}" for name in units} - flags.keys() == set()


def test_the_user_is_kea_everywhere(first: Path, root: Root) -> None:
    root.rpm("--install", binary(first))
    changed = {}
    for path in sorted((TOP / "units").rglob("*")):
        if path.is_file() and not path.is_symlink():
            there = (root.path / path.relative_to(TOP / "units")).read_text()
            before, after = path.read_text().splitlines(), there.splitlines()
            changed[path.name] = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    pairs = [pair for several in changed.values() for pair in several]
    users = [(before, after) for before, after in pairs if "sys.path" not in before]
    assert {re.sub(r"\b_kea\b", "kea", before) for before, _ in users} == {after for _, after in users}
    assert {"User=kea", "SocketGroup=kea", 'u kea - "Kea DHCP" /var/lib/kea -'} <= {after for _, after in users}
    assert [
        name for name in root.files() if name.startswith("usr/lib/systemd") and "_kea" in (root.path / name).read_text()
    ] == []
    assert len(changed["50-kea-agent.rules"]) == 1


def test_the_launchers_import_from_where_fedora_has_python(first: Path, root: Root) -> None:
    root.rpm("--install", binary(first))
    sites = f'sys.path += ["/usr/lib/python{PYTHON}/site-packages", "/usr/lib64/python{PYTHON}/site-packages"]'
    for name in ("usr/sbin/keactrl", "usr/libexec/kea-agent/rehearse"):
        text = (root.path / name).read_text()
        assert (sites in text, "dist-packages" in text) == (True, False), text
