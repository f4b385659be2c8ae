# SPDX-License-Identifier: MPL-2.0
"""Are the databases of a file usable: real MariaDB, real PostgreSQL, real Kea, in the sandbox of kea-agent.service."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from dbserver import HOST, KINDS, NAME, PASSWORD, DatabaseServer, Kind, bring_up, take_down
from labkit import Lab, LabSpec
from labkit.lab import newest_deb
from labkit.nodes import Node
from labs import NAME as LAB
from labs import SUITES

from kea_agent.databases import without_databases

CASE = "/etc/probe-case.conf"
UNIT = "/run/systemd/system/probe.service"
ANSWER = "/run/probe.json"
SCRIPT = "/usr/local/lib/probe.py"
WRONG = "wrong-and-secret"
# The agent's own unit but for what it runs.
OTHER = re.compile(r"^(Type|ExecStart|ExecReload|WatchdogSec|Restart\w*|RuntimeDirectory|StateDirectory\w*)=")
ASK = f"""
import json, os, sys
from dataclasses import asdict
from kea_agent import databases, keaconf
from kea_agent.check import Limits
from kea_agent.daemons import BY_NAME
daemon = BY_NAME[sys.argv[1]]
document = keaconf.read("{CASE}", daemon.root_key)
argv = ["/usr/sbin/" + daemon.binary, "-c", daemon.config_path]
environment = dict(KEA_LOCKFILE_DIR="/run/lock/kea")
verdict = databases.probe(daemon, document, argv, environment, Limits())
print(json.dumps(dict(level=verdict.level, problem=verdict.problem and str(verdict.problem), seconds=verdict.seconds,
                      warnings=verdict.warnings, could_not=verdict.could_not, left=os.listdir("/tmp"))))
"""
WATCHED = ["/var/lib/kea", "/run/kea", "/run/lock/kea", "/var/log/kea", "/etc/kea"]


@dataclass(frozen=True)
class Site:
    """A node with the agent, and both servers beside it."""

    lab: Lab
    servers: dict[Kind, DatabaseServer]

    @property
    def node(self) -> Node:
        return self.lab.nodes[0]

    def hook(self, name: str) -> str:
        """The path of a hook library."""
        (found,) = self.node.root.glob(f"usr/lib/*/kea/hooks/libdhcp_{name}.so")
        return f"/{found.relative_to(self.node.root)}"

    def probe(self, root: dict[str, Any], daemon: str = "dhcp4") -> dict[str, Any]:
        """What the agent says of a configuration."""
        hooks = ["mysql", "pgsql"] if self.lab.spec.suite == "sid" else []
        root = {"hooks-libraries": [{"library": self.hook(name)} for name in hooks], **root}
        text = json.dumps({"Dhcp4" if daemon == "dhcp4" else "Dhcp6": root}, indent=1, ensure_ascii=False)
        self.node.write(CASE, text)
        self.node.run(["systemctl", "set-environment", f"DAEMON={daemon}"])
        done = self.node.run(["systemctl", "start", "probe"], check=False)
        assert done.returncode == 0, "\n".join(self.node.journal("probe"))
        answer: dict[str, Any] = json.loads(self.node.read(ANSWER))
        assert PASSWORD not in str(answer)
        assert WRONG not in str(answer)
        return answer


@pytest.fixture(
    scope="module", params=[pytest.param(s, marks=pytest.mark.xdist_group(f"{s}-databases")) for s in SUITES]
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    deb = newest_deb()
    assert deb, "no package in dist/: make deb"
    lab = Lab.up(LabSpec(name=LAB, deb=deb, suite=request.param))
    servers = bring_up(lab)
    site = Site(lab, servers)
    install(site.node)
    yield site
    take_down(servers)
    site.node.run(["rm", "-f", CASE, UNIT, ANSWER, SCRIPT])
    site.node.systemctl("daemon-reload")


def install(node: Node) -> None:
    """A unit with the agent's sandbox that asks."""
    lines = node.read("/usr/lib/systemd/system/kea-agent.service").splitlines()
    kept = [line for line in lines if not OTHER.match(line)]
    assert "ProtectSystem=strict" in kept
    at = kept.index("[Service]") + 1
    python = node.read("/usr/bin/kea-agent").splitlines()[0].removeprefix("#!").split()[0]
    ours = ["Type=oneshot", f"ExecStart={python} {SCRIPT} $DAEMON", f"StandardOutput=truncate:{ANSWER}"]
    node.run(["mkdir", "-p", "/run/systemd/system", "/usr/local/lib"])
    node.write(UNIT, "\n".join([*kept[:at], *ours, *kept[at:]]))
    node.write(SCRIPT, ASK)
    node.systemctl("daemon-reload")


def database(kind: Kind, **words: Any) -> dict[str, Any]:
    return {"type": kind, "host": HOST, "name": NAME, "user": NAME, "password": PASSWORD, **words}


def seen(node: Node) -> str:
    """Every file Kea may write, with its inode, size and times."""
    return node.run(["find", *WATCHED, "-printf", "%p %i %s %m %u %T@ %C@\n"], check=False).stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("daemon", "role"), [("dhcp4", "lease"), ("dhcp4", "hosts"), ("dhcp4", "config"), ("dhcp6", "lease")]
)
def test_a_database_that_is_fine(site: Site, kind: Kind, daemon: str, role: str) -> None:
    before, rows = seen(site.node), site.servers[kind].dump()
    parameters = database(kind, **{"max-reconnect-tries": 50, "reconnect-wait-time": 60000})
    roots: dict[str, dict[str, Any]] = {
        "lease": {"lease-database": parameters},
        "hosts": {"hosts-databases": [parameters]},
        "config": {"config-control": {"config-databases": [parameters], "config-fetch-wait-time": 1}},
    }
    answer = site.probe(roots[role], daemon)
    assert (answer["problem"], answer["could_not"], answer["warnings"]) == (None, None, [])
    assert answer["left"] == []
    assert seen(site.node) == before
    assert site.servers[kind].dump() == rows


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param({"password": WRONG}, "refuses this user", id="password"),
        pytest.param({"user": "nobody"}, "refuses this user", id="user"),
        pytest.param({"name": "nowhere"}, "does not exist, or this user may not use it", id="database"),
        pytest.param({"port": 3999}, "cannot be reached", id="port"),
        pytest.param({"host": "db.invalid", "connect-timeout": 1}, "cannot be reached", id="name"),
        pytest.param({"password": f"a'{WRONG} {WRONG}"}, "cannot be opened", id="quote"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_database_that_cannot_be_used(site: Site, kind: Kind, words: dict[str, Any], told: str) -> None:
    answer = site.probe({"hosts-database": database(kind, **words), "lease-database": {"type": "memfile"}})
    assert answer["could_not"] is None
    assert answer["problem"].startswith(f"{CASE}:"), answer
    assert f'the hosts database ({kind} "{words.get("name", NAME)}" on ' in answer["problem"]
    assert told in answer["problem"], answer
    assert re.match(rf"{CASE}:\d+:\d+: ", answer["problem"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_of_another_version(site: Site, kind: Kind) -> None:
    server = site.servers[kind]
    server.sql("update schema_version set version = version - 1")
    try:
        before = server.dump()
        answer = site.probe({"lease-database": database(kind)})
        assert "has another schema version than this Kea wants" in answer["problem"]
        assert "mismatch" in answer["problem"]
        assert server.dump() == before
    finally:
        server.sql("update schema_version set version = version + 1")


@pytest.fixture
def slow_admin(site: Site) -> Iterator[None]:
    """Whoever runs `kea-admin` has to wait longer than a probe may take."""
    at = "/usr/sbin/kea-admin"
    site.node.run(["mv", at, f"{at}.real"])
    site.node.write(at, "#!/bin/sh\nexec sleep 300\n")
    site.node.run(["chmod", "755", at])
    yield
    site.node.run(["mv", f"{at}.real", at])


@pytest.mark.usefixtures("slow_admin")
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_database_stays_empty(site: Site, kind: Kind) -> None:
    """Kea 2.6 would run `kea-admin db-init` on it, also with -T."""
    server = site.servers[kind]
    server.create("empty")
    before = server.dump("empty")
    answer = site.probe({"lease-database": database(kind, name="empty")})
    assert "has no schema of Kea" in str(answer["problem"]), answer
    assert server.dump("empty") == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_down(site: Site, kind: Kind) -> None:
    server = site.servers[kind]
    server.stop()
    try:
        answer = site.probe({"lease-database": database(kind)})
        assert "cannot be reached" in answer["problem"]
    finally:
        server.start()
    assert site.probe({"lease-database": database(kind)})["problem"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_swallows_everything(site: Site, kind: Kind) -> None:
    """Whatever the file says about patience, the answer comes in bounded time."""
    site.node.run(["ip", "neighbour", "replace", "198.18.66.6", "lladdr", "02:00:00:00:66:66", "dev", "host0"])
    began = time.monotonic()
    patient = database(kind, host="198.18.66.6", **{"connect-timeout": 3600, "max-reconnect-tries": 9})
    answer = site.probe({"lease-database": patient})
    assert "cannot be reached" in answer["problem"]
    assert 4 < time.monotonic() - began < 12


def test_what_the_operator_lets_be_away(site: Site) -> None:
    if site.lab.spec.suite == "bookworm":
        away = database("mysql", port=3999, **{"on-fail": "serve-retry-continue"})
        assert "cannot be reached" in site.probe({"hosts-database": away})["problem"]
        return
    away = database("mysql", port=3999, **{"retry-on-startup": True, "on-fail": "serve-retry-continue"})
    answer = site.probe({"hosts-database": away})
    assert answer["problem"] is None
    assert "cannot be reached" in answer["warnings"][0]
    assert "cannot be reached" in site.probe({"lease-database": away})["problem"]


def test_the_forensic_log(site: Site) -> None:
    hooks = [{"library": "/usr/lib/libdhcp_legal_log.so", "parameters": database("mysql", port=3999)}]
    if site.lab.spec.suite == "sid":
        hooks += [{"library": site.hook("mysql")}]
    answer = site.probe({"hooks-libraries": hooks})
    assert "the forensic database" in answer["problem"]
    assert "cannot be reached" in answer["problem"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_leases_of_a_running_server_stay(site: Site, kind: Kind) -> None:
    """Expired leases too: nothing reclaims them but the server."""
    server = site.servers[kind]
    old = "from_unixtime(1)" if kind == "mysql" else "to_timestamp(1)"
    columns = "address, hwaddr, client_id, valid_lifetime, expire, subnet_id, state"
    value = "0x020000000001" if kind == "mysql" else r"'\x020000000001'"
    server.sql(f"insert into lease4 ({columns}) values (3324182632, {value}, {value}, 600, {old}, 1, 0)")
    before = server.sql("select * from lease4")
    for _ in range(3):
        assert site.probe({"lease-database": database(kind)})["problem"] is None
    assert server.sql("select * from lease4") == before
    server.sql("delete from lease4")


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_who_may_do_no_more_than_leases_need(site: Site, kind: Kind) -> None:
    """With a password beyond ASCII. Reservations in the same database are another matter, where MySQL tells at once."""
    server, password = site.servers[kind], "grüß-dich-2024"
    word = "password" if kind == "postgresql" else "identified by"
    server.sql(
        f"create user leaser {word} '{password}'; grant select on schema_version to leaser; grant all on lease4 to leaser"
    )
    words = {"user": "leaser", "password": password}
    assert site.probe({"lease-database": database(kind, **words)})["problem"] is None
    if kind == "mysql":
        answer = site.probe({"hosts-database": database(kind, **words)})
        assert "does not let this user read reservations" in answer["problem"]


def test_real_kea_starts_without_its_databases(site: Site) -> None:
    """The copy for a place without them, with every hook library that works on one."""
    names = ["lease_cmds", "stat_cmds", "mysql_cb", "pgsql_cb"]
    if site.lab.spec.suite == "sid":
        names = [
            "lease_cmds",
            "stat_cmds",
            "mysql",
            "pgsql",
            "host_cmds",
            "host_cache",
            "subnet_cmds",
            "class_cmds",
            "limits",
        ]
    hooks: list[dict[str, Any]] = [{"library": site.hook(name)} for name in names]
    if site.lab.spec.suite == "sid":
        hooks += [{"library": site.hook("legal_log"), "parameters": database("mysql")}]
    root = {
        "lease-database": database("postgresql"),
        "hosts-databases": [database("mysql"), database("postgresql")],
        "config-control": {"config-databases": [database("mysql")], "config-fetch-wait-time": 1},
        "hooks-libraries": hooks,
        "interfaces-config": {"interfaces": []},
    }
    site.node.write(CASE, json.dumps(without_databases("dhcp4", {"Dhcp4": root})))
    environment = ["KEA_LOCKFILE_DIR=none", "KEA_PIDFILE_DIR=/tmp"]
    words = ["timeout", "3", "setpriv", "--reuid=_kea", "--regid=_kea", "--clear-groups", "env", *environment]
    done = site.node.run([*words, "/usr/sbin/kea-dhcp4", "-c", CASE], check=False)
    said = done.stdout + done.stderr
    assert "DHCP4_STARTED" in said, said
    assert " ERROR " not in said, said
