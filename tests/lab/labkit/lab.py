# SPDX-License-Identifier: MPL-2.0
"""The lab as a whole: up, down, and what can be asked of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from . import boot, cgroups, host, images, mounts, ready
from .host import Progress
from .network import BRIDGE, Network
from .nodes import Node
from .ready import Problem
from .spec import LabError, LabSpec, check_name

STATE: Final = Path("/run/kea-agent-lab")
CHECKOUT: Final = Path(__file__).resolve().parents[3]
BOOT_SECONDS: Final = 90.0
AGAIN_SECONDS: Final = 10.0  # for what was restarted a moment ago
AGENT_SECONDS: Final = 90.0


class NotReadyError(LabError):
    """The lab runs, but something in it does not serve. It is left as it is, to be looked at."""

    def __init__(self, nodes: Sequence[Node], problems: Sequence[Problem]) -> None:
        """Collect what a person needs to see at once."""
        self.problems = tuple(problems)
        super().__init__("\n".join(_explain(nodes, problem) for problem in problems))


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab. `Lab.up(spec)` makes it, `lab.down()` or leaving a `with` block ends it."""

    spec: LabSpec
    nodes: tuple[Node, ...]

    @classmethod
    def up(cls, spec: LabSpec, progress: Progress | None = None) -> Lab:
        """Bring the lab up, or reuse it where the same words made what runs. Raises NotReadyError."""
        host.require()
        tell = progress or Progress(quiet=True)
        with host.locked(STATE / f".{spec.name}.lock"):
            lab = cls(spec, _nodes(spec))
            if not lab._reusable(tell):
                _down(spec.name)
                lab._build(tell)
        return lab

    @classmethod
    def find(cls, name: str) -> Lab:
        """The lab of this name that was brought up before, by whomever."""
        try:
            words = json.loads((STATE / check_name(name) / "lab.json").read_text())["words"]
        except (OSError, ValueError, KeyError):
            raise LabError(f"there is no lab {name!r}: bring it up first") from None
        deb = words.pop("deb")
        spec = LabSpec(**words, deb=Path(deb) if deb else None)
        return cls(spec, _nodes(spec))

    def __enter__(self) -> Self:
        """Use the lab in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take it down."""
        self.down()

    def node(self, name: str) -> Node:
        """A node by its name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"lab {self.spec.name!r} has no {name}, only {', '.join(node.name for node in self.nodes)}")

    def power_off(self, name: str) -> None:
        """Cut a node's power. `reboot` and `poweroff` run in the node are the gentle ways."""
        boot.power_off(self.node(name))

    def power_on(self, name: str) -> None:
        """Boot a node that is off, with the disk it had; `wait_ready` waits for it."""
        boot.start(self.node(name))

    def down(self) -> None:
        """End it, whatever is left of it."""
        down(self.spec.name)

    def problems(self) -> list[Problem]:
        """What is not ready now."""
        return [problem for node in self.nodes for problem in ready.look(node, with_agent=self.spec.deb is not None)]

    def wait_ready(self, seconds: float = host.PATIENCE) -> None:
        """Wait until everything serves again, for instance after a test broke something. Raises NotReadyError."""
        problems = ready.wait(self.nodes, seconds, with_agent=self.spec.deb is not None)
        if problems:
            raise NotReadyError(self.nodes, problems)

    def load_command(self, words: Sequence[str]) -> list[str]:
        """The command line of the image's perfdhcp, on the lab's bridge."""
        interface = [] if "-l" in words else ["-l", BRIDGE]
        root = self.nodes[0].root
        perfdhcp = ["chroot", str(root), "env", "KEA_LOCKFILE_DIR=none", "/usr/sbin/perfdhcp", *interface, *words]
        group = cgroups.of_lab(self.spec.name) / "load"
        group.mkdir(exist_ok=True)
        return cgroups.enter_and_exec(group, *Network(self.spec.name).enter(*perfdhcp))

    def load(self, words: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run perfdhcp to its end. It exits 3 when exchanges were lost, so nothing is checked here."""
        return subprocess.run(self.load_command(words), capture_output=True, text=True, check=False, timeout=timeout)

    def start_load(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start perfdhcp beside the test; SIGINT ends it with its report."""
        command = self.load_command(words)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _reusable(self, tell: Progress) -> bool:
        """Made with the same words and content, brought up to the end, and ready still or again."""
        file = STATE / self.spec.name / "lab.json"
        if not file.exists():
            return False
        if _read(file) != {**self._made_of(), "complete": True}:
            tell("other words than those of the running lab: it goes down first")
            return False
        problems = ready.wait(self.nodes, AGAIN_SECONDS, with_agent=self.spec.deb is not None)
        if problems:
            tell(f"the running lab is not ready ({problems[0]}): it goes down first")
        return not problems

    def _build(self, tell: Progress) -> None:
        image = images.ensure(self.spec.suite, tell)
        state = STATE / self.spec.name
        state.mkdir(parents=True)
        self._remember(complete=False)
        Network(self.spec.name).create()
        for node in self.nodes:
            boot.prepare(node, image)
            boot.start(node)
        tell(f"{' and '.join(node.name for node in self.nodes)}: booting {self.spec.suite}")
        self._wait(tell, BOOT_SECONDS, "Kea serves", with_agent=False)
        self._install_agent(tell)
        self._remember(complete=True)

    def _install_agent(self, tell: Progress) -> None:
        if self.spec.deb is None:
            return
        for node in self.nodes:
            words = [
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "--yes",
                "--no-install-recommends",
                "--quiet",
            ]
            done = node.run([*words, f"/{boot.DEB_IN_NODE}"], check=False, timeout=120)
            if done.returncode != 0:
                raise LabError(f"{node.name}: {self.spec.deb.name} does not install:\n{done.stdout}{done.stderr}")
            tell(f"{node.name}: {self.spec.deb.name} installed")
        self._wait(tell, AGENT_SECONDS, "the agent is active, Kea serves", with_agent=True)

    def _wait(self, tell: Progress, seconds: float, done: str, *, with_agent: bool) -> None:
        problems = ready.wait(self.nodes, seconds, with_agent=with_agent)
        if problems:
            raise NotReadyError(self.nodes, problems)
        tell(done if self.spec.ha == "none" else f"{done}, HA is {self.spec.ha}")

    def _made_of(self) -> dict[str, object]:
        """What must be the same for a lab to be the same lab."""
        deb = self.spec.deb
        content = hashlib.sha256(deb.read_bytes()).hexdigest() if deb else None
        return {"words": self.spec.as_words(), "deb": content, "image": str(images.path(self.spec.suite))}

    def _remember(self, *, complete: bool) -> None:
        file = STATE / self.spec.name / "lab.json"
        file.write_text(json.dumps({**self._made_of(), "complete": complete}, indent=1))


def down(name: str) -> None:
    """End the lab of this name; good also when half of it, or all of it, is gone already."""
    host.require()
    with host.locked(STATE / f".{check_name(name)}.lock"):
        _down(name)


def newest_deb() -> Path | None:
    """What `make deb` built last in this checkout."""
    built = sorted((CHECKOUT / "dist").glob("kea-agent_*_all.deb"), key=lambda path: path.stat().st_mtime)
    return built[-1] if built else None


def _down(name: str) -> None:
    """First whoever could still use something, then what was used."""
    cgroups.destroy(cgroups.of_lab(name))
    Network(name).destroy()
    state = STATE / name
    mounts.unmount_below(state)
    for number in (1, 2):
        _forget_machine(f"{name}-node{number}")
    if state.exists():
        shutil.rmtree(state)


def _forget_machine(machine: str) -> None:
    """What nspawn has on the carrying machine while it runs, and leaves when it is killed."""
    for kind in ("propagate", "unix-export"):
        left = Path("/run/systemd/nspawn") / kind / machine
        mounts.unmount_below(left)
        if left.exists():
            shutil.rmtree(left)


def _nodes(spec: LabSpec) -> tuple[Node, ...]:
    return tuple(Node(spec, number, STATE / spec.name) for number in range(1, spec.nodes + 1))


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def _explain(nodes: Sequence[Node], problem: Problem) -> str:
    """A problem, and the end of the log that tells why."""
    node = next(node for node in nodes if node.name == problem.node)
    try:
        lines: Sequence[str] = node.journal(problem.unit)
    except LabError:
        lines = host.tail(node.console, 20)
    return "\n".join([str(problem), *(f"    {line}" for line in lines)])
