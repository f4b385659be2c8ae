# SPDX-License-Identifier: MPL-2.0
"""What the agent's process may do on a host, tried out in its own unit; docs/usage/rights.md is the list for people.

systemd over D-Bus is in test_rights.py, the sandbox of rehearsals in test_rehearsal_hostile.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from agenthost import AgentHost
from labs import EVERY_SUITE

UNIT = "/usr/lib/systemd/system/kea-agent.service"
PROBE, TRIAL = "/usr/local/lib/lab-rights.py", "lab-rights.service"
# Refused for want of rights and not because it is not there: EPERM, EACCES, EROFS, EAFNOSUPPORT.
REFUSED = r"PermissionError|ValueError: not allowed|OSError: \[Errno (30|97)\]"
# Everything else is refused.
ITS_WORK = {
    "connect to Kea",
    "ask for a rehearsal",
    "read Kea's configuration",
    "read the journal",
    "list interfaces",
    "Kea's own check",
    "look at Kea's process",
    "see what Kea handles",
    "write its state",
    "write its runtime directory",
}

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


def trial(unit: str, command: str) -> str:
    """The agent's unit with another program, other directories, and nothing that starts it again."""
    for key, value in {"Type": "oneshot", "ExecStart": command, "Restart": "no", "RuntimeDirectory": "lab-rights", "StateDirectory": "lab-rights"}.items():  # fmt: skip
        unit = re.sub(rf"^{key}=.*$", f"{key}={value}", unit, flags=re.MULTILINE)
    return re.sub(r"^(ExecReload|WatchdogSec|WantedBy)=.*\n", "", unit, flags=re.MULTILINE)


def test_it_can_do_its_work_and_nothing_else(host: AgentHost) -> None:
    node = host.node
    pid = node.systemctl("show", "--property=MainPID", "--value", node.unit("dhcp4"))
    node.write(PROBE, Path(__file__).with_name("rights_probe.py").read_text())
    node.run(["mkdir", "-p", "/var/backups/kea-agent"])
    node.run(["chmod", "0700", "/var/backups/kea-agent"])
    node.write(f"/run/systemd/system/{TRIAL}", trial(node.read(UNIT), f"/usr/bin/python3 -I {PROBE} {pid}"))
    node.systemctl("daemon-reload")
    try:
        node.systemctl("start", TRIAL)
        said = node.run(["journalctl", "--unit", TRIAL, "--output=cat"]).stdout.splitlines()
    finally:
        node.run(["rm", "-rf", PROBE, f"/run/systemd/system/{TRIAL}", "/var/lib/lab-rights"])
        node.systemctl("daemon-reload")
    found = json.loads(next(line for line in said if line.startswith("{")))
    assert {name: found[name] for name in ITS_WORK if found[name] != "done"} == {}
    refused = {name for name, came in found.items() if re.match(REFUSED, came)}
    assert {name: came for name, came in found.items() if name not in refused | ITS_WORK} == {}
    assert len(refused) > 35
