# SPDX-License-Identifier: MPL-2.0
"""Kea's own example configurations, made to fit the host and set on a real server, do not differ from its config-get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agenthost import AgentHost
from keaexamples import examples, hooks
from labkit.host import wait_for
from labkit.nodes import Node
from labkit.spec import Daemon
from saving import on_every_suite

from kea_agent import keaconf
from kea_agent.diff import changes

Tree = dict[str, Any]
DAEMONS: dict[str, tuple[Daemon, str]] = {
    "kea4": ("dhcp4", "Dhcp4"),
    "kea6": ("dhcp6", "Dhcp6"),
    "ddns": ("ddns", "DhcpDdns"),
}
# What a server in the lab cannot load, or would act on.
HOOKS_LEFT_OUT = ("libdhcp_ha.so", "mysql", "pgsql", "legal", "radius")


@on_every_suite
def test_an_example_is_what_config_get_says_of_it(host: AgentHost, good: str, tmp_path: Path) -> None:
    found = [path for path in examples(host.node, tmp_path) if path.parent.name in DAEMONS]
    host.node.systemctl("stop", "kea-agent")
    try:
        compared = [_differences(host.node, path) for path in found]
    finally:
        host.node.systemctl("restart", *(host.node.unit(daemon) for daemon, _ in DAEMONS.values()))
        host.node.systemctl("start", "kea-agent")
    taken = [differences for differences in compared if differences is not None]
    print(f"{len(taken)} of {len(compared)} examples could be set")
    assert [differences for differences in taken if differences] == []
    assert len(taken) > 40


def _differences(node: Node, path: Path) -> list[str] | None:
    """What differs after the example was set; None where the server does not take it as it is here."""
    daemon, root = DAEMONS[path.parent.name]
    running = _config_get(node, daemon)[root]
    wanted = _fitted(keaconf.read(str(path), root).root, running, hooks(node))
    try:
        if node.control(daemon, "config-set", {root: wanted})["result"] != 0:
            return None
        running = node.control(daemon, "config-get")["arguments"][root]
    except (OSError, ValueError):
        return None  # Kea 2.2.0 dies of config-get for one of them
    return [f"{path.name}: {change}" for change in changes(running, wanted, before_runs=True)]


def _config_get(node: Node, daemon: Daemon) -> Tree:
    for _ in wait_for(every=0.2):
        try:
            return dict(node.control(daemon, "config-get")["arguments"])
        except (OSError, ValueError):
            continue
    raise AssertionError(f"{daemon} does not answer")


def _fitted(wanted: Tree, running: Tree, libraries: dict[str, str]) -> Tree:
    """With this host's sockets, loggers and hooks, no interface, and no database to reach."""
    channels = ("control-socket", "control-sockets")
    fitted = {key: value for key, value in wanted.items() if key not in channels}
    fitted |= {key: running[key] for key in (*channels, "loggers") if key in running}
    if "port" in running:
        return fitted
    for key in ("hosts-database", "hosts-databases", "config-control"):
        fitted.pop(key, None)
    _without_interfaces(fitted)
    return fitted | {
        "interfaces-config": {**fitted.get("interfaces-config", {}), "interfaces": []},
        "lease-database": {"type": "memfile", "persist": False},
        "hooks-libraries": [_fitted_hook(hook, libraries) for hook in _loadable(fitted, libraries)],
    }


def _without_interfaces(tree: Tree) -> None:
    places = [*tree.get("shared-networks", []), tree]
    for place in places:
        place.pop("interface", None)
        for subnet in (*place.get("subnet4", []), *place.get("subnet6", [])):
            subnet.pop("interface", None)


def _loadable(tree: Tree, libraries: dict[str, str]) -> list[Tree]:
    names = [(hook, Path(hook["library"]).name) for hook in tree.get("hooks-libraries", [])]
    return [hook for hook, name in names if name in libraries and not any(out in name for out in HOOKS_LEFT_OUT)]


def _fitted_hook(hook: Tree, libraries: dict[str, str]) -> Tree:
    return {**hook, "library": libraries[Path(hook["library"]).name]}
