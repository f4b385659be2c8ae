# SPDX-License-Identifier: MPL-2.0
"""Mounts: a node's root is an overlay of the shared image and a memory file system of its own."""

from __future__ import annotations

import re
from pathlib import Path

from . import host


def mount_overlay(image: Path, home: Path, size: str) -> Path:
    """Mount a writable root over the image; all that the node writes is in memory and below its home."""
    home.mkdir(parents=True, exist_ok=True)
    host.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "kea-agent-lab", home)
    upper, work, root = home / "upper", home / "work", home / "root"
    for directory in (upper, work, root):
        directory.mkdir()
    options = f"lowerdir={image},upperdir={upper},workdir={work},index=off,metacopy=off"
    host.run("mount", "-t", "overlay", "-o", options, "kea-agent-lab", root)
    return root


def mounted_below(directory: Path) -> list[Path]:
    """The mount points in a directory, itself included, the last one mounted first."""
    points = [Path(_unescape(line.split()[1])) for line in _mounts()]
    return [point for point in reversed(points) if point == directory or directory in point.parents]


def lower_directories() -> set[Path]:
    """The images that some mounted overlay stands on."""
    found = (re.search(r"lowerdir=([^,: ]+)", line) for line in _mounts())
    return {Path(_unescape(match[1])) for match in found if match}


def unmount_below(directory: Path) -> None:
    """Unmount everything in a directory; what is still busy goes away when its last user does."""
    for point in mounted_below(directory):
        if host.run("umount", point, check=False).returncode != 0:
            host.run("umount", "--lazy", point, check=False)


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def _unescape(text: str) -> str:
    """The kernel writes blanks and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
