# SPDX-License-Identifier: MPL-2.0
"""What is installed beside the Python code fits it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kea_agent import __version__
from kea_agent.daemons import DAEMONS
from kea_agent.metrics import own, passes
from kea_agent.metrics.collection import DEFINITIONS
from kea_agent.metrics.statistics import FAMILIES
from kea_agent.settings import catalogue

TOP = Path(__file__).parents[2]
SYSTEMD = TOP / "units/usr/lib/systemd/system"
NAMES = {name for daemon in DAEMONS for name in daemon.unit_names}


def test_every_known_unit_has_the_drop_in() -> None:
    dropped_into = {path.parent.name.removesuffix(".d") for path in SYSTEMD.glob("*.service.d/10-kea-agent.conf")}
    assert dropped_into == NAMES
    assert len({path.resolve() for path in SYSTEMD.glob("*.d/10-kea-agent.conf")}) == 1


def test_polkit_lets_the_agent_at_every_known_unit_and_no_other() -> None:
    rules = (TOP / "units/usr/share/polkit-1/rules.d/50-kea-agent.rules").read_text()
    found = re.search(r"var unit = /(.*)/;", rules)
    assert found
    pattern = re.compile(found[1])
    others = [
        "ssh.service",
        "kea-agent.service",
        "kea-dhcp4.service.d",
        "xkea-dhcp4.service",
        "kea-dhcp4-server.socket",
    ]
    assert [name for name in NAMES if not pattern.search(name)] == []
    assert [name for name in others if pattern.search(name)] == []


def test_polkit_never_allows_start() -> None:
    """Since systemd 257 a transient unit with a free name is asked for as `start` of that name, and runs as root."""
    rules = (TOP / "units/usr/share/polkit-1/rules.d/50-kea-agent.rules").read_text()
    assert re.findall(r"var \w*[vV]erbs = (\[.*\]);", rules) == [
        '["reload", "kill", "restart", "stop"]',
        '["restart", "stop"]',
    ]


def test_polkit_lets_the_agent_at_the_fallback_of_each_daemon_and_no_other() -> None:
    rules = (TOP / "units/usr/share/polkit-1/rules.d/50-kea-agent.rules").read_text()
    found = re.search(r"var fallback = /(.*)/;", rules)
    assert found
    others = [f"kea-agent-fallback@{name}.service" for name in ("", "evil", "dhcp4-x", "dhcp4.service@x")]
    names = [f"kea-agent-fallback@{daemon.name}.service" for daemon in DAEMONS]
    assert [name for name in (*names, *others) if re.search(found[1], name)] == names


def test_each_fallback_excludes_every_name_of_its_own_unit() -> None:
    for daemon in DAEMONS:
        text = (SYSTEMD / f"kea-agent-fallback@{daemon.name}.service.d/10-units.conf").read_text()
        for key in ("Conflicts", "After", "OnFailure"):
            assert re.findall(rf"^{key}=(.*)$", text, re.MULTILINE) == [" ".join(daemon.unit_names)]
        assert f"SyslogIdentifier={daemon.binary}\n" in text


def test_directories_are_made_after_every_unit_that_takes_them_away() -> None:
    text = (SYSTEMD / "kea-agent-fallback-directory@.service").read_text()
    assert (
        set(re.findall(r"\S+\.service", "".join(re.findall(r"^After=.*\n", text, re.MULTILINE)).replace("After=", "")))
        == NAMES
    )


def test_nothing_is_mounted_from_or_to_a_place_that_kea_may_replace() -> None:
    """A symlink there would lead systemd, which mounts as root, to any file of the host."""
    text = (SYSTEMD / "kea-agent-fallback@.service").read_text()
    empty = re.findall(r"^TemporaryFileSystem=([^:\n]*)", text, re.MULTILINE)
    mounts = re.findall(r"-?(\S+?):(\S+)", "".join(re.findall(r"^BindReadOnlyPaths=(.*)$", text, re.MULTILINE)))
    assert empty == ["/etc/kea"]
    assert mounts == [("/etc/kea", "/etc/kea/.operator"), ("/var/lib/kea-agent", "/etc/kea/.last-known-good")]
    assert "ReadWritePaths=/etc" not in text, "would take the place of the empty directory"


def test_the_agent_starts_after_the_dhcp_servers() -> None:
    unit = (SYSTEMD / "kea-agent.service").read_text()
    dhcp = {name for name in NAMES if "dhcp4" in name or "dhcp6" in name}
    assert dhcp <= set(re.findall(r"\S+\.service", unit))


def release(top: Path) -> subprocess.CompletedProcess[str]:
    """What the release says of the versions in a tree."""
    words: list[str | Path] = [sys.executable, top / "packaging/release", "--check"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_versions_agree() -> None:
    done = release(TOP)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one version everywhere\n", "")


@pytest.mark.parametrize(
    "place", ["pyproject.toml", "kea_agent/__init__.py", "debian/changelog", "rpm/kea-agent.spec", "CHANGELOG.md"]
)
def test_a_version_that_differs_stops_a_release(tmp_path: Path, place: str) -> None:
    for name in ("pyproject.toml", "kea_agent/__init__.py", "debian/changelog", "rpm", "CHANGELOG.md", "packaging"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (TOP / name).is_dir() else shutil.copy)(TOP / name, target)
    text = (tmp_path / place).read_text()
    (tmp_path / place).write_text(text.replace(__version__, "9.9.9", 1))
    done = release(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"  9.9.9      {place}" in done.stderr
    assert f"  {__version__:10} packaging/man/keactrl.8" in done.stderr


def installed(target: Path, **environment: str) -> dict[str, str]:
    """Every file that install-files puts below a directory."""
    subprocess.run([TOP / "packaging/install-files", target], env={**os.environ, **environment}, check=True)
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_another_user_changes_the_user_and_nothing_else(tmp_path: Path) -> None:
    debian, fedora = installed(tmp_path / "debian"), installed(tmp_path / "fedora", KEA_USER="kea")
    assert debian.keys() == fedora.keys()
    changed = {name for name, text in debian.items() if text != fedora[name]}
    assert {re.sub(r"\b_kea\b", "kea", debian[name]) == fedora[name] for name in changed} == {True}
    names = {Path(name).name for name in changed}
    assert {"50-kea-agent.rules", "kea-agent.conf", "kea-agent.service", "kea-agent-rehearse.socket"} <= names
    assert [name for name, text in fedora.items() if re.search(r"\b_kea\b", text)] == []


def test_other_directories_of_python_are_those_of_the_launchers(tmp_path: Path) -> None:
    debian, fedora = installed(tmp_path / "debian"), installed(tmp_path / "fedora", PYTHON_SITES="/a/b /c")
    changed = {name for name, text in debian.items() if text != fedora[name]}
    assert changed == {"usr/sbin/keactrl", "usr/libexec/kea-agent/rehearse"}
    for name in changed:
        assert fedora[name] == debian[name].replace(
            'sys.path.append("/usr/lib/python3/dist-packages")', 'sys.path += ["/a/b", "/c"]'
        )


def made_page(program: str) -> tuple[Path, str]:
    """A page of the manual that is made by a program, and what that makes of it now."""
    script = f"import sys; sys.path.insert(0, sys.argv[1]); import {program} as it; print(it.PAGE, it.page(), sep='\\n', end='')"
    command: list[str | Path] = [sys.executable, "-c", script, TOP / "packaging/man"]
    path, _, made = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout.partition("\n")
    return Path(path), made


@pytest.mark.parametrize("program", ["settings_page", "metrics_page"])
def test_a_page_that_is_made_is_what_its_source_says(program: str) -> None:
    path, made = made_page(program)
    assert path.read_text() == made, f"python3 packaging/man/{program}.py writes it"
    done = subprocess.run(["groff", "-man", "-ww", "-z", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_setting_has_its_place_in_the_manual() -> None:
    page = (TOP / "packaging/man/kea-agent.toml.5").read_text()
    for each in catalogue():
        assert f".B {each.key}\n" in page
        assert f"[{each.table}]".replace("-", "\\-") in page


def test_every_family_of_metrics_has_its_place_in_the_manual() -> None:
    page = (TOP / "packaging/man/kea-agent-metrics.7").read_text()
    described = {each.name for each in (*own.DEFINITIONS, *passes.DEFINITIONS, *DEFINITIONS)}
    families = described | {each.name for each in FAMILIES} | {passes.PassCounts([]).stages().name}
    assert len(families) > 100
    assert {name for name in families if f".TP\n\\fB{name}\\fR\n" not in page} == set()


def test_without_its_libraries_it_judges_files_and_says_what_the_rest_needs(tmp_path: Path) -> None:
    """As a wheel that pip installed with --no-deps; without `site` there are no libraries but Python's own."""
    start = (
        f"import sys; sys.path.insert(0, {str(TOP)!r}); from kea_agent.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def agent(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-ISc", start, *words], capture_output=True, text=True, check=False)

    file = tmp_path / "kea-dhcp4.conf"
    file.write_text('{ "Dhcp4": { "valid-lifetme": 1 } }')
    judged = agent("check", "--level", "rules", file)
    assert (judged.returncode, judged.stderr) == (1, "")
    assert "keyword-unknown" in judged.stdout
    refused = agent("status")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr == "kea-agent: status needs Python's pystemd: install it as a package, or by pip\n"


def test_an_unconfirmed_change_is_taken_back_before_kea_starts() -> None:
    unit = (SYSTEMD / "kea-agent-unconfirmed.service").read_text()
    later = {name for line in re.findall(r"^Before=(.*)$", unit, re.MULTILINE) for name in line.split()}
    assert NAMES | {"kea-agent.service"} == later
    wanted = SYSTEMD / "multi-user.target.wants/kea-agent-unconfirmed.service"
    assert wanted.resolve() == (SYSTEMD / "kea-agent-unconfirmed.service").resolve()
