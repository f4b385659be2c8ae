# SPDX-License-Identifier: MPL-2.0
"""The rules beside real Kea on mutated configurations: what Kea takes, no rule may call an error.

The files are the examples of docs/usage/rules.md and the packages' own, with values exchanged, numbers moved, members left out,
doubled and put elsewhere. Each is asked of every version in the lab's images with -t and, where -t takes it and there is
one, -T, which also loads hooks. What Kea's grammar refuses, the rules about keywords have to refuse, and nothing else. Root;
prints seed, count, and every error that Kea did not share.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from kearoots import Root, roots  # noqa: E402 - after its directory is known
from rulespage import sections  # noqa: E402

from kea_agent import keaconf, lint  # noqa: E402
from kea_agent.daemons import DAEMONS, DHCP4, DHCP6, Daemon  # noqa: E402
from kea_agent.errors import ConfigError  # noqa: E402
from kea_agent.rules import RULES, Severity, parse_version  # noqa: E402

# What no check of Kea's shows (docs/usage/rules.md says what happens instead); -T does not look at a lease file's place unless
# "persist" is written out, nor 2.6.3's at a control socket's.
UNSEEN = frozenset({"ha-without-lease-cmds", "subnet-id-changed", "lease-file-directory", "control-socket-directory"})
GRAMMAR = frozenset(
    {"keyword-unknown", "keyword-missing", "keyword-twice", "value-type", "value-unknown", "ddns-value-bad"}
)
Tree = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; 1 if a rule calls an error what Kea takes, or the rules about keywords miss what its grammar refuses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="of files; each is asked of every version")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    words = parser.parse_args(argv)
    if not roots():
        sys.exit("did not run: no image of the lab, or not root")
    seed = random.SystemRandom().randrange(2**32) if words.seed is None else words.seed
    print(f"seed {seed} count {words.count} versions {' '.join(kea.version for kea in roots())}", flush=True)
    shares = [(seed, job, len(range(job, words.count, words.jobs))) for job in range(words.jobs)]
    with Pool(words.jobs) as pool:
        sums = sum(pool.starmap(compare_many, shares), Counter())
    wrong = sorted(name for name in sums if name.startswith("!"))
    for name in sorted(sums.keys() - set(wrong)):
        print(f"{name} {sums[name]}")
    print("\n".join(wrong))
    return 1 if wrong else 0


def compare_many(seed: int, job: int, count: int) -> Counter[str]:
    """One worker's share."""
    rng = random.Random(f"{seed}/{job}")
    sums: Counter[str] = Counter()
    corpus, pool = _corpus()
    for _ in range(count):
        daemon, tree = rng.choice(corpus)
        made = mutated(tree, pool, rng)
        for kea in roots():
            _compare(kea, daemon, made, sums)
    return sums


def _corpus() -> tuple[list[tuple[Daemon, Tree]], dict[str, list[Any]]]:
    """Trees, and the values that stand under each key in any of them."""
    found = [
        (each.daemon, _tree(each.text, each.daemon)) for section in sections() for each in section.examples.values()
    ]
    for kea in roots():
        for daemon in DAEMONS:
            path = kea.path / daemon.config_path.lstrip("/")
            found.append((daemon, keaconf.read(str(path), daemon.root_key).tree))
    pool: dict[str, list[Any]] = defaultdict(list)
    for _, tree in found:
        for node, key in _places(tree):
            if isinstance(key, str):
                pool[key].append(node[key])
    return found, pool


def _tree(text: str, daemon: Daemon) -> Tree:
    with TemporaryDirectory() as directory:
        path = Path(directory, "f")
        path.write_text(text)
        return keaconf.read(str(path), daemon.root_key).tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        found += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    return found


def mutated(tree: Tree, pool: dict[str, list[Any]], rng: random.Random) -> Tree:
    """The tree with some values changed, so that most of it still makes sense."""
    made = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 3))):
        inner = [(node, key) for node, key in _places(made) if node is not made]
        if inner:
            _change(*rng.choice(inner), pool, rng)
    return made


def _change(node: Any, key: Any, pool: dict[str, list[Any]], rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.15:
        del node[key]
    elif kind < 0.3 and isinstance(node, list):
        node.append(copy.deepcopy(node[key]))
    elif isinstance(node, dict) and kind < 0.7:
        node[key] = copy.deepcopy(rng.choice(pool[key]))
    elif isinstance(node, dict) and kind < 0.75:
        other = rng.choice(list(pool))
        node[other] = copy.deepcopy(rng.choice(pool[other]))
    elif isinstance(node, dict) and kind < 0.8:
        node[key] = copy.deepcopy(rng.choice(pool[rng.choice(list(pool))]))
    elif isinstance(node[key], str) and node[key]:
        at = rng.randrange(len(node[key]))
        node[key] = node[key][:at] + rng.choice(["0", "1", ".", ":", " ", "/", "-", "f", "9", ""]) + node[key][at + 1 :]
    elif type(node[key]) is int:
        node[key] = rng.choice((0, 1, node[key] + 1, node[key] * 2, -1, 128, 129, 2**32 - 1))


def _compare(kea: Root, daemon: Daemon, tree: Tree, sums: Counter[str]) -> None:
    with kea.directory() as directory:
        file = directory / "kea.conf"
        file.write_text(json.dumps(tree, indent=1))
        try:
            document = keaconf.read(str(file), daemon.root_key)
        except ConfigError:
            sums["not_of_the_language"] += 1
            return
        setup = lint.Setup(parse_version(kea.version), environment=_environment(kea, directory))
        found = {
            rule.id
            for rule, problem in lint.problems_of(daemon.name, document.tree, setup)
            if _is_error(rule.id, problem)
        }
        verdict = kea.ask(daemon.binary, "-t", file)
        if verdict.is_syntax != bool(found & GRAMMAR):
            sums[
                f"!grammar {kea.version} {sorted(found & GRAMMAR)} {verdict.words[:200]} {json.dumps(tree)[:1500]}"
            ] += 1
        sums["kea_refuses_by_grammar"] += verdict.is_syntax
        if verdict.accepted and daemon in (DHCP4, DHCP6) and kea.release > (2, 2):
            sums["asked_with_-T"] += 1
            verdict = kea.ask(daemon.binary, "-T", file)
        sums["asked"] += 1
        sums[f"kea_{'takes' if verdict.accepted else 'refuses'}_rules_{'refuse' if found else 'take'}"] += 1
        # 2.2.0 has no -T, so nobody loads its hooks.
        blind = {
            name for name in found if kea.release <= (2, 2) and name.startswith(("ha-", "hosts-", "config-backend"))
        }
        for name in found - UNSEEN - blind if verdict.accepted else ():
            sums[f"!{name} {kea.version} {json.dumps(tree)[:1500]}"] += 1


def _is_error(name: str, problem: Any) -> bool:
    return RULES[name].severity is Severity.ERROR and problem.severity is None


def _environment(kea: Root, directory: Path) -> dict[str, str]:
    return {"KEA_DHCP_DATA_DIR": kea.inside(directory)}


if __name__ == "__main__":
    sys.exit(main())
