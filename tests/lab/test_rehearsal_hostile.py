# SPDX-License-Identifier: MPL-2.0
"""What somebody who is Kea's user may try with rehearsals: nothing comes of it that he had not before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agenthost import AgentHost
from labkit.host import wait_for
from labs import EVERY_SUITE
from rehearsing import AS_KEA, PATHS, assert_left_alone, live, rehearse, rehearse_text

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)

SAY = """
import socket, sys, time
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(60)
connection.connect("/run/kea-agent-rehearse.sock")
try:
    connection.sendall(bytes.fromhex(sys.stdin.read()))
    if sys.argv[1:] == ["half"]:
        connection.shutdown(socket.SHUT_WR)
except OSError:
    pass
answer = b""
try:
    while chunk := connection.recv(65536):
        answer += chunk
except ConnectionResetError:
    pass
sys.stdout.write(answer.decode())
"""
CONFIG = b'{"Dhcp4": {}}'
GARBAGE: dict[str, tuple[bytes, str]] = {
    "noise": (b"\xff\x00\xfe\n", "not a JSON object"),
    "no line": (b"x" * 9000, "no end of the request's first line"),
    "a list": (b"[]\n", "not a JSON object"),
    "deep": (b"[" * 4000 + b"\n", "not a JSON object"),
    "another daemon": (b'{"daemon": "sshd", "bytes": 13, "seconds": 1}\n' + CONFIG, "none of the daemons"),
    "a path for a daemon": (b'{"daemon": "../../bin/sh", "bytes": 13, "seconds": 1}\n' + CONFIG, "none of the daemons"),
    "a list for a daemon": (b'{"daemon": ["dhcp4"], "bytes": 13, "seconds": 1}\n' + CONFIG, "none of the daemons"),
    "no bytes": (b'{"daemon": "dhcp4", "bytes": 0, "seconds": 1}\n', "has to have 1 to"),
    "far too many bytes": (b'{"daemon": "dhcp4", "bytes": 99999999999, "seconds": 1}\n', "has to have 1 to"),
    "bytes that are true": (b'{"daemon": "dhcp4", "bytes": true, "seconds": 1}\n', "has to have 1 to"),
    "time without end": (b'{"daemon": "dhcp4", "bytes": 13, "seconds": Infinity}\n' + CONFIG, "seconds have to be"),
    "no number": (b'{"daemon": "dhcp4", "bytes": 13, "seconds": NaN}\n' + CONFIG, "seconds have to be"),
    "not JSON": (b'{"daemon": "dhcp4", "bytes": 13, "seconds": 1}\n' + b"0123456789abc", "is not JSON"),
    "another key": (b'{"daemon": "dhcp6", "bytes": 13, "seconds": 1}\n' + CONFIG, 'the one key "Dhcp6"'),
    "more than announced": (b'{"daemon": "dhcp4", "bytes": 5, "seconds": 1}\n' + CONFIG, "longer than"),
}  # fmt: skip


def say(host: AgentHost, request: bytes, *words: str) -> dict[str, Any]:
    """What comes back for these bytes."""
    done = host.node.run([*AS_KEA, "python3", "-I", "-c", SAY, *words], stdin=request.hex(), timeout=90)
    head: dict[str, Any] = json.loads(done.stdout.partition("\n")[0])
    return head


def test_garbage_is_answered(host: AgentHost) -> None:
    before = live(host)
    for request, says in GARBAGE.values():
        answer = say(host, request)
        assert answer["standing"] == "not rehearsed"
        assert says in answer["reason"], answer
    assert "ended early" in say(host, b'{"daemon": "dhcp4", "bytes": 500, "seconds": 1}\n' + CONFIG, "half")["reason"]
    assert_left_alone(host, before)


def test_others_may_not_ask(host: AgentHost) -> None:
    words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    told = host.node.run([*words, "python3", "-I", "-c", SAY], check=False).stderr
    assert "PermissionError" in told


def test_files_of_others_stay_shut_and_whole(host: AgentHost) -> None:
    """A configuration that names them, and links that lead to them from everywhere that Kea's user can write."""
    node = host.node
    node.run(["sh", "-c", "echo top-secret-word > /root/secret; chmod 0644 /root/secret; chmod 0700 /root"])
    links = "; ".join(
        f"for name in kea-leases4.csv.2 planted.csv planted.log planted-socket; do ln -sf /etc/shadow {place}/$name; done; ln -sfn /root {place}/planted-dir"
        for place in ("/var/lib/kea", "/var/log/kea", "/run/kea", "/tmp", "/run/lock/kea")
    )
    node.run([*AS_KEA, "sh", "-c", links])
    before = (
        live(host),
        node.run(
            ["sh", "-c", "stat -c '%n %i %a %U %s %Y' /etc/* /root/*; sha256sum /etc/shadow /etc/passwd /root/secret"]
        ).stdout,
    )
    text = node.read(PATHS["dhcp4"])
    try:
        for old, new in (
            ('"name": "/var/lib/kea/kea-leases4.csv"', '"name": "/etc/shadow"'),
            ('"name": "/var/lib/kea/kea-leases4.csv"', '"name": "/var/lib/kea/planted.csv"'),
            ('"name": "/var/lib/kea/kea-leases4.csv"', '"name": "/var/lib/kea/planted-dir/secret"'),
            ('"output": "stdout"', '"output": "/etc/shadow"'),
            ('"output": "stdout"', '"output": "/var/log/kea/planted.log"'),
            ('"output": "stdout"', '"output": "/var/log/kea/planted-dir/secret"'),
            ('"socket-name": "/run/kea/kea4-ctrl-socket"', '"socket-name": "/etc/shadow"'),
            ('"socket-name": "/run/kea/kea4-ctrl-socket"', '"socket-name": "/run/kea/planted-socket"'),
            ('"socket-name": "/run/kea/kea4-ctrl-socket"', '"socket-name": "/run/dbus/system_bus_socket"'),
        ):
            assert old in text
            found = rehearse_text(node, "dhcp4", text.replace(old, new))
            told = json.dumps(found)
            assert "root:" not in told
            assert "top-secret-word" not in told
    finally:
        node.run(
            [
                "sh",
                "-c",
                "find /var/lib/kea /var/log/kea /run/kea /tmp /run/lock/kea -name 'planted*' -delete; rm -f /var/lib/kea/kea-leases4.csv.2",
            ]
        )
    after = (
        live(host),
        node.run(
            ["sh", "-c", "stat -c '%n %i %a %U %s %Y' /etc/* /root/*; sha256sum /etc/shadow /etc/passwd /root/secret"]
        ).stdout,
    )
    assert before[1] == after[1]
    assert before[0]["pids"] == after[0]["pids"]
    assert before[0]["config"] == after[0]["config"]


def test_a_link_in_place_of_the_configuration_is_replaced_and_not_followed(host: AgentHost) -> None:
    """/etc/kea is the Kea user's own on Debian: what he links there must not be what his bytes are put over."""
    node, config = host.node, PATHS["dhcp4"]
    text, before = node.read(config), live(host)
    for target in ("/etc/passwd", "/etc/shadow", "/usr/bin/setpriv"):
        node.run(["sh", "-c", f"mv {config} {config}.away; ln -s {target} {config}"])
        try:
            found = rehearse_text(node, "dhcp4", text)
        finally:
            node.run(["mv", f"{config}.away", config])
        # The candidate has its owner and mode, as it would after a reload.
        assert found["standing"] == ("refused" if target == "/etc/shadow" else "passed"), found["reason"]
    assert_left_alone(host, before)


def test_a_client_that_goes_away_takes_its_rehearsal_with_it(host: AgentHost) -> None:
    before = live(host)
    # Ten thousand subnets keep a Kea busy for a while.
    subnets = ", ".join(f'{{"id": {n}, "subnet": "10.{n >> 8}.{n & 255}.0/24"}}' for n in range(1, 20001))
    config = f'{{"Dhcp4": {{"subnet4": [{subnets}]}}}}'.encode()
    head = json.dumps({"daemon": "dhcp4", "bytes": len(config), "seconds": 60}).encode()
    host.node.write("/srv/request", (head + b"\n" + config).hex())
    with host.node.start(["sh", "-c", f"exec python3 -I -c '{SAY}' < /srv/request"]) as client:
        try:
            _until_under_way(host)
        finally:
            client.kill()
    host.node.run(["rm", "/srv/request"])
    assert_left_alone(host, before)


def _until_under_way(host: AgentHost) -> None:
    for _ in wait_for(every=0.02):
        if "rehears" in host.node.run(["ps", "-eo", "args"]).stdout and _keas(host) > 4:
            return
    raise AssertionError("no rehearsal was seen")


def test_a_flood_does_not_end_the_service(host: AgentHost) -> None:
    before = live(host)
    flood = "import socket\nfor _ in range(300):\n s = socket.socket(socket.AF_UNIX); s.settimeout(1)\n try: s.connect('/run/kea-agent-rehearse.sock')\n except OSError: pass\n s.close()"
    host.node.run([*AS_KEA, "python3", "-I", "-c", flood], timeout=90)
    for _ in wait_for(every=0.5):
        if rehearse(host.node, "dhcp4")["standing"] == "passed":
            break
    assert rehearse(host.node, "dhcp4")["standing"] == "passed"
    assert_left_alone(host, before)


def _keas(host: AgentHost) -> int:
    return host.node.run(["ps", "-eo", "comm"]).stdout.count("kea-d") + host.node.run(
        ["ps", "-eo", "comm"]
    ).stdout.count("kea-c")
