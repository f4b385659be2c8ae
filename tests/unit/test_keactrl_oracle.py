# SPDX-License-Identifier: MPL-2.0
"""keactrl side by side with the real script, on daemons that only look like Kea's: the same output and exit code.

Where the two differ on purpose, test_keactrl_differences.py says how.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import pytest
from keactrl_scripts import TAGS, Generation, UnavailableError, generation, get

from unit import keactrl_cases
from unit.keactrl_cases import lines
from unit.keactrl_sandbox import CONF, Answer, Case, Sandbox, sandbox

# netconf is an option of the build: some have it.
WITH_NETCONF: Final = ("2.2.0", "3.0.4", "3.3.0")
ENOUGH: Final = 200
DRAWN: Final = {"A": 20, "B": 20, "C": 40}
WRITTEN: Final[Mapping[str, Callable[[Generation], Iterator[Case]]]] = {
    "command line": keactrl_cases.of_the_command_line,
    "configuration": keactrl_cases.of_the_configuration,
    "state": keactrl_cases.of_the_state,
}
# Fakes cannot prove a reload, so each is followed by its reason here.
_REASON: Final = re.compile(r"^(INFO/keactrl: Reloading .*\n)ERROR/keactrl: Reload failed, .*\n", re.MULTILINE)

every_tag = pytest.mark.parametrize("tag", TAGS)


@pytest.fixture(name="box")
def _box(tag: str) -> Iterator[Sandbox]:
    try:
        script = get(tag)
    except UnavailableError as error:
        pytest.skip(str(error))
    with sandbox(script, netconf=tag in WITH_NETCONF) as box:
        yield box


def is_available(tag: str) -> bool:
    try:
        return bool(get(tag))
    except UnavailableError:
        return False


def share(tag: str, cases: Iterator[Case]) -> list[Case]:
    """This release's part: scripts of one generation are nearly the same, and B and C have most of A in them."""
    alike = [each for each in TAGS if generation(each) == generation(tag) and is_available(each)]
    step = {"A": len(alike), "B": 3, "C": 2}[generation(tag)]
    return list(cases)[alike.index(tag) :: step]


def drawn(tag: str) -> list[Case]:
    """The release is the seed: every run sees the same cases."""
    count = DRAWN[generation(tag)]
    print(f"seed {tag!r}, {count} cases")
    return list(keactrl_cases.drawn(generation(tag), tag, count))


def difference(box: Sandbox, case: Case, *, tty: bool = False) -> str:
    """How the answers differ, or an empty string."""
    theirs = box.theirs(case, tty=tty)
    ours = box.ours(case, *(["--compat-exit"] if case.argv[:1] == ("reload",) else []), tty=tty)
    ours = Answer(_REASON.sub(r"\1", ours.stdout), ours.code, ours.effects, ours.stderr)
    return "" if theirs == ours else f"{case}\ntheirs: {theirs}\nours:   {ours}\n"


def assert_no_difference(box: Sandbox, cases: Sequence[Case], *, tty: bool = False) -> None:
    differences = list(filter(None, (difference(box, case, tty=tty) for case in cases)))
    assert not differences, f"{len(differences)} of {len(cases)} cases:\n" + "\n".join(differences)


@pytest.mark.parametrize("kind", WRITTEN)
@every_tag
def test_written_cases(box: Sandbox, tag: str, kind: str) -> None:
    assert_no_difference(box, share(tag, WRITTEN[kind](generation(tag))))


@every_tag
def test_drawn_cases(box: Sandbox, tag: str) -> None:
    assert_no_difference(box, drawn(tag))


@every_tag
def test_colours_on_a_terminal(box: Sandbox, tag: str) -> None:
    conf = lines(generation(tag))
    running = frozenset({"kea-dhcp4", "kea-netconf"})
    cases = [
        Case(("status", "-c", CONF), conf, running),
        Case(("version", "-c", CONF), conf),
        Case(("stop", "-x"), conf),
    ]
    assert_no_difference(box, cases, tty=True)
    assert "\x1b[92mactive\x1b[0m" in box.ours(cases[0], tty=True).stdout


def test_there_are_enough_cases() -> None:
    tags = [tag for tag in TAGS if is_available(tag)]
    if not tags:
        pytest.skip("did not run: no script to compare with")
    count = {
        tag: sum(len(share(tag, make(generation(tag)))) for make in WRITTEN.values()) + len(drawn(tag)) for tag in tags
    }
    print(count, sum(count.values()))
    assert sum(count.values()) >= ENOUGH
