# SPDX-License-Identifier: MPL-2.0
"""Fuzzed files through the reader, the places and the rules: a finding or a tree, never a traceback, never a hang.

Mutated texts and whole configurations, and noise out of the language's own pieces. Needs no Kea and no root; prints seed, count
and the longest that one file took.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from keatexts import BODIES, INCLUDED, SNIPPETS, mutant  # noqa: E402 - after its directory is known
from rulespage import sections  # noqa: E402

from kea_agent import keaconf, lint  # noqa: E402
from kea_agent.daemons import DAEMONS  # noqa: E402
from kea_agent.errors import ConfigError  # noqa: E402

# A file of some kilobytes takes milliseconds; on a busy machine it may wait for its turn.
LONGEST_SECONDS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz; a crash is a traceback, a hang is 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    words = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(2**32) if words.seed is None else words.seed
    print(f"seed {seed} count {words.count}", flush=True)
    shares = [(seed, job, len(range(job, words.count, words.jobs))) for job in range(words.jobs)]
    with Pool(words.jobs) as pool:
        results = pool.starmap(fuzz, shares)
    longest = max(seconds for _, seconds in results)
    print(f"trees {sum(trees for trees, _ in results)}\nlongest {longest * 1e3:.0f} ms")
    return 1 if longest > LONGEST_SECONDS else 0


def fuzz(seed: int, job: int, count: int) -> tuple[int, float]:
    """One worker's share: how many files were trees, and the longest time that one took."""
    rng = random.Random(f"{seed}/{job}")
    corpus = [example.text.encode() for section in sections() for example in section.examples.values()]
    trees, longest = 0, 0.0
    # In memory where there is such a place: a million files are written.
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        for name, content in INCLUDED.items():
            Path(directory, name).write_bytes(content.replace(b"INC", directory.encode()))
        path = Path(directory, "main")
        for _ in range(count):
            path.write_bytes(_text(rng, corpus).replace(b"INC", directory.encode()))
            began = time.perf_counter()
            trees += _take(path)
            longest = max(longest, time.perf_counter() - began)
    return trees, longest


def _text(rng: random.Random, corpus: list[bytes]) -> bytes:
    kind = rng.random()
    if kind < 0.4:
        return mutant(rng)
    if kind < 0.6:
        return b"".join(rng.choices(SNIPPETS, k=rng.randrange(40)))
    text = rng.choice([*corpus, *BODIES])
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice([*SNIPPETS, rng.randbytes(2), b""]) + text[at + rng.choice((0, 1, 1, 30)) :]
    return text


def _take(path: Path) -> bool:
    for daemon in DAEMONS:
        try:
            document = keaconf.read(str(path), daemon.root_key)
        except ConfigError:
            continue
        lint.run(daemon.name, document, lint.Setup())
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
