# SPDX-License-Identifier: MPL-2.0
"""Whatever lies at a name that somebody else chose: nothing waits, nothing reads on without an end, nothing breaks."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kea_agent import keaconf, lint
from kea_agent.accounts import Account, read_as
from kea_agent.control import TlsFiles
from kea_agent.daemons import CTRL_AGENT
from kea_agent.endpoints import wanted
from kea_agent.errors import ConfigError
from kea_agent.gate import lease_cleanup_obstacle
from kea_agent.units import _environment_file


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD: dict[str, Callable[[Path], object]] = {
    "fifo": fifo,
    "socket": unix_socket,
    "directory": Path.mkdir,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "dangling link": lambda path: path.symlink_to("/nowhere/at/all"),
    "a terabyte": sparse,
    "of the kernel": lambda path: path.symlink_to("/proc/self/mem"),
}


def password(path: Path) -> None:
    root: dict[str, Any] = {"authentication": {"clients": [{"user": "kea", "password-file": str(path)}]}}
    assert (
        wanted(CTRL_AGENT, root, (), {}).control
        == wanted(CTRL_AGENT, {"authentication": {"clients": [{"user": "kea"}]}}, (), {}).control
    )


def certificate(path: Path) -> None:
    for files in ((path, "/dev/null", "/dev/null"), ("/dev/null", path, "/dev/null")):
        with socket.socket() as connection, pytest.raises((OSError, ValueError)):
            TlsFiles(*map(str, files)).wrap(connection)  # type: ignore[arg-type]


def lease_pid(path: Path) -> None:
    path.rename(path.with_name("leases.pid"))
    assert lease_cleanup_obstacle({"csv-lease-file": str(path.with_name("leases"))}) is None


def configuration(path: Path) -> None:
    with pytest.raises(ConfigError):
        keaconf.read(str(path), "Dhcp4")


def include(path: Path) -> None:
    main = path.with_name("main")
    main.write_text(f'{{ "Dhcp4": {{ <?include "{path}"?> }} }}')
    with pytest.raises(ConfigError):
        keaconf.read(str(main), "Dhcp4")
    assert keaconf.fingerprint(keaconf.file_set(str(main)))


def source_line(path: Path) -> None:
    assert lint.source_line(ConfigError("x", file=str(path), line=1, column=1)) == ("", 0)


def environment_file(path: Path) -> None:
    assert _environment_file(path) == []


READERS = (password, certificate, lease_pid, configuration, include, source_line, environment_file)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_nothing_waits_and_nothing_reads_on(tmp_path: Path, reader: Callable[[Path], None], kind: str) -> None:
    path = tmp_path / "odd"
    ODD[kind](path)
    tracemalloc.start()
    try:
        reader(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 << 20  # a configuration may have 64 MiB, and is looked at twice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights that another user lacks")
def test_a_file_is_read_with_the_rights_of_whoever_is_named() -> None:
    nobody = Account("nobody", 65534, 65534)
    with pytest.raises(PermissionError, match="user nobody cannot read it"):
        read_as(nobody, "/etc/shadow", 1 << 20)
    assert read_as(nobody, "/etc/passwd", 1 << 20) == Path("/etc/passwd").read_bytes()
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_as(nobody, "/etc/passwd", 4)
    with pytest.raises(OSError, match="cannot read it"):
        read_as(nobody, "/dev/zero", 4)
