# SPDX-License-Identifier: MPL-2.0
"""The part in a node: Kea's units started on one file after the other, and whether each serves: `python3 - CASES`.

CASES is JSON, [{"name", "daemon", "file", "unit", "config"}]: a candidate, and the unit and path it is for. One line of
JSON a case on stdout. What counts is the kernel's: the process, its sockets, and whether it answers where it was told to.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# How long a start may take; how long sockets may be missing once the daemon has its configuration; how long it has to last.
PATIENCE, GRACE, LAST = 30.0, 2.5, 0.3
SIGHUP = 1 << 0
Sockets = set[tuple[str, int]]


def run(*words: str) -> str:
    """What a command prints."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def tried(case: dict[str, str]) -> dict[str, Any]:
    """Start the unit on the file as if it had always been there; say how it stands, and stop it."""
    shutil.copyfile(case["file"], case["config"])
    began = time.monotonic()
    # Some units start others along.
    run("systemctl", "restart", case["unit"])
    try:
        missing = settled(case, tree(case["file"]))
    finally:
        run("systemctl", "stop", case["unit"])
    run("systemctl", "reset-failed", case["unit"])
    return {"name": case["name"], "missing": missing, "seconds": time.monotonic() - began}


def tree(path: str) -> dict[str, Any]:
    """The daemon's map in a file, read by the agent's own reader: what is asked here is not what a file says."""
    from kea_agent import keaconf
    from kea_agent.daemons import DAEMONS

    root_key = next(daemon.root_key for daemon in DAEMONS if f'"{daemon.root_key}"' in Path(path).read_text())
    return dict(keaconf.read(path, root_key).root)


def settled(case: dict[str, str], root: dict[str, Any]) -> list[str]:
    """What it lacks to serve, when that is certain."""
    loaded, give_up = 0.0, time.monotonic() + PATIENCE
    while True:
        pid = int(run("systemctl", "show", "--property=MainPID", "--value", case["unit"]) or 0)
        if not pid:
            return ["it ended"]
        missing = list(lacks(pid, case["daemon"], root))
        if not missing:
            time.sleep(LAST)
            return list(lacks(pid, case["daemon"], root))
        now = time.monotonic()
        loaded = loaded or (now if handles_sighup(pid) else 0.0)
        if now > give_up or (loaded and now > loaded + GRACE):
            return missing
        time.sleep(0.05)


def handles_sighup(pid: int) -> bool:
    """Kea does once its first configuration is loaded."""
    with suppress(OSError):
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return bool(found and int(found[1], 16) & SIGHUP)
    return False


def lacks(pid: int, daemon: str, root: dict[str, Any]) -> Iterator[str]:
    """What of a serving daemon is not there now."""
    if not handles_sighup(pid):
        yield "no configuration"
    udp, tcp = sockets(pid, "udp"), sockets(pid, "tcp")
    for where, alternatives in wanted_udp(daemon, root):
        if not alternatives & udp:
            yield f"no UDP socket on {where}"
    for place in wanted_tcp(daemon, root):
        if place not in tcp:
            yield f"nothing listens on {place[0]} port {place[1]}"
    for path in channels(root):
        if not answers(path):
            yield f"no answer on {path}"


def wanted_udp(daemon: str, root: dict[str, Any]) -> Iterator[tuple[str, Sockets]]:
    """Each place that clients can reach it at, and the sockets of which one would do."""
    if daemon == "ddns":
        place = (str(root.get("ip-address", "127.0.0.1")), int(root.get("port", 53001)))
        yield place[0], {place}
    if daemon not in ("dhcp4", "dhcp6"):
        return
    port, everywhere = (67, "0.0.0.0") if daemon == "dhcp4" else (547, "ff02::1:2")
    for entry in root.get("interfaces-config", {}).get("interfaces", []):
        name, _, address = entry.partition("/")
        found = {address} if address else set(addresses(daemon, name)) | {everywhere}
        yield entry, {(each, port) for each in found}


def addresses(daemon: str, name: str) -> Iterator[str]:
    """Of an interface, or of all but the loopback for `*`: IPv4, or link-local IPv6."""
    for interface in json.loads(run("ip", "-json", "address")):
        for each in interface["addr_info"]:
            is_kind = each["family"] == "inet" if daemon == "dhcp4" else each["scope"] == "link"
            if is_kind and (interface["ifname"] == name or (name == "*" and interface["ifname"] != "lo")):
                yield str(ipaddress.ip_address(each["local"]))


def wanted_tcp(daemon: str, root: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Where others can reach it: the Control Agent, HTTP control sockets, and HA's own listener where it is asked for."""
    if daemon == "ctrl-agent":
        yield root.get("http-host", "127.0.0.1"), root.get("http-port", 8000)
    for entry in root.get("control-sockets", []) if daemon != "ctrl-agent" else []:
        if entry["socket-type"] != "unix":
            yield entry.get("socket-address", "127.0.0.1"), entry.get("socket-port", 8000)
    for hook in root.get("hooks-libraries", []):
        for relation in hook.get("parameters", {}).get("high-availability", []):
            if relation.get("multi-threading", {}).get("http-dedicated-listener"):
                own = {peer["name"]: peer["url"] for peer in relation["peers"]}[relation["this-server-name"]]
                host, port = re.fullmatch(r"https?://\[?(.+?)\]?:(\d+)/?", own).groups()  # type: ignore[union-attr]
                yield host, int(port)


def channels(root: dict[str, Any]) -> Iterator[str]:
    """The paths of its own control sockets."""
    listed = root.get("control-sockets", [])
    for entry in [root.get("control-socket", {}), *(listed if isinstance(listed, list) else [])]:
        if entry.get("socket-type") == "unix":
            yield os.path.join("/run/kea", entry["socket-name"])


def answers(path: str) -> bool:
    """Whether a daemon answers a command there."""
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(path)
        channel.sendall(b'{"command": "version-get"}')
        said = b""
        while chunk := channel.recv(65536):
            said += chunk
        return "result" in json.loads(said)
    return False


def sockets(pid: int, kind: str) -> Sockets:
    """The addresses and ports of a process's sockets: UDP's, or TCP's that listen."""
    owned = set(re.findall(r"socket:\[(\d+)\]", " ".join(links(pid))))
    found: Sockets = set()
    for table in (kind, f"{kind}6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if rest[5] in owned and (kind == "udp" or state == "0A"):
                found.add(place(local))
    return found


def links(pid: int) -> Iterator[str]:
    """Where a process's descriptors lead."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{number}")


def place(local: str) -> tuple[str, int]:
    """The kernel's spelling of an address and port: words of four bytes, each in the machine's own order."""
    address, _, port = local.partition(":")
    words = [
        bytes.fromhex(address[at : at + 8])[:: -1 if sys.byteorder == "little" else 1]
        for at in range(0, len(address), 8)
    ]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)


if __name__ == "__main__":
    for each in json.loads(Path(sys.argv[1]).read_text()):
        print(json.dumps(tried(each)), flush=True)
