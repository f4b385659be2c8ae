# SPDX-License-Identifier: MPL-2.0
"""The demo's story: good and bad edits on an HA pair, each with the proof of what it says."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

from agenthost import CONFIG, AgentHost
from demo_stage import NotHeldError, Stage
from labkit import Lab, LabError, LabSpec, Progress, down, newest_deb
from labkit.host import locked
from labkit.lab import CHECKOUT, STATE
from load import Report
from pairs import relationship

INCLUDED = "/etc/kea/lifetime.inc"
SAID = "journalctl -u kea-agent -o cat -n 1"
ASK = r"""#!/bin/sh
# What kea-dhcp4 itself says it runs, asked over Kea's own control agent.
curl -s -u kea-api:lab --json '{"command": "config-get", "service": ["dhcp4"]}' localhost:8000 |
    grep -o '"valid-lifetime": [0-9]*' | tail -n 1
"""


class Story:
    """The steps, in the order they are told; each begins with a whole pair and a file that runs."""

    def __init__(self, stage: Stage, lab: Lab) -> None:
        self.stage = stage
        self.lab = lab
        self.first, self.second = (AgentHost(node) for node in lab.nodes)

    def tell(self) -> None:
        """All of it; raises NotHeldError at the first step that did not do what it says."""
        self.first.node.run(["sh", "-c", "cat > /usr/local/bin/ask-kea; chmod 755 /usr/local/bin/ask-kea"], stdin=ASK)
        for step in (
            self.what_is_there,
            self.good_change,
            self.typo_under_load,
            self.mended_by_rename,
            self.included_file,
            self.partner_away,
            self.reload_by_hand,
            self.what_kea_lets_through,
            self.start_with_a_bad_file,
            self.rolled_back,
            self.in_the_end,
        ):
            self.lab.wait_ready()
            step()

    def what_is_there(self) -> None:
        version = self.first.node.control("dhcp4", "version-get")["text"]
        self.stage.step(
            "What is on the hosts",
            f"node1 and node2 run Kea {version} as Debian ships it, and kea-agent, which nobody has configured: it "
            'found the daemons and their files by itself. "unchanged": the server runs what the file says.',
        )
        said = self.stage.type(self.first.node, "kea-agent status | grep -E '^[a-z]|^  file'")
        found = [line.split(":")[0] for line in said.splitlines() if re.match(r"[a-z0-9-]+: unchanged", line)]
        wanted = ["dhcp4", "dhcp6", "ddns", "ctrl-agent"]
        self.stage.expect(found == wanted, f"{', '.join(wanted)}: unchanged", ", ".join(found) or "none of them")

    def good_change(self) -> None:
        self.stage.step(
            "A good change is saved",
            "Leases are to last 1800 s instead of 3600 s. Nothing but the file is touched; the agent checks it, has "
            "systemd reload Kea, and calls it applied when Kea is proven to serve it.",
        )
        self.stage.type(self.first.node, "cat /usr/local/bin/ask-kea")
        self.kea_runs(3600)
        spent = self.applied('sed -i \'s/"valid-lifetime": 3600/"valid-lifetime": 1800/\' ' + CONFIG)
        self.kea_runs(1800)
        self.stage.held(
            f"applied, and proven {spent:.1f} s after the save; most of that is the pair's own way back to hot-standby."
        )

    def typo_under_load(self) -> None:
        self.stage.step(
            "A mistake is saved while clients ask for leases",
            "A word stands where a number belongs. Meanwhile perfdhcp, on this machine (here), plays 500 clients that "
            "ask for leases, 50 exchanges (DISCOVER to ACK) a second.",
        )
        load = self.start_load(f"tests/lab/lab load --name {self.lab.spec.name} -- -4 -r 50 -R 500 -p 4 -W 1000000")
        reason = self.rejected('sed -i \'s/"valid-lifetime": 1800/"valid-lifetime": "soon"/\' ' + CONFIG)
        place = self.place_of(reason, '"soon"')
        self.kea_runs(1800)
        report = self.end_load(load)
        self.stage.expect(report.lost * 100 <= report.begun, "no clients lost", report)
        self.stage.held(f"rejected, with the place ({place}). Kea was not touched, and {report}.")

    def mended_by_rename(self) -> None:
        self.stage.step(
            "The mended file is renamed over the broken one",
            "This is how editors, Ansible and Puppet save. With it, leases last 2400 s.",
        )
        spent = self.applied("cd /etc/kea && sed 's/\"soon\"/2400/' kea-dhcp4.conf > new && mv new kea-dhcp4.conf")
        self.kea_runs(2400)
        self.stage.held(f"applied, and proven {spent:.1f} s after the save.")

    def included_file(self) -> None:
        self.stage.step(
            "An included file is changed",
            "First the value moves into a file of its own. That changes nothing in what the configuration means, so "
            "Kea is not bothered; then the included file alone is changed.",
        )
        before, reloads = self.first.outcomes(), self.first.reloads()
        self.stage.type(self.first.node, f"echo 2400 > {INCLUDED}")
        include = f's#"valid-lifetime": 2400#"valid-lifetime": <?include "{INCLUDED}"?>#'
        self.stage.type(self.first.node, f"sed -i '{include}' {CONFIG}")
        self.ended("unchanged", before)
        self.stage.expect(self.first.reloads() == reloads, "no reload", f"{self.first.reloads() - reloads} reloads")
        spent = self.applied(f"echo 3000 > {INCLUDED}", INCLUDED)
        self.kea_runs(3000)
        self.stage.held(f"no reload for the first; applied, and proven, {spent:.1f} s after the second.")

    def partner_away(self) -> None:
        self.stage.step(
            "A change while the HA partner is down",
            "A reloaded Kea leaves its pair for a moment and serves nobody meanwhile. With node2 down, that would be an "
            "outage: the agent waits until the partner could take over, then goes on by itself.",
        )
        self.stage.type(self.second.node, "systemctl stop kea-dhcp4-server")
        self.stage.wait(
            lambda: relationship(self.first)["remote"]["last-state"] == "unavailable",
            "node1's Kea notices that its partner is gone",
            lambda: relationship(self.first)["remote"],
        )
        before = self.first.outcomes()
        self.stage.type(self.first.node, f"echo 3600 > {INCLUDED}")
        self.ended("deferred", before)
        self.kea_runs(3000)
        self.stage.type(self.second.node, "systemctl start kea-dhcp4-server")
        started = time.monotonic()
        self.ended("applied", before)
        spent = time.monotonic() - started
        self.kea_runs(3600)
        self.stage.held(f"deferred with the reason; applied by itself {spent:.0f} s after the partner was started.")

    def reload_by_hand(self) -> None:
        self.stage.step(
            "Somebody reloads by hand, with a broken file",
            "The agent's package also gives Kea's own units a reload that checks first and answers.",
        )
        self.rejected(f'sed -i \'s/"renew-timer": 900,/"renew-timer": 900/\' {CONFIG}', told=False)
        self.stage.type(self.first.node, "systemctl reload kea-dhcp4-server", code=1)
        said = self.stage.type(self.first.node, "journalctl -u kea-dhcp4-server -t unit-reload -o cat -n 1")
        place = self.place_of(said, '"rebind-timer"')
        self.kea_runs(3600)
        before = self.first.outcomes()
        self.stage.type(self.first.node, f'sed -i \'s/"renew-timer": 900/"renew-timer": 900,/\' {CONFIG}')
        self.ended("unchanged", before)
        self.stage.held(f"it failed loudly, with the place ({place}), and Kea went on; mended, all is as it was.")

    def what_kea_lets_through(self) -> None:
        self.stage.step(
            "A file that kea-dhcp4 -t accepts, and that would hurt",
            "The HA listener gets an address that this host does not have. Kea's own check opens no socket and sees "
            "nothing; the agent starts the real daemon on the file in a sandbox that looks like this host.",
        )
        wrong = f"sed 's#http://198.18.0.11:8010/#http://198.18.0.111:8010/#' {CONFIG} > /root/new.conf"
        self.stage.type(self.first.node, wrong)
        self.stage.type(
            self.first.node, "kea-dhcp4 -t /root/new.conf 2>&1 | grep -c ERROR; cp /etc/kea/kea-dhcp4.conf /root"
        )
        self.rejected(f"cat /root/new.conf > {CONFIG}")
        self.kea_runs(3600)
        before = self.first.outcomes()
        self.stage.type(self.first.node, f"cat /root/kea-dhcp4.conf > {CONFIG}")
        self.ended("unchanged", before)
        self.stage.held("rejected in the words of the Kea in the sandbox; the one that serves was not touched.")

    def start_with_a_bad_file(self) -> None:
        self.stage.step(
            "The server is restarted with a broken file",
            "Here the agent was not running when the file was saved, so nobody looked. Kea does not start with it. The "
            "last configuration that was proven to serve does, until the file is mended.",
        )
        self.stage.type(self.first.node, "systemctl stop kea-agent; echo '{' > " + CONFIG)
        self.stage.type(self.first.node, "systemctl restart kea-dhcp4-server; systemctl start kea-agent")
        self.stage.wait(
            lambda: self.first.status()["on_fallback"], "the fallback serves", lambda: self.first.status()["last"]
        )
        said = self.stage.type(self.first.node, "kea-agent status | sed -n '/^dhcp4/,/^$/p'")
        self.stage.expect("the fallback unit serves" in " ".join(said.split()), "the status says so", said)
        self.kea_runs(3600)
        self.stage.type(self.first.node, f"cat /root/kea-dhcp4.conf > {CONFIG}")
        self.stage.wait(
            lambda: not self.first.status()["on_fallback"], "the unit serves again", lambda: self.first.status()["last"]
        )
        self.kea_runs(3600)
        self.stage.held("DHCP was served all the while; the mended file brought Kea's own unit back.")

    def rolled_back(self) -> None:
        self.stage.step(
            "A change that was good and not wanted",
            "Every configuration that was proven to serve is kept. The last but one is taken back.",
        )
        self.applied(f"echo 7200 > {INCLUDED}", INCLUDED)
        self.kea_runs(7200)
        self.stage.type(self.first.node, "kea-agent history dhcp4 | head -n 4")
        self.stage.type(self.first.node, "kea-agent rollback dhcp4 --yes")
        self.kea_runs(3600)
        self.stage.held("rolled back, through every check, and proven.")

    def in_the_end(self) -> None:
        self.stage.step("In the end", "What a person sees on node1, and what Prometheus gets from it.")
        said = self.stage.type(self.first.node, "kea-agent status | sed -n '1,/^$/p; /^dhcp4/,/^$/p'")
        self.stage.expect("valid, what the server runs" in said, "dhcp4 runs its file", said)
        pick = "grep -E '(valid|sync|fallback|outcomes|recoveries).*dhcp4' | grep -v ' 0.0$'"
        told = self.stage.type(self.first.node, f"curl -s localhost:9673/metrics | {pick}")
        # The agent was started anew on the way, and counts from there.
        for outcome in ("recovered", "applied"):
            self.stage.expect(f'outcome="{outcome}"' in told, f"{outcome}, as told above", told)
        self.stage.held("the whole truth, for a person and for Prometheus.")

    # -- what the steps share

    def kea_runs(self, lifetime: int) -> None:
        said = self.stage.type(self.first.node, "ask-kea").strip()
        self.stage.expect(said.endswith(f": {lifetime}"), f"kea-dhcp4 runs a valid-lifetime of {lifetime}", said)

    def applied(self, save: str, file: str = CONFIG) -> float:
        """Save, see it applied; seconds from the file's time stamp to the proof."""
        before = self.first.outcomes()
        self.stage.type(self.first.node, save)
        self.ended("applied", before)
        saved = float(self.first.node.run(["stat", "--format=%.9Z", file]).stdout)
        return float(self.first.status()["last"]["at"]) - saved

    def rejected(self, save: str, *, told: bool = True) -> str:
        before, reloads = self.first.outcomes(), self.first.reloads()
        self.stage.type(self.first.node, save)
        reason = self.ended("rejected", before, told=told)
        self.stage.expect(self.first.reloads() == reloads, "no reload", f"{self.first.reloads() - reloads} reloads")
        return reason

    def ended(self, outcome: str, before: dict[str, int], *, told: bool = True) -> str:
        """Wait for the outcome and show the agent's journal line on it."""
        expected = f"the change ends {outcome}"
        try:
            self.stage.wait(
                lambda: self.first.outcomes()[outcome] > before[outcome], expected, lambda: self.first.status()["last"]
            )
        except subprocess.CalledProcessError as error:
            self.stage.expect(False, expected, f"the agent tells nothing: `{error.cmd[-1]}`: exit {error.returncode}")
        if not told:
            return ""
        line = self.stage.type(self.first.node, SAID).strip()
        self.stage.expect(line.startswith(f"dhcp4: {outcome}: "), f"a journal line that says {outcome}", line)
        return line

    def place_of(self, line: str, what: str) -> str:
        """The file:line:column in a complaint; the thing complained of must be there."""
        found = re.search(rf"{CONFIG}:(\d+)[:.](\d+)", line)
        self.stage.expect(found is not None, "a complaint with file, line and column", line)
        assert found
        text = self.first.node.read(CONFIG).splitlines()[int(found[1]) - 1]
        self.stage.expect(what in text, f"line {found[1]} is the one with {what}", text)
        return found[0]

    def start_load(self, command: str) -> subprocess.Popen[str]:
        pick = " | grep -E 'STAT|Stat|^sent|^drops:'"
        self.stage.show("here", f"{command}{pick} &")
        words = ["sh", "-c", command + pick]
        return subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end_load(self, load: subprocess.Popen[str]) -> Report:
        self.stage.show("here", "wait")
        said, _ = load.communicate(timeout=60)
        self.stage.output(said)
        return Report.of(said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the story; 0 only if every step did what it says. Nothing is left behind."""
    words = argparse.ArgumentParser(prog="demo", description="Boots a pair of hosts and tells kea-agent's story.")
    words.add_argument("--name", default="demo", help="the lab's name (default: demo); one that is there is replaced")
    name = words.parse_args(arguments).name
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        with locked(STATE / f".{name}.demo"):
            return _told(name)
    except KeyboardInterrupt:
        print("\ninterrupted; the hosts are gone")
        return 130
    except LabError as error:
        print(f"demo: {error}")
        return 1


def _told(name: str) -> int:
    stage, began = Stage(), time.monotonic()
    deb = newest_deb()
    if deb is None:
        raise LabError("there is no package in dist/: make deb")
    print(f"Two Debian 13 hosts boot, an HA pair (hot-standby), and install {deb.name}.\n", flush=True)
    try:
        down(name)
        lab = Lab.up(LabSpec(name=name, nodes=2, ha="hot-standby", deb=deb), Progress())
        held = _held(stage, lab)
    finally:
        # Whoever is in a hurry now would leave hosts running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        down(name)
    if held:
        print(f"\nAll {stage.steps} steps held, in {time.monotonic() - began:.0f} s. The hosts are gone again.")
    return 0 if held else 1


def _held(stage: Stage, lab: Lab) -> bool:
    try:
        Story(stage, lab).tell()
    except (
        NotHeldError,
        LabError,
        AssertionError,
        LookupError,
        OSError,
        ValueError,
        subprocess.SubprocessError,
    ) as error:
        stage.failed(str(error), [(node.name, node.journal("kea-agent", 15)) for node in lab.nodes])
        return False
    return True


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
