# SPDX-License-Identifier: MPL-2.0
"""`systemctl reload` with an answer, against a process that looks like kea-dhcp-ddns to the kernel.

The process is Python with Kea's command line. What plays Kea is in sitecustomize, which Python runs before it looks at
`-c`. `-t` runs a shell script that stands where the command line says the daemon is.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kea_agent.proc import is_alive
from kea_agent.unit_reload import RefusedError, main, reload

REPOSITORY = Path(__file__).parents[2]
KEA = f"""
import os, signal, socket, sys, threading, time
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from pathlib import Path
from fakes import NEW_HASH, FakeKea

here, mood = Path(__file__).parent, os.environ["MOOD"]
opened = []

def open_port():
    # The new one first: nobody else can take the port in between.
    old = opened[:]
    opened[:] = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    opened[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    opened[0].bind(("127.0.0.1", old[0].getsockname()[1] if old else 0))
    [each.close() for each in old]

def hangup(*_):
    (here / "hangups").open("a").write("x")
    if mood == "good":
        open_port()
        kea.commit(NEW_HASH)
    if mood == "deaf":
        opened[0].close()
        kea.commit(NEW_HASH)
    if mood == "dies":
        os._exit(1)

open_port()
kea = FakeKea.unix(here / "socket")
signal.signal(signal.SIGHUP, hangup)
print(opened[0].getsockname()[1], flush=True)
while True:
    signal.pause()
"""
OK = "#!/bin/sh\nexit 0\n"
NO = "#!/bin/sh\necho 'Error encountered: bad port (/cfg/d2.conf:3:4)' >&2\nexit 1\n"


class Daemon:
    """The process, its configuration file and its checker."""

    def __init__(self, directory: Path, mood: str, name: str = "kea-dhcp-ddns") -> None:
        self._directory = directory
        self.binary = directory / name
        self.config = directory / "kea-dhcp-ddns.conf"
        self.check(OK)
        (directory / "sitecustomize.py").write_text(KEA)
        self.process = subprocess.Popen(
            [self.binary, "-c", self.config],
            executable=sys.executable,
            env={"PYTHONPATH": str(directory), "MOOD": mood},
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        control = f'"control-socket": {{ "socket-type": "unix", "socket-name": "{directory}/socket" }}'
        self.config.write_text(f'{{ "DhcpDdns": {{ "port": {port}, {control} }} }}')

    def check(self, script: str) -> None:
        self.binary.write_text(script)
        self.binary.chmod(0o755)

    @property
    def hangups(self) -> int:
        path = self._directory / "hangups"
        return len(path.read_text()) if path.exists() else 0


@contextlib.contextmanager
def daemon(directory: Path, mood: str = "good", name: str = "kea-dhcp-ddns") -> Iterator[Daemon]:
    found = Daemon(directory, mood, name)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def test_a_rule_refuses_the_file(tmp_path: Path) -> None:
    with daemon(tmp_path) as kea:
        keys = '"tsig-keys": [ { "name": "a" }, { "name": "a" } ], "port"'
        kea.config.write_text(kea.config.read_text().replace('"port"', keys))
        with pytest.raises(
            RefusedError, match=r'old file: .*:1:\d+: there is already a TSIG key "a" \[ddns-key-duplicate\]'
        ):
            reload(kea.process.pid)
        assert kea.hangups == 0


def test_reloaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon(tmp_path) as kea:
        assert main([str(kea.process.pid)]) == 0
        assert kea.hangups == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"<6>{kea.config}: kea-dhcp-ddns was reloaded: it serves the new configuration\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{ "DhcpDdns": { "port": } }', "kea-dhcp-ddns.conf:1:25: "),
        ('{ "Dhcp4": {} }', "kea-dhcp-ddns.conf"),
        (None, "kea-dhcp-ddns.conf"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    with daemon(tmp_path) as kea:
        kea.config.unlink() if text is None else kea.config.write_text(text)
        with pytest.raises(RefusedError, match="not reloaded, still serving the old file: ") as caught:
            reload(kea.process.pid)
        assert words in str(caught.value)
        assert kea.hangups == 0


def test_a_file_that_kea_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon(tmp_path) as kea:
        kea.check(NO)
        assert main([str(kea.process.pid)]) == 1
        assert kea.hangups == 0
    assert capsys.readouterr().err == "<3>not reloaded, still serving the old file: /cfg/d2.conf:3:4: bad port\n"


def test_no_checker(tmp_path: Path) -> None:
    with daemon(tmp_path) as kea:
        kea.binary.unlink()
        with pytest.raises(RefusedError, match=r"cannot run .* -t: no such file or directory"):
            reload(kea.process.pid)
        assert kea.hangups == 0


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("refuses", "it did not take the file and still serves the old one"),
        ("deaf", "it took the file but does not serve: UDP 127.0.0.1:"),
        ("dies", "its main process"),
    ],
)
def test_reloads_that_did_not_work(tmp_path: Path, mood: str, words: str) -> None:
    with daemon(tmp_path, mood) as kea:
        with pytest.raises(RefusedError) as caught:
            reload(kea.process.pid)
        assert kea.hangups == 1
    assert f"{kea.config}: reload of kea-dhcp-ddns: {words}" in str(caught.value)


def test_another_program_is_not_signalled(tmp_path: Path) -> None:
    with daemon(tmp_path, name="kea-netconf") as kea:
        with pytest.raises(RefusedError, match="the main process is kea-netconf, which is no Kea daemon"):
            reload(kea.process.pid)
        assert kea.hangups == 0
        assert is_alive(kea.process.pid)


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    with daemon(tmp_path) as kea:
        kea.process.send_signal(signal.SIGKILL)
        kea.process.wait()
        with pytest.raises(RefusedError, match="a process that is gone"):
            reload(kea.process.pid)
