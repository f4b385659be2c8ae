# SPDX-License-Identifier: MPL-2.0
"""From an image to a booting host."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from string import Template

from . import cgroups, keaconfigs, mounts, naming
from .keaconfigs import TEMPLATES
from .network import BRIDGE, Network
from .nodes import Node

ROOT_SIZE = "1g"
# With --keep-unit, nspawn leaves the next boot to whoever started it, and asks for it with this exit code.
AGAIN_AFTER_REBOOT = 'while "$0" "$@"; [ $? = 133 ]; do :; done'
DEB_IN_NODE = "var/tmp/kea-agent-lab/agent.deb"


def prepare(node: Node, image: Path) -> None:
    """Everything that is written into a node before it boots."""
    root = mounts.mount_overlay(image, node.home, ROOT_SIZE)
    _identity(node, root)
    _network_unit(node, root)
    naming.apply(root, node.spec.units)
    keaconfigs.write(root, keaconfigs.render(node.spec, node.number, keaconfigs.find_hooks(root)))
    if node.spec.deb is not None:
        target = root / DEB_IN_NODE
        target.parent.mkdir(parents=True)
        shutil.copyfile(node.spec.deb, target)


def start(node: Node) -> None:
    """Boot a node: away from the terminal, in the lab's network, in a cgroup of its own."""
    keeper = cgroups.create(node.cgroup / "keeper")
    group = cgroups.create(node.cgroup / "host")
    spawn = cgroups.enter_and_exec(group, *Network(node.spec.name).enter(*_nspawn(node)))
    words = cgroups.enter_and_exec(keeper, "sh", "-c", AGAIN_AFTER_REBOOT, *spawn)
    with node.console.open("ab") as console:
        # setsid forks: the node is no child of ours, so nothing waits for it and it leaves no zombie.
        subprocess.run(
            ["setsid", "--fork", *words],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            cwd="/",
            check=True,
        )


def power_off(node: Node) -> None:
    """End a node as a power cut does: nothing in it has time for anything."""
    port = node.port()
    cgroups.destroy(node.cgroup)
    if port is not None:
        Network(node.spec.name).remove(port)


def _environment() -> dict[str, str]:
    """The environment of nspawn: systemd 258 and later do not boot without the unified hierarchy; the lab has a lock of its own."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"}


def _nspawn(node: Node) -> list[str]:
    """Not registered with machined, which the machine may not have; nothing of the machine's own is bound in."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={node.root}",
        "--boot",
        "--register=no",
        "--keep-unit",
        f"--machine={node.machine}",
        f"--hostname={node.name}",
        f"--uuid={node.machine_id}",
        f"--network-bridge={BRIDGE}",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
    ]


def _identity(node: Node, root: Path) -> None:
    """A host of its own: a name, an id, and the names of the others."""
    (root / "etc/hostname").write_text(f"{node.name}\n")
    (root / "etc/machine-id").write_text(f"{node.machine_id}\n")
    hosts = ["127.0.0.1 localhost", "::1 localhost", "198.18.0.11 node1", "198.18.0.12 node2"]
    (root / "etc/hosts").write_text("\n".join(hosts) + "\n")


def _network_unit(node: Node, root: Path) -> None:
    """The unit that gives the node its address, enabled."""
    text = Template((TEMPLATES / "lab-network.service").read_text())
    unit = root / "etc/systemd/system/lab-network.service"
    unit.write_text(text.substitute(address4=node.address, address6=node.address6))
    wants = unit.with_name("network-online.target.wants")
    wants.mkdir(exist_ok=True)
    (wants / unit.name).symlink_to(f"/etc/systemd/system/{unit.name}")
