# SPDX-License-Identifier: MPL-2.0
"""The databases of a configuration: found in any tree, taken out, and asked about with scripts in Kea's place."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kea_agent import databases as subject
from kea_agent import keaconf
from kea_agent.check import Limits
from kea_agent.daemons import DDNS, DHCP4, DHCP6, Daemon
from kea_agent.databases import databases, probe, without_databases
from kea_agent.keaconf import Document
from kea_agent.verdict import Verdict

LAB = Path("/var/cache/kea-agent-lab")
PASSWORD = "geheim, not shown"
MYSQL = {"type": "mysql", "name": "kea", "user": "kea", "password": PASSWORD, "host": "db.example", "port": 3306}
PGSQL = {**MYSQL, "type": "postgresql", "port": 5432}
LEGAL = "/usr/lib/kea/hooks/libdhcp_legal_log.so"
LEASE_CMDS = {"library": "/usr/lib/kea/hooks/libdhcp_lease_cmds.so"}
ALL: dict[str, Any] = {
    "valid-lifetime": 600,
    "lease-database": MYSQL,
    "hosts-database": PGSQL,
    "hosts-databases": [PGSQL, {**MYSQL, "host": "db2.example"}],
    "config-control": {"config-databases": [MYSQL], "config-fetch-wait-time": 20},
    "hooks-libraries": [LEASE_CMDS, {"library": LEGAL, "parameters": {**MYSQL, "request-parser-format": "'x'"}}],
}
ANSWER = 'case " $* " in *" -v "*) echo {version}; exit;; esac\n'
STATEMENT = "unable to prepare MySQL statement <SELECT h.host_id>, reason: SELECT command denied"

# Seen of 2.2.0, 2.6.3, 3.0.4 with MariaDB 11.8 and PostgreSQL 17.
SENTENCES = [
    ("Access denied for user 'kea'@'198.18.0.11' (using password: YES)", "refuses this user"),
    ("Access denied for user 'kea'@'%' to database 'nope'", "does not exist, or this user may not use it"),
    ("Unknown database 'nope'", "does not exist, or this user may not use it"),
    ("Can't connect to server on '198.18.0.1' (115)", "cannot be reached"),
    ("Can't connect to local server through socket '/run/mysqld/mysqld.sock' (2)", "cannot be reached"),
    ("Unknown server host 'db.example.invalid' (-3)", "cannot be reached"),
    ("MySQL schema version mismatch: need version: 14.0 found version: 13.0", "has another schema version"),
    ("PostgreSQL schema version mismatch: expected version: 22.2, found version: 21.2", "has another schema version"),
    (
        "unable to prepare MySQL statement <SELECT version, minor FROM schema_version>, reason: x",
        "has no schema of Kea",
    ),
    (
        'unable to execute PostgreSQL statement <SELECT version, minor FROM schema_version;, reason: ERROR:  relation "x"',
        "has no schema of Kea",
    ),
    (STATEMENT, "does not let this user read reservations"),
    (
        'connection to server at "198.18.0.1", port 5432 failed: FATAL:  database "nope" does not exist',
        "does not exist, or",
    ),
    (
        'connection to server at "198.18.0.1", port 5432 failed: FATAL:  password authentication failed for user "x"',
        "refuses",
    ),
    ('connection to server at "198.18.0.1", port 5432 failed: Connection refused', "cannot be reached"),
    ('connection to server at "198.18.77.7", port 5432 failed: timeout expired', "cannot be reached"),
    ("must specify a name for the database", "cannot be used with these parameters"),
    ("illegal use of a default value as credential", "cannot be used with these parameters"),
    ("TLS/SSL error: No such file or directory (2)", "cannot be used with these parameters"),
    ("Cannot parse geheim, expected format is name=value", "cannot be opened"),
]


def document(path: Path, root: dict[str, Any], key: str = "Dhcp4") -> Document:
    path.write_text(json.dumps({key: root}, indent=1, ensure_ascii=False))
    return keaconf.read(str(path), key)


def ask(tmp: Path, script: str, root: dict[str, Any], *, version: str = "3.0.4", **words: Any) -> Verdict:
    """What comes of a file when a script stands in Kea's place; its answer to -v is another."""
    binary = tmp / f"kea-dhcp4-{len(list(tmp.iterdir()))}"
    binary.write_text("#!/bin/sh\n" + ANSWER.format(version=version) + script)
    binary.chmod(0o755)
    limits = words.pop("limits", Limits(timeout=10))
    argv = [str(binary), "-X", "-d", "-c", "/etc/kea/kea-dhcp4.conf"]
    return probe(DHCP4, document(tmp / "kea-dhcp4.conf", root), argv, {"KEA_LOCKFILE_DIR": "/run/lock"}, limits)


def test_every_database_is_found_with_its_place() -> None:
    found = databases("dhcp4", {"Dhcp4": ALL})
    assert [(database.role, database.type, database.path) for database in found] == [
        ("lease", "mysql", ("Dhcp4", "lease-database")),
        ("hosts", "postgresql", ("Dhcp4", "hosts-database")),
        ("hosts", "postgresql", ("Dhcp4", "hosts-databases", 0)),
        ("hosts", "mysql", ("Dhcp4", "hosts-databases", 1)),
        ("config", "mysql", ("Dhcp4", "config-control", "config-databases", 0)),
        ("forensic", "mysql", ("Dhcp4", "hooks-libraries", 1, "parameters")),
    ]
    assert str(found[0]) == 'the lease database (mysql "kea" on db.example:3306)'
    assert databases(DDNS.name, {"DhcpDdns": ALL}) == ()


def test_without_them_the_rest_is_the_same() -> None:
    tree = {"Dhcp4": ALL}
    before = copy.deepcopy(tree)
    assert without_databases("dhcp4", tree) == {
        "Dhcp4": {
            "valid-lifetime": 600,
            "lease-database": {"type": "memfile", "persist": False},
            "hosts-databases": [],
            "hooks-libraries": [LEASE_CMDS],
        }
    }
    assert tree == before


@pytest.mark.parametrize(
    "root",
    [
        {},
        {"lease-database": {"type": "memfile"}},
        {"config-control": {"config-fetch-wait-time": 20}},
        {"hooks-libraries": [{"library": LEGAL, "parameters": {"path": "/var/log/kea"}}]},
        {"hooks-libraries": [{"library": "/x/libdhcp_ha.so", "parameters": {"type": "mysql"}}]},
    ],
)
def test_what_has_none_is_the_same_object(root: dict[str, Any]) -> None:
    tree = {"Dhcp4": root}
    assert without_databases("dhcp4", tree) is tree


KEYS = [
    *ALL,
    "config-databases",
    "parameters",
    "library",
    "type",
    "host",
    "port",
    "retry-on-startup",
    "on-fail",
    "Dhcp4",
    "x",
]
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-1, 2**40), st.floats(allow_nan=False)),
    st.sampled_from(["mysql", "postgresql", "memfile", LEGAL, "serve-retry-continue", "", "\udcff"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(["Dhcp4", "Dhcp6", "x"]),
        VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(ALL, VALUES)),
    )
)
def test_any_tree(tree: dict[str, Any]) -> None:
    before = copy.deepcopy(tree)
    for name in ("dhcp4", "dhcp6"):
        found = databases(name, tree)
        for database in found:
            assert isinstance(database.may_be_away, bool)
            assert str(database).isprintable()
            assert 0 < database.connection["connect-timeout"] <= subject.CONNECT_SECONDS
        rest = without_databases(name, tree)
        assert databases(name, rest) == ()
        assert (rest is tree) == (not found)
    assert tree == before


@pytest.mark.parametrize(("sentence", "meaning"), SENTENCES)
def test_what_kea_says(tmp_path: Path, sentence: str, meaning: str) -> None:
    verdict = ask(tmp_path, f"cat <<'END' >&2\nError encountered: {sentence}\nEND\nexit 1", {"hosts-database": MYSQL})
    assert verdict.problem is not None
    assert f'the hosts database (mysql "kea" on db.example:3306) {meaning}' in verdict.problem.message
    assert (verdict.problem.file, verdict.problem.line, verdict.problem.column) == (
        str(tmp_path / "kea-dhcp4.conf"),
        3,
        3,
    )
    assert verdict.problem.message.count("geheim") == 0
    assert verdict.level == "databases"


def test_what_a_start_says_of_its_database(tmp_path: Path) -> None:
    said = "ERROR DHCP4_INIT_FAIL failed to initialize Kea server: x: Unable to open database: Access denied for user 'kea'"
    verdict = ask(tmp_path, f'echo "{said}"; exit 1', {"lease-database": MYSQL}, version="2.2.0")
    assert verdict.problem is not None
    assert "refuses this user: Access denied for user 'kea'; mend" in verdict.problem.message


def test_what_matters_for_reservations_only(tmp_path: Path) -> None:
    script = f'echo "Error encountered: {STATEMENT}" >&2; exit 1'
    assert ask(tmp_path, script, {"lease-database": MYSQL}).problem is None
    both = ask(tmp_path, script, {"lease-database": MYSQL, "hosts-database": MYSQL})
    assert both.problem is not None
    assert "the hosts database" in both.problem.message


@pytest.mark.parametrize(("version", "options"), [("3.0.4", "-X -T /dev/stdin"), ("2.2.0", "-X -c /dev/stdin")])
def test_what_kea_is_given(tmp_path: Path, version: str, options: str) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    script = f'echo "$*" > {seen}/options; cat > {seen}/config; env > {seen}/env; test -d "$KEA_PIDFILE_DIR"'
    hooks = [{"library": "/x/libdhcp_mysql.so"}, {"library": "/x/libdhcp_ha.so", "parameters": {"x": 1}}]
    password = 'grüß"\\'
    parameters = {**MYSQL, "password": password, "max-reconnect-tries": 9, "on-fail": "stop-retry-exit"}
    root = {"lease-database": parameters, "hooks-libraries": hooks, "subnet4": [{"id": 1, "subnet": "192.0.2.0/24"}]}
    verdict = ask(tmp_path, script, root, version=version)
    assert (verdict.problem, verdict.could_not, verdict.warnings) == (None, None, ())
    assert (seen / "options").read_text().strip() == options
    given = json.loads((seen / "config").read_text())["Dhcp4"]
    assert given["hosts-database"] == {**MYSQL, "password": password, "connect-timeout": 5, "readonly": True}
    assert given["lease-database"] == {"type": "memfile", "persist": False}
    assert given["hooks-libraries"] == hooks[:1]
    assert "subnet4" not in given
    assert "KEA_LOCKFILE_DIR=none" in (seen / "env").read_text()
    assert "grüß".encode() in (seen / "config").read_bytes()


def test_a_start_is_ended_when_it_has_said_enough(tmp_path: Path) -> None:
    began = time.monotonic()
    script = "echo 'INFO DHCP4_STARTED Kea'; exec sleep 60"
    verdict = ask(
        tmp_path,
        f"trap 'exit 0' TERM; {script.replace('exec sleep 60', 'sleep 60 & wait')}",
        {"lease-database": MYSQL},
        version="2.2.0",
    )
    assert (verdict.problem, verdict.could_not) == (None, None)
    assert time.monotonic() - began < 5


def test_one_question_for_the_same_database(tmp_path: Path) -> None:
    script = f"cat >> {tmp_path}/asked; echo >> {tmp_path}/asked"
    root = {
        "lease-database": MYSQL,
        "hosts-databases": [MYSQL, PGSQL],
        "config-control": {"config-databases": [MYSQL, PGSQL]},
    }
    assert ask(tmp_path, script, root).problem is None
    # The lease database's answer is not enough for reservations.
    assert len((tmp_path / "asked").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "is_warning"),
    [
        ({"retry-on-startup": True, "on-fail": "serve-retry-continue"}, True),
        (
            {
                "retry-on-startup": True,
                "on-fail": "serve-retry-exit",
                "max-reconnect-tries": 3,
                "reconnect-wait-time": 9,
            },
            True,
        ),
        ({"retry-on-startup": True, "on-fail": "serve-retry-exit", "max-reconnect-tries": 3}, False),
        ({"retry-on-startup": True, "max-reconnect-tries": 3, "reconnect-wait-time": 9}, False),
        ({"on-fail": "serve-retry-continue"}, False),
        ({"retry-on-startup": "true", "on-fail": "serve-retry-continue"}, False),
    ],
)
def test_one_that_may_be_away(tmp_path: Path, words: dict[str, Any], is_warning: bool) -> None:
    script = "echo \"Error encountered: Can't connect to server on 'x' (115)\" >&2; exit 1"
    verdict = ask(tmp_path, script, {"hosts-database": {**MYSQL, **words}})
    assert (verdict.problem is None) == is_warning
    assert bool(verdict.warnings) == is_warning
    assert ask(tmp_path, script, {"lease-database": {**MYSQL, **words}}).problem is not None
    mismatch = script.replace("Can't connect to server on 'x' (115)", "MySQL schema version mismatch: x")
    assert ask(tmp_path, mismatch, {"hosts-database": {**MYSQL, **words}}).problem is not None


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Syntax check failed with: /dev/stdin:1.1: geheim, not shown'; exit 1", "/dev/stdin:1.1: *****"),
        ("kill -KILL $$", "exited with -9 and said nothing"),
        ("exit 3", "exited with 3 and said nothing"),
    ],
)
def test_what_could_not_be_asked_holds_nothing_back(tmp_path: Path, script: str, told: str) -> None:
    verdict = ask(tmp_path, script, {"lease-database": MYSQL})
    assert (verdict.problem, verdict.could_not) == (None, None)
    assert "was not looked at" in verdict.warnings[0]
    assert told in verdict.warnings[0]


def test_a_kea_that_is_not_there(tmp_path: Path) -> None:
    at = document(tmp_path / "c", {"lease-database": MYSQL})
    verdict = probe(DHCP4, at, [str(tmp_path / "kea-none")], {}, Limits())
    assert "was not looked at" in verdict.warnings[0]
    assert "No such file" in verdict.warnings[0]


def test_one_that_never_answers(tmp_path: Path) -> None:
    began = time.monotonic()
    root = {"lease-database": MYSQL, "hosts-database": PGSQL}
    verdict = ask(tmp_path, "exec sleep 60", root, limits=Limits(timeout=1))
    assert verdict.could_not is not None
    assert "the lease database" in verdict.could_not
    assert time.monotonic() - began < 4


def test_parameters_larger_than_a_pipe(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    parameters = {"lease-database": {**MYSQL, "password": "p" * 2_000_000}}
    read = f"wc --bytes > {tmp_path}/size"
    assert ask(tmp_path, read, parameters).problem is None
    assert int((tmp_path / "size").read_text()) > 2_000_000
    assert ask(tmp_path, "exec <&-", parameters).problem is None  # nobody reads it
    assert len(os.listdir("/proc/self/fd")) == descriptors


def _roots() -> list[Path]:
    return sorted(path.parents[2] for path in LAB.glob("*/usr/sbin/kea-dhcp4"))


@pytest.mark.parametrize("daemon", [DHCP4, DHCP6], ids=lambda daemon: str(daemon.name))
@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_real_kea_takes_both_copies(tmp_path: Path, daemon: Daemon, kind: str) -> None:
    """The one that asks about a database, and the one that has none: `-t` of every Kea of the lab's images."""
    roots = _roots()
    if not roots or os.geteuid() != 0:
        pytest.skip(f"did not run: comparing takes root, for chroot, and a Kea below {LAB}")
    for root in roots:
        hooks = [f"/{path.relative_to(root)}" for path in root.glob("usr/lib/*/kea/hooks/libdhcp_*ql*.so")]
        tree = {
            "lease-database": {**MYSQL, "type": kind, "connect-timeout": 99, "max-reconnect-tries": 3},
            "hosts-databases": [{**PGSQL, "on-fail": "serve-retry-exit"}, MYSQL],
            "config-control": {"config-databases": [{**MYSQL, "type": kind}]},
            "hooks-libraries": [{"library": path} for path in hooks],
        }
        written = document(tmp_path / "c", tree, daemon.root_key)
        found = databases(daemon.name, written.tree)
        copies = [subject._reduced(daemon, written, database) for database in found]
        for copied in [written.tree, without_databases(daemon.name, written.tree), *copies]:
            assert _refusal(root, daemon, copied) == ""


def _refusal(root: Path, daemon: Daemon, tree: dict[str, Any]) -> str:
    with tempfile.NamedTemporaryFile("w", dir=root / "tmp", prefix="databases-") as file:
        json.dump(tree, file)
        file.flush()
        words = ["chroot", str(root), f"/usr/sbin/{daemon.binary}", "-t", f"/tmp/{Path(file.name).name}"]
        env = {"KEA_LOCKFILE_DIR": "none", "PATH": os.environ["PATH"]}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=20, check=False)
    return "" if done.returncode == 0 else done.stderr
