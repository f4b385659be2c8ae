# SPDX-License-Identifier: MPL-2.0
"""The part of the metrics bench that runs in a node: `python3 - scrapes URL PID COUNT` or `lag URL`.

One JSON object on stdout; times in seconds, memory in KiB.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

CHANNEL = "/run/kea/kea4-ctrl-socket"
AGENT = "/run/kea-agent/agent.sock"
FLOOR_EVERY = 4


def ask(path: str, request: object) -> bytes:
    """One exchange on a unix socket, until the other side closes."""
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(60)
        channel.connect(path)
        channel.sendall(json.dumps(request).encode() + b"\n")
        while chunk := channel.recv(1 << 18):
            answer += chunk
    return bytes(answer)


def timed(path: str, request: object) -> tuple[float, bytes]:
    """The same with the seconds that it took."""
    began = time.monotonic()
    answer = ask(path, request)
    return time.monotonic() - began, answer


def floor() -> dict[str, float]:
    """What Kea takes to answer, and Python to read that: nobody who asks for statistics is below it."""
    statistics, answer = timed(CHANNEL, {"command": "statistic-get-all"})
    began = time.monotonic()
    json.loads(answer)
    loads = time.monotonic() - began
    return {"statistics": statistics, "loads": loads, "config": timed(CHANNEL, {"command": "config-get"})[0]}


def scrape(url: str) -> tuple[float, int]:
    """Seconds and bytes of one scrape."""
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=120) as answer:
        size = 0
        while chunk := answer.read(1 << 20):
            size += len(chunk)
    return time.monotonic() - began, size


def cpu(pid: int) -> float:
    """CPU seconds of a process."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, name: str) -> int:
    """A value of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def scrapes(url: str, pid: int, count: int) -> dict[str, object]:
    """Many scrapes, and what they cost the process that answers; the floor in between, so that both have the same host."""
    before, began = memory(pid, "VmRSS"), cpu(pid)
    measured, floors = [], []
    for number in range(count):
        measured.append(scrape(url))
        if number % FLOOR_EVERY == 0:
            floors.append(floor())
    return {
        "seconds": [seconds for seconds, _ in measured],
        "floor": floors,
        "bytes": measured[-1][1],
        "cpu": (cpu(pid) - began) / count,
        "before": before,
        "after": memory(pid, "VmRSS"),
        "peak": memory(pid, "VmHWM"),
    }


def lag(url: str) -> dict[str, list[float]]:
    """How long the agent's loop takes to answer a word, alone and beside scrapes."""
    alone = [timed(AGENT, {"verb": "bench"})[0] for _ in range(100)]
    scraper = threading.Thread(target=lambda: [scrape(url) for _ in range(10)])
    scraper.start()
    beside = []
    while scraper.is_alive():
        beside.append(timed(AGENT, {"verb": "bench"})[0])
        time.sleep(0.002)
    return {"alone": alone, "beside": beside}


if __name__ == "__main__":
    words = sys.argv[2:]
    if sys.argv[1] == "scrapes":
        print(json.dumps(scrapes(words[0], int(words[1]), int(words[2]))))
    else:
        print(json.dumps(lag(words[0])))
