# SPDX-License-Identifier: MPL-2.0
"""The worst that generated files do to the agent's own reading and judging, beside Kea's own `-t` on the same file.

    hostile.py [--count N] [--seed S]

Each file is read, judged by the rules and shown in a process of its own, with a bound on its memory. The table has for
each kind the file that took the most CPU time beyond Kea's, and the most memory. Kea is that of the newest image.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from kearoots import Root, roots  # noqa: E402 - after its directory is known

from kea_agent import keaconf, report  # noqa: E402
from kea_agent.daemons import DHCP4  # noqa: E402
from kea_agent.errors import ConfigError  # noqa: E402
from kea_agent.redact import redacted  # noqa: E402
from kea_agent.settings import CheckSettings  # noqa: E402
from kea_agent.verbs.check import Asked, look  # noqa: E402

MEMORY = 1 << 30  # bytes a file may take at most; the agent's unit has no less
SECONDS = 60
# Kea is asked about files that took longer than this: most take milliseconds.
SLOW_SECONDS = 0.5


@dataclass(frozen=True)
class Seen:
    """One file: seconds of CPU and bytes of memory, and Kea's seconds; `how` it ended if not well."""

    kind: str
    number: int
    size: int
    seconds: float
    memory: int
    kea: float
    how: str

    @property
    def beyond(self) -> float:
        """Seconds that it takes us longer than Kea."""
        return self.seconds - self.kea


def inside(members: str) -> str:
    return f'{{ "Dhcp4": {{ {members} }} }}\n'


def comments(dice: random.Random, n: int) -> str:
    signs = [
        "/* */",
        "// x\n",
        "# x\n",
        "#" * dice.randint(1, 2000) + "\n",
        "/*" + "*" * dice.randint(1, 50) + "*/",
        '// "a": "b"\n',
    ]
    return inside('"a": "b" ' + " ".join(dice.choice(signs) for _ in range(n)))


def nesting(dice: random.Random, n: int) -> str:
    depth = dice.choice([10, 190, 199, 201, 1000, n])
    opening = "".join(dice.choice(["[", '{"a":']) for _ in range(depth))
    closing = "".join("]" if sign == "[" else "}" for sign in reversed(opening.replace('"a":', "")))
    return inside(f'"user-context": {{ "a": {opening}1{closing if dice.random() < 0.8 else ""} }}')


def lines(dice: random.Random, n: int) -> str:
    sign = dice.choice(["x", '\\\\"', " ", "#", "/", "é", "://", "a@b:", "password"])
    return inside(f'"hostname-char-set": "{sign * n * 20}"')


def numbers(dice: random.Random, n: int) -> str:
    digits = "".join(dice.choice("0123456789") for _ in range(dice.choice([5, 19, 20, 400, 4301, n])))
    number = dice.choice([digits, "-" + digits, f"{digits}.{digits}", f"1e{digits[:400]}", "0" * n + "1"])
    keys = ["valid-lifetime", "renew-timer", "unknown", "decline-probation-period"]
    return inside(
        f'"{dice.choice(keys)}": {number}, "user-context": {{ "a": [ {", ".join([number[:30]] * min(n, 5000))} ] }}'
    )


def duplicates(dice: random.Random, n: int) -> str:
    key = dice.choice(["a", "valid-lifetime", "subnet4"])
    return inside(", ".join(f'"{key}{"" if dice.random() < 0.5 else i}": {i}' for i in range(n)))


def subnets(dice: random.Random, n: int) -> str:
    same = dice.random() < 0.5
    entries = (
        f'{{ "id": {1 if same else i + 1}, "subnet": "10.{i // 256 % 256}.{i % 256}.0/{dice.choice([8, 24])}", '
        f'"pools": [ {{ "pool": "10.{i // 256 % 256}.{i % 256}.1 - 10.{i // 256 % 256}.{dice.choice([i % 256, 255])}.9" }} ], '
        f'"option-data": [ {{ "name": "routers", "data": "{"1.2.3.4," * dice.randint(0, 20)}x" }} ] }}'
        for i in range(min(n, 3000))
    )
    return inside('"subnet4": [ ' + ", ".join(entries) + " ]")


def reservations(dice: random.Random, n: int) -> str:
    entries = (
        f'{{ "hw-address": "00:00:00:00:{i % 256:02x}:{dice.choice([0, i // 256 % 256]):02x}", "ip-address": "192.0.2.{dice.randint(0, 300)}", '
        f'"hostname": "{"a." * dice.randint(0, 100)}" }}'
        for i in range(n)
    )
    return inside(
        '"subnet4": [ { "id": 1, "subnet": "192.0.2.0/24", "reservations": [ ' + ", ".join(entries) + " ] } ]"
    )


def classes(dice: random.Random, n: int) -> str:
    tests = ["option[61].hex == 0x" + "ab" * 500, "(" * 500 + "true", "not " * 500 + "member('a')", "'" * 1000]
    entries = (
        f'{{ "name": "c{i if dice.random() < 0.9 else 0}", "test": "{dice.choice(tests)}" }}'
        for i in range(min(n, 2000))
    )
    return inside('"client-classes": [ ' + ", ".join(entries) + " ]")


def broken(dice: random.Random, n: int) -> str:
    text = dice.choice([comments, numbers, subnets, reservations, duplicates])(dice, min(n, 500))
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(len(text))
        text = (
            text[:at]
            + dice.choice(['"', "{", "]", ",", "\\", "<?", "\0", "'", "/*", "password"])
            + text[at + dice.randint(0, 3) :]
        )
    return text


def includes(dice: random.Random, n: int) -> str:
    names = [
        "{HERE}/include-1",
        "{HERE}/include-2",
        "/proc/self/stat",
        "/dev/zero",
        "/dev/null",
        "/",
        "{HERE}/missing",
        "{HERE}/main",
    ]
    return inside(", ".join(f'"a{i}": [ <?include "{dice.choice(names)}"?> ]' for i in range(dice.choice([1, 10, n]))))


KINDS: tuple[Callable[[random.Random, int], str], ...] = (
    comments, nesting, lines, numbers, duplicates, subnets, reservations, classes, broken, includes,
)  # fmt: skip


def files(count: int, seed: int, here: Path) -> Iterator[tuple[str, int, Path]]:
    """One after the other in the same place: its kind, its number, and where it is."""
    (here / "include-1").write_text("1, " * 1000 + "1")
    (here / "include-2").write_text(f'<?include "{here}/include-1"?>')
    for number in range(count):
        dice = random.Random(seed * 1_000_003 + number)
        make = KINDS[number % len(KINDS)]
        path = here / "main"
        path.write_text(
            make(dice, int(10 ** dice.uniform(1, 4.7))).replace("{HERE}", str(here)), errors="surrogateescape"
        )
        yield make.__name__, number, path


def judge(path: Path) -> None:
    """What the agent does with a file before Kea is asked, and what the command prints of it."""
    found = look(DHCP4, str(path), None, Asked("rules", CheckSettings()))
    report.text(found.findings)
    try:
        redacted(keaconf.read(str(path), "Dhcp4").tree)
    except ConfigError:
        return


def measured(path: Path) -> tuple[float, int, str]:
    """Seconds of CPU and bytes in a child, and how it ended if not well."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        try:
            judge(path)
        except BaseException as error:  # noqa: BLE001 - this is the child, and it ends here
            print(f"{path}: {error!r}"[:500], file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    ended = f"ended by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else ""
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, ended or ("failed" if status else "")


def seconds_of_kea(root: Root | None, path: Path) -> float:
    if root is None:
        return 0.0
    started = time.monotonic()
    root.ask("kea-dhcp4", "-t", path)
    return time.monotonic() - started


def main() -> int:
    """Print the table; 1 if a file took more than 2 s beyond Kea, more memory than there is, or ended the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    wishes = parser.parse_args()
    root = max(roots(), key=lambda each: each.release, default=None)
    worst: dict[str, list[Seen]] = {}
    with ExitStack() as stack:
        here = stack.enter_context(root.directory()) if root else Path(stack.enter_context(TemporaryDirectory()))
        for kind, number, path in files(wishes.count, wishes.seed, here):
            seconds, memory, how = measured(path)
            kea = seconds_of_kea(root, path) if seconds > SLOW_SECONDS else 0.0
            worst.setdefault(kind, []).append(Seen(kind, number, path.stat().st_size, seconds, memory, kea, how))
            if how:
                print(f"{kind} {number}: {how}", flush=True)
    print(f"{'kind':14} {'files':>6} {'slowest':>9} {'Kea':>9} {'bytes':>10} {'number':>7} {'most memory':>12}")
    for kind, seen in worst.items():
        slow, large = max(seen, key=lambda each: each.beyond), max(seen, key=lambda each: each.memory)
        print(
            f"{kind:14} {len(seen):6} {slow.seconds:8.2f}s {slow.kea:8.2f}s {slow.size:10} {slow.number:7} "
            f"{large.memory >> 20:8} MiB"
        )
    everything = [each for seen in worst.values() for each in seen]
    return int(any(each.beyond > 2 or each.how for each in everything))


if __name__ == "__main__":
    sys.exit(main())
