# SPDX-License-Identifier: MPL-2.0
"""Hostile files through all that the agent does with a file: `kind size seconds MiB kea_seconds`, the worst of each kind.

Reading, rules, finding what to show, masking. Each file in a process of its own, so that time and memory are its own; beside it
`kea-dhcp4 -t` of the newest of the lab's images, where there is one. 1 if a file ended the process or took too long.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from hostiletexts import KINDS, MAIN, Files, made, take  # noqa: E402 - after its directory is known
from kearoots import Root, roots  # noqa: E402

# For some megabytes, on a machine that does other things, too.
LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Cost:
    """What one file took; `seconds` None: the process did not end well."""

    kind: str
    size: int
    seed: str
    seconds: float | None
    mib: float
    theirs: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the worst of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--most-bytes", type=int, default=2_000_000)
    parser.add_argument("--kinds", nargs="*", default=[*KINDS, "mixture"])
    words = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(2**32) if words.seed is None else words.seed
    kea = next(reversed(roots()), None)
    print(
        f"seed {seed} count {words.count} kea {kea.version if kea else '-'}\nkind size seconds MiB kea_seconds seed",
        flush=True,
    )
    costs = [
        _cost(words.kinds[number % len(words.kinds)], f"{seed}/{number}", words.most_bytes, kea)
        for number in range(words.count)
    ]
    for kind in words.kinds:
        worst = [each for each in costs if each.kind == kind]
        for each in sorted(worst, key=lambda each: float("inf") if each.seconds is None else each.seconds)[-1:]:
            print(_line(each), flush=True)
    is_bad = any(each.seconds is None or each.seconds > LONGEST_SECONDS for each in costs)
    return 1 if is_bad else 0


def _line(cost: Cost) -> str:
    ours = "died" if cost.seconds is None else f"{cost.seconds:.3f}"
    theirs = "-" if cost.theirs is None else f"{cost.theirs:.3f}"
    return f"{cost.kind} {cost.size} {ours} {cost.mib:.0f} {theirs} {cost.seed}"


def _cost(kind: str, seed: str, most: int, kea: Root | None) -> Cost:
    rng = random.Random(f"{seed}/size")
    name = "+".join(rng.sample(sorted(KINDS), 2)) if kind == "mixture" else kind
    # Small ones too: what is exponential needs no size.
    files = _fitting(name, seed, int(10 ** rng.uniform(1, 5.3)), most)
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        size = _write(files, Path(directory), directory)
        context = get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_take_alone, args=(Path(directory, MAIN), sender))
        child.start()
        sender.close()
        child.join(LONGEST_SECONDS * 2)
        seconds, mib = receiver.recv() if receiver.poll() else (None, 0.0)
        if child.is_alive():
            child.kill()
        child.join()
    return Cost(kind, size, seed, seconds, mib, _theirs(kea, files) if kea else None)


def _fitting(kind: str, seed: str, pieces: int, most: int) -> Files:
    while True:
        files = made(kind, random.Random(seed), pieces)
        size = sum(map(len, files.values()))
        if size <= most:
            return files
        pieces = pieces * most // size * 9 // 10


def _write(files: Files, directory: Path, inside: str) -> int:
    for name, text in files.items():
        (directory / name).write_text(text.replace("INC", inside), encoding="utf-8")
    return sum(map(len, files.values()))


def _take_alone(path: Path, sender: Connection) -> None:
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    began = time.perf_counter()
    take(path)
    sender.send((time.perf_counter() - began, _peak() - before))


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _theirs(kea: Root, files: Files) -> float:
    with kea.directory() as directory:
        _write(files, directory, kea.inside(directory))
        began = time.perf_counter()
        kea.ask("kea-dhcp4", "-t", directory / MAIN)
        return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
