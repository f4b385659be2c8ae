# SPDX-License-Identifier: MPL-2.0
"""The real keactrl: fetched when the tests run and rendered for a directory, nothing of it is kept in the repository.

Kea's releases that a Debian suite has come from its source package `isc-kea`, through apt and the machine's own sources.
Every release can come from a clone of Kea, which $KEA_AGENT_KEA_SOURCE names. What was fetched from Debian is cached.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from labkit import host, images

Generation = Literal["A", "B", "C"]

SUITES: Final[Mapping[str, str]] = {"2.2.0": "bookworm", "2.6.3": "trixie", "3.0.4": "sid"}
TAGS: Final = (*SUITES, "3.2.0", "3.3.0")
SOURCE: Final = "KEA_AGENT_KEA_SOURCE"
FILES: Final = ("keactrl.in", "keactrl.conf.in")
_FOLDER: Final = "src/bin/keactrl"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_STABLE: Final = ("stable", "oldstable")
_SECONDS: Final = 120


class UnavailableError(Exception):
    """Why there is no script to compare with."""


def generation(tag: str) -> Generation:
    """A has the Control Agent, C has server options and --help, B neither."""
    if number(tag) < (3, 1, 8):
        return "A"
    return "B" if number(tag) < (3, 3, 0) else "C"


def number(tag: str) -> tuple[int, ...]:
    """The version, to compare."""
    return tuple(map(int, tag.split(".")))


@dataclass(frozen=True)
class Script:
    """The keactrl of one release, not rendered yet."""

    version: str
    template: str
    conf_template: str

    def render(self, prefix: Path, *, netconf: bool) -> str:
        """The script of a Kea that was built from source for a prefix."""
        return _substitute(self.template, self._words(prefix, netconf=netconf))

    def render_conf(self, prefix: Path) -> str:
        """The keactrl.conf that such a Kea installs."""
        return _substitute(self.conf_template, self._words(prefix, netconf=True))

    def _words(self, prefix: Path, *, netconf: bool) -> dict[str, str]:
        """What configure or meson puts in, references and all."""
        return {
            "prefix": str(prefix),
            "exec_prefix": "${prefix}",
            "sbindir": "${exec_prefix}/sbin",
            "sysconfdir": "${prefix}/etc",
            "localstatedir": "${prefix}/var",
            # Only in the script, where prefix is known and localstatedir may not be yet.
            "runstatedir": "${prefix}/var/run",
            "PACKAGE": "kea",
            "PACKAGE_VERSION": self.version,
            "EXTENDED_VERSION": f"{self.version} (tarball)",
            "HAVE_NETCONF": "yes" if netconf else "no",
            "HAVE_SYSREPO_TRUE": "" if netconf else "#",
        }


def _substitute(text: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    return text


def get(tag: str) -> Script:
    """The script of a release; raises UnavailableError."""
    found = _found(tag)
    if isinstance(found, Script):
        return found
    raise UnavailableError(f"did not run: no keactrl {tag}: {found}")


@cache
def _found(tag: str) -> Script | str:
    """The script, or why there is none: either holds for this run of the tests."""
    reasons = []
    for way in (_from_git, _from_debian):
        try:
            return Script(tag, *way(tag))
        except UnavailableError as error:
            reasons.append(str(error))
    return "; ".join(reasons)


# -- a clone of Kea


def _from_git(tag: str) -> list[str]:
    directory = os.environ.get(SOURCE)
    if not directory:
        raise UnavailableError(f"${SOURCE} names no clone of Kea")
    # The clone is somebody else's; git refuses those unless told.
    git = ["git", "-c", "safe.directory=*", "-C", directory, "show"]
    return [_output([*git, f"Kea-{tag}:{_FOLDER}/{name}"]) for name in FILES]


# -- Debian's source packages


def _from_debian(tag: str) -> list[str]:
    if tag not in SUITES:
        raise UnavailableError("no suite of Debian has it")
    directory = images.cache() / f"keactrl-{tag}"
    try:
        with host.locked(directory.with_name(f".{directory.name}.lock")):
            if not directory.is_dir():
                _fetch(tag, directory)
            return [(directory / name).read_text() for name in FILES]
    except OSError as error:
        raise UnavailableError(f"{directory}: {error.strerror}") from error


def _fetch(tag: str, directory: Path) -> None:
    """Made under another name, so that what was cut off is not taken for the whole."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=directory.parent) as work:
        tarball = _download(tag, SUITES[tag], Path(work))
        made = Path(work) / "made"
        made.mkdir()
        _extract(tarball, made)
        made.rename(directory)


def _download(tag: str, suite: str, work: Path) -> Path:
    """apt with directories of its own: the machine's lists and packages stay as they are."""
    apt = _apt(suite, work)
    _output([*apt, "update"])
    _output([*apt, "source", "--download-only", "--tar-only", "isc-kea"], work)
    found = next(work.glob("isc-kea_*.orig.tar.*"), None)
    if found is None or f"_{tag}.orig." not in found.name:
        raise UnavailableError(f"{suite} has {found.name if found else 'no isc-kea'} by now")
    return found


def _apt(suite: str, work: Path) -> list[str]:
    trusted = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    sources = work / "sources.list"
    sources.write_text(f"deb-src {trusted}{_archive()} {suite} main\n")
    for name in ("lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    settings = {
        "Dir::Etc::SourceList": str(sources),
        "Dir::Etc::SourceParts": "-",
        "Dir::State": str(work),
        "Dir::State::Status": os.devnull,
        "Dir::Cache": str(work / "cache"),
        # The directory is not for apt's own user to see.
        "APT::Sandbox::User": "root",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::http::Timeout": "5",
        "Acquire::Retries": "1",
    }
    return ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]


def _archive() -> str:
    """Where this machine has Debian from: the lab's images come from there too."""
    if not shutil.which("apt-get"):
        raise UnavailableError("this is no Debian")
    told = _output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages"])
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    for line in told.splitlines():
        uri, _, release = line.rpartition(" ")
        if release in (own, *_STABLE):
            return uri
    raise UnavailableError("apt's sources here name no archive of Debian")


def _extract(tarball: Path, target: Path) -> None:
    with tarfile.open(tarball) as archive:
        for member in archive:
            name = member.name.partition(f"/{_FOLDER}/")[2]
            content = archive.extractfile(member) if name in FILES else None
            if content:
                (target / name).write_bytes(content.read())
            if all((target / each).exists() for each in FILES):
                return
    raise UnavailableError(f"{tarball.name} has no {_FOLDER}")


def _output(argv: Sequence[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        raise UnavailableError(f"{argv[0]}: {' '.join(done.stderr.split())[:200] or done.returncode}")
    return done.stdout
