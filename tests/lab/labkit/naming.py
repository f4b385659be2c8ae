# SPDX-License-Identifier: MPL-2.0
"""Giving Kea's units the names that ISC's or Fedora's packages use, in a root that has not booted yet.

Only names are looked at from outside: the links in a root are absolute and lead, from here, into the wrong system.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .spec import DAEMONS, UNITS, Daemon, Naming

VENDOR = Path("usr/lib/systemd/system")
LOCAL = Path("etc/systemd/system")


def apply(root: Path, naming: Naming) -> None:
    """Rename units, enablement and init scripts; Debian's own names stay only where they are asked for."""
    if naming == "debian":
        return
    new = UNITS[naming]
    for daemon in DAEMONS:
        _rename_unit(root, daemon, new, alias=f"kea-{_stem(daemon)}.service" if naming == "isc" else "")
    _relink(root / LOCAL, new)
    _forget_init_scripts(root)


def _stem(daemon: Daemon) -> str:
    return {"ddns": "dhcp-ddns"}.get(daemon, daemon)


def _rename_unit(root: Path, daemon: Daemon, new: Mapping[Daemon, str], alias: str) -> None:
    """Move the unit file, with the names inside it; an alias is what ISC's packages add."""
    old_file = root / VENDOR / UNITS["debian"][daemon]
    text = old_file.read_text()
    for other in DAEMONS:
        text = text.replace(UNITS["debian"][other], new[other])
    old_file.unlink()
    (root / VENDOR / new[daemon]).write_text(text + (f"Alias={alias}\n" if alias else ""))
    if alias:
        (root / LOCAL / alias).symlink_to(f"/{VENDOR}/{new[daemon]}")


def _relink(directory: Path, new: Mapping[Daemon, str]) -> None:
    """Make the enablement links again, under the new names and to the new names."""
    for link in [path for path in directory.rglob("*.service") if path.is_symlink()]:
        daemon = next((name for name in DAEMONS if UNITS["debian"][name] == link.name), None)
        if daemon is None or link.parent == directory:
            continue
        wants = link.parent.with_name(_renamed(link.parent.name, new))
        wants.mkdir(exist_ok=True)
        link.unlink()
        (wants / new[daemon]).symlink_to(f"/{VENDOR}/{new[daemon]}")
    for left in directory.glob("kea-*.wants"):
        if not any(left.iterdir()):
            left.rmdir()


def _renamed(wants: str, new: Mapping[Daemon, str]) -> str:
    """The name of a .wants directory: Debian 12 hangs two daemons below the units of the other two."""
    for daemon in DAEMONS:
        if wants == f"{UNITS['debian'][daemon]}.wants":
            return f"{new[daemon]}.wants"
    return wants


def _forget_init_scripts(root: Path) -> None:
    """Systemd up to 257 would make units of them, with Debian's names."""
    for script in [*root.glob("etc/init.d/kea-*"), *root.glob("etc/rc?.d/???kea-*")]:
        script.unlink()
    for state in root.glob("var/lib/systemd/deb-systemd-helper-enabled/**/kea-*.service*"):
        if not state.is_dir() or state.is_symlink():
            state.unlink()
