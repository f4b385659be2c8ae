# SPDX-License-Identifier: MPL-2.0
"""What clients feel of rehearsals: full exchanges at the rate that the host bears, with rehearsals one after the other and
without: `name value unit baseline ratio`, where the baseline is the same without. Root; five minutes.

The machine should have nothing else to do. A lab's node may have no cpu controller (tests/lab/README.md), and then the
service's CPUWeight= does nothing in it: the last line tells, and only lost exchanges count.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lab"), str(HERE.parent), str(HERE.parent.parent)]

from bench.run import line, p50, p99  # noqa: E402 - after its directory is known
from labkit import Lab, LabSpec, Node, Progress  # noqa: E402
from labkit.lab import newest_deb  # noqa: E402
from load import CLIENTS, Report  # noqa: E402
from rehearsing import AS_KEA, PATHS, remains, state  # noqa: E402

# The ramp: from here on, by this factor, until exchanges are lost or begin too late.
FIRST_RATE, STEP, KEPT_PACE, RAMP_SECONDS = 200, 1.25, 0.97, 4
# Of kernel objects that other labs on the machine have, too, only as many as the rehearsals is a leak.
KERNEL_OBJECTS = ("net_namespace", "user_namespace", "pid_namespace")
SETTLE_SECONDS = 5.0
TIMES = re.compile(r"^sent / received: (\d\d)(\d\d)([\d.]+) / (\d\d)(\d\d)([\d.]+)$", re.MULTILINE)
IN_NODE = f"""
import sys, time
from kea_agent import keaconf, rehearsal
from kea_agent.daemons import DHCP4
document = keaconf.read("{PATHS["dhcp4"]}", "Dhcp4")
until, done = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    found = rehearsal.rehearse(DHCP4, document, timeout=60)
    assert found.standing == "passed", found.reason
    done += 1
print(done)
"""


@dataclass(frozen=True)
class Run:
    """One run of clients; `delays` are those of all answers, OFFERs and ACKs, in ms."""

    report: Report
    delays: tuple[float, ...]
    rehearsals: int = 0

    @property
    def p99(self) -> float:
        """What 99 of 100 answers did not exceed."""
        return p99(self.delays)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 if clients feel it, or if anything remains."""
    words = _parser().parse_args(argv)
    print("name value unit baseline ratio", flush=True)
    with Lab.up(LabSpec(name=words.name, suite=words.suite, deb=words.deb or newest_deb()), Progress()) as lab:
        rate = words.rate or _ramp(lab)
        line("rate_without_drops", rate, "exchanges/s")
        clients(lab, rate, words.seconds)
        before, objects = state(lab.nodes[0]), kernel_objects()
        without, rehearsed = _pairs(lab, rate, words)
        holds = _told(without, rehearsed, has_weights=_has_weights(lab.nodes[0]))
        time.sleep(SETTLE_SECONDS)
        left = [*remains(before, state(lab.nodes[0])), *_leaked(objects, sum(run.rehearsals for run in rehearsed))]
        print(*(f"# remains: {each}" for each in left), _machine(lab.nodes[0]), sep="\n")
    return 0 if holds and not left else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=("bookworm", "trixie", "sid"), default="trixie")
    parser.add_argument("--rate", type=int, help="exchanges a second; default: what the host bears, by a ramp")
    parser.add_argument("--pairs", type=int, default=6, help="of runs without and with rehearsals")
    parser.add_argument("--seconds", type=int, default=15, help="a run")
    parser.add_argument("--deb", type=Path, help="default: the newest in dist/")
    parser.add_argument("--name", default="bench-load", help="of the lab")
    return parser


def _ramp(lab: Lab) -> int:
    """The highest rate at which nothing is lost and perfdhcp keeps its pace."""
    borne, rate = 0, FIRST_RATE
    while True:
        report = clients(lab, rate, RAMP_SECONDS).report
        if report.lost or report.begun < KEPT_PACE * rate * RAMP_SECONDS:
            break
        borne, rate = rate, int(rate * STEP)
    if not borne:
        sys.exit(f"{report} at {rate} a second: the machine is too busy")
    return borne


def clients(lab: Lab, rate: int, seconds: int) -> Run:
    """All four messages; answers have a second."""
    told = lab.load(["-4", "-r", str(rate), "-R", str(CLIENTS), "-p", str(seconds), "-W", "1000000", "-x", "t"]).stdout
    delays = tuple(1e3 * (_seconds(found[3:]) - _seconds(found[:3])) for found in TIMES.findall(told))
    return Run(Report.of(told), delays)


def _seconds(found: Sequence[str]) -> float:
    hours, minutes, seconds = map(float, found)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()


def with_rehearsals(lab: Lab, rate: int, seconds: int) -> Run:
    """The same while one rehearsal follows the other."""
    asking = lab.nodes[0].start([*AS_KEA, "python3", "-I", "-c", IN_NODE, str(seconds)])
    run = clients(lab, rate, seconds)
    told, _ = asking.communicate(timeout=120)
    if asking.returncode:
        sys.exit(told)
    return Run(run.report, run.delays, int(told))


def _pairs(lab: Lab, rate: int, words: argparse.Namespace) -> tuple[list[Run], list[Run]]:
    """Pairs of runs, now this one first, now that."""
    without: list[Run] = []
    rehearsed: list[Run] = []
    for number in range(words.pairs):
        for is_rehearsed in (number % 2 == 0, number % 2 == 1):
            if is_rehearsed:
                rehearsed.append(with_rehearsals(lab, rate, words.seconds))
            else:
                without.append(clients(lab, rate, words.seconds))
    return without, rehearsed


def _told(without: list[Run], rehearsed: list[Run], *, has_weights: bool) -> bool:
    """The figures; whether what rehearsals change is within what runs without them differ by."""
    line("rehearsals", sum(run.rehearsals for run in rehearsed), "rehearsals")
    for name, of in (
        ("p50", lambda run: p50(run.delays)),
        ("p99", lambda run: run.p99),
        ("max", lambda run: max(run.delays)),
    ):
        values, beside = ([of(run) for run in runs] for runs in (rehearsed, without))
        line(f"answer_{name}", p50(values), "ms", p50(beside))
        print(f"# answer_{name} of each run: with {_list(values)}; without {_list(beside)}")
    lost, alone = ([run.report.lost for run in runs] for runs in (rehearsed, without))
    line("exchanges_lost", sum(lost), f"of_{sum(run.report.begun for run in rehearsed)}", sum(alone))
    noise = [run.p99 for run in without]
    is_as_fast = p50([run.p99 for run in rehearsed]) <= max(noise) or not has_weights
    return is_as_fast and statistics.mean(lost) <= max(alone)


def _list(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def kernel_objects() -> dict[str, int]:
    """How many of each the machine's kernel has."""
    rows = [row.split() for row in Path("/proc/slabinfo").read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows if row[0] in KERNEL_OBJECTS}


def _leaked(before: dict[str, int], rehearsals: int) -> list[str]:
    grown = {name: number - before.get(name, 0) for name, number in kernel_objects().items()}
    return [f"{number} more {name}" for name, number in grown.items() if number >= rehearsals]


def _has_weights(node: Node) -> bool:
    return "cpu" in node.run(["cat", "/sys/fs/cgroup/cgroup.controllers"]).stdout.split()


def _machine(node: Node) -> str:
    version = node.run(["kea-dhcp4", "-v"]).stdout.strip()
    return f"# {node.spec.suite}, Kea {version}; CPUWeight= counts: {'yes' if _has_weights(node) else 'no, there is no cpu controller'}"


if __name__ == "__main__":
    sys.exit(main())
