# SPDX-License-Identifier: MPL-2.0
"""What is kept of the configurations that were proven to run, and what damage, a full disk and a kill do to it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kea_agent import keaconf
from kea_agent.errors import AgentError, ConfigError
from kea_agent.history import History, Revision
from kea_agent.settings import HistorySettings

TOP = Path(__file__).parents[2]
NAME = "kea-dhcp4.conf"
HASH = "661C0F5A3B"


def tree(lifetime: int, **more: Any) -> dict[str, Any]:
    return {"Dhcp4": {"valid-lifetime": lifetime, **more}}


def keep(history: History, lifetime: int, at: float = 0.0, **words: Any) -> Revision:
    found = tree(lifetime)
    told = {"hash": HASH, "kea_version": "2.6.3", "proof": "it serves"} | words
    kept = history.keep("dhcp4", NAME, found, meaning=keaconf.meaning_of(found), at=at or lifetime, **told)
    assert kept is not None
    return kept


def lifetime(history: History) -> int:
    last = history.last("dhcp4")
    assert last is not None
    return int(history.tree(last)["Dhcp4"]["valid-lifetime"])


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    return tmp_path / "dhcp4" / NAME


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    return tmp_path / "dhcp4/history/000003.conf"


def test_nothing_is_kept_at_first(history: History, caplog: pytest.LogCaptureFixture) -> None:
    assert history.last("dhcp4") is None
    assert history.revisions("dhcp4") == ()
    assert History(Path("/nonexistent")).last("dhcp4") is None
    assert caplog.records == []


def test_what_is_kept(history: History, fixed: Path) -> None:
    first, second = keep(history, 1), keep(history, 2, hash=None, kea_version=None)
    keep(History(fixed.parents[1]), 3)
    assert [each.number for each in history.revisions("dhcp4")] == [3, 2, 1]
    assert history.revisions("dhcp4")[1:] == (second, first)
    assert first == Revision("dhcp4", 1, 1, 1, keaconf.meaning_of(tree(1)), HASH, "2.6.3", "it serves", NAME)
    assert [history.tree(each) for each in history.revisions("dhcp4")] == [tree(3), tree(2), tree(1)]
    assert history.last("dhcp6") is None
    assert keaconf.read(str(fixed), "Dhcp4").tree == tree(3)


def test_the_agent_alone_may_read_it(history: History, fixed: Path, newest: Path) -> None:
    umask = os.umask(0o027)
    try:
        for number in (1, 2, 3):
            keep(history, number)
    finally:
        os.umask(umask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (fixed, newest)] == [0o600, 0o600]
    assert [stat.S_IMODE(path.parent.stat().st_mode) for path in (fixed, newest)] == [0o750, 0o750]
    assert fixed.stat().st_ino != newest.stat().st_ino


def test_the_same_meaning_is_renewed(history: History) -> None:
    first = keep(history, 1, at=10)
    again = keep(history, 1, at=20, hash="ABC", kea_version="3.0.4", proof="it still serves")
    assert (again.number, again.at, again.proven_at, again.hash, again.proof) == (1, 10, 20, "ABC", "it still serves")
    assert (first.at, first.proven_at) == (10, 10)
    assert history.revisions("dhcp4") == (again,)
    keep(history, 2)
    assert keep(history, 1).number == 3


def test_the_bounds(tmp_path: Path, fixed: Path) -> None:
    history = History(tmp_path, HistorySettings(revisions=3))
    for number in range(1, 8):
        keep(history, number)
    assert [each.number for each in history.revisions("dhcp4")] == [7, 6, 5]
    history.limits = HistorySettings(max_bytes=1 << 20)
    for number in (8, 9):
        found = tree(number, comment="x" * 600_000)
        history.keep("dhcp4", NAME, found, meaning=str(number), hash=None, kea_version=None, proof="", at=1)
    assert [each.number for each in history.revisions("dhcp4")] == [9]
    history.limits = HistorySettings(max_bytes=1)
    assert keep(history, 10).number == 10
    assert os.listdir(tmp_path / "dhcp4/history") == ["000010.conf"]
    assert sorted(os.listdir(fixed.parent)) == ["history", NAME]


def test_finding(history: History) -> None:
    for number, hash_ in ((1, "AB01"), (2, "AB02"), (3, "AB01"), (4, "3F"), (5, None)):
        keep(history, number, hash=hash_)
    assert [history.find("dhcp4", word).number for word in ("2", "02", "ab02", "AB01", "3f", "3")] == [2, 2, 2, 3, 4, 3]
    with pytest.raises(AgentError, match="several revisions of dhcp4: 3, 2, 1"):
        history.find("dhcp4", "ab")
    for word in ("6", "", "ff", "../1", "²"):
        with pytest.raises(AgentError, match="kea-agent history dhcp4"):
            history.find("dhcp4", word)


# Damage


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(500))


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def _head_edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"number": 3', b'"number": 9'))


def _wrong_types(path: Path) -> None:
    path.write_bytes(signed({"number": "3"}))


def _from_the_future(path: Path) -> None:
    path.write_bytes(signed({"mood": "good"}))


def _of_another_daemon(path: Path) -> None:
    path.write_bytes(signed({"daemon": "dhcp6"}))


def _no_head(path: Path) -> None:
    path.write_text(json.dumps(tree(3)))


def _symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _foreign(path: Path) -> None:
    os.chown(path, 65534, -1)


def signed(changed: dict[str, Any], body: bytes = b"{}") -> bytes:
    """A file with a right checksum that this project did not write."""
    head = {"daemon": "dhcp4", "number": 3, "at": 3, "proven_at": 3, "meaning": "m", "hash": None, "kea_version": None}
    rest = json.dumps(head | {"proof": "", "file_name": NAME} | changed).encode() + b"\n" + body
    return b"// kea-agent revision %s " % hashlib.sha256(rest).hexdigest().encode() + rest


_NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
DAMAGES = [
    _garbage, _truncated, _empty, _one_bit, _head_edited, _wrong_types, _from_the_future, _of_another_daemon,
    _no_head, _symlink, _directory, _fifo, pytest.param(_foreign, marks=_NEEDS_ROOT),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_known_good_is_rebuilt(
    history: History, fixed: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    for number in (1, 2, 3):
        keep(history, number)
    damage(fixed)
    assert lifetime(history) == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{fixed}: this kept configuration is damaged" in caplog.text
    assert os.path.lexists(f"{fixed}.damaged")
    caplog.clear()
    assert lifetime(history) == 3
    assert keaconf.read(str(fixed), "Dhcp4").tree == tree(3)
    assert caplog.records == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_both_copies_goes_back_one(
    history: History, fixed: Path, newest: Path, damage: Callable[[Path], None]
) -> None:
    for number in (1, 2, 3):
        keep(history, number)
    damage(fixed)
    damage(newest)
    assert lifetime(history) == 2
    assert keaconf.read(str(fixed), "Dhcp4").tree == tree(2)
    assert [each.number for each in history.revisions("dhcp4")] == [2, 1]
    with pytest.raises(AgentError, match="revision 3 of dhcp4 is damaged or gone"):
        history.tree(Revision("dhcp4", 3, 3, 3, "", None, None, "", NAME))
    assert keep(history, 4).number == 4


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_revision_does_not_hide_the_others(
    history: History, newest: Path, damage: Callable[[Path], None]
) -> None:
    for number in (1, 2, 3, 4):
        keep(history, number)
    damage(newest)
    assert [each.number for each in history.revisions("dhcp4")] == [4, 2, 1]
    assert lifetime(history) == 4


def test_nothing_is_left_of_it(history: History, fixed: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(history, 1)
    _garbage(fixed)
    _garbage(fixed.parent / "history/000001.conf")
    assert history.last("dhcp4") is None
    assert len(caplog.records) == 2
    assert keep(history, 2).number == 2


def test_a_copy_that_is_gone_comes_back(history: History, fixed: Path) -> None:
    keep(history, 1)
    fixed.unlink()
    assert lifetime(history) == 1
    assert fixed.exists()
    (fixed.parent / "history/000001.conf").unlink()
    assert [each.number for each in history.revisions("dhcp4")] == [1]


@_NEEDS_ROOT
def test_root_only_looks_at_what_is_the_agents(history: History, fixed: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        keep(history, number)
    for path in (fixed.parents[1], *fixed.parents[1].rglob("*")):
        os.chown(path, 65534, 65534)
    _garbage(fixed)
    assert (lifetime(history), lifetime(history)) == (2, 2)
    assert len(caplog.records) == 1
    assert sorted(os.listdir(fixed.parent)) == ["history", NAME]


@pytest.mark.parametrize("step", ["dhcp4", "dhcp4/history"])
def test_root_is_not_led_elsewhere(tmp_path: Path, caplog: pytest.LogCaptureFixture, step: str) -> None:
    """A directory of the agent's user that is a link to somebody else's, whose files are sound and root's."""
    (tmp_path / "elsewhere").mkdir()
    keep(History(tmp_path / "elsewhere"), 7)
    state = tmp_path / "state"
    (state / step).parent.mkdir(parents=True)
    (state / step).symlink_to(tmp_path / "elsewhere" / step)
    history = History(state)
    assert (history.last("dhcp4"), history.revisions("dhcp4")) == (None, ())
    assert "Not a directory" in caplog.text


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b"[" * 200_000, b'{"Dhcp4": 1}', b'{"Dhcp6": {}}'])
def test_what_somebody_else_signed_is_still_looked_at(history: History, fixed: Path, body: bytes) -> None:
    fixed.parent.mkdir()
    fixed.write_bytes(signed({}, body))
    last = history.last("dhcp4")
    assert last is not None
    with pytest.raises(AgentError, match=f"{NAME}: cannot be used: "):
        history.tree(last)


@pytest.mark.parametrize(
    "head",
    [
        *(
            {name: value}
            for name in ("at", "proven_at")
            for value in (1e300, -1, float("nan"), float("inf"), True, "1")
        ),
        *({"number": value} for value in (0, -1, True, 1.5, 10**9)),
        {"proof": ["x"]},
    ],
    ids=str,
)
def test_a_head_that_no_agent_wrote_is_damage(history: History, fixed: Path, head: dict[str, Any]) -> None:
    fixed.parent.mkdir()
    fixed.write_bytes(signed(head, b'{"Dhcp4": {}}'))
    assert history.last("dhcp4") is None
    assert fixed.with_name(f"{NAME}.damaged").exists()


def test_a_head_that_nests_is_damage(history: History, fixed: Path) -> None:
    fixed.parent.mkdir()
    rest = b"[" * 100_000 + b"\n{}"
    fixed.write_bytes(b"// kea-agent revision %s " % hashlib.sha256(rest).hexdigest().encode() + rest)
    assert history.last("dhcp4") is None


@pytest.mark.parametrize("value", [b'"\\ud800"', b"NaN", b"1e999"], ids=["half", "nan", "inf"])
def test_what_cannot_be_written_is_not_shown(history: History, fixed: Path, value: bytes) -> None:
    fixed.parent.mkdir()
    fixed.write_bytes(signed({}, b'{"Dhcp4": {"x": %s}}' % value))
    last = history.last("dhcp4")
    assert last is not None
    with pytest.raises(AgentError, match="cannot be used: "):
        history.text(last)


# What cannot be written


@pytest.mark.parametrize("obstacle", ["absent", "file", "link"])
def test_a_failure_is_told_and_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str) -> None:
    if obstacle != "absent":
        (tmp_path / "state").mkdir()
    if obstacle == "file":
        (tmp_path / "state/dhcp4").touch()
    if obstacle == "link":
        (tmp_path / "state/dhcp4").symlink_to("nowhere")
    history = History(tmp_path / "state")
    assert history.keep("dhcp4", NAME, tree(1), meaning="m", hash=None, kea_version=None, proof="", at=1) is None
    assert "what dhcp4 runs is not kept" in caplog.text


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "\ud800"])
def test_what_is_no_configuration_is_not_kept(history: History, tmp_path: Path, value: Any) -> None:
    broken = {"Dhcp4": {"x": value}}
    assert history.keep("dhcp4", NAME, broken, meaning="m", hash=None, kea_version=None, proof="", at=1) is None
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_what_was_there(history: History, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(history, 1)
    big = tree(2, comment="x" * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert history.keep("dhcp4", NAME, big, meaning="m", hash=None, kea_version=None, proof="", at=1) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "file too large" in caplog.text.lower()
    assert lifetime(history) == 1
    assert sorted(os.listdir(tmp_path / "dhcp4/history")) == ["000001.conf"]
    assert sorted(os.listdir(tmp_path / "dhcp4")) == ["history", NAME]


@_NEEDS_ROOT
def test_a_small_file_system_that_fills_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path], check=True)
    try:
        history = History(tmp_path)
        done = [
            history.keep(
                "dhcp4",
                NAME,
                tree(n, comment="x" * 30_000),
                meaning=str(n),
                hash=None,
                kea_version=None,
                proof="",
                at=1,
            )
            for n in range(20)
        ]
        numbers = [each.number for each in done if each]
        assert done[-1] is None
        assert len(numbers) > 2
        assert "no space left" in caplog.text.lower()
        last = history.last("dhcp4")
        assert last is not None
        assert last.number >= numbers[-1]
        assert history.tree(last)["Dhcp4"]["comment"] == "x" * 30_000
    finally:
        subprocess.run(["umount", tmp_path], check=True)


WRITER = """
import sys
from pathlib import Path
from kea_agent.history import History
history, number = History(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
while True:
    number += 1
    found = {"Dhcp4": {"valid-lifetime": number, "comment": "x" * 200000}}
    history.keep("dhcp4", "kea-dhcp4.conf", found, meaning=str(number), hash=None, kea_version=None, proof="", at=1)
    print(number, flush=True)
"""


def killed_writer(tmp_path: Path, number: int, turn: int) -> list[int]:
    """What a writer said was kept. It is killed before its first one, or a part of one's time after that, two at most."""
    words = [sys.executable, "-c", WRITER, str(tmp_path), str(number)]
    with subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        first = process.stdout.readline() if turn else ""
        time.sleep((time.monotonic() - began) * turn / 12)
        process.kill()
        return [int(line) for line in (first + process.stdout.read()).splitlines()]


def test_killed_at_any_moment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever was said to be kept is there, whole, or a newer one; nothing is half; nothing piles up."""
    number = 0
    for turn in range(25):
        said = killed_writer(tmp_path, number, turn)
        last = History(tmp_path).last("dhcp4")
        assert (last is None) == (not said and number == 0) or last is not None
        if last is not None:
            running = History(tmp_path).tree(last)["Dhcp4"]
            assert len(running["comment"]) == 200_000
            number = running["valid-lifetime"]
            assert number >= (said[-1] if said else 0)
    assert number > 20
    assert caplog.records == [] or {record.levelno for record in caplog.records} == {logging.INFO}
    keep(History(tmp_path), number + 1)
    assert [name for name in os.listdir(tmp_path / "dhcp4") if name.startswith(".")] == []
    assert [name for name in os.listdir(tmp_path / "dhcp4/history") if name.startswith(".")] == []


# Meaning


_BYTES = st.binary(max_size=20).map(lambda data: data.translate(None, bytes(range(32)) + b'"\\'))
_ESCAPES = st.sampled_from(
    [rb"\n", rb"\"", rb"\\", rb"\/", rb"\u00fc", rb"\u0000", rb"\u00C3\u00bc", b"<?include", b"//", b"\x7f"]
)
_STRINGS = st.lists(st.one_of(_BYTES, _ESCAPES, st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace"))), max_size=4).map(lambda parts: b'"' + b"".join(parts) + b'"')  # fmt: skip
_NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda number: str(number).encode()),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: repr(number).encode()),
    st.sampled_from([b"0", b"-0", b"-0.0", b"1E3", b"1e-7", b"1e16", b"9223372036854775807", b"5e-324"]),
)
_VALUES = st.recursive(
    st.one_of(_STRINGS, _NUMBERS, st.sampled_from([b"true", b"false", b"null", b"[]", b"{}"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: b"[" + b",".join(items) + b"]"),
        st.dictionaries(_STRINGS, inner, max_size=4).map(
            lambda items: b"{" + b",".join(key + b":" + value for key, value in items.items()) + b"}"
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(value=_VALUES)
def test_what_is_kept_means_the_same(tmp_path_factory: pytest.TempPathFactory, value: bytes) -> None:
    directory = tmp_path_factory.mktemp("history")
    source = directory / "source.conf"
    source.write_bytes(b'{ "Dhcp4": { "x": ' + value + b" } }")
    try:
        document = keaconf.read(str(source), "Dhcp4")
    except ConfigError:
        return
    history = History(directory)
    kept = history.keep(
        "dhcp4", NAME, document.tree, meaning=document.meaning, hash=None, kea_version=None, proof="", at=1
    )
    assert kept is not None
    again = keaconf.read(str(directory / "dhcp4" / NAME), "Dhcp4")
    assert (again.tree, again.meaning) == (document.tree, document.meaning)
    assert history.tree(kept) == document.tree
    assert keaconf.meaning_of(history.tree(kept)) == document.meaning
