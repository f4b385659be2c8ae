# SPDX-License-Identifier: MPL-2.0
"""What root's own commands do with what Kea's user, or a configuration, says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agenthost import CONFIG, AgentHost
from labkit.keaconfigs import find_hooks
from labs import EVERY_SUITE

# A hook library that says who loads it, wherever its user may write.
HOOK = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void tell(void) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r"), *out = fopen("/tmp/lab-hook/who", "a");
    if (!out || !status) return;
    fprintf(out, "euid %d\n", (int)geteuid());
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "Groups", 6) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "CapEff", 6)) fputs(line, out);
    fclose(out);
}
"""
CANDIDATE = "/root/lab-candidate.conf"

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


@pytest.fixture
def hooked(host: AgentHost, tmp_path: Path) -> Iterator[str]:
    """The configuration with a library that Kea's user, or whoever writes the file, put there."""
    (tmp_path / "hook.c").write_text(HOOK)
    library = f"{find_hooks(host.node.root)}/libdhcp_lab.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "hook.so", tmp_path / "hook.c"], check=True)
    target = Path(f"{host.node.root}{library}")
    target.write_bytes((tmp_path / "hook.so").read_bytes())
    host.node.run(["install", "-d", "-m", "1777", "/tmp/lab-hook"])
    text = host.node.read(CONFIG)
    assert '"hooks-libraries": [' in text
    yield text.replace('"hooks-libraries": [', f'"hooks-libraries": [ {{ "library": "{library}" }},', 1)
    host.node.run(["rm", "-rf", library, "/tmp/lab-hook", CANDIDATE])


def loaders(host: AgentHost) -> dict[str, set[str]]:
    """What each process that loaded the library said of itself."""
    found: dict[str, set[str]] = {}
    for line in host.node.read("/tmp/lab-hook/who").splitlines():
        name, _, value = line.replace(":", " ").partition(" ")
        found.setdefault(name, set()).add(value.strip())
    return found


@pytest.mark.parametrize("mode", ["0600", "0644"])
@pytest.mark.parametrize("verb", ["check", "apply"])
def test_a_hook_library_gets_no_rights_of_roots(host: AgentHost, hooked: str, verb: str, mode: str) -> None:
    """Whether Kea's user may read the file or only root may, and gets its text."""
    node = host.node
    node.write(CANDIDATE, hooked)
    node.run(["chmod", mode, CANDIDATE])
    kea = node.run(["id", "-u", "_kea"]).stdout.strip()
    done = node.run(["kea-agent", verb, CANDIDATE], check=False, timeout=120)
    print(done.stdout, done.stderr)
    seen = loaders(host)
    assert seen["euid"] == {kea}
    assert seen["NoNewPrivs"] == {"1"} or verb == "apply"
    assert seen["CapEff"] <= {"0" * 16} or verb == "apply"
    assert "0" not in {word for groups in seen["Groups"] for word in groups.split()}


def test_a_file_that_only_root_may_read_is_checked(host: AgentHost) -> None:
    node = host.node
    text = node.read(CONFIG)
    node.write(CANDIDATE, text.replace('"valid-lifetime": 3600', '"valid-lifetime": "soon"'))
    node.run(["chmod", "0600", CANDIDATE])
    line = next(number for number, each in enumerate(text.splitlines(), 1) if '"valid-lifetime": 3600' in each)
    bad = node.run(["kea-agent", "check", CANDIDATE], check=False)
    assert bad.returncode == 1
    assert f"{CANDIDATE}:{line}:" in bad.stdout
    assert "[kea]" in bad.stdout, "Kea has said so, too"
    assert "/dev/stdin" not in bad.stdout
    node.write(CANDIDATE, text)
    good = node.run(["kea-agent", "check", CANDIDATE], check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    node.run(["rm", CANDIDATE])


def test_apply_leaves_no_copy_beside_the_file(host: AgentHost) -> None:
    node = host.node
    before = node.run(["ls", "-A", "/etc/kea"]).stdout
    node.write(CANDIDATE, node.read(CONFIG).replace('"valid-lifetime": 3600', '"valid-lifetime": "soon"'))
    trace = node.run(["sh", "-c", f"kea-agent apply {CANDIDATE}; ls -A /etc/kea > /tmp/lab-ls"], check=False)
    assert "does not pass" in trace.stdout
    assert node.read("/tmp/lab-ls") == before
    node.run(["rm", CANDIDATE, "/tmp/lab-ls"])
