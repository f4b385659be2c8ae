# SPDX-License-Identifier: MPL-2.0
"""One secret, in every place where one may stand, with every kind of mistake around it: no output has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kea_agent import keaconf, redact, report
from kea_agent.daemons import BY_NAME, DAEMONS, Daemon
from kea_agent.diff import changes
from kea_agent.diff.text import as_json, lines
from kea_agent.errors import ConfigError
from kea_agent.levels import Levels, UnitView, without_secrets
from kea_agent.settings import CheckSettings
from kea_agent.verbs.check import Asked, look
from kea_agent.verdict import Verdict

SECRET = "Zk9-hunter2"
NUMBER = "83647561928374650192837465"
PIECES = (SECRET, "hunter2", NUMBER, NUMBER[:12])

DHCP4 = '{ "Dhcp4": { "valid-lifetime": 4000,\n %s,\n "renew-timer": 1000 } }\n'
AGENT = '{ "Control-agent": { "http-port": 8000,\n %s,\n "http-host": "127.0.0.1" } }\n'
DDNS = '{ "DhcpDdns": { "port": 53001,\n %s,\n "ip-address": "127.0.0.1" } }\n'
HOOK = DHCP4 % '"hooks-libraries": [ { "library": "/x/libdhcp_y.so", "parameters": { "size": 1, %s, "path": "/x" } } ]'

# Where a member may stand that is a secret, and its key.
PLACES: dict[str, tuple[str, str]] = {
    "database": (DHCP4 % '"lease-database": { "type": "mysql", %s, "user": "kea" }', "password"),
    "hosts": (DHCP4 % '"hosts-databases": [ { "type": "mysql",\n %s } ]', "password"),
    "client": (AGENT % '"authentication": { "type": "basic", "clients": [ { "user": "admin", %s } ] }', "password"),
    "user": (AGENT % '"authentication": { "type": "basic", "clients": [ { %s, "password": "x" } ] }', "user"),
    "socket": (DHCP4 % '"control-sockets": [ { "socket-type": "http", "authentication": { "type": "basic", "clients": [ { %s } ] } } ]', "password"),
    "tsig": (DDNS % '"tsig-keys": [ { "name": "k", "algorithm": "HMAC-MD5", %s } ]', "secret"),
    "peer": (
        DHCP4 % '"hooks-libraries": [ { "library": "/x/libdhcp_ha.so", "parameters": { "high-availability": [ { "mode": "x", "peers": [ { "name": "a", %s } ] } ] } } ]',
        "basic-auth-password",
    ),
    **{
        key: (HOOK, key)
        for key in ("api_key", "bearer", "token", "client_secret", "passwd", "psk", "private-key", "auth", "Authorization", "accessToken", "RADIUS-Secret", "x-api-key")
    },
}  # fmt: skip

# What somebody makes of a key and its value.
TYPOS: dict[str, Callable[[str, str], str]] = {
    "none": lambda key, value: f'"{key}": "{value}"',
    "lines": lambda key, value: f'"{key}":\n\n   "{value}"',
    "comment": lambda key, value: f'"{key}": /* name: it is\n */ // "name": "x"\n "{value}"',
    "single quotes": lambda key, value: f"'{key}': '{value}'",
    "single quoted value": lambda key, value: f"\"{key}\": '{value}'",
    "backticks": lambda key, value: f'"{key}": `{value}`',
    "typographic": lambda key, value: f"“{key}”: “{value}”",
    "no quotes": lambda key, value: f"{key}: {value}",
    "value unquoted": lambda key, value: f'"{key}": {value}',
    "key unquoted": lambda key, value: f'{key}: "{value}"',
    "equals": lambda key, value: f'"{key}" = "{value}"',
    "bare equals": lambda key, value: f"{key}={value}",
    "arrow": lambda key, value: f'"{key}" => "{value}"',
    "two colons": lambda key, value: f'"{key}":: "{value}"',
    "colon, comma": lambda key, value: f'"{key}":, "{value}"',
    "semicolon": lambda key, value: f'"{key}"; "{value}"',
    "no colon": lambda key, value: f'"{key}" "{value}"',
    "comma": lambda key, value: f'"{key}", "{value}"',
    "colon behind": lambda key, value: f'"{key}": "{value}":',
    "list": lambda key, value: f'"{key}": [ "{value}" ]',
    "list of two": lambda key, value: f'"{key}": [ "a", "{value}", {{ "b": "{value}" }} ]',
    "map": lambda key, value: f'"{key}": {{ "value": "{value}" }}',
    "map as key": lambda key, value: f'"{key}": {{ "{value}": 1 }}',
    "letter left out": lambda key, value: f'"{key[:2] + key[3:]}": "{value}"',
    "letters swapped": lambda key, value: f'"{key[:2] + key[3:4] + key[2] + key[4:]}": "{value}"',
    "upper case": lambda key, value: f'"{key.upper()}": "{value}"',
    "one string": lambda key, value: f'"{key}: {value}"',
    "one string, equals": lambda key, value: f'"{key}={value}"',
    "one string as key": lambda key, value: f'"{key}={value}": ""',
    "key not closed": lambda key, value: f'"{key}: "{value}"',
    "key not opened": lambda key, value: f'{key}": "{value}"',
    "value not closed": lambda key, value: f'"{key}": "{value}',
    "value not opened": lambda key, value: f'"{key}": {value}"',
    "quote inside": lambda key, value: f'"{key}": "a"{value}"',
    "two values": lambda key, value: f'"{key}": "a" "{value}"',
    "bad escape": lambda key, value: f'"{key}": "{value}\\q{value}"',
    "bad unicode": lambda key, value: f'"{key}": "{value}\\u1234{value}"',
    "no such escape": lambda key, value: f'"{key}": "\\u{value}"',
    "number": lambda key, _: f'"{key}": {NUMBER}',
    "twice": lambda key, value: f'"{key}": "{value}", "{key}": "{value}2"',
    "commented out": lambda key, value: f'# "{key}": "{value}"\n oops: 1',
    "only the value": lambda _, value: f'"{value}"',
    "only the word": lambda _, value: value,
}  # fmt: skip

# Keys that say nothing, and a secret all the same.
INSIDE = {
    "host": '"lease-database": { "type": "mysql", "host": "kea:%s@db.example.org" }',
    "host, bare": '"lease-database": { "type": "mysql", "host": kea:%s@db.example.org }',
    "name": '"lease-database": { "type": "postgresql", "name": "postgresql://kea:%s@db.example.org/kea" }',
    "conninfo": '"lease-database": { "type": "postgresql", "name": "host=db password=%s dbname=kea" }',
    "query": '"lease-database": { "type": "postgresql", "name": "postgresql://db/kea?user=kea&password=%s" }',
    "slash": '"lease-database": { "type": "mysql", "host": "kea/%s@db" }',
    "url": '"hooks-libraries": [ { "library": "/x/libdhcp_ha.so", "parameters": { "high-availability": [ { "mode": "x", "peers": [ { "name": "a", "url": "http://a:%s@192.0.2.1:8000/" } ] } ] } } ]',
    "url, user": '"hooks-libraries": [ { "library": "/x/libdhcp_ha.so", "parameters": { "high-availability": [ { "mode": "x", "peers": [ { "name": "a", "url": "http://%s@192.0.2.1:8000/" } ] } ] } } ]',
    "path": '"control-socket": { "socket-type": "unix", "socket-name": "/tmp/password=%s" }',
    "addresses": '"option-data": [ { "name": "routers", "data": "192.0.2.1, %s" } ]',
    "number": '"option-data": [ { "name": "interface-mtu", "data": "%s" } ]',
    "data": '"option-data": [ { "code": 224, "space": "dhcp4", "csv-format": true, "data": "%s" } ] oops',
}  # fmt: skip


def outputs(daemon: Daemon, path: Path) -> Iterator[str]:
    """Everything that is told of a file, in every form, as far as it comes."""
    asked = Asked("rules", CheckSettings(), (3, 0, 0), None, [str(path)])
    findings = list(look(daemon, str(path), None, asked).findings)
    yield report.text(findings)
    yield from (form(findings) for form in report.FORMS.values())
    try:
        document = keaconf.read(str(path), daemon.root_key)
    except ConfigError as error:
        yield str(error)
        return
    yield from document.warnings
    verdict = Levels(daemon, document, UnitView(("/x",), {}), CheckSettings()).rules()
    yield from (str(verdict.problem), *verdict.warnings)
    yield json.dumps(redact.redacted(document.tree))
    there = [each for each in (SECRET, NUMBER) if each in path.read_text()]
    quoted = " and ".join(f"bad value '{each}': {each}" for each in there)
    said = Verdict("kea", ConfigError(quoted, file=str(path)), 0.0, (quoted,))
    told = without_secrets(said, document)
    yield from (str(told.problem), *told.warnings)
    for before, after in (({}, document.root), (document.root, {})):
        found = changes(before, after)
        yield from lines(found, color=False)
        yield json.dumps(as_json(found))


def looked_through(path: Path, text: str) -> None:
    path.write_text(text)
    daemon = next((each for each in DAEMONS if f'"{each.root_key}"' in text), BY_NAME["dhcp4"])
    for output in outputs(daemon, path):
        for piece in PIECES:
            assert piece not in output, text


@pytest.mark.parametrize("typo", TYPOS)
@pytest.mark.parametrize("place", PLACES)
def test_a_secret_with_a_mistake_beside_it(tmp_path: Path, place: str, typo: str) -> None:
    text, key = PLACES[place]
    if typo in ("only the value", "only the word", "one string, equals", "one string as key") and key == "user":
        typo = "none"
    looked_through(tmp_path / "f", text % TYPOS[typo](key, SECRET))


@pytest.mark.parametrize("place", INSIDE)
def test_a_secret_inside_of_a_value(tmp_path: Path, place: str) -> None:
    looked_through(tmp_path / "f", DHCP4 % (INSIDE[place] % SECRET))


@pytest.mark.parametrize(
    "text",
    [SECRET, f"{SECRET}\n", f'"{SECRET}"', f"kea:{SECRET}", f"{{ {SECRET} }}", NUMBER, f"'{SECRET}'", f"Key {SECRET}"],
)
@pytest.mark.parametrize("where", ['"password": %s', '"type": "mysql", %s', '"typ": %s', "%s"])
def test_an_included_file_that_is_a_secret(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "secret").write_text(text)
    include = where % f'<?include "{tmp_path}/secret"?>'
    looked_through(tmp_path / "f", DHCP4 % f'"lease-database": {{ {include} }}')
    looked_through(tmp_path / "secret", text)
