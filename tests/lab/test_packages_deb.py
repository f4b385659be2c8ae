# SPDX-License-Identifier: MPL-2.0
"""The Debian package as files: Debian's own checks of source and binary, and that it is built twice to the same bytes."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
# Time zone, language, home and temporary directory of whoever builds are nobody's business.
ELSEWHERE = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
LINTIAN = ["lintian", "--allow-root", "--pedantic", "--display-info", "--show-overrides", "--tag-display-limit", "0"]
# Findings of the level "info" that cannot be overridden, because newer versions of lintian do not know them and say so.
ANSWERED = (
    # It works on systemd's units and through systemd's bus; on another init there is nothing that it could do.
    "I: kea-agent: package-supports-alternative-init-but-no-init.d-script ",
)

pytestmark = pytest.mark.xdist_group("deb")


def run(*words: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What a command prints; its complaints are in the failure."""
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the source and the binary package are."""
    target = tmp_path_factory.mktemp("dist")
    run(TOP / "packaging/build-deb", target, "source")
    return target


def test_lintian_says_nothing_that_is_not_answered(built: Path) -> None:
    [changes] = built.glob("*.changes")
    found = [line for line in run(*LINTIAN, changes).splitlines() if not line.startswith(("O:", "N:", *ANSWERED))]
    assert found == [], "O: is an override, N: its reason; the rest has none, or is an override that is not needed"


def test_every_override_has_its_reason() -> None:
    lines = ["", *(TOP / "debian/source/lintian-overrides").read_text().splitlines()]
    assert [line for before, line in pairwise(lines) if not line.startswith("#") and not before.startswith("#")] == []


def test_the_source_package_builds_the_same_bytes_again(built: Path, tmp_path: Path) -> None:
    [dsc] = built.glob("*.dsc")
    source, work = tmp_path / "kea-agent", tmp_path / "tmp"
    work.mkdir()
    run("dpkg-source", "--extract", dsc, source)
    words = ["dpkg-buildpackage", "--unsigned-source", "--unsigned-changes"]
    run(*words, cwd=source, TMPDIR=str(work), **ELSEWHERE)
    names = sorted(path.name for path in built.iterdir() if re.search(r"\.(deb|dsc|tar\.xz)$", path.name))
    assert len(names) == 3
    assert [name for name in names if (built / name).read_bytes() != (tmp_path / name).read_bytes()] == []
