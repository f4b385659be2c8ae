# SPDX-License-Identifier: MPL-2.0
"""Root file systems, one for each suite and one of databases: made by mmdebstrap, cached, never changed after."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

from . import host, mounts
from .host import Progress
from .spec import LabError, Suite

PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "polkitd", "iproute2", "procps", "vim-tiny", "curl"),
    *("python3", "python3-pystemd", "python3-pyinotify", "python3-sdnotify", "python3-prometheus-client"),
    *("openssl", "python3-bcrypt", "python3-yaml"),  # what the agent only suggests
    *("kea-dhcp4-server", "kea-dhcp6-server", "kea-dhcp-ddns-server", "kea-ctrl-agent", "kea-admin"),
)

# One for the Kea of every suite: it runs beside the nodes, not in them.
Image = Suite | Literal["databases"]
DATABASES: Final = ("mariadb-server", "postgresql")
DATABASES_SUITE: Final = "trixie"
# A quarter of it: what compiles long queries, and what only the tools around the servers need.
NOT_FOR_DATABASES: Final = ("/usr/lib/*/libLLVM*", "/usr/lib/*/libz3*", "/usr/lib/*/perl/*", "/usr/share/perl/*")

# What a container has no use for, or what wakes an idle node up. All of it would fail, wait or add noise to a measurement.
MASKED: Final = (
    *("getty.target", "console-getty.service", "container-getty@.service", "systemd-networkd-wait-online.service"),
    *("systemd-pstore.service", "systemd-firstboot.service", "systemd-hwdb-update.service", "e2scrub_reap.service"),
    *("remote-fs.target", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("fstrim.timer", "logrotate.timer", "man-db.timer", "systemd-tmpfiles-clean.timer"),
)

# Release files of a suite that is not updated any more have expired; the signatures still hold.
APT_OPTIONS: Final = ('Acquire::Check-Valid-Until "false"', 'APT::Install-Recommends "false"')
EXCLUDED: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")

# The journal keeps every line of a load test, and stays small.
RECIPE: Final = f"""set -eu
cd "$1"
for unit in {" ".join(MASKED)}; do ln -sf /dev/null "etc/systemd/system/$unit"; done
mkdir -p etc/systemd/journald.conf.d var/log/journal
cat > etc/systemd/journald.conf.d/lab.conf <<'END'
[Journal]
Storage=persistent
RateLimitIntervalSec=0
SystemMaxUse=64M
END
rm -f etc/resolv.conf etc/hostname
: > etc/machine-id
rm -rf var/cache/apt/*.bin var/cache/debconf/*-old var/log/apt var/log/dpkg.log var/log/bootstrap.log
"""


def cache() -> Path:
    """Where the images are: outside git, kept over reboots."""
    return Path(os.environ.get("KEA_AGENT_LAB_CACHE") or "/var/cache/kea-agent-lab")


def command(image: Image, target: Path) -> list[str]:
    """How mmdebstrap is called. No mirror is named: its own default, or the machine's sources, are used."""
    excluded: tuple[str, ...] = EXCLUDED
    packages: tuple[str, ...] = PACKAGES
    suite: str = image
    if image == "databases":
        excluded, packages, suite = (*EXCLUDED, *NOT_FOR_DATABASES), DATABASES, DATABASES_SUITE
    options = [f"--aptopt={option}" for option in APT_OPTIONS]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in excluded]
    include = f"--include={','.join(packages)}"
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        include,
        *options,
        f"--customize-hook={RECIPE}",
        suite,
        str(target),
    ]


def path(suite: Image) -> Path:
    """Where an image is or will be; the name says what it is made of."""
    made_of = "\n".join(command(suite, Path("TARGET")))
    return cache() / f"{suite}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def ensure(suite: Image, progress: Progress) -> Path:
    """An image, built where there is none or where what it is made of has changed."""
    image = path(suite)
    if image.is_dir():
        return image
    with host.locked(cache() / f".{suite}.lock") as lock:
        if not image.is_dir():
            _build(suite, image, progress, lock)
        _remove_old(suite, image)
    return image


def _build(suite: Image, image: Path, progress: Progress, lock: int) -> None:
    """Build under another name, so that a build that is killed leaves nothing that looks like an image.

    mmdebstrap ends with its caller, and has the lock for as long as that takes.
    """
    progress(f"image {image.name}: building, about half a minute")
    begin = progress.seconds
    target = cache() / f".building-{suite}"
    remove(target)
    words = ["setpriv", "--pdeathsig", "TERM", *command(suite, target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, pass_fds=[lock])
    if done.returncode != 0:
        remove(target)
        raise LabError(f"mmdebstrap {suite} failed:\n{done.stderr[-3000:]}")
    target.rename(image)
    progress(f"image {image.name}: built in {progress.seconds - begin:.0f} s")


def _remove_old(suite: Image, keep: Path) -> None:
    """Only its own kind, and none that a lab of another checkout still has mounted."""
    used = mounts.lower_directories()
    for old in cache().glob(f"{suite}-*"):
        if old != keep and old not in used:
            remove(old)


def remove(tree: Path) -> None:
    """Remove a root file system, after whatever a killed build left mounted in it."""
    mounts.unmount_below(tree)
    if tree.exists():
        shutil.rmtree(tree)
