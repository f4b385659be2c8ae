# SPDX-License-Identifier: MPL-2.0
"""`keactrl status` beside the script of the same Kea, on one host of each suite: `name value unit baseline ratio`.

The script comes as in tests/keactrl_scripts.py; where it cannot be had there is no line. Root; about a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lab"), str(HERE.parent)]

from bench.run import line, p50  # noqa: E402 - after its directory is known
from keactrl_scripts import SUITES, UnavailableError, get  # noqa: E402
from labkit import Lab, LabSpec, Node, Progress  # noqa: E402
from labkit.lab import newest_deb  # noqa: E402

MOST = 2.0
ROUNDS = 41
SCRIPT = "/root/keactrl"
TIMED = """import subprocess, sys, time
for _ in range(int(sys.argv[1])):
    took = []
    for command in sys.argv[2:]:
        began = time.perf_counter()
        subprocess.run([command, "status"], stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    print(*took)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure on each suite; 1 if ours takes more than twice the script's time on one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="bench-keactrl", help="of the lab")
    words = parser.parse_args(argv)
    print("name value unit baseline ratio", flush=True)
    ratios = [_measure(words.name, suite, version) for version, suite in SUITES.items()]
    return 0 if all(ratio <= MOST for ratio in ratios) else 1


def _measure(name: str, suite: str, version: str) -> float:
    try:
        script = get(version).render(Path("/usr"), netconf=False)
        conf = get(version).render_conf(Path("/usr"))
    except UnavailableError as error:
        print(f"# {suite}: {error}")
        return 0.0
    spec = LabSpec(name=name, suite=suite, deb=newest_deb())  # type: ignore[arg-type]
    with Lab.up(spec, Progress()) as lab:
        ours, theirs = _seconds(lab.nodes[0], script, conf)
    line(f"keactrl_status_{version}_p50", 1e3 * ours, "ms", 1e3 * theirs)
    return ours / theirs


def _seconds(node: Node, script: str, conf: str) -> tuple[float, float]:
    """The medians of both, taken in turn. The script finds its PID files only where packaged Kea has them."""
    node.write(SCRIPT, script.replace("${prefix}/var/run", "/run").replace("${prefix}/etc", "/etc"))
    node.write("/etc/kea/keactrl.conf", conf.replace("${prefix}/etc", "/etc"))
    node.run(["chmod", "+x", SCRIPT])
    done = node.run(["python3", "-", str(ROUNDS), "/usr/sbin/keactrl", SCRIPT], stdin=TIMED, timeout=120)
    rows = [[float(word) for word in row.split()] for row in done.stdout.splitlines()]
    return p50([row[0] for row in rows]), p50([row[1] for row in rows])


if __name__ == "__main__":
    sys.exit(main())
