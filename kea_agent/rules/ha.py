# SPDX-License-Identifier: MPL-2.0
"""High Availability: what the hook refuses, and what it takes and cannot work.

`-t` does not look at a hook's parameters. What is an error here makes the hook fail to load: measured with `-T` of 2.6.3
and 3.0.4; src/hooks/dhcp/high_availability/ha_config.cc and ha_config_parser.cc say the same in 2.2.0 to 3.3.0. A
reload with such a file leaves the server deaf.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from kea_agent.rules.base import Problem, Severity, rule
from kea_agent.rules.model import Config, Node, address, integer, is_odd
from kea_agent.rules.words import listed, quoted

_URL = re.compile(r"(https?)://(?:\[([^\]]*)\]|([^:/?#]*))(?::([0-9]+))?(?:[/?#].*)?", re.DOTALL)
_ROLES = ("primary", "secondary", "standby", "backup")
# What each mode needs, besides backup servers; nothing else may be there.
_NEEDED = {
    "load-balancing": ("primary", "secondary"),
    "hot-standby": ("primary", "standby"),
    "passive-backup": ("primary",),
}
# What the hook reads (ha_config_parser.cc, 2.2.0 to 3.3.0), by where it stands.
_TLS = "trust-anchor cert-file key-file"
_READ = {
    "relationship": f"""
        this-server-name mode peers state-machine multi-threading send-lease-updates sync-leases sync-timeout
        sync-page-limit delayed-updates-limit heartbeat-delay max-response-delay max-ack-delay max-unacked-clients
        max-rejected-lease-updates wait-backup-ack require-client-certs restrict-commands {_TLS}""",
    "peers": f"""
        name url role auto-failover basic-auth-user basic-auth-password basic-auth-user-file
        basic-auth-password-file {_TLS}""",
    "multi-threading": "enable-multi-threading http-dedicated-listener http-listener-threads http-client-threads",
    "state-machine": "states",
    "states": "state pause",
}
_MAX_RESPONSE_DELAY = 60000  # Kea's default, in milliseconds
_PAIRS = ("load-balancing", "hot-standby")


def _peers(config: Config) -> Iterator[tuple[Node, Node]]:
    for relationship in config.relationships:
        for peer in relationship.nodes("peers"):
            yield relationship, peer


@rule(
    "ha-without-parameters",
    Severity.ERROR,
    says="The High Availability hook is loaded without a relationship; it fails to load, and the server with it.",
    do='Give it "parameters" with "high-availability", or take the hook out.',
)
def _without_parameters(config: Config) -> Iterator[Problem]:
    hook = config.hook("ha")
    if hook is None:
        return
    parameters = hook.map.get("parameters")
    if not parameters or (type(parameters) is dict and not parameters.get("high-availability")):
        yield Problem(hook.path, 'the hook has no "high-availability" in its "parameters"')


@rule(
    "ha-this-server-name-unknown",
    Severity.ERROR,
    says="this-server-name is none of the peers; the hook fails to load, and the server with it.",
    do="Name the peer that this host is; it is the one line that differs between the two hosts.",
)
def _name_unknown(config: Config) -> Iterator[Problem]:
    for relationship in config.relationships:
        names = [peer.text("name") for peer in relationship.nodes("peers")]
        name = relationship.text("this-server-name")
        if "this-server-name" not in relationship.map:
            yield Problem(relationship.path, "there is no this-server-name")
        elif name is not None and name not in names:
            known = listed(each for each in names if each)
            yield Problem(
                relationship.at("this-server-name"), f"{quoted(name)} is none of the peers: {known or 'none'}"
            )


@rule(
    "ha-peer-name-duplicate",
    Severity.ERROR,
    says="Two High Availability peers have the same name; the hook fails to load, and the server with it.",
    do="Give each peer its own name, over all relationships.",
)
def _name_duplicate(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for _, peer in _peers(config):
        name = peer.text("name")
        if name and name in seen:
            yield Problem(peer.at("name"), f"there is already a peer {quoted(name)}")
        seen.add(name or "")


@rule(
    "ha-peer-url-bad",
    Severity.ERROR,
    says="The URL of a High Availability peer is not one with an address; the hook fails to load, and the server with it.",
    do='Write it as "http://192.0.2.1:8000/" or "http://[2001:db8::1]:8000/"; names are not looked up.',
)
def _url_bad(config: Config) -> Iterator[Problem]:
    for _, peer in _peers(config):
        written = peer.text("url")
        if written is not None and (problem := _url_problem(written)):
            yield Problem(peer.at("url"), problem)
        elif "url" not in peer.map:
            yield Problem(peer.path, "the peer has no url")


def _url_problem(written: str) -> str | None:
    found = _URL.fullmatch(written)
    if found is None:
        return "this is not http:// or https:// with an address and a port"
    host = found[2] or found[3]
    if is_odd(host) or address(host, 4) is not None or address(host, 6) is not None:
        return None
    return f"{quoted(host)} is a name, and has to be an address" if host else "there is no address"


@rule(
    "ha-peer-tls-missing",
    Severity.ERROR,
    says="The URL of a peer is https and there is no certificate for it; the hook fails to load, and the server with it.",
    do='Set "trust-anchor", "cert-file" and "key-file" for the relationship or the peer, or use http.',
)
def _tls_missing(config: Config) -> Iterator[Problem]:
    keys = ("trust-anchor", "cert-file", "key-file")
    for relationship, peer in _peers(config):
        has_any = any(peer.map.get(key, relationship.map.get(key)) for key in keys)
        if (peer.text("url") or "").startswith("https://") and not has_any:
            yield Problem(peer.at("url"), "https without trust-anchor, cert-file and key-file")


@rule(
    "ha-mode-unknown",
    Severity.ERROR,
    says="A High Availability mode or role is none that Kea knows; the hook fails to load, and the server with it.",
    do='Modes: "hot-standby", "load-balancing", "passive-backup". Roles: "primary", "secondary", "standby", "backup".',
)
def _mode_unknown(config: Config) -> Iterator[Problem]:
    for relationship in config.relationships:
        yield from _word(relationship, "mode", tuple(_NEEDED))
    for _, peer in _peers(config):
        yield from _word(peer, "role", _ROLES)


def _word(owner: Node, key: str, known: tuple[str, ...]) -> Iterator[Problem]:
    word = owner.text(key)
    if key not in owner.map:
        yield Problem(owner.path, f"there is no {key}")
    elif word is not None and word not in known:
        yield Problem(owner.at(key), f"there is no {key} {quoted(word)}")


@rule(
    "ha-roles",
    Severity.ERROR,
    says="The roles of the peers do not fit the mode; the hook fails to load, and the server with it.",
    do="hot-standby: one primary, one standby. load-balancing: one primary, one secondary. passive-backup: one primary.",
)
def _roles(config: Config) -> Iterator[Problem]:
    for relationship in config.relationships:
        mode = relationship.text("mode") or ""
        there = Counter(peer.text("role") or "?" for peer in relationship.nodes("peers"))
        if mode not in _NEEDED or not set(there) <= set(_ROLES):
            continue
        needed = _NEEDED[mode]
        missing = [role for role in needed if not there[role]]
        surplus = [role for role in _ROLES[:3] if there[role] > (role in needed)]
        for words in (
            f"no {', no '.join(missing)}" if missing else "",
            f"too many of {', '.join(surplus)}" if surplus else "",
        ):
            if words:
                yield Problem(
                    relationship.at("peers") if "peers" in relationship.map else relationship.path,
                    f"{mode} with {words}",
                )


@rule(
    "ha-many-relationships-mode",
    Severity.ERROR,
    says="With several relationships only hot-standby is possible; the hook fails to load, and the server with it.",
    do='Set "mode": "hot-standby" in all of them.',
)
def _many(config: Config) -> Iterator[Problem]:
    for relationship in config.relationships if len(config.relationships) > 1 else ():
        mode = relationship.text("mode")
        if mode in _NEEDED and mode != "hot-standby":
            yield Problem(relationship.at("mode"), f"{mode} beside another relationship")


@rule(
    "ha-delays",
    Severity.ERROR,
    says="The delays of a relationship contradict each other; the hook fails to load, and the server with it.",
    do="Let max-response-delay be at least heartbeat-delay; delayed-updates-limit is for load-balancing only.",
)
def _delays(config: Config) -> Iterator[Problem]:
    for relationship in config.relationships:
        heartbeat = integer(relationship.map, "heartbeat-delay")
        most = integer(relationship.map, "max-response-delay")
        most = _MAX_RESPONSE_DELAY if most is None else most
        if heartbeat is not None and 0 < most < heartbeat:
            yield Problem(
                relationship.at("heartbeat-delay"), f"{heartbeat} ms is more than max-response-delay, {most} ms"
            )
        if relationship.text("mode") == "hot-standby" and (integer(relationship.map, "delayed-updates-limit") or 0) > 0:
            yield Problem(relationship.at("delayed-updates-limit"), "this has to be 0 in hot-standby")


@rule(
    "ha-parameter-unknown",
    Severity.WARNING,
    says="High Availability does not know a parameter, and goes on without a word: its default holds.",
    do="Mend the spelling, or take it out; a note of one's own belongs into user-context.",
)
def _parameter_unknown(config: Config) -> Iterator[Problem]:
    for kind, place in _places(config):
        known = _READ[kind].split()
        for key in place.map:
            if key not in known and key not in ("comment", "user-context"):
                near = difflib.get_close_matches(key, known, 1)
                meant = f": did you mean {quoted(near[0])}?" if near else ""
                yield Problem(place.at(key), f"there is no parameter {quoted(key)} here{meant}", is_key=True)


def _places(config: Config) -> Iterator[tuple[str, Node]]:
    """Every map in which the hook looks for parameters."""
    for relationship in config.relationships:
        yield "relationship", relationship
        for key in ("multi-threading", "state-machine"):
            if inside := relationship.node(key):
                yield key, inside
        machine = relationship.node("state-machine")
        yield from (("states", state) for state in (machine.nodes("states") if machine else ()))
    yield from (("peers", peer) for _, peer in _peers(config))


@rule(
    "ha-without-lease-cmds",
    Severity.ERROR,
    says="High Availability without the lease_cmds hook: the partner cannot get this server's leases, and stays silent.",
    do="Load libdhcp_lease_cmds.so on both hosts, before libdhcp_ha.so.",
)
def _without_lease_cmds(config: Config) -> Iterator[Problem]:
    """A server in `syncing` serves nobody until the partner answers lease4-get-page (ha_service.cc, 2.2.0 to 3.3.0).

    Measured with two servers of 2.6.3 in hot-standby: one stays `syncing`, the other `waiting`, no scope is served.
    """
    if config.hook("lease_cmds") is not None:
        return
    for relationship in config.relationships:
        mode = relationship.text("mode")
        syncs, sends = (relationship.map.get(key) is not False for key in ("sync-leases", "send-lease-updates"))
        if mode in _NEEDED and (syncs or sends):
            severity = None if mode in _PAIRS and syncs else Severity.WARNING
            yield Problem(relationship.path, f"{mode} without libdhcp_lease_cmds", severity)


@rule(
    "ha-with-config-backend",
    Severity.INFO,
    says="High Availability with a configuration backend: nothing sees to it that both servers fetch the same.",
    do="Give both servers the same server tag.",
)
def _config_backend(config: Config) -> Iterator[Problem]:
    control = config.root.node("config-control")
    if config.relationships and control and control.map.get("config-databases"):
        yield Problem(control.path, "both servers of the pair need the same from it")


@rule(
    "ha-multi-threading-off",
    Severity.INFO,
    says="The server uses several threads and High Availability is told to use one: it becomes the bottleneck.",
    do='Set "multi-threading": { "enable-multi-threading": true } in the relationship.',
)
def _threads(config: Config) -> Iterator[Problem]:
    for relationship, own in _threading(config):
        if own is False:
            yield Problem(relationship.path, "the server is multi-threaded and this relationship is not")


def _threading(config: Config) -> Iterator[tuple[Node, bool]]:
    """Relationships of a multi-threaded server; default since 2.3.5 for the server, since 2.3.7 for the hook."""
    version = config.version or (99, 0, 0)
    main = config.root.node("multi-threading")
    if not config.flag("enable-multi-threading", version >= (2, 3, 5), main):
        return
    for relationship in config.relationships:
        own = relationship.node("multi-threading")
        yield relationship, config.flag("enable-multi-threading", version >= (2, 3, 7), own)


@rule(
    "ha-no-dedicated-listener",
    Severity.INFO,
    says="A multi-threaded pair talks through the Control Agent, which has one thread and is gone since Kea 3.1.8.",
    do='Set "http-dedicated-listener": true in "multi-threading" of the relationship.',
)
def _listener(config: Config) -> Iterator[Problem]:
    for relationship, is_threaded in _threading(config):
        own = relationship.node("multi-threading")
        if is_threaded and own and own.map.get("http-dedicated-listener") is False:
            yield Problem(own.at("http-dedicated-listener"), "the partner has to go through the Control Agent")


@rule(
    "ha-port-taken",
    Severity.WARNING,
    says="The pair's own listener and a control socket of this server are at the same address and port.",
    do="Give each its own port.",
)
def _port_taken(config: Config) -> Iterator[Problem]:
    taken = {
        (socket.text("socket-address") or "127.0.0.1", integer(socket.map, "socket-port") or 8000)
        for socket in config.root.nodes("control-sockets")
        if (socket.text("socket-type") or "").startswith("http")
    }
    for relationship, peer in _peers(config) if taken else ():
        found = _URL.fullmatch(peer.text("url") or "")
        if found is None or peer.text("name") != relationship.text("this-server-name"):
            continue
        host, port = found[2] or found[3], int((found[4] or "80")[:6])
        if taken & {(host, port), ("0.0.0.0", port), ("::", port)}:  # noqa: S104 - compared with, not bound to
            yield Problem(peer.at("url"), f"port {port} of {quoted(host)} is a control socket's, too")


@rule(
    "ha-pools-not-split",
    Severity.WARNING,
    says="Load balancing without pools of each server's own: both may give the same address to two clients.",
    do='Split each pool, and give the halves "client-class" HA_ and each server\'s name.',
)
def _not_split(config: Config) -> Iterator[Problem]:
    if all(relationship.text("mode") != "load-balancing" for relationship in config.relationships):
        return
    for subnet, pools in chain(config.pools, config.pd_pools):
        levels = [subnet.node, *([subnet.network] if subnet.network else []), *(pool.node for pool in pools)]
        if not any(level.map.get(key) for level in levels for key in ("client-class", "client-classes")):
            yield Problem(pools[0].node.path, "this pool is used by both servers at the same time")
