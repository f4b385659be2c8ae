# SPDX-License-Identifier: MPL-2.0
"""Scrapes beside kea-exporter's of the same real Kea, one figure a line: `name value unit baseline ratio`.

Boots a host of its own, gives its DHCPv4 server 100, 1,000 and 10,000 subnets and asks both for everything. Of what a
scrape takes Kea's own share is apart: both have to wait for that. Root and PyPI; about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lab"), str(HERE.parent)]

from bench.run import line, p50  # noqa: E402 - after its directory is known
from labkit import Lab, LabSpec, Node, Progress  # noqa: E402
from labkit.host import wait_for  # noqa: E402
from labkit.lab import newest_deb  # noqa: E402

EXPORTER = "kea-exporter==0.7.1"
CONFIG = "/etc/kea/kea-dhcp4.conf"
OURS, THEIRS = "http://127.0.0.1:9673/metrics", "http://127.0.0.1:9547/metrics"
START = "from kea_exporter.cli import cli; cli()"
# What is promised from 1,000 subnets on.
MOST_OF_FLOOR, MOST_OF_TIME, MOST_OF_GROWTH = 1.5, 1 / 3, 1 / 2


def main(argv: Sequence[str] | None = None) -> int:
    """Bring a host up, measure, take it down; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=("bookworm", "trixie", "sid"), default="trixie")
    parser.add_argument("--subnets", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--scrapes", type=int, default=100)
    parser.add_argument("--name", default="bench-metrics", help="of the lab")
    words = parser.parse_args(argv)
    deb = newest_deb()
    if deb is None:
        sys.exit("no package in dist/: make deb")
    with Lab.up(LabSpec(name=words.name, suite=words.suite, deb=deb), Progress()) as lab:
        node = lab.nodes[0]
        _bring_exporter(node)
        base = node.read(CONFIG)
        print("name value unit baseline ratio", flush=True)
        kept = [_compare(node, base, count, words.scrapes) for count in words.subnets]
        return 0 if all(kept) else 1


def _bring_exporter(node: Node) -> None:
    """Installed in a scratch directory for the node's Python, and carried over."""
    version = node.run(["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", f"{scratch}/venv"], check=True)
        pip = [f"{scratch}/venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        only = ["--only-binary=:all:", "--python-version", version, "--target", f"{scratch}/exporter"]
        subprocess.run([*pip, *only, EXPORTER], check=True)
        into = f"{node.root}/opt"
        packed = subprocess.run(["tar", "c", "-C", scratch, "exporter"], check=True, capture_output=True)
        subprocess.run(["tar", "x", "-C", into, "--no-same-owner"], input=packed.stdout, check=True)


def _compare(node: Node, base: str, count: int, scrapes: int) -> bool:
    _configure(node, base, count)
    node.systemctl("reset-failed", "kea-agent", check=False)
    node.systemctl("restart", "kea-agent")
    _wait_until_looked(node)
    time.sleep(1)
    ours = _in_node(node, "scrapes", OURS, _pid(node), scrapes)
    lag = _in_node(node, "lag", OURS)
    with _exporter(node) as pid:
        theirs = _in_node(node, "scrapes", THEIRS, pid, scrapes)
    return _tell(count, ours, theirs, lag)


def _tell(count: int, ours: Any, theirs: Any, lag: Any) -> bool:
    answer, loads, config = (_floor(ours, key) for key in ("statistics", "loads", "config"))
    mine, other = p50(ours["seconds"]), p50(theirs["seconds"])
    own, other_own = mine - answer, other - _floor(theirs, "statistics") - _floor(theirs, "config")
    grown, other_grown = (each["after"] - each["before"] for each in (ours, theirs))
    name = f"subnets_{count}"
    line(f"{name}_kea_statistics_p50", 1e3 * answer, "ms")
    line(f"{name}_json_loads_p50", 1e3 * loads, "ms")
    line(f"{name}_kea_config_p50", 1e3 * config, "ms")
    line(f"{name}_scrape_p50_beside_floor", 1e3 * mine, "ms", 1e3 * (answer + loads))
    line(f"{name}_scrape_p50_beside_exporter", 1e3 * mine, "ms", 1e3 * other)
    line(f"{name}_own_time_p50", 1e3 * own, "ms", 1e3 * other_own)
    line(f"{name}_cpu_a_scrape", 1e3 * ours["cpu"], "ms", 1e3 * theirs["cpu"])
    line(f"{name}_rss_growth", grown / 1024, "MiB", other_grown / 1024)
    line(f"{name}_rss_after", ours["after"] / 1024, "MiB", theirs["after"] / 1024)
    line(f"{name}_rss_peak", ours["peak"] / 1024, "MiB", theirs["peak"] / 1024)
    line(f"{name}_body", ours["bytes"] / 1024, "KiB", theirs["bytes"] / 1024)
    line(f"{name}_loop_lag_max_beside_scrapes", 1e3 * max(lag["beside"]), "ms", 1e3 * max(lag["alone"]))
    kept = (mine <= MOST_OF_FLOOR * (answer + loads), own <= MOST_OF_TIME * other_own, grown <= MOST_OF_GROWTH * other_grown)  # fmt: skip
    return count < 1000 or all(kept)


def _floor(of: Any, key: str) -> float:
    return p50([each[key] for each in of["floor"]])


def _configure(node: Node, base: str, count: int) -> None:
    """So many subnets beside the one that is there, all of them where kea-exporter sees them."""
    subnets = [
        {
            "id": 10 + number,
            "subnet": f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.0/24",
            "pools": [{"pool": f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.0/25"}],
            "user-context": {"name": f"site {number}"},
        }
        for number in range(count)
    ]
    begun = time.time()
    listed = ",\n".join(map(json.dumps, subnets))
    node.replace(CONFIG, base.replace('"subnet4": [', f'"subnet4": [\n{listed},', 1))
    for _ in wait_for(60, every=0.2):
        last = _status(node)["dhcp4"]["last"]
        if last and last["at"] > begun:
            if last["outcome"] != "applied":
                sys.exit(f"{count} subnets: {last}")
            return
    sys.exit(f"{count} subnets: not applied in 60 s")


def _status(node: Node) -> dict[str, Any]:
    found = node.run(["cat", "/run/kea-agent/status.json"], check=False).stdout
    daemons: dict[str, Any] = json.loads(found)["daemons"] if found else {"dhcp4": {"last": None}}
    return daemons


def _wait_until_looked(node: Node) -> None:
    for _ in wait_for(60, every=0.2):
        if all(each["last"] for each in _status(node).values()):
            return
    sys.exit("the agent did not look at every daemon within 60 s of its start")


@contextmanager
def _exporter(node: Node) -> Iterator[int]:
    """kea-exporter as Kea's user, and its process."""
    command = ["runuser", "-u", "_kea", "--", "env", "PYTHONPATH=/opt/exporter", "python3", "-c", START]
    arguments = ["-a", "127.0.0.1", "-p", "9547", "/run/kea/kea4-ctrl-socket"]
    unit = ["systemd-run", "--quiet", "--unit=kea-exporter", "--collect", *command, *arguments]
    node.run(unit)
    try:
        for _ in wait_for(30, every=0.2):
            # Port 9547 and LISTEN in the kernel's spelling.
            if node.run(["grep", "--quiet", ":254B 00000000:0000 0A", "/proc/net/tcp"], check=False).returncode == 0:
                break
        yield int(node.run(["pgrep", "-u", "_kea", "-f", "kea_exporter.cli"]).stdout.split()[-1])
    finally:
        node.systemctl("stop", "kea-exporter", check=False)


def _pid(node: Node) -> int:
    return int(node.systemctl("show", "--property=MainPID", "--value", "kea-agent"))


def _in_node(node: Node, *words: object) -> Any:
    script = (HERE / "in_node_metrics.py").read_text()
    done = node.run(["python3", "-", *map(str, words)], stdin=script, check=False, timeout=1800)
    if done.returncode != 0:
        sys.exit(f"in the node: {done.stderr}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
