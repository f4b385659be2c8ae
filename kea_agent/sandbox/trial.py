# SPDX-License-Identifier: MPL-2.0
"""The daemon started on the candidate, watched and asked, until there is a verdict.

Facts: Kea installs its SIGHUP handler when its first configuration is loaded; a daemon that cannot use its configuration
exits with 1 and says why in its log, on stderr too where the log goes elsewhere (2.2.0 to 3.0.4).
"""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kea_agent import journal, proc
from kea_agent.control import Channel, stream
from kea_agent.daemons import CTRL_AGENT
from kea_agent.endpoints import Endpoints, control_channel, wanted
from kea_agent.errors import ControlError
from kea_agent.sandbox.files import OWN
from kea_agent.sandbox.identity import Identity
from kea_agent.sandbox.request import Answer, NotRehearsedError, Request, Standing
from kea_agent.sandbox.rights import FAILED, become_daemon, become_user
from kea_agent.verify import Snapshot, Target, gaps, snapshot

_MOST_OUTPUT = 1 << 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
# A socket that is not open this long after the daemon answers will not be: the DDNS daemon takes a moment.
_GRACE = 2.0
_PLACE = re.compile(r" ?\(?(?<![^\s(])/[^\s():]++:\d++[.:]\d++(?:-[\d.]++)?\)?:?")
# Where in Kea's own libraries a system call failed is nothing for an operator.
_BOOST = re.compile(r" \[system:\d++(?: at [^\[\]]*+)?\]")
# What is the sandbox's own doing, or could be: no verdict on a configuration comes of these.
_NOT_ITS_FAULT = re.compile(
    r"read-only file system|no space left|network is unreachable|name resolution|host not found|can't connect"
    r"|could not connect|connection refused|unable to connect|operation not permitted",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"cannot allocate memory|bad_alloc", re.IGNORECASE)
# Kea's words for an interface that is there and has no address of the family (iface_mgr.cc, 2.2 to 3.3).
_NO_ADDRESS = re.compile(r"has no usable IPv\d addresses|no link-local address", re.IGNORECASE)


@dataclass
class Trial:
    """One daemon on one candidate, in namespaces that are ready. `dark` are interfaces that have no link on the host."""

    request: Request
    identity: Identity
    dark: frozenset[str]
    process: subprocess.Popen[bytes] = field(init=False)
    output: int = field(init=False)

    def run(self) -> tuple[Answer, bytes]:
        """Start the daemon, and find out; this process has only the daemon's user's rights from then on.

        Returns the verdict and what config-get answered. Raises NotRehearsedError where there can be none.
        """
        started = time.monotonic()
        self.process = self._start()
        become_user(self.identity)
        seen = self._watch(started + self.request.seconds)
        if isinstance(seen, Answer):
            return seen, b""
        usage, channel = proc.usage(self.process.pid), self._channel
        config = _config(channel, self.request.seconds) if channel else b""
        answer = Answer(
            Standing.PASSED,
            self._praise(),
            seen.hash if seen else None,
            cpu_seconds=usage.cpu_seconds if usage else 0.0,
        )
        return answer, config

    def _start(self) -> subprocess.Popen[bytes]:
        # In this process's session: a new one would have a share of CPU time of its own, see libexec/rehearse.
        self.output = os.open(f"{OWN}/output", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        who = self.identity
        try:
            return subprocess.Popen(
                who.argv, env=who.environment, cwd="/", umask=who.umask,
                preexec_fn=partial(become_daemon, who),  # noqa: PLW1509 - there is one thread
                stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            )  # fmt: skip
        except OSError as error:
            raise NotRehearsedError(f"cannot run {who.argv[0]}: {(error.strerror or str(error)).lower()}") from error

    @property
    def _endpoints(self) -> Endpoints:
        """What has to be open; not on interfaces that have no link, where no daemon could open anything."""
        found = wanted(self.request.daemon, self.request.root, self.identity.argv, self.identity.environment)
        lit = tuple(name for name in found.interfaces if name.partition("/")[0] not in self.dark)
        return replace(found, control=found.control or _http(self.request.root), interfaces=lit)

    @property
    def _channel(self) -> Channel | None:
        return self._endpoints.control

    def _watch(self, deadline: float) -> Snapshot | Answer | None:
        endpoints = self._endpoints
        target = Target.of(self.process.pid, endpoints, self.request.root)
        missing: list[str] = []
        answered = 0.0
        for _ in _until(deadline):
            if self.process.poll() is not None:
                return self._ended(self.process.returncode)
            if not proc.catches_sighup(self.process.pid):
                continue
            seen = self._asked(endpoints.control)
            if endpoints.control and seen is None:
                continue
            answered = answered or time.monotonic()
            missing = self._missing(target, seen)
            if not missing:
                return seen
            if time.monotonic() > answered + _GRACE:
                return self._deaf(missing)
        raise NotRehearsedError(f"it did not serve within {self.request.seconds:g} s, and did not end either")

    def _deaf(self, missing: list[str]) -> Answer:
        words = "; ".join(missing)
        later = bool(_NO_ADDRESS.search(words))
        return Answer(Standing.REFUSED, self._reason(f"it would not serve: {words}"), may_pass_later=later)

    def _asked(self, channel: Channel | None) -> Snapshot | None:
        with suppress(ControlError):
            return snapshot(channel, 5.0) if channel else None
        return None

    def _missing(self, target: Target, seen: Snapshot | None) -> list[str]:
        """What is not open and should be; with `*` it is nobody's fault that Kea can use only some of the interfaces."""
        found = gaps(target, seen)
        is_any = any(name.partition("/")[0] == "*" for name in target.endpoints.interfaces)
        excused = set(seen.socket_errors) if seen else set()
        if not is_any:
            excused = {words for words in excused if set(re.findall(r"[\w.:@+-]+", words)) & self.dark}
        return [words for words in found if words not in excused]

    def _ended(self, code: int) -> Answer:
        output = self._output()
        if output.startswith(FAILED):
            raise NotRehearsedError(output.splitlines()[0].removeprefix(FAILED))
        if -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGSYS):
            raise NotRehearsedError(_killed(-code))
        how = f"it would not start: it was ended by signal {-code}" if code < 0 else "it would not start"
        return Answer(Standing.REFUSED, self._reason(how))

    def _reason(self, how: str) -> str:
        """The finding with Kea's own words; raises NotRehearsedError where those blame what only a sandbox lacks."""
        said = told(self._output())
        if _NOT_ITS_FAULT.search(said) or (_MEMORY.search(said) and not self._is_limited):
            raise NotRehearsedError(f"in the sandbox {how}: {said}")
        if not said:
            return f"{how}, and it said nothing"
        return how if said.rpartition(": ")[2] in how else f"{how}: {said}"

    @property
    def _is_limited(self) -> bool:
        """Whether the unit itself bounds the daemon's memory, so that the one that serves would fare no better."""
        limits = (self.identity.limits.get(number, (-1, -1)) for number in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        return any(soft != resource.RLIM_INFINITY for soft, _ in limits)

    def _output(self) -> str:
        """The ends of all that the daemon wrote: its output, and the log files that the candidate names."""
        logs = [value for value in _outputs(self.request.root) if value.startswith("/")]
        return "\n".join([_tail(self.output), *map(_tail_of, dict.fromkeys(logs))])

    def _praise(self) -> str:
        named = {name.partition("/")[0] for name in _interfaces(self.request.root)}
        without = sorted(self.dark & named)
        note = f"; not on {', '.join(without)}, which has no link now" if without else ""
        return f"{self.request.daemon.binary} starts and serves with it{note}"


def told(output: str) -> str:
    """Kea's own sentence in what it wrote, without places: they would be in a file that nobody has."""
    lines = [line for line in output.splitlines() if line.strip()]
    said = journal.most_telling(output) or next(filter(None, map(_on_stderr, lines)), "")
    if "failed to load" in said and (cause := journal.first_error(output)):
        # Of a hook library that does not like its parameters only its own, earlier words tell which and why.
        said = f"{said}: {cause}"
    return _BOOST.sub("", _PLACE.sub("", said or (lines[-1] if lines else ""))).strip().rstrip(".")


def _on_stderr(line: str) -> str:
    """Why it ends, in what it writes to nobody's log; empty for any other line."""
    start, _, reason = line.partition(":")
    if start in ("Service failed", "Error encountered"):
        return reason.strip()
    _, is_told, after = line.partition("already running?")
    return after.rpartition(":")[2].strip() if is_told and ":" in after else ""


def _killed(number: int) -> str:
    return f"the daemon was ended by {signal.Signals(number).name}, for memory perhaps, before there was a verdict"


def _http(root: Mapping[str, Any]) -> Channel | None:
    """The first HTTP control socket of a DHCP or DDNS daemon (Kea 2.7.2 and later); its keys are the Control Agent's."""
    listed = root.get("control-sockets")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("socket-type") in ("http", "https"):
            place = {"http-host": entry.get("socket-address"), "http-port": entry.get("socket-port")}
            return control_channel(CTRL_AGENT, {**entry, **place}, {})
    return None


def _config(channel: Channel, seconds: float) -> bytes:
    """What config-get answers, as it came."""
    try:
        with closing(stream(channel, "config-get", timeout=seconds)) as chunks:
            return b"".join(chunks)
    except ControlError as error:
        raise NotRehearsedError(f"it serves, and then: {error}") from error


def _until(deadline: float) -> Iterator[None]:
    pause = _FIRST_PAUSE
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE)


def _outputs(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        if isinstance(tree.get("output"), str):
            yield tree["output"]
        for value in tree.values():
            yield from _outputs(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _outputs(value)


def _interfaces(root: Mapping[str, Any]) -> list[str]:
    section = root.get("interfaces-config")
    listed = section.get("interfaces") if isinstance(section, dict) else None
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _tail_of(path: str) -> str:
    """Of a file that the daemon may have put anything in the place of."""
    with suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _tail(descriptor)
        finally:
            os.close(descriptor)
    return ""


def _tail(descriptor: int) -> str:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return ""
    return os.pread(descriptor, _MOST_OUTPUT, max(0, status.st_size - _MOST_OUTPUT)).decode(errors="replace")
