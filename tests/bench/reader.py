# SPDX-License-Identifier: MPL-2.0
"""Reading and judging large files beside `kea-dhcp4 -t` on the same file: `name value unit baseline ratio`.

10,000 subnets and 100,000 reservations, with comments. The baseline is the same file's time with the Kea of each of the lab's
images, the best of some runs of both. Promised: reading takes at most half of Kea's time, the rules at most all of it.
Root, for chroot; a minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from kearoots import Root, roots  # noqa: E402 - after its directory is known

from kea_agent import keaconf, lint  # noqa: E402
from kea_agent.rules import parse_version  # noqa: E402

MOST_OF_READING, MOST_OF_RULES, MOST_OF_SMALL_MS = 0.5, 1.0, 3.0
HEAD = '{ "Dhcp4": {\n  "interfaces-config": { "interfaces": [ ] },\n'


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args(argv)
    keas = roots()
    if not keas:
        sys.exit("did not run: no image of the lab, or not root")
    print("name value unit baseline ratio")
    with tempfile.TemporaryDirectory() as directory:
        small = keas[-1].path / "etc/kea/kea-dhcp4.conf"
        files = {"small": small.read_text(), "10000_subnets": subnets(10000), "100000_hosts": hosts(100000)}
        kept = [_measure(Path(directory, name), text, keas, words.rounds) for name, text in files.items()]
    return 0 if all(kept) else 1


def subnets(count: int) -> str:
    """About 2.4 MB for 10,000."""
    rows = []
    for number in range(count):
        net = f"10.{number >> 8}.{number & 255}"
        rows.append(
            f'    {{ "id": {number + 1}, "subnet": "{net}.0/24", // site {number}\n'
            f'      "pools": [ {{ "pool": "{net}.10 - {net}.200" }} ],\n'
            f'      "option-data": [ {{ "name": "routers", "data": "{net}.1" }} ], "user-context": {{ "site": "s{number}" }} }}'
        )
    return f'{HEAD}  # all of them\n  "subnet4": [\n{_joined(rows)}\n] }} }}\n'


def hosts(count: int) -> str:
    """About 9 MB for 100,000."""
    rows = []
    for number in range(1, count + 1):
        octets = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        mac = f"00:0c:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:01"
        comment = f"    // host {number}\n" if number % 10 == 0 else ""
        rows.append(f'{comment}    {{ "hw-address": "{mac}", "ip-address": "10.{octets}", "hostname": "h{number}" }}')
    return (
        f'{HEAD}  "subnet4": [ {{ "id": 1, "subnet": "10.0.0.0/8", "reservations": [\n{_joined(rows)}\n  ] }} ] }} }}\n'
    )


def _joined(rows: Sequence[str]) -> str:
    return ",\n".join(rows)


def _measure(path: Path, text: str, keas: Sequence[Root], rounds: int) -> bool:
    path.write_text(text)
    read = best(lambda: keaconf.read(str(path), "Dhcp4"), rounds)
    document = keaconf.read(str(path), "Dhcp4")
    setup = lint.Setup(parse_version(keas[-1].version))
    rules = best(lambda: lint.run("dhcp4", document, setup), rounds)
    before, after = peak_memory(path)
    print(f"{path.name}_size {len(text) / 1e6:.2f} MB - -")
    print(f"{path.name}_peak_memory {after:.0f} MiB {before:.0f} {after / before:.2f}")
    is_small = path.name == "small"
    kept = [_beside(path, read, rules, kea, 2 if is_small else rounds) for kea in keas]
    return all(kept) and (not is_small or rules * 1e3 < MOST_OF_SMALL_MS)


def _beside(path: Path, read: float, rules: float, kea: Root, rounds: int) -> bool:
    with kea.directory() as directory:
        file = directory / "kea.conf"
        file.write_bytes(path.read_bytes())
        theirs = best(lambda: kea.ask("kea-dhcp4", "-t", file), rounds)
    for name, ours in (("read", read), ("rules", rules)):
        print(
            f"{path.name}_{name}_kea_{kea.version} {ours * 1e3:.1f} ms {theirs * 1e3:.1f} {ours / theirs:.2f}",
            flush=True,
        )
    return read <= theirs * MOST_OF_READING and rules <= theirs * MOST_OF_RULES


def peak_memory(path: Path) -> tuple[float, float]:
    """MiB of a process that has only imported the reader and the rules, and of one that has read and judged."""
    # Not ru_maxrss: that remembers the process that started this one.
    script = (
        "import re, sys; from kea_agent import keaconf, lint;"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024;"
        "print(peak()); lint.run('dhcp4', keaconf.read(sys.argv[1], 'Dhcp4'), lint.Setup()); print(peak())"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, text=True, check=True)
    before, after = map(float, done.stdout.split())
    return before, after


def best(what: Callable[[], object], rounds: int) -> float:
    """The shortest of some times, in seconds: the rest is other people's."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        what()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
