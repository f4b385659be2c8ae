# SPDX-License-Identifier: MPL-2.0
"""The part of the bench that runs in a node, with the node's Python and one clock: `python3 - series|check COUNT`.

Each round of a series is one edit for the agent and, a moment later, the two things that nobody can save: Kea's own
check and Kea's own reload of the same file. For the latter the server is given something else over its channel and
then SIGHUP, so the file stays as it is and the agent sleeps. One JSON object a round on stdout; times in seconds.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

CONFIG = "/etc/kea/kea-dhcp4.conf"
CHANNEL = "/run/kea/kea4-ctrl-socket"
STATUS = "/run/kea-agent/status.json"
LIFETIME = re.compile(r'("valid-lifetime": )\d+')
PATIENCE = 30.0
# Kea knows the time of its last commit to a second: two reloads within one are another story.
APART = 1.2


def ask(command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """One command on Kea's socket."""
    request = {"command": command} | ({"arguments": arguments} if arguments else {})
    answer = b""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(PATIENCE)
        channel.connect(CHANNEL)
        channel.sendall(json.dumps(request).encode())
        while chunk := channel.recv(65536):
            answer += chunk
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def running() -> object:
    """What tells one configuration from another: the hash, or before Kea 2.4 the one value that the edits change."""
    answer = ask("config-hash-get")
    if answer["result"] == 0:
        return answer["arguments"]["hash"]
    return ask("config-get")["arguments"]["Dhcp4"]["valid-lifetime"]


def until(is_so: Callable[[], bool], pause: float) -> float:
    """Wait for it; the time (Unix) at which it was seen."""
    give_up = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > give_up:
            sys.exit(f"gave up after {PATIENCE:g} s; last: {last_pass()}")
        time.sleep(pause)
    return time.time()


def last_pass() -> dict[str, Any]:
    """What the agent says of its last pass."""
    with open(STATUS, encoding="utf-8") as stream:
        found: dict[str, Any] = json.load(stream)["daemons"]["dhcp4"]["last"]
    return found


def save(lifetime: int) -> float:
    """Write the file in place; the time (Unix) right after close()."""
    with open(CONFIG, encoding="utf-8") as stream:
        text = LIFETIME.sub(rf"\g<1>{lifetime}", stream.read())
    with open(CONFIG, "w", encoding="utf-8") as stream:
        stream.write(text)
    return time.time()


def verified(closed: float) -> dict[str, Any]:
    """Wait for the agent's verified reload of what was closed then."""
    until(lambda: os.stat(STATUS).st_mtime > closed and last_pass()["at"] > closed, 0.005)
    done = last_pass()
    if done["outcome"] != "applied":
        sys.exit(f"not applied: {done}")
    return done


def own_check() -> float:
    """Kea's check of the file by itself."""
    command, environment = ["/usr/sbin/kea-dhcp4", "-t", CONFIG], {"PATH": os.defpath, "KEA_LOCKFILE_DIR": "none"}
    began = time.monotonic()
    subprocess.run(
        command, env=environment, user="_kea", cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return time.monotonic() - began


def own_reload(pid: int, lifetime: int) -> float:
    """Kea's reload of the file by itself, from SIGHUP to the answer with the file's hash, asked every millisecond."""
    wanted = running()
    other = ask("config-get")["arguments"]
    other.pop("hash", None)
    other["Dhcp4"]["valid-lifetime"] = lifetime + 1
    answer = ask("config-set", other)
    if answer["result"] != 0 or running() == wanted:
        sys.exit(f"config-set: {answer}")
    began = time.time()
    os.kill(pid, signal.SIGHUP)
    return until(lambda: running() == wanted, 0.001) - began


def series(count: int, pid: int) -> None:
    """Edits 1.5 to 2.5 s apart."""
    begin = time.monotonic()
    for lifetime in range(4000, 4000 + 2 * count, 2):
        time.sleep(max(0.0, begin - time.monotonic()))
        begin = time.monotonic() + random.uniform(1.5, 2.5)
        closed = save(lifetime)
        done = verified(closed)
        round_ = {"total": done["at"] - closed, "check": own_check(), "reload": own_reload(pid, lifetime)}
        begin = max(begin, time.monotonic() + APART)
        print(json.dumps(round_ | {"stages": done["seconds"]}), flush=True)


def check(count: int) -> None:
    """How long after the server's hash changed (asked every 2 ms, which disturbs) the agent says that it verified it."""
    for lifetime in range(9000, 9000 + count):
        time.sleep(2)
        before, changed = running(), [0.0]

        def look(before: object = before, changed: list[float] = changed) -> None:
            changed[0] = until(lambda: running() != before, 0.002)

        watcher = threading.Thread(target=look)
        watcher.start()
        done = verified(save(lifetime))
        watcher.join()
        print(json.dumps({"lag": done["at"] - changed[0]}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "series":
        series(int(sys.argv[2]), int(sys.argv[3]))
    else:
        check(int(sys.argv[2]))
