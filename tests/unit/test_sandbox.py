# SPDX-License-Identifier: MPL-2.0
"""What a rehearsal is made of, as far as no namespace is needed: requests, the unit, the network, the paths, the words."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kea_agent.daemons import DHCP4
from kea_agent.sandbox import kernel, network, request, trial
from kea_agent.sandbox.identity import Identity, identity
from kea_agent.sandbox.network import Interface, commands, needed, parsed
from kea_agent.sandbox.plan import is_target, plan
from kea_agent.sandbox.request import Answer, NotRehearsedError, Standing, receive_head, receive_text, send
from kea_agent.sandbox.rights import FAILED, become_daemon, become_user

MOST = 1000
HEAD = {"daemon": "dhcp4", "bytes": 13, "seconds": 5}
BODY = b'{"Dhcp4": {}}'


def received(raw: bytes, timeout: float = 5.0) -> request.Request:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def write() -> None:
            theirs.sendall(raw)
            theirs.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            head, rest = receive_head(ours, timeout, MOST)
            return receive_text(ours, timeout, head, rest)
        finally:
            ours.close()
            writer.join()


def test_a_request_is_taken_as_it_came() -> None:
    found = received(json.dumps(HEAD).encode() + b"\n" + BODY)
    assert (found.daemon, found.text, found.tree, found.root, found.seconds) == (DHCP4, BODY, {"Dhcp4": {}}, {}, 5.0)


def test_strings_need_not_be_utf8() -> None:
    body = b'{"Dhcp4": {"a": "\xe9"}}'
    assert received(json.dumps({**HEAD, "bytes": len(body)}).encode() + b"\n" + body).text == body


@pytest.mark.parametrize(
    ("head", "body", "says"),
    [
        (b"", b"", "ended early"),
        (b"x" * 5000, b"", "no end of the request's first line"),
        (b"\xff\xfe", BODY, "not a JSON object"),
        (b"[" * 3000, BODY, "not a JSON object"),
        (b"[1]", BODY, "not a JSON object"),
        (b"{}", BODY, "none of the daemons"),
        (json.dumps({**HEAD, "daemon": "../dhcp4"}).encode(), BODY, "none of the daemons"),
        (json.dumps({**HEAD, "daemon": ["dhcp4"]}).encode(), BODY, "none of the daemons"),
        (json.dumps({**HEAD, "bytes": -1}).encode(), BODY, "has to have 1 to 1000 bytes"),
        (json.dumps({**HEAD, "bytes": MOST + 1}).encode(), BODY, "has to have 1 to 1000 bytes"),
        (json.dumps({**HEAD, "bytes": True}).encode(), BODY, "has to have 1 to 1000 bytes"),
        (json.dumps({**HEAD, "bytes": "13"}).encode(), BODY, "has to have 1 to 1000 bytes"),
        (json.dumps({**HEAD, "seconds": 0}).encode(), BODY, "above 0"),
        (json.dumps({**HEAD, "seconds": float("inf")}).encode(), BODY, "above 0"),
        (json.dumps({**HEAD, "seconds": float("nan")}).encode(), BODY, "above 0"),
        (json.dumps({**HEAD, "bytes": 14}).encode(), BODY, "ended early"),
        (json.dumps({**HEAD, "bytes": 5}).encode(), BODY, "longer than the 5 bytes"),
        (json.dumps(HEAD).encode(), b"0123456789abc", "not JSON"),
        (json.dumps({**HEAD, "daemon": "dhcp6"}).encode(), BODY, 'the one key "Dhcp6"'),
        (json.dumps({**HEAD, "bytes": 12}).encode(), b'{"Dhcp4":[]}', 'the one key "Dhcp4"'),
        (json.dumps({**HEAD, "bytes": 500}).encode(), b'{"Dhcp4":' + b"[" * 491, "not JSON"),
    ],
)
def test_everything_else_is_refused_in_words(head: bytes, body: bytes, says: str) -> None:
    with pytest.raises(NotRehearsedError, match=says):
        received(head + b"\n" + body if head else b"")


def test_a_client_that_says_nothing_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(NotRehearsedError, match="in time"):
        receive_head(ours, 0.05, MOST)


def test_an_answer_is_a_line_and_the_configuration_after_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, Answer(Standing.PASSED, "good", "AB", cpu_seconds=0.25), b"{}\n{}")
        head, _, rest = theirs.recv(65536).partition(b"\n")
    assert json.loads(head) == {
        "standing": "passed", "reason": "good", "hash": "AB", "may_pass_later": False, "cpu_seconds": 0.25,
        "config_bytes": 5,
    }  # fmt: skip
    assert rest == b"{}\n{}"


def test_a_client_that_went_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        send(ours, Answer(Standing.PASSED, "good"), b"x" * 1000000)


class Systemd:
    """One unit with these properties; what is not given is as systemd has it by default."""

    def __init__(self, **found: Any) -> None:
        self.found = {
            "LoadState": "loaded", "Id": "kea-dhcp4-server.service", "ActiveState": "active", "SubState": "running",
            "MainPID": 7, "CanReload": True, "Environment": ["KEA_LOCKFILE_DIR=/run/lock/kea"], "EnvironmentFiles": [],
            "ExecStart": [["/usr/sbin/kea-dhcp4", ["/usr/sbin/kea-dhcp4", "-c", "/etc/kea/four.conf"]]],
            "Result": "success", "ExecMainStartTimestamp": 0, "UnitFileState": "enabled", "User": "nobody",
            "AmbientCapabilities": 0x2400, "UMask": 0o027, "RuntimeDirectory": ["kea", "lock/kea"],
            "LimitNOFILE": (1 << 64) - 1, "LimitNOFILESoft": 1024, **found,
        }  # fmt: skip

    def load_unit(self, name: str) -> str:
        return f"/{name}"

    def get(self, path: str, interface: str, name: str, signature: str) -> Any:
        return self.found[name]

    def properties(self, path: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        return {name: self.found[name] for name in wanted if name in self.found}

    def reload_unit(self, name: str) -> str:
        raise AssertionError(name)

    def kill_main(self, name: str, signal_number: int) -> None:
        raise AssertionError(name)


def of_unit(**found: Any) -> Identity:
    return identity(Systemd(**found), DHCP4, None, None)


def test_the_daemon_runs_as_its_unit_does() -> None:
    found = of_unit()
    assert found.argv == ("/usr/sbin/kea-dhcp4", "-c", "/etc/kea/four.conf")
    assert found.config_file == "/etc/kea/four.conf"
    assert (found.user, found.uid) == ("nobody", 65534)
    assert found.capabilities == 0x2400
    assert found.umask == 0o027
    assert found.directories == ("/run/kea", "/run/lock/kea")
    assert found.environment["KEA_LOCKFILE_DIR"] == "/run/lock/kea"
    assert found.environment["RUNTIME_DIRECTORY"] == "/run/kea:/run/lock/kea"
    assert list(found.limits.values()) == [(1024, -1)]


def test_a_user_by_number_and_its_groups() -> None:
    found = of_unit(User="65534", Group="root", SupplementaryGroups=["0"])
    assert (found.uid, found.gid, 0 in found.groups) == (65534, 0, True)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"User": ""}, "runs as root"),
        ({"User": "root"}, "runs as root"),
        ({"User": "0"}, "runs as root"),
        ({"User": "nobody-has-this-name"}, "no user of this host"),
        ({"Group": "nobody-has-this-name"}, "no group of this host"),
        ({"LoadState": "masked"}, r"cannot be started on this host \(masked\)"),
        ({"LoadState": "not-found"}, r"cannot be started on this host \(not found\)"),
        ({"ExecStart": []}, "cannot be started"),
        ({"RootDirectory": "/srv/jail"}, "root directory"),
    ],
)
def test_units_that_say_nothing_about_a_rehearsal(found: dict[str, Any], says: str) -> None:
    with pytest.raises(NotRehearsedError, match=says):
        of_unit(**found)


SHOW = "cat /proc/self/status; ulimit -n; env; cat /proc/self/cmdline | tr '\\0' ' '"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_daemon_has_its_user_and_capabilities_and_no_way_to_more() -> None:
    nobody = replace(of_unit(), uid=65534, gid=65534, groups=(7, 65534), limits={resource.RLIMIT_NOFILE: (64, 128)})
    command = ["/bin/sh", "-c", SHOW, "sh"]
    environment = {"SECRET": "top-secret-word"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, preexec_fn=partial(become_daemon, nobody))  # fmt: skip
    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    wanted = f"{1 << 10 | 1 << 13:016x}"
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {wanted}
    assert status["NoNewPrivs"] == "1"
    assert (status["Uid"], status["Gid"]) == ("\t".join(["65534"] * 4),) * 2
    assert status["Groups"].split() == ["7", "65534"]
    assert "\n64\n" in done.stdout
    assert "SECRET=top-secret-word" in done.stdout.splitlines()
    assert "top-secret-word" not in done.stdout.splitlines()[-1], "its arguments are for everybody to read"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_asks_the_daemon_has_no_capability_left() -> None:
    nobody = replace(of_unit(), uid=65534, gid=65534, groups=())
    command = ["/bin/cat", "/proc/self/status"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=partial(become_user, nobody))
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("CapEff")} == {f"{0:016x}"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_daemon_that_cannot_be_given_its_rights_is_not_started() -> None:
    nobody = replace(of_unit(), uid=65534, limits={99: (1, 1)})
    command = ["/bin/echo", "started"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=partial(become_daemon, nobody)
    )
    assert (done.returncode, done.stdout) == (126, "")
    assert done.stderr.startswith(FAILED)


def test_a_directory_is_opened_at_its_own_path_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    descriptor = kernel.open_directory(str(tmp_path / "real/inner"))
    assert os.readlink(f"/proc/self/fd/{descriptor}") == str(tmp_path / "real/inner")
    os.close(descriptor)
    for path in ("link", "link/inner", "missing"):
        with pytest.raises(OSError, match="openat2"):
            kernel.open_directory(str(tmp_path / path))


ADDRESSES = json.dumps(
    [
        {"ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "addr_info": [
            {"family": "inet", "local": "127.0.0.1", "prefixlen": 8},
            {"family": "inet", "local": "192.0.2.53", "prefixlen": 32},
            {"family": "inet6", "local": "::1", "prefixlen": 128},
        ]},
        {"ifname": "eth0", "flags": ["BROADCAST", "UP", "LOWER_UP"], "addr_info": [
            {"family": "inet", "local": "198.51.100.7", "prefixlen": 24},
            {"family": "inet6", "local": "fe80::1", "prefixlen": 64},
            {},
        ]},
        {"ifname": "br-lan", "flags": ["BROADCAST", "UP"], "addr_info": []},
        {"ifname": "ppp0", "flags": ["POINTOPOINT"], "addr_info": [
            {"family": "inet", "local": "10.0.0.1", "address": "10.0.0.2", "prefixlen": 32},
        ]},
        {"ifname": 'evil"\naddress', "flags": ["UP"], "addr_info": []},
        {"ifname": "#comment", "flags": ["UP"], "addr_info": []},
    ]
)  # fmt: skip


def test_the_hosts_interfaces() -> None:
    assert parsed(ADDRESSES) == (
        Interface("lo", True, True, ("192.0.2.53/32",), is_loopback=True),
        Interface("eth0", True, True, ("198.51.100.7/24", "fe80::1/64 nodad")),
        Interface("br-lan", True, False, ()),
        Interface("ppp0", False, False, ("10.0.0.1 peer 10.0.0.2/32",)),
    )
    assert network.Network(parsed(ADDRESSES), {}).dark == {"br-lan", "ppp0"}


def test_each_gets_a_pair_with_the_same_flags() -> None:
    assert list(commands(parsed(ADDRESSES))) == [
        "link set lo up",
        "address add 192.0.2.53/32 dev lo",
        "link add eth0 type veth peer name peer1",
        "link set peer1 up",
        "link set eth0 up",
        "address add 198.51.100.7/24 dev eth0",
        "address add fe80::1/64 nodad dev eth0",
        "link add br-lan type veth peer name peer2",
        "link set br-lan up",
        "link add ppp0 type veth peer name peer3",
        "address add 10.0.0.1 peer 10.0.0.2/32 dev ppp0",
    ]


def test_a_peer_takes_no_name_of_the_hosts() -> None:
    interfaces = [Interface(name, True, True, ()) for name in ("peer0", "peer0a", "peer1")]
    added = [line.split() for line in commands(interfaces) if line.startswith("link add")]
    assert [(words[2], words[-1]) for words in added] == [("peer0", "peer0b"), ("peer0a", "peer1a"), ("peer1", "peer2")]


def test_of_very_many_only_what_is_spoken_of() -> None:
    many = tuple(Interface(f"vlan{n}", True, True, (f"10.0.{n}.1/24", f"2001:db8::{n:x}/64 nodad")) for n in range(200))
    chosen = needed(
        many, '{"interfaces": ["vlan150/10.0.150.1"], "url": "http://10.0.7.1:80/", "six": "[2001:DB8::c7]"}'
    )
    assert {"vlan150", "vlan7", "vlan199"} <= {each.name for each in chosen}
    assert len(chosen) < 20
    with pytest.raises(NotRehearsedError, match="200 interfaces"):
        needed(many, '{"interfaces": ["*"]}')
    assert needed(many[:3], '{"interfaces": ["*"]}') == many[:3]


def test_what_is_written_and_what_is_read() -> None:
    root = {
        "lease-database": {"type": "memfile", "name": "/srv/leases/four.csv"},
        "control-socket": {"socket-type": "unix", "socket-name": "/run/kea/four"},
        "loggers": [{"output_options": [{"output": "/var/log/dhcp/four.log"}, {"output": "stdout"}]}],
        "hooks-libraries": [{"library": "/opt/hooks/a.so", "parameters": {"path": "/srv/forensic"}}],
        "subnet4": [{"user-context": {"key-file": "/run/secrets/key"}}],
    }
    found = plan(root, {"KEA_LOCKFILE_DIR": "none", "KEA_DHCP_DATA_DIR": "/srv/data"}, ["/run/kea", "/run/lock/kea"])
    assert set(found.directories) == {
        "/run/kea", "/run/lock/kea", "/srv/data", "/srv/leases", "/srv/forensic", "/var/log/dhcp", "/var/log/kea",
    }  # fmt: skip
    assert {"/srv/leases/four.csv", "/run/kea/four", "/var/log/dhcp/four.log"} <= found.targets
    assert {"/opt/hooks/a.so", "/run/secrets/key"} <= set(found.named)
    assert is_target("/srv/leases/four.csv.2", found.targets)
    assert not is_target("/srv/leases/four.csvx", found.targets)


def test_relative_names_are_where_kea_has_them() -> None:
    root = {"data-directory": "/srv/kea", "lease-database": {"type": "memfile", "name": "four.csv"}}
    assert "/srv/kea/four.csv" in plan(root, {}, []).targets


@pytest.mark.parametrize(
    "root",
    [
        {"lease-database": []}, {"loggers": 7}, {"control-socket": {"socket-name": 7}}, {"data-directory": 7},
        {"lease-database": {"type": "memfile", "name": "/\0"}}, {"control-socket": {"socket-name": "/" + "x" * 9999}},
    ],
)  # fmt: skip
def test_a_configuration_of_any_shape_has_a_plan(root: dict[str, Any]) -> None:
    found = plan(root, {}, [])
    assert all("\0" not in path and len(path) < 4096 for path in [*found.directories, *found.targets, *found.named])


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            "ERROR DHCP4_CONFIG_LOAD_FAIL reason: pool is wrong (/etc/kea/kea-dhcp4.conf:1:812)\nERROR DHCP4_INIT_FAIL failed\n",
            "DHCP4_CONFIG_LOAD_FAIL reason: pool is wrong",
        ),
        (
            "ERROR [hooks] HA_CONFIGURATION_FAILED no such peer\nERROR DHCP4_CONFIG_LOAD_FAIL reason: One or more hook libraries failed to load\n",
            "DHCP4_CONFIG_LOAD_FAIL reason: One or more hook libraries failed to load: HA_CONFIGURATION_FAILED no such peer",
        ),
        ("Service failed: Launch failed: cannot bind\n", "Launch failed: cannot bind"),
        ("one\ntwo\n\n", "two"),
        ("", ""),
    ],
)
def test_keas_own_sentence(output: str, says: str) -> None:
    assert trial.told(output) == says


def test_the_end_of_a_log_is_read_whatever_lies_there(tmp_path: Any) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 100000 + "the end")
    assert trial._tail_of(str(log)).endswith("the end")
    assert len(trial._tail_of(str(log))) == 65536
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(log)
    assert [trial._tail_of(str(tmp_path / name)) for name in ("fifo", "link", "none", ".")] == [""] * 4
