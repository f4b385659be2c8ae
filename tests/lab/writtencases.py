# SPDX-License-Identifier: MPL-2.0
"""Configurations of the kinds that people run, on the host that `keafit` makes; `is_good`: the real server serves with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dbserver import HOST, KINDS, NAME, PASSWORD
from keafit import KEYS, OWN, Tree
from labkit.spec import Daemon, Suite
from starts import HERE, Case

from kea_agent.daemons import BY_NAME

NOT_HERE: Final = "203.0.113.9"
_MT: Final = {"enable-multi-threading": True, "http-dedicated-listener": True, "http-listener-threads": 2}
_BASIC: Final = {"type": "basic", "realm": "lab", "clients": [{"user": "lab", "password": "lab-1234"}]}


@dataclass(frozen=True)
class Written:
    """A case, and what the real server is known to make of it."""

    case: Case
    is_good: bool


def written(suite: Suite, libraries: Mapping[str, str]) -> list[Written]:
    """All that this suite's Kea knows."""
    good = [
        *_interfaces4(),
        *_interfaces6(),
        *_ha(suite, libraries),
        *_ddns(suite),
        *_control_agent(),
        *_databases(libraries),
    ]
    good += [*_texts(), *_sizes()]
    if suite == "sid":
        good += [*_http_sockets()]
    return [
        *(Written(case, is_good=True) for case in good),
        *(Written(case, is_good=False) for case in _bad(suite, libraries)),
    ]


def dhcp4(**more: Any) -> Tree:
    """One that serves on eth0."""
    return {
        "interfaces-config": {"interfaces": ["eth0"]},
        "control-socket": {"socket-type": "unix", "socket-name": "/run/kea/kea4-ctrl-socket"},
        "multi-threading": {"enable-multi-threading": True, "thread-pool-size": 2, "packet-queue-size": 64},
        "subnet4": [{"id": 1, "subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.10 - 192.0.2.200"}]}],
        **more,
    }


def dhcp6(**more: Any) -> Tree:
    """One that serves on eth0."""
    return {
        "interfaces-config": {"interfaces": ["eth0"]},
        "control-socket": {"socket-type": "unix", "socket-name": "/run/kea/kea6-ctrl-socket"},
        "multi-threading": {"enable-multi-threading": True, "thread-pool-size": 2, "packet-queue-size": 64},
        "subnet6": [{"id": 1, "subnet": "2001:db8:1::/64", "interface": "eth0", "pools": [{"pool": "2001:db8:1::1:0/112"}]}],
        **more,
    }  # fmt: skip


def ddns(**more: Any) -> Tree:
    """One that serves on the loopback."""
    empty = {"ddns-domains": list[Any]()}
    socket = {"socket-type": "unix", "socket-name": "/run/kea/kea-ddns-ctrl-socket"}
    return {"tsig-keys": [], "forward-ddns": empty, "reverse-ddns": empty, "control-socket": socket, **more}


def case(name: str, daemon: Daemon, root: Tree) -> Case:
    """A tree as a file."""
    return Case(f"{daemon} {name}", daemon, json.dumps({BY_NAME[daemon].root_key: root}, ensure_ascii=False, indent=1))


def _listening(*interfaces: str, **more: Any) -> Tree:
    return {"interfaces-config": {"interfaces": list(interfaces), **more}}


def _interfaces4() -> Iterator[Case]:
    names = ("eth0.100", "br-lan", "enx001122334455", "lan-1_b@x")
    for name in (*names, "*", "eth0/192.0.2.1", "eth0/192.168.56.66"):
        yield case(f"on {name}", "dhcp4", dhcp4(**_listening(name)))
        yield case(f"on {name} by UDP", "dhcp4", dhcp4(**_listening(name, **{"dhcp-socket-type": "udp"})))
    yield case("on several", "dhcp4", dhcp4(**_listening("eth0", "eth1", *names)))
    yield case("on two addresses", "dhcp4", dhcp4(**_listening("eth0/192.0.2.1", "eth0/192.168.56.33")))
    yield case("routed", "dhcp4", dhcp4(**_listening("eth0", **{"outbound-interface": "use-routing"})))
    yield case("on none", "dhcp4", dhcp4(**_listening()))
    yield case("re-detected", "dhcp4", dhcp4(**_listening("eth0", **{"re-detect": True})))
    updates = {"enable-updates": True, "server-ip": "127.0.0.1", "sender-ip": "192.0.2.1", "sender-port": 3433}
    yield case("with updates", "dhcp4", dhcp4(**{"dhcp-ddns": updates}))


def _interfaces6() -> Iterator[Case]:
    for name in ("eth0.100", "br-lan", "enx001122334455", "*", "eth0/2001:db8:1::1", "eth0/3001::2"):
        yield case(f"on {name}", "dhcp6", dhcp6(**_listening(name)))
    yield case("on several", "dhcp6", dhcp6(**_listening("eth0", "eth1", "eth0.100", "br-lan")))
    yield case("on an address and others", "dhcp6", dhcp6(**_listening("eth0/2001:db8:1::1", "eth1", "eth0.100")))
    yield case("with another server id", "dhcp6", dhcp6(**{"server-id": {"type": "EN", "enterprise-id": 2495}}))


def hooks(libraries: Mapping[str, str], *names: str, **parameters: Any) -> list[Tree]:
    """The entries of hook libraries; `parameters` are the last one's."""
    found: list[Tree] = [{"library": libraries[f"libdhcp_{name}.so"]} for name in names]
    return [*found[:-1], found[-1] | ({"parameters": parameters} if parameters else {})]


def relation(mode: str, own: str, first: str, second: str, **more: Any) -> Tree:
    """A relationship of two, by their names and URLs."""
    role = "standby" if mode == "hot-standby" else "secondary"
    peers = [
        {"name": name, "url": url, "role": part, "auto-failover": True}
        for (name, url), part in zip((pair.split("=") for pair in (first, second)), ("primary", role), strict=True)
    ]
    words = {"this-server-name": own, "mode": mode, "heartbeat-delay": 10000, "max-response-delay": 60000}
    return {**words, "multi-threading": _MT, "peers": peers, **more}


def _pair(mode: str, scheme: str, port: int, **more: Any) -> Tree:
    urls = (f"server1={scheme}://192.0.2.1:{port}/", f"server2={scheme}://192.0.2.99:{port}/")
    return relation(mode, "server1", *urls, **more)


def _ha(suite: Suite, libraries: Mapping[str, str]) -> Iterator[Case]:
    kinds: dict[str, Tree] = {"": {}, " over TLS": {**KEYS, "require-client-certs": True}}
    kinds[" with a password"] = {}
    for mode in ("hot-standby", "load-balancing"):
        for kind, words in kinds.items():
            found = _pair(mode, "https" if "TLS" in kind else "http", 8010, **words)
            if "password" in kind:
                found["peers"] = [
                    {**peer, "basic-auth-user": "lab", "basic-auth-password": "lab-1234"} for peer in found["peers"]
                ]
            library = hooks(libraries, "lease_cmds", "ha", **{"high-availability": [found]})
            yield case(f"{mode}{kind}", "dhcp4", dhcp4(**{"hooks-libraries": library}))
            yield case(f"{mode}{kind}", "dhcp6", dhcp6(**{"hooks-libraries": library}))
    if suite != "bookworm":
        yield case("hub and spoke", "dhcp4", _hub(libraries))


def _hub(libraries: Mapping[str, str]) -> Tree:
    """The hub of two relationships, each with its own listener and subnet."""
    relations = [
        relation("hot-standby", "hub1", "spoke1=http://192.0.2.98:8010/", "hub1=http://192.0.2.1:8010/"),
        relation("hot-standby", "hub2", "spoke2=http://192.0.2.97:8011/", "hub2=http://192.0.2.1:8011/"),
    ]
    subnets = [
        {"id": n, "subnet": f"192.0.{n}.0/24", "pools": [{"pool": f"192.0.{n}.10 - 192.0.{n}.99"}], "user-context": {"ha-server-name": f"spoke{n - 1}"}}
        for n in (2, 3)
    ]  # fmt: skip
    library = hooks(libraries, "lease_cmds", "ha", **{"high-availability": relations})
    return dhcp4(**{"subnet4": subnets, "hooks-libraries": library})


def _ddns(suite: Suite) -> Iterator[Case]:
    everywhere = () if suite == "bookworm" else ("0.0.0.0",)  # Kea 2.2.0 refuses it
    for address in ("127.0.0.1", "::1", "192.0.2.1", "2001:db8:1::1", *everywhere):
        yield case(f"on {address}", "ddns", ddns(**{"ip-address": address, "port": 53001}))
    key = {"name": "lab.key", "algorithm": "HMAC-SHA256", "secret": "LSWXnfkKZjdPJI5QxlpnfQ=="}
    domain = {"name": "lab.example.", "key-name": "lab.key", "dns-servers": [{"ip-address": "192.0.2.53"}]}
    yield case("with a key", "ddns", ddns(**{"tsig-keys": [key], "forward-ddns": {"ddns-domains": [domain]}}))


def _control_agent() -> Iterator[Case]:
    kinds: dict[str, Tree] = {
        "plain": {"http-host": "127.0.0.1", "http-port": 8000},
        "with passwords": {"authentication": _BASIC},
        "with password files": {
            "authentication": {
                "type": "basic",
                "directory": OWN,
                "clients": [{"user-file": "hiddenu", "password-file": "hiddenp"}, {"password-file": "hiddens"}],
            }
        },
        "over TLS": {**KEYS, "cert-required": False},
        "over TLS with client certificates": {**KEYS, "cert-required": True},
        "over TLS with passwords": {**KEYS, "cert-required": False, "authentication": _BASIC},
        "on IPv6": {"http-host": "::1", "http-port": 8080},
        "on an address of eth0": {"http-host": "192.0.2.1", "http-port": 8443, **KEYS},
    }
    sockets = {"dhcp4": {"socket-type": "unix", "socket-name": "/run/kea/kea4-ctrl-socket"}}
    for name, root in kinds.items():
        yield case(name, "ctrl-agent", {"control-sockets": sockets, **root})


def _databases(libraries: Mapping[str, str]) -> Iterator[Case]:
    for kind, backend in zip(KINDS, ("mysql", "pgsql"), strict=True):
        # Kea 3 has its databases in hook libraries.
        library = [{"library": path} for name, path in libraries.items() if name == f"libdhcp_{backend}.so"]
        database = {"type": kind, "host": HOST, "name": NAME, "user": NAME, "password": PASSWORD}
        leases = {"lease-database": database, "hooks-libraries": library}
        yield case(f"leases in {kind}", "dhcp4", dhcp4(**leases))
        yield case(f"leases in {kind}", "dhcp6", dhcp6(**leases))
        hosts = {"hosts-databases": [database], "hooks-libraries": library}
        yield case(f"hosts in {kind}", "dhcp4", dhcp4(**hosts))


def _http_sockets() -> Iterator[Case]:
    unix = {"socket-type": "unix", "socket-name": "kea4-ctrl-socket"}
    http = {"socket-type": "http", "socket-address": "127.0.0.1", "socket-port": 8004}
    https = {**http, "socket-type": "https", "socket-port": 8005, **KEYS, "cert-required": False}
    kinds = {
        "http": [http],
        "unix and http": [unix, http],
        "http with passwords": [{**http, "authentication": _BASIC}],
        "https": [https],
        "https with client certificates": [{**https, "cert-required": True}],
        "all": [unix, http, {**https, "authentication": _BASIC}],
        "http on IPv6": [{**http, "socket-address": "::1"}],
    }
    for name, listed in kinds.items():
        sockets = {"control-sockets": listed}
        root = {key: value for key, value in dhcp4(**sockets).items() if key != "control-socket"}
        yield case(f"asked by {name}", "dhcp4", root)
    for daemon, base in (("dhcp6", dhcp6()), ("ddns", ddns())):
        root = {key: value for key, value in base.items() if key != "control-socket"} | {"control-sockets": [http]}
        yield case("asked by http", daemon, root)  # type: ignore[arg-type]


def _texts() -> Iterator[Case]:
    words = {
        "ort": "Zürich, 東京 ☃",
        "tief": {"liste": [1, 2.5, None, True, {"a": "b"}]},
        "comment": 'a "quoted" \\ word',
    }
    subnet = {
        **dhcp4()["subnet4"][0],
        "user-context": words,
        "option-data": [{"name": "domain-name", "data": "büro.example"}],
    }
    yield case("not ASCII", "dhcp4", dhcp4(**{"subnet4": [subnet], "user-context": words}))
    yield case("not ASCII", "ddns", ddns(**{"user-context": words}))
    text = json.dumps({"Dhcp4": dhcp4()}, indent=1)
    escaped = '"user-context": { "a": "caf\\u00e9\\/\\t" }, // to the end\n # also\n /* and\n this */ '
    yield Case("dhcp4 escapes and comments", "dhcp4", text.replace('"subnet4"', f'{escaped} "subnet4"'))
    included = text.replace('"subnet4"', f'<?include "{HERE}/part.json"?> "subnet4"')
    part = {"part.json": '"user-context": <?include "' + HERE + '/deep.json"?>,', "deep.json": '{ "deep": "ü" }'}
    yield Case("dhcp4 includes", "dhcp4", included, part)


def _sizes() -> Iterator[Case]:
    subnets = [
        {"id": n, "subnet": f"10.{n >> 8}.{n & 255}.0/24", "pools": [{"pool": f"10.{n >> 8}.{n & 255}.10 - 10.{n >> 8}.{n & 255}.99"}]}
        for n in range(1, 4001)
    ]  # fmt: skip
    yield case("with 4000 subnets", "dhcp4", dhcp4(subnet4=subnets))
    wide = [
        {"id": n, "subnet": f"2001:db8:{n:x}::/64", "pools": [{"pool": f"2001:db8:{n:x}::/80"}]} for n in range(1, 4001)
    ]
    yield case("with 4000 subnets", "dhcp6", dhcp6(subnet6=wide))


def _bad(suite: Suite, libraries: Mapping[str, str]) -> Iterator[Case]:
    """What no server serves with, in ways that Kea's -t does not see."""
    yield case("on an interface that is not there", "dhcp4", dhcp4(**_listening("eth7")))
    yield case("on one that is there and one that is not", "dhcp4", dhcp4(**_listening("eth0", "eth7")))
    yield case("on an address that is not there", "dhcp4", dhcp4(**_listening(f"eth0/{NOT_HERE}")))
    yield case("on an address of another interface", "dhcp4", dhcp4(**_listening("eth1/192.0.2.1")))
    yield case("on an interface that is not there", "dhcp6", dhcp6(**_listening("eth7")))
    yield case("on an address that is not there", "dhcp6", dhcp6(**_listening("eth0/2001:db8:9::9")))
    yield case(
        "updates from elsewhere", "dhcp4", dhcp4(**{"dhcp-ddns": {"enable-updates": True, "sender-ip": NOT_HERE}})
    )
    # Kea 2.2.0 serves clients without a listener for its partner, and a rehearsal takes that for serving.
    for mode in ("hot-standby", "load-balancing") if suite != "bookworm" else ():
        away = _pair(mode, "http", 8010)
        away["peers"][0]["url"] = f"http://{NOT_HERE}:8010/"
        elsewhere = hooks(libraries, "lease_cmds", "ha", **{"high-availability": [away]})
        yield case(f"{mode} from elsewhere", "dhcp4", dhcp4(**{"hooks-libraries": elsewhere}))
    keyless = _pair("hot-standby", "https", 8010, **{**KEYS, "key-file": f"{OWN}/none.pem"})
    library = hooks(libraries, "lease_cmds", "ha", **{"high-availability": [keyless]})
    yield case("hot-standby without its key", "dhcp4", dhcp4(**{"hooks-libraries": library}))
    yield case("with nothing in it", "dhcp4", {})
    yield case("elsewhere", "ddns", ddns(**{"ip-address": NOT_HERE}))
    yield case("elsewhere", "ctrl-agent", {"http-host": NOT_HERE})
    yield case("without its key", "ctrl-agent", {**KEYS, "key-file": f"{OWN}/none.pem"})
