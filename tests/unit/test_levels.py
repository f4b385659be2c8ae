# SPDX-License-Identifier: MPL-2.0
"""The one order of the levels: the agent, `systemctl reload` and `kea-agent check` come to the same end with a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import QUICK, Host, started

from kea_agent import keaconf, lint
from kea_agent.daemons import DHCP4
from kea_agent.errors import ConfigError, ExitCode
from kea_agent.levels import Judgement, Levels, UnitView, without_secrets
from kea_agent.outcome import Outcome, Urge
from kea_agent.sandbox.request import Standing
from kea_agent.settings import CheckSettings
from kea_agent.verbs.check import Asked, look
from kea_agent.verdict import Rehearsal, Verdict

PAIR = '"subnet4": [ { "id": 1, "subnet": "192.0.2.1/24" }, { "id": %d, "subnet": "198.51.100.0/24" } ]'
# What is saved, as the inside of the configuration: good, advice only, a rule's error, not Kea's language, too large.
FILES = {
    "good": "",
    "warned": ", " + PAIR % 2,
    "rule": ", " + PAIR % 1,
    "syntax": ", oops",
    "large": ', "hostname-char-set": "' + "x" * 4096 + '"',
}
# What `-t` does; a program that is gone cannot be run.
CHECKERS = {"yes": "exit 0", "no": 'echo "Error encountered: no such pool" >&2; exit 1', "killed": "kill -KILL $$"}
REHEARSALS = {
    "passed": Rehearsal(Standing.PASSED, "it served", 0.1),
    "refused": Rehearsal(Standing.REFUSED, "it would not serve: no such hook", 0.1),
    "later": Rehearsal(Standing.REFUSED, "it would not serve: no such address", 0.1, may_pass_later=True),
    "none": Rehearsal(Standing.NOT_REHEARSED, "no sandbox here", 0.0),
}
EXIT_CODES = {
    Outcome.APPLIED: ExitCode.OK,
    Outcome.REJECTED: ExitCode.BAD_CONFIG,
    Outcome.DEFERRED: ExitCode.NOT_DONE,
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with started(tmp_path, DHCP4) as host:
        yield host


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(sorted(FILES)),
    checker=st.sampled_from(sorted(CHECKERS)),
    rehearsed=st.sampled_from(sorted(REHEARSALS)),
    rules=st.sampled_from(["block", "tell", "off"]),
    rehearsal=st.sampled_from(["prefer", "require", "off"]),
    most_bytes=st.sampled_from([2048, 1 << 20]),
    disabled=st.sampled_from([(), ("subnet-id-duplicate",)]),
)
def test_check_exits_with_what_the_agent_would_do(
    host: Host,
    file: str,
    checker: str,
    rehearsed: str,
    rules: str,
    rehearsal: str,
    most_bytes: int,
    disabled: tuple[str, ...],
) -> None:
    host.save(FILES[file])
    host.checker(CHECKERS[checker])
    host.rehearsal = REHEARSALS[rehearsed]
    wishes = CheckSettings(
        rules=rules, rehearsal=rehearsal, max_config_bytes=most_bytes, disable=(*disabled, "subnet-id-changed")
    )
    host.pipeline = host.new_pipeline(settings=replace(QUICK, check=wishes))
    outcome, reason, _ = host.run(Urge.AGAIN)
    level = "kea" if rehearsal == "off" else "rehearsal"
    found = look(DHCP4, str(host.file), host.systemd.known, Asked(level, wishes), host.rehearse)
    assert found.exit_code == EXIT_CODES[outcome], (reason, found)
    if outcome is not Outcome.APPLIED:
        assert any(_sentence(finding) in reason for finding in found.findings), (reason, found.findings)


def _sentence(finding: lint.Finding) -> str:
    return finding.message + (f" [{finding.rule}]" if finding.rule else "")


@pytest.mark.parametrize("level", ["syntax", "rules", "kea", "rehearsal"])
def test_a_level_asks_for_those_before_it_and_no_other(host: Host, level: str) -> None:
    document = keaconf.read(str(host.file), "Dhcp4")
    levels = Levels(DHCP4, document, UnitView.of(DHCP4, host.systemd.known), CheckSettings())
    order = ["rules", "kea", "databases", "rehearsal"]
    asked = {"syntax": [], "rules": order[:1], "kea": order[:2], "rehearsal": order}[level]
    assert [verdict.level for verdict in levels.run(level, host.rehearse)] == asked
    assert (host.checks, host.rehearsals) == (int("kea" in asked), int("rehearsal" in asked))


def test_nothing_is_started_on_a_file_that_a_check_refuses(host: Host) -> None:
    host.save(FILES["rule"])
    found = look(DHCP4, str(host.file), host.systemd.known, Asked("rehearsal", CheckSettings()), host.rehearse)
    assert (found.exit_code, host.checks, host.rehearsals) == (ExitCode.BAD_CONFIG, 1, 0)


def test_the_limits_of_the_settings_hold_for_the_command(host: Host) -> None:
    host.checker("sleep 60")
    wishes = CheckSettings(timeout_seconds=0.2, rehearsal="off")
    found = look(DHCP4, str(host.file), host.systemd.known, Asked("kea", wishes))
    assert found.exit_code is ExitCode.NOT_DONE
    assert any("did not finish within 0.2 s" in finding.message for finding in found.findings)


@pytest.mark.parametrize(
    ("verdict", "judgement"),
    [
        (Verdict("kea", None, 0.0), Judgement()),
        (Verdict("kea", None, 0.0, could_not="no time"), Judgement(could_not="no time")),
        (Verdict("kea", ConfigError("bad", file="f"), 0.0, may_pass_later=True), Judgement(could_not="f: bad")),
    ],
)
def test_what_a_pass_does_with_a_verdict(verdict: Verdict, judgement: Judgement) -> None:
    assert Judgement.of(verdict, ()) == judgement


TEXT = '{ "Dhcp4": { "interfaces-config": { "interfaces": [ "lo" ] }, ' + PAIR % 1 + " } }\n"
NOISE = ("subnet-empty",)


def rules(path: Path, text: str = TEXT, **wishes: object) -> Verdict:
    path.write_text(text)
    unit = UnitView(("/nowhere/kea-dhcp4",), {})
    document = keaconf.read(str(path), "Dhcp4")
    return Levels(DHCP4, document, unit, CheckSettings(disable=NOISE, **wishes)).rules()  # type: ignore[arg-type]


def test_an_error_stops_the_file_and_warnings_are_told(tmp_path: Path) -> None:
    verdict = rules(tmp_path / "f")
    assert verdict.refuses
    assert "already [subnet-id-dup" in str(verdict.problem)
    assert str(verdict.problem).startswith(f"{tmp_path}/f:1:")
    assert any("[subnet-host-bits]" in warning for warning in verdict.warnings)
    assert not any("[subnet-id-dup" in warning for warning in verdict.warnings)


def test_tell_only_and_off(tmp_path: Path) -> None:
    told = rules(tmp_path / "f", rules="tell")
    assert told.problem is None
    assert any("[subnet-id-dup" in warning for warning in told.warnings)
    assert all(finding.severity != "error" for finding in told.findings)
    assert rules(tmp_path / "f", rules="off") == Verdict("rules", None, 0.0)


def test_a_fault_in_a_rule_stops_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("of a rule")

    monkeypatch.setattr(lint, "run", broken)
    with caplog.at_level(logging.ERROR):
        assert rules(tmp_path / "f").problem is None
    assert "the rules could not judge" in caplog.text


def test_what_kea_quotes_may_be_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text('{ "Dhcp4": { "lease-database": { "password": "hunter2" } } }')
    document = keaconf.read(str(path), "Dhcp4")
    said = Verdict("kea", ConfigError("bad hunter2", file="f"), 0.0, ("hunter2 is weak",))
    cleaned = without_secrets(said, document)
    assert cleaned.problem is not None
    assert (cleaned.problem.message, cleaned.warnings) == ("bad *****", ("***** is weak",))
