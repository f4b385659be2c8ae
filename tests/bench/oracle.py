# SPDX-License-Identifier: MPL-2.0
"""Our reader beside `kea-dhcp4 -t` and `kea-dhcp6 -t` of every version in the lab's images, on generated and mutated files.

Half of the files are plain JSON in a user context, where Kea's grammar knows no keywords. The other half are mutated examples of
docs/usage/rules.md and the packages' own files: there the reader and the rules about keywords and their values are what Kea's
grammar is. The two have to agree on yes and no, and the reader and Kea on the line. Root; prints seed and count.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from kearoots import Root, Verdict, roots  # noqa: E402 - after its directory is known
from keatexts import HEAD, INCLUDED, SNIPPETS, TAIL, mutant  # noqa: E402
from rulespage import sections  # noqa: E402

from kea_agent import keaconf, lint  # noqa: E402
from kea_agent.daemons import DHCP4, DHCP6, Daemon  # noqa: E402
from kea_agent.errors import ConfigError  # noqa: E402
from kea_agent.rules import Severity, parse_version  # noqa: E402

# The rules that are Kea's grammar.
RULES = {"keyword-unknown", "keyword-missing", "keyword-twice", "value-type", "value-unknown", "ddns-value-bad"}
# Kea's words for what its grammar knows and the language does not: keywords, types, and what has to be there.
GRAMMAR = (
    "unexpected keyword",
    "expecting",
    "syntax error, unexpected",
    "missing parameter",
    "not allowed",
    "duplicate",
)
MOST_SHOWN = 20


@dataclass(frozen=True)
class Text:
    """One file: whose it is, and whether Kea's grammar may say more about it than ours."""

    daemon: Daemon
    content: bytes
    is_free: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; 1 if the two disagree anywhere on yes and no, or on the line in more than one of a hundred."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000, help="of files; each is asked of every version")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    words = parser.parse_args(argv)
    keas = roots()
    if not keas:
        sys.exit("did not run: no image of the lab, or not root")
    seed = random.SystemRandom().randrange(2**32) if words.seed is None else words.seed
    print(f"seed {seed} count {words.count} versions {' '.join(kea.version for kea in keas)}", flush=True)
    shares = [(seed, job, len(range(job, words.count, words.jobs))) for job in range(words.jobs)]
    with Pool(words.jobs) as pool:
        return _told(sum(pool.starmap(compare_many, shares), Counter()))


def _told(sums: Counter[str]) -> int:
    numbers = {name: value for name, value in sums.items() if not name.startswith("!")}
    for name in (
        "files",
        "asked",
        "both accept",
        "both refuse",
        "both refuse by grammar",
        "grammar first",
        "line same",
        "line differs",
        "disagree",
    ):
        print(f"{name.replace(' ', '_')} {numbers.get(name, 0)}")
    shown = [name[1:] for name in sums if name.startswith("!")]
    print("\n".join(shown[:MOST_SHOWN]))
    return 1 if numbers.get("disagree", 0) or numbers.get("line differs", 0) * 99 > numbers.get("line same", 0) else 0


def compare_many(seed: int, job: int, count: int) -> Counter[str]:
    """One worker's share."""
    rng = random.Random(f"{seed}/{job}")
    sums: Counter[str] = Counter()
    corpus = _corpus()
    with _Bench(job) as bench:
        for number in range(count):
            if number and number % 1000 == 0:
                print(f"worker {job}: {number} files", file=sys.stderr, flush=True)
            text = _text(rng, corpus)
            sums["files"] += 1
            bench.compare(text, sums)
    return sums


def _corpus() -> list[tuple[Daemon, bytes]]:
    """Whole configurations, with their comments."""
    found = [(each.daemon, each.text.encode()) for section in sections() for each in section.examples.values()]
    for kea in roots():
        found += [(each, (kea.path / each.config_path.lstrip("/")).read_bytes()) for each in (DHCP4, DHCP6)]
    return [(daemon, text) for daemon, text in found if daemon in (DHCP4, DHCP6)]


def _text(rng: random.Random, corpus: list[tuple[Daemon, bytes]]) -> Text:
    daemon = rng.choice((DHCP4, DHCP6))
    if rng.random() < 0.5:
        return Text(daemon, mutant(rng).replace(b'"Dhcp4"', b'"%s"' % daemon.root_key.encode(), 1), True)
    daemon, text = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 2, 3))):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 0, 1, 1, 2, 5, 20)))
        text = text[:start] + rng.choice([*SNIPPETS, b"", b"", b""]) + text[end:]
    return Text(daemon, text, False)


class _Bench:
    """One worker's directory, under the same name here and in every root: includes are found by all."""

    def __init__(self, job: int) -> None:
        self.keas: tuple[Root, ...] = roots()
        self.here = Path(tempfile.mkdtemp(prefix=f"kea-oracle-{job}-", dir="/tmp"))
        self.places = [self.here, *(kea.path / self.here.relative_to("/") for kea in self.keas)]

    def __enter__(self) -> _Bench:
        for place in self.places:
            place.mkdir(exist_ok=True)
            for name, content in INCLUDED.items():
                (place / name).write_bytes(self._here(content))
        return self

    def __exit__(self, *_: object) -> None:
        for place in self.places:
            shutil.rmtree(place)

    def _here(self, content: bytes) -> bytes:
        return content.replace(b"INC", str(self.here).encode())

    def compare(self, text: Text, sums: Counter[str]) -> None:
        content = self._here(text.content)
        for place in self.places:
            (place / "main").write_bytes(content)
        ours = self._ours(text)
        for kea in self.keas:
            sums["asked"] += 1
            said = kea.ask(text.daemon.binary, "-t", kea.path / self.here.relative_to("/") / "main")
            kind = _difference(ours, said, self._faults(text, kea) if ours.accepted else [])
            sums[kind] += 1
            if said.is_syntax and ours.words and said.place and ours.place:
                kind = _line(text, ours, said)
                sums[kind] += 1
            if kind in ("disagree", "line differs"):
                sums[f"!{kind} {kea.version} {content[:3000]!r}\n  kea:  {said.words[:300]}\n  ours: {ours.words}"] += 1

    def _ours(self, text: Text) -> Verdict:
        try:
            keaconf.read(str(self.here / "main"), text.daemon.root_key)
        except ConfigError as error:
            place = f"{error.file}:{error.line}.{error.column}" if error.line else "nowhere"
            return Verdict(False, f"Syntax check failed with: {place}: {error.message}")
        return Verdict(True, "")

    def _faults(self, text: Text, kea: Root) -> list[str]:
        """What the rules have against the keywords."""
        tree = keaconf.read(str(self.here / "main"), text.daemon.root_key).tree
        found = lint.problems_of(text.daemon.name, tree, lint.Setup(parse_version(kea.version)))
        assert all(rule.severity is Severity.ERROR for rule, _ in found if rule.id in RULES)
        return [problem.message for rule, problem in found if rule.id in RULES]


def _difference(ours: Verdict, said: Verdict, faults: list[str]) -> str:
    # What fails after the syntax was right is no question of the language.
    took_syntax = said.accepted or not said.is_syntax
    if ours.accepted and not faults:
        return "both accept" if took_syntax else "disagree"
    if took_syntax:
        return "disagree"
    return "both refuse by grammar" if faults else "both refuse"


def _line(text: Text, ours: Verdict, said: Verdict) -> str:
    """Whether both name the same line; where Kea's grammar had something to say before, they need not."""
    if said.place == ours.place:
        return "line same"
    first = ("unexpected keyword", "expecting {") if text.is_free else GRAMMAR
    return "grammar first" if any(words in said.words for words in first) else "line differs"


assert HEAD.startswith(b'{"Dhcp4"')
assert TAIL

if __name__ == "__main__":
    sys.exit(main())
