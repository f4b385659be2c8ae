# SPDX-License-Identifier: MPL-2.0
"""Figures side by side, one a line: `name value unit baseline ratio`. Boots a host of its own; root, about nine minutes.

The baseline is what the same thing costs without the agent, or the bound that is promised; what has none has `-`.
The agent's share is what a change took beyond Kea's own check and reload; the bound is for the share without the rehearsal,
which is Kea's own start once more and what is around it: rehearsal.py has that side by side.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))

from agentproc import AgentProcess, Usage  # noqa: E402 - after its directory is known
from labkit import Lab, LabSpec, Node, Progress  # noqa: E402
from labkit.host import wait_for  # noqa: E402
from labkit.lab import newest_deb  # noqa: E402

SHARE_BOUND_MS = 100.0
STAGES = ("settle", "read", "check", "rehearse", "gate", "reload", "verify")
STARTS = 5
LAGS = 5
BARE_PYTHON = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
Rounds = list[dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Bring a host up, measure, take it down; 1 if a promised bound does not hold."""
    words = _parser().parse_args(argv)
    deb = newest_deb()
    if deb is None:
        sys.exit("no package in dist/: make deb")
    loads = [os.getloadavg()[0]]
    tell = Progress()
    with Lab.up(LabSpec(name=words.name, suite=words.suite, deb=deb), tell) as lab:
        node = lab.nodes[0]
        print("name value unit baseline ratio", flush=True)
        _startup(node)
        holds = _latency(node, words.edits)
        loads.append(os.getloadavg()[0])
        holds = _idle(node, words.idle_seconds) and holds
        loads.append(os.getloadavg()[0])
        print(_machine(node, words.suite, loads))
    return 0 if holds else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=("bookworm", "trixie", "sid"), default="trixie")
    parser.add_argument("--edits", type=int, default=50)
    parser.add_argument("--idle-seconds", type=int, default=300)
    parser.add_argument("--name", default="bench", help="of the lab")
    return parser


def line(name: str, value: float, unit: str, baseline: float | None = None) -> None:
    """One figure."""
    beside = "- -" if baseline is None else f"{_short(baseline)} {value / baseline if baseline else math.inf:.2f}"
    print(f"{name} {_short(value)} {unit} {beside}", flush=True)


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if value else "0"


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The smallest value that 99 of 100 do not exceed: of fewer than 100, the largest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


# -- startup


def _startup(node: Node) -> None:
    bare = [_seconds(node, "python3", "-I", "-c", "") for _ in range(STARTS)]
    empty = [_seconds(node, "true") for _ in range(STARTS)]
    starts = [_start(node) for _ in range(STARTS)]
    line("startup_to_ready_p50", 1e3 * p50(starts), "ms", 1e3 * (p50(bare) - p50(empty)))


def _seconds(node: Node, *argv: str) -> float:
    """How long a command takes in the node, the way into it included."""
    began = time.monotonic()
    node.run(argv)
    return time.monotonic() - began


def _start(node: Node) -> float:
    """From the fork to READY, in systemd's own words."""
    node.systemctl("stop", "kea-agent")
    # systemd allows five starts in ten seconds.
    node.systemctl("reset-failed", "kea-agent", check=False)
    node.systemctl("start", "kea-agent")
    told = node.systemctl(
        "show", "--property=InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic", "--value", "kea-agent"
    )
    begin, end = sorted(int(word) for word in told.split())
    return (end - begin) / 1e6


# -- latency and what it costs


def _latency(node: Node, count: int) -> bool:
    _wait_for_first_passes(node)
    before = AgentProcess.of(node).usage()
    rounds = _in_node(
        node, "series", count, node.systemctl("show", "--property=MainPID", "--value", node.unit("dhcp4"))
    )
    after = AgentProcess.of(node).usage()
    holds = _print_latency(rounds)
    lags = [1e3 * each["lag"] for each in _in_node(node, "check", LAGS)]
    line("hash_change_to_verified_min", min(lags), "ms")
    line("hash_change_to_verified_max", max(lags), "ms")
    _print_usage(node, before, after, count)
    return holds


def _wait_for_first_passes(node: Node) -> None:
    for _ in wait_for(60, every=0.2):
        status = node.run(["cat", "/run/kea-agent/status.json"], check=False).stdout
        if status and all(each["last"] for each in json.loads(status)["daemons"].values()):
            time.sleep(2)
            return
    sys.exit("the agent did not look at every daemon within 60 s of its start")


def _in_node(node: Node, *words: object) -> Rounds:
    script = (HERE / "in_node.py").read_text()
    done = node.run(["python3", "-", *map(str, words)], stdin=script, check=False, timeout=1200)
    if done.returncode != 0:
        sys.exit(f"in the node: {done.stderr}")
    return [json.loads(row) for row in done.stdout.splitlines()]


def _print_latency(rounds: Rounds) -> bool:
    total, check, reload = _milliseconds(rounds, "total", "check", "reload")
    kea = [one + other for one, other in zip(check, reload, strict=True)]
    share = [whole - part for whole, part in zip(total, kea, strict=True)]
    bare = [whole - part for whole, part in zip(share, _stage(rounds, "rehearse"), strict=True)]
    for name, of in (("p50", p50), ("p99", p99)):
        line(f"close_to_verified_{name}", of(total), "ms", of(kea))
        line(f"kea_check_alone_{name}", of(check), "ms")
        line(f"kea_reload_alone_{name}", of(reload), "ms")
        line(f"agent_share_{name}", of(share), "ms")
        line(f"agent_share_without_rehearsal_{name}", of(bare), "ms", SHARE_BOUND_MS if name == "p50" else None)
    _print_stages(rounds)
    return p50(bare) <= SHARE_BOUND_MS


def _print_stages(rounds: Rounds) -> None:
    total, check, reload = _milliseconds(rounds, "total", "check", "reload")
    stages = {stage: _stage(rounds, stage) for stage in STAGES}
    for stage, values in stages.items():
        line(f"stage_{stage}_p50", p50(values), "ms", p50(check) if stage == "check" else None)
    both = [one + other for one, other in zip(stages["reload"], stages["verify"], strict=True)]
    line("stages_reload_and_verify_p50", p50(both), "ms", p50(reload))
    between = [whole - sum(parts) for whole, *parts in zip(total, *stages.values(), strict=True)]
    line("between_stages_p50", p50(between), "ms")


def _milliseconds(rounds: Rounds, *keys: str) -> list[list[float]]:
    return [[1e3 * each[key] for each in rounds] for key in keys]


def _stage(rounds: Rounds, stage: str) -> list[float]:
    return [1e3 * each["stages"].get(stage, 0.0) for each in rounds]


def _print_usage(node: Node, before: Usage, after: Usage, count: int) -> None:
    bare = int(node.run(["python3", "-I", "-c", BARE_PYTHON]).stdout)
    line("rss_after_start", before.rss / 1024, "MiB", bare / 1024)
    line(f"rss_after_{count}_edits", after.rss / 1024, "MiB", before.rss / 1024)
    line("pss_after_start", before.pss / 1024, "MiB")
    line(f"pss_after_{count}_edits", after.pss / 1024, "MiB", before.pss / 1024)
    line("threads_after_start", before.threads, "threads")
    line(f"threads_after_{count}_edits", after.threads, "threads", before.threads)
    line(f"descriptors_after_{count}_edits", after.descriptors, "descriptors", before.descriptors)


# -- idle


def _idle(node: Node, seconds: int) -> bool:
    time.sleep(5)
    idle = AgentProcess.of(node).idle(seconds)
    name = f"{seconds // 60}min" if seconds >= 60 else f"{seconds}s"
    line(f"idle_wakeups_{name}", idle.switches.total(), "switches", idle.switches_bound)
    line(f"idle_awake_seconds_{name}", idle.awake, "seconds", idle.awake_bound)
    return idle.awake <= idle.awake_bound and idle.switches.total() <= idle.switches_bound


def _machine(node: Node, suite: str, loads: Sequence[float]) -> str:
    version = node.run(["kea-dhcp4", "-v"]).stdout.strip()
    model = next(
        (row.split(":", 1)[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row),
        "?",
    )
    load = ", ".join(f"{each:.2f}" for each in loads)
    return f"# {os.cpu_count()} x {model}, Linux {platform.release()}, load {load} (begin, after the edits, end); {suite}, Kea {version}"


if __name__ == "__main__":
    sys.exit(main())
