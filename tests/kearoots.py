# SPDX-License-Identifier: MPL-2.0
"""The lab's images as a place to ask real Kea of several versions what it makes of a file; nothing is started but checks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LAB = Path(os.environ.get("KEA_AGENT_ROOTS", "/var/cache/kea-agent-lab"))  # another place: nobody rebuilds it meanwhile
KEA = "usr/sbin/kea-dhcp4"
CHROOT = shutil.which("chroot", path=f"{os.defpath}:/usr/sbin:/sbin") or "chroot"


@dataclass(frozen=True)
class Verdict:
    """Whether Kea took the file, and its words and place (line) where it did not."""

    accepted: bool
    words: str

    @property
    def is_syntax(self) -> bool:
        return "Syntax check failed" in self.words

    @property
    def place(self) -> tuple[str, int] | None:
        found = re.search(r"Syntax check failed with: (\S+?):(\d+)[.:]\d+", self.words)
        return (Path(found[1]).name, int(found[2])) if found else None


@dataclass(frozen=True)
class Root:
    """One image: its Kea's version, and where it is."""

    version: str
    path: Path

    @property
    def release(self) -> tuple[int, int]:
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A directory that both see; inside it is what is left without the root's path."""
        made = Path(tempfile.mkdtemp(prefix="kea-", dir=self.path / "tmp"))
        made.chmod(0o750)
        try:
            yield made
        finally:
            shutil.rmtree(made)

    def inside(self, path: Path) -> str:
        return f"/{path.relative_to(self.path)}"

    def ask(self, binary: str, flag: str, file: Path) -> Verdict:
        """`-t` (or `-T`, from 2.4 on, which loads hooks too) of one of Kea's programs.

        -T may create a lease file: it goes into the file's own directory.
        """
        environment = {"KEA_LOCKFILE_DIR": "none", "KEA_DHCP_DATA_DIR": self.inside(file.parent), "PATH": os.defpath}
        done = subprocess.run(
            [CHROOT, self.path, f"/usr/sbin/{binary}", flag, self.inside(file)],
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Verdict(done.returncode == 0, (done.stderr + done.stdout).decode(errors="replace").strip())


@cache
def roots() -> tuple[Root, ...]:
    """One image of each version, the newest; none where there is no lab, or we are not root (chroot)."""
    if os.geteuid() != 0:
        return ()
    found: dict[str, Root] = {}
    for binary in sorted(LAB.glob(f"*/{KEA}"), key=lambda path: path.stat().st_mtime):
        root = binary.parents[2]
        done = subprocess.run([CHROOT, root, f"/{KEA}", "-v"], capture_output=True, text=True, timeout=20, check=False)
        if re.fullmatch(r"[0-9.]+", done.stdout.strip()):
            found[done.stdout.strip()] = Root(done.stdout.strip(), root)
    return tuple(found.values())
