# SPDX-License-Identifier: MPL-2.0
"""What a rehearsal says of a file, and what the real unit comes to that is started on it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from labkit.nodes import Node
from labkit.spec import DAEMONS, Daemon
from rehearsing import AS_KEA, PATHS

HERE: Final = "/etc/kea/lab-cases"
_CASES: Final = f"{HERE}/cases.json"
_START: Final = Path(__file__).with_name("in_node_start.py")
_SECONDS: Final = 30.0
# One process for all: the node's Python takes as long to start as a rehearsal.
_REHEARSE: Final = """
import dataclasses, json, sys
from kea_agent import errors, keaconf, rehearsal
from kea_agent.daemons import BY_NAME
for case in json.load(open(sys.argv[1])):
    daemon = BY_NAME[case["daemon"]]
    found = rehearsal.rehearse(daemon, keaconf.read(case["file"], daemon.root_key), timeout=float(sys.argv[2]))
    print(json.dumps({"name": case["name"], "standing": found.standing, "reason": found.reason, "is_whole": found.is_whole,
                      "seconds": found.seconds}), flush=True)
"""
# Once, and as soon as it is told to.
_DROP_IN: Final = "[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nRestart=no\\nTimeoutStopSec=5\\n"


@dataclass(frozen=True)
class Case:
    """A configuration; `text` is what the file holds, `needs` are other files that it names, by their names in HERE."""

    name: str
    daemon: Daemon
    text: str
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Both:
    """One case: what the rehearsal said, and what the unit lacked when it was started; nothing if it served.

    `file`: where the case is in the node. `is_whole`: it was rehearsed without leaving out its databases.
    """

    name: str
    file: str
    standing: str
    reason: str
    is_whole: bool
    missing: tuple[str, ...]

    @property
    def serves(self) -> bool:
        """Whether the real server did."""
        return not self.missing

    def __str__(self) -> str:
        """For whoever reads why a test failed."""
        real = "serves" if self.serves else f"does not serve: {'; '.join(self.missing)}"
        return f"{self.name}: rehearsal: {self.standing}: {self.reason}; the real server {real}"


def compare(node: Node, cases: Iterable[Case]) -> list[Both]:
    """All rehearsals, while the servers serve; then each file on its unit. The lab has to go down after it."""
    known = list(cases)
    _write(node, known)
    rehearsed = _in_node(node, [*AS_KEA, "python3", "-I", "-c", _REHEARSE, _CASES, str(_SECONDS)])
    _end_everything(node)
    started = _in_node(node, ["python3", "-", _CASES], _START.read_text())
    assert [one["name"] for one in rehearsed] == [one["name"] for one in started] == [case.name for case in known]
    found = [
        Both(one["name"], _file(number), one["standing"], one["reason"], one["is_whole"], tuple(other["missing"]))
        for number, (one, other) in enumerate(zip(rehearsed, started, strict=True))
    ]
    seconds = [sum(each["seconds"] for each in each_of) for each_of in (rehearsed, started)]
    print(
        f"{node.spec.suite}: {len(found)} rehearsals in {seconds[0]:.1f} s, starts in {seconds[1]:.1f} s",
        *found,
        sep="\n",
    )
    return found


def _file(number: int) -> str:
    return f"{HERE}/{number}.conf"


def _write(node: Node, cases: Sequence[Case]) -> None:
    rows: list[dict[str, str]] = []
    files: dict[str, str] = {}
    for number, case in enumerate(cases):
        files |= {_file(number): case.text, **case.needs}
        rows.append(
            {
                "name": case.name,
                "daemon": case.daemon,
                "file": _file(number),
                "unit": node.unit(case.daemon),
                "config": PATHS[case.daemon],
            }
        )
    files["cases.json"] = json.dumps(rows)
    unpack = "import json, os, sys; os.umask(0o022); os.makedirs(sys.argv[1], exist_ok=True); os.chdir(sys.argv[1])\n"
    unpack += "for name, text in json.load(sys.stdin).items(): open(name, 'w').write(text)"
    node.run(["python3", "-c", unpack, HERE], stdin=json.dumps(files))


def _end_everything(node: Node) -> None:
    """Neither the agent nor the servers run, and a server that is started is left to itself."""
    units = [node.unit(daemon) for daemon in DAEMONS]
    drop_ins = [f"/run/systemd/system/{unit}.d" for unit in units]
    node.systemctl("stop", "kea-agent", *units)
    node.run(["mkdir", "-p", *drop_ins])
    for directory in drop_ins:
        node.run(["sh", "-c", f"printf '{_DROP_IN}' > {directory}/zz-lab.conf"])
    node.systemctl("daemon-reload")


def _in_node(node: Node, words: Sequence[str], stdin: str = "") -> list[dict[str, Any]]:
    done = node.run(words, stdin=stdin, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(row) for row in done.stdout.splitlines()]
