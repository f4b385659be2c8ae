# SPDX-License-Identifier: MPL-2.0
"""Our reader beside a real `kea-dhcp4 -t`: the same yes or no, and the same line, on generated and mutated texts.

Which Kea: $KEA_ORACLE, a command prefix that ends before `/usr/sbin/kea-dhcp4` ("chroot DIR", or one that sees this
host's files); else the newest root below /var/cache/kea-agent-lab. Nothing is started but `-t`.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from keatexts import BODIES, HEAD, INCLUDED, TAIL, mutant

from kea_agent import keaconf
from kea_agent.errors import ConfigError

LAB = Path("/var/cache/kea-agent-lab")
KEA = "usr/sbin/kea-dhcp4"


@dataclass(frozen=True)
class Answer:
    """Accepted or not; where not, the file's name and line if they were told."""

    accepted: bool
    place: tuple[str, int] | None
    message: str


@dataclass(frozen=True)
class Oracle:
    command: list[str]
    outside: Path
    inside: str

    def ask(self) -> Answer:
        done = subprocess.run(
            [*self.command, f"/{KEA}", "-t", f"{self.inside}/main"],
            env={"KEA_LOCKFILE_DIR": "none", "PATH": os.environ["PATH"]},
            capture_output=True,
            timeout=20,
            check=False,
        )
        told = done.stderr.decode(errors="replace").strip()
        found = re.search(r"Syntax check failed with: (\S+?):(\d+)[.:]\d+", told)
        place = (Path(found[1]).name, int(found[2])) if found else None
        if done.returncode and "Syntax check failed" not in told:
            assert "Error encountered" in told, told
            return Answer(True, None, told)
        return Answer(done.returncode == 0, place, told)

    def ours(self) -> Answer:
        try:
            keaconf.read(str(self.outside / "main"), "Dhcp4")
        except ConfigError as error:
            place = (Path(error.file).name, error.line) if error.line else None
            return Answer(False, place, str(error))
        return Answer(True, None, "")


def _command() -> tuple[list[str], str]:
    """The prefix and the root it changes to (empty: this one), or a skip that says why there is none."""
    told = shlex.split(os.environ.get("KEA_ORACLE", ""))
    if told:
        return told, told[told.index("chroot") + 1] if "chroot" in told else ""
    roots = sorted((path.parents[2] for path in LAB.glob(f"*/{KEA}")), key=lambda root: root.stat().st_mtime)
    if not roots:
        pytest.skip(f"did not run: no Kea to compare with ($KEA_ORACLE is unset and there is no {LAB}/*/{KEA})")
    if os.geteuid() != 0:
        pytest.skip(f"did not run: comparing with {roots[-1]} takes root, for chroot")
    return ["chroot", str(roots[-1])], str(roots[-1])


@pytest.fixture(name="oracle")
def _oracle() -> Iterator[Oracle]:
    command, root = _command()
    outside = Path(tempfile.mkdtemp(prefix="keaconf-", dir=f"{root}/tmp"))
    outside.chmod(0o755)
    try:
        yield Oracle(command, outside, str(outside).removeprefix(root))
    finally:
        shutil.rmtree(outside)


def write(oracle: Oracle, text: bytes, directory: str) -> None:
    """`INC` in the texts stands for their directory: seen from inside for Kea, from here for us."""
    for name, content in {**INCLUDED, "main": text}.items():
        (oracle.outside / name).write_bytes(content.replace(b"INC", directory.encode()))


def compare(oracle: Oracle, text: bytes) -> str:
    """How the two answers differ, or an empty string."""
    write(oracle, text, oracle.inside)
    kea = oracle.ask()
    write(oracle, text, str(oracle.outside))
    ours = oracle.ours()
    if keywords_matter(oracle, ours, kea):
        return ""
    same = kea.accepted == ours.accepted and (not (kea.place and ours.place) or kea.place == ours.place)
    return "" if same else f"{text[:200]!r}\n  kea:  {kea}\n  ours: {ours}"


def keywords_matter(oracle: Oracle, ours: Answer, kea: Answer) -> bool:
    """Whether the text has left the user context, where Kea's grammar knows keywords and types and ours does not."""
    if kea.accepted:
        return False
    if ours.accepted:
        root = keaconf.read(str(oracle.outside / "main"), "Dhcp4").root
        return list(root) != ["user-context"] or not isinstance(root["user-context"], dict)
    return "unexpected keyword" in kea.message or "expecting {" in kea.message


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_kea_on_mutated_texts(oracle: Oracle, seed: int) -> None:
    rng = random.Random(seed)
    differences = [compare(oracle, mutant(rng)) for _ in range(10)]
    assert not any(differences), "\n".join(filter(None, differences))


def test_agrees_with_kea_on_whole_texts(oracle: Oracle) -> None:
    texts = [HEAD + body + TAIL for body in BODIES]
    differences = [compare(oracle, text) for text in texts]
    assert not any(differences), "\n".join(filter(None, differences))
