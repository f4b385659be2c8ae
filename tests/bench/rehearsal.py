# SPDX-License-Identifier: MPL-2.0
"""What a rehearsal costs beside Kea's own start on the same file, on a host that serves: `name value unit baseline ratio`.

Both end when the daemon has answered config-hash-get and config-get; the start is by hand, as Kea's user, without any
sandbox. Root; two minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lab"), str(HERE.parent)]

from bench.run import line, p50  # noqa: E402 - after its directory is known
from labkit import Lab, LabSpec, Progress  # noqa: E402
from labkit.lab import newest_deb  # noqa: E402

# What a small file may cost over Kea's own start, in seconds; more is a failure.
MOST = 0.3
ROUNDS = {"small": 15, "subnets_10000": 5, "reservations_100000": 3}
FILE = "/srv/bench-rehearsal.json"
SOCKET = "/run/kea/bench-socket"
IN_NODE = f"""
import json, os, subprocess, sys, time
from kea_agent import keaconf, rehearsal
from kea_agent.control import UnixChannel, ask
from kea_agent.daemons import DHCP4
from kea_agent.errors import ControlError
document = keaconf.read("{FILE}", "Dhcp4")
channel = UnixChannel("{SOCKET}")
def start():
    began = time.monotonic()
    environment = dict(os.environ, KEA_PIDFILE_DIR="/var/lib/kea", KEA_LOCKFILE_DIR="none")
    kea = subprocess.Popen(["kea-dhcp4", "-c", "{FILE}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while kea.poll() is None:
        try:
            ask(channel, "config-hash-get")
            ask(channel, "config-get", timeout=60)
            break
        except ControlError:
            time.sleep(0.002)
    took = time.monotonic() - began
    assert kea.poll() is None, "kea-dhcp4 does not start by hand"
    kea.terminate()
    kea.wait()
    return took
for _ in range(int(sys.argv[1])):
    own = start()
    found = rehearsal.rehearse(DHCP4, document, timeout=120)
    assert found.standing == "passed", found.reason
    print(own, found.seconds, flush=True)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 if a small file costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="bench-rehearsal", help="of the lab")
    words = parser.parse_args(argv)
    print("name value unit baseline ratio", flush=True)
    with Lab.up(LabSpec(name=words.name, deb=newest_deb()), Progress()) as lab:
        added = {size: _measure(lab, size, rounds) for size, rounds in ROUNDS.items()}
    return 0 if added["small"] <= MOST else 1


def _measure(lab: Lab, size: str, rounds: int) -> float:
    node = lab.nodes[0]
    node.run(["sh", "-c", f"umask 022; cat > {FILE}"], stdin=json.dumps(_config(size)))
    as_kea = ["setpriv", "--reuid=_kea", "--regid=_kea", "--init-groups", "--"]
    told = node.run([*as_kea, "python3", "-c", IN_NODE, str(rounds)], timeout=600).stdout
    pairs = [tuple(map(float, row.split())) for row in told.splitlines()]
    own, rehearsed = p50([pair[0] for pair in pairs]), p50([pair[1] for pair in pairs])
    line(f"rehearsal_{size}_p50", 1e3 * rehearsed, "ms", 1e3 * own)
    return rehearsed - own


def _config(size: str) -> dict[str, Any]:
    """The size is in the name; no interfaces, so that a start by hand needs no rights."""
    root: dict[str, Any] = {
        "interfaces-config": {"interfaces": []},
        "lease-database": {"type": "memfile", "persist": False},
        "control-socket": {"socket-type": "unix", "socket-name": SOCKET},
    }
    kind, _, number = size.partition("_")
    if kind == "subnets":
        root["subnet4"] = [_subnet(n) for n in range(1, int(number) + 1)]
    if kind == "reservations":
        hosts = [{"hw-address": f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"} for n in range(int(number))]
        root["subnet4"] = [{"id": 1, "subnet": "10.0.0.0/8", "reservations": hosts}]
    return {"Dhcp4": root}


def _subnet(n: int) -> dict[str, Any]:
    net = f"10.{n >> 8}.{n & 255}"
    return {"id": n, "subnet": f"{net}.0/24", "pools": [{"pool": f"{net}.10 - {net}.200"}]}


if __name__ == "__main__":
    sys.exit(main())
