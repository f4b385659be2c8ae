# SPDX-License-Identifier: MPL-2.0
"""A real Prometheus that scrapes the agents of a lab, in the lab's network, and is asked over its HTTP API."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import Lab
from labkit.host import PATIENCE, tail, wait_for
from labkit.network import Network
from promtext import RULES

JOBS = {"kea-agent": "/metrics", "kea-exporter": "/metrics/kea-exporter", "stork": "/metrics/stork"}
_API = "http://127.0.0.1:9090"
# Asks in the lab's network, everything in one go: paths with their parameters in, answers out.
_ASK = """
import json, sys, urllib.error, urllib.parse, urllib.request
def ask(path, form):
    data = urllib.parse.urlencode(form).encode() or None
    try:
        answer = urllib.request.urlopen(f"{sys.argv[1]}{path}", data, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        return {"status": "error", "error": str(error)}
    told = answer.read()
    return json.loads(told) if told.startswith(b"{") else {"status": "error", "error": told.decode()}
json.dump([ask(path, form) for path, form in json.load(sys.stdin)], sys.stdout)
"""
_CONFIG = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [rules.yml]
scrape_configs:
  - job_name: prometheus
    static_configs:
      - {{ targets: ["127.0.0.1:9090"] }}
{jobs}
"""
_JOB = """
  - job_name: {name}
    metrics_path: {path}
    static_configs:
{targets}
"""


@dataclass(frozen=True)
class Series:
    """One series of an answer and its value."""

    labels: Mapping[str, str]
    value: float

    def has(self, **labels: str) -> bool:
        """Whether it has these labels, whatever others."""
        return labels.items() <= self.labels.items()


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    lab: Lab
    process: subprocess.Popen[str]
    log: Path

    def ask(self, *requests: tuple[str, Mapping[str, str]]) -> list[dict[str, Any]]:
        """Answers of the HTTP API, in the order of the requests."""
        command = Network(self.lab.spec.name).enter("/usr/bin/python3", "-c", _ASK, _API)
        done = subprocess.run(
            command, input=json.dumps(requests), capture_output=True, text=True, check=True, timeout=60
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def query_all(self, exprs: Sequence[str]) -> list[list[Series]]:
        """Instant queries, all of the same moment or nearly so."""
        answers = self.ask(*(("/api/v1/query", {"query": expr}) for expr in exprs))
        return [_series(expr, answer) for expr, answer in zip(exprs, answers, strict=True)]

    def query(self, expr: str) -> list[Series]:
        """One of them."""
        return self.query_all([expr])[0]

    def wait(self, expr: str, until: Callable[[list[Series]], bool] = bool) -> float:
        """Wait until an expression has an answer, or one that will do; the seconds it took."""
        for left in wait_for(every=0.3):
            if until(self.query(expr)):
                return PATIENCE - left
        raise AssertionError(f"nothing for {expr} in {PATIENCE:g} s: {self.query(expr)}\n{self._said()}")

    def wait_started(self) -> None:
        """Wait until it answers."""
        for _ in wait_for(every=0.2):
            assert self.process.poll() is None, self._said()
            if self.ask(("/api/v1/status/buildinfo", {}))[0]["status"] == "success":
                return
        raise AssertionError(f"Prometheus does not answer:\n{self._said()}")

    def _said(self) -> str:
        return "\n".join(tail(self.log, 10))


@contextmanager
def prometheus(lab: Lab, directory: Path) -> Iterator[Prometheus]:
    """Prometheus with our rules, those that are evaluated slowly sped up; it ends with the block."""
    binary = shutil.which("prometheus")
    assert binary, "apt-get install prometheus"
    (directory / "rules.yml").write_text(RULES.read_text().replace("interval: 5m", "interval: 1s"))
    config, log = directory / "prometheus.yml", directory / "log"
    config.write_text(_CONFIG.format(jobs="".join(_job(lab, name, path) for name, path in JOBS.items())))
    words = [f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}", "--log.level=warn"]
    command = Network(lab.spec.name).enter(binary, *words, f"--web.listen-address={_API.partition('//')[2]}")
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, text=True)
    try:
        running = Prometheus(lab, process, log)
        running.wait_started()
        yield running
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _job(lab: Lab, name: str, path: str) -> str:
    targets = "".join(
        f'      - {{ targets: ["{node.address}:9673"], labels: {{ instance: {node.name} }} }}\n' for node in lab.nodes
    )
    return _JOB.format(name=name, path=path, targets=targets)


def _series(expr: str, answer: Mapping[str, Any]) -> list[Series]:
    assert answer["status"] == "success", f"{expr}: {answer}"
    data = answer["data"]
    if data["resultType"] == "scalar":
        return [Series({}, float(data["result"][1]))]
    return [Series(each["metric"], float(each["value"][1])) for each in data["result"]]
