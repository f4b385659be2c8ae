# SPDX-License-Identifier: MPL-2.0
"""The watcher against the real kernel, with real programs that save files.

The kernel queues an event before the system call that caused it returns: when a program has ended, everything it
did can be read. So nothing here sleeps, and "no hint" is certain at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import select
import shutil
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from kea_agent.route import walk
from kea_agent.watch import Hint, Kind, Watcher, parse

MAIN = "etc/kea/kea-dhcp4.conf"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    watcher = Watcher(root=str(tmp_path))
    yield watcher
    watcher.close()


@pytest.fixture
def main(tmp_path: Path) -> str:
    return write(tmp_path / MAIN, "old\n")


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def sh(command: str, cwd: Path) -> None:
    subprocess.run(["sh", "-euc", command], cwd=cwd, check=True, stdin=subprocess.DEVNULL)


def heard(watcher: Watcher) -> list[Hint]:
    hints: list[Hint] = []
    while select.select([watcher.fd], [], [], 0)[0]:
        hints += watcher.read()
    return hints


def last_heard(watcher: Watcher) -> dict[str, Kind]:
    return {hint.path: hint.kind for hint in heard(watcher)}


def kind_of_finding(path: str) -> Kind:
    """What a way that changed ends in: a file, or nothing for now."""
    return Kind.FINISHED if os.path.exists(path) else Kind.GONE


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def assert_watched(watcher: Watcher, path: str) -> None:
    """Whatever happened before: from now on an in-place write to the file is seen."""
    heard(watcher)
    with open(path, "a") as file:
        file.write("more\n")
        file.flush()
        assert heard(watcher) == [Hint(path, Kind.WRITING)]
    assert heard(watcher) == [Hint(path, Kind.FINISHED)]


# -- every way of saving one file

SAVES = {
    "in place": "echo new > kea-dhcp4.conf",
    "appended": "echo new >> kea-dhcp4.conf",
    "emptied": ": > kea-dhcp4.conf",
    "tee": "echo new | tee kea-dhcp4.conf >/dev/null",
    "dd without truncation": "printf NEW | dd of=kea-dhcp4.conf conv=notrunc status=none",
    "truncate": "truncate -s 1M kea-dhcp4.conf",
    "mv": "echo new > x; mv x kea-dhcp4.conf",
    "mv from another directory": "echo new > ../x; mv ../x kea-dhcp4.conf",
    "cp": "echo new > x; cp x kea-dhcp4.conf",
    "cp -a": "echo new > x; cp -a x kea-dhcp4.conf",
    "cp --remove-destination": "echo new > x; cp --remove-destination x kea-dhcp4.conf",
    "install": "echo new > x; install -m 640 x kea-dhcp4.conf",
    "sed -i": "sed -i s/old/new/ kea-dhcp4.conf",
    "rm and write": "rm kea-dhcp4.conf; echo new > kea-dhcp4.conf",
    "renamed away and written": "mv kea-dhcp4.conf kea-dhcp4.conf~; echo new > kea-dhcp4.conf",
    "hard link": "echo new > x; rm kea-dhcp4.conf; ln x kea-dhcp4.conf",
    "hard link over": "echo new > x; ln -f x kea-dhcp4.conf",
    "symlink": "echo new > x; rm kea-dhcp4.conf; ln -s x kea-dhcp4.conf",
    "symlink over": "echo new > x; ln -sfn x kea-dhcp4.conf",
    "symlink to nothing": "ln -sfn nothing kea-dhcp4.conf",
    "moved away and back": "mv kea-dhcp4.conf x; mv x kea-dhcp4.conf",
    "touch": "touch kea-dhcp4.conf",
    "chmod": "chmod 600 kea-dhcp4.conf",
    "a directory instead": "rm kea-dhcp4.conf; mkdir kea-dhcp4.conf",
    "a pipe instead": "rm kea-dhcp4.conf; mkfifo kea-dhcp4.conf",
}


@pytest.mark.parametrize("command", SAVES.values(), ids=SAVES.keys())
def test_saving_ends_in_finished(watcher: Watcher, main: str, command: str) -> None:
    watcher.want([main])
    sh(command, Path(main).parent)
    assert heard(watcher)[-1:] == [Hint(main, kind_of_finding(main))]
    if Path(main).is_file():
        assert_watched(watcher, main)


@pytest.mark.parametrize("how", ["set nobackup nowritebackup", "set backup backupcopy=no", "set backupcopy=yes"])
@pytest.mark.skipif(shutil.which("vim") is None, reason="no vim")
def test_vim(watcher: Watcher, main: str, how: str) -> None:
    watcher.want([main])
    sh(f"vim -es -u NONE -N -c '{how}' -c 's/old/new/' -c wq kea-dhcp4.conf", Path(main).parent)
    assert Path(main).read_text() == "new\n"
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    assert_watched(watcher, main)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync")
@pytest.mark.parametrize("how", ["", "--inplace", "--backup", "--delay-updates"])
def test_rsync(watcher: Watcher, main: str, how: str) -> None:
    watcher.want([main])
    sh(f"echo newer > ../x; rsync -t {how} ../x kea-dhcp4.conf", Path(main).parent)
    assert heard(watcher)[-1] == Hint(main, Kind.FINISHED)
    assert_watched(watcher, main)


def test_file_without_a_name_that_gets_one(watcher: Watcher, main: str) -> None:
    os.unlink(main)
    watcher.want([main])
    fd = os.open(os.path.dirname(main), os.O_TMPFILE | os.O_WRONLY)
    os.write(fd, b"new\n")
    os.link(f"/proc/self/fd/{fd}", main, src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_two_halves(watcher: Watcher, main: str) -> None:
    watcher.want([main])
    with open(main, "w") as file:
        for half in ("{ 'Dhcp4'", ": {} }"):
            file.write(half)
            file.flush()
            assert heard(watcher) == [Hint(main, Kind.WRITING)]
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_new_file_is_being_written_until_it_is_closed(watcher: Watcher, main: str) -> None:
    os.unlink(main)
    watcher.want([main])
    with open(main, "w") as file:
        assert heard(watcher) == [Hint(main, Kind.WRITING)]
        os.fchmod(file.fileno(), 0o640)  # vim and cp -p do this with half of the text still to come
        assert heard(watcher) == [Hint(main, Kind.WRITING)]
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    os.chmod(main, 0o644)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_moving_the_directory_ends_what_was_being_written_in_it(watcher: Watcher, main: str, tmp_path: Path) -> None:
    watcher.want([main])
    with open(main, "w") as file:
        file.write("half")
        file.flush()
        sh("mv etc/kea etc/away; mkdir etc/kea; echo new > etc/kea/kea-dhcp4.conf", tmp_path)
        assert last_heard(watcher) == {main: Kind.FINISHED}
        os.chmod(main, 0o600)
        assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_closed_and_opened_again_is_both(watcher: Watcher, main: str) -> None:
    watcher.want([main])
    write(Path(main), "first\n")
    with open(main, "w") as file:
        file.write("second")
        file.flush()
        assert heard(watcher) == [Hint(main, Kind.FINISHED), Hint(main, Kind.WRITING)]
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_deleted(watcher: Watcher, main: str) -> None:
    watcher.want([main])
    os.unlink(main)
    assert heard(watcher) == [Hint(main, Kind.GONE)]
    write(Path(main), "new\n")
    assert last_heard(watcher) == {main: Kind.FINISHED}
    os.rename(main, main + "~")
    assert heard(watcher) == [Hint(main, Kind.GONE)]


def test_writes_to_a_file_that_was_replaced_are_not_heard(watcher: Watcher, main: str) -> None:
    watcher.want([main])
    with open(main, "w") as file:
        sh("echo new > x; mv x kea-dhcp4.conf", Path(main).parent)
        heard(watcher)
        file.write("to the old one")
    assert heard(watcher) == []


def test_unrelated_events_are_not_heard(watcher: Watcher, main: str, tmp_path: Path) -> None:
    watcher.want([main])
    sh("echo 1 > a; mv a b; mkdir d; rmdir d; rm b; cat kea-dhcp4.conf; : > .kea-dhcp4.conf.swp", Path(main).parent)
    sh("mkdir etc/keapit; rmdir etc/keapit; touch kea; mv kea etc/kea2; ls -l etc/kea", tmp_path)
    assert heard(watcher) == []
    assert watcher.events > 0


# -- several files, and what is on the way to them


def test_include_in_another_directory(watcher: Watcher, main: str, tmp_path: Path) -> None:
    other = write(tmp_path / "srv/kea/subnets.json", "[]\n")
    watcher.want([main, other])
    sh("echo 1 >> srv/kea/subnets.json", tmp_path)
    assert heard(watcher) == [Hint(other, Kind.FINISHED)]
    sh("echo 1 >> etc/kea/kea-dhcp4.conf; rm srv/kea/subnets.json", tmp_path)
    assert heard(watcher) == [Hint(main, Kind.FINISHED), Hint(other, Kind.GONE)]


def test_chain_of_symlinks(watcher: Watcher, tmp_path: Path) -> None:
    real = write(tmp_path / "srv/real/file", "old\n")
    sh("mkdir -p etc a b; ln -s ../a/one etc/main; ln -s $PWD/b/two a/one; ln -s ../srv/real/file b/two", tmp_path)
    main = str(tmp_path / "etc/main")
    watcher.want([main])
    for command in (
        "echo 1 > srv/real/file",
        "echo 2 > new; mv new srv/real/file",
        "ln -sfn ../srv/real/file b/two",
        "ln -sfn ../b/two a/one",
        "ln -sfn $PWD/a/one etc/main",
        "mv b c; mv c b",
        "mv srv/real srv/r; mv srv/r srv/real",
    ):
        sh(command, tmp_path)
        assert last_heard(watcher) == {main: Kind.FINISHED}, command
    with open(real, "w"):
        pass
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


@pytest.mark.parametrize(
    "swap", ["ln -sfn v2 now", "ln -s v2 x; mv -T x now", "rm now; ln -s v2 now", "rm now; mv v2 now"]
)
def test_directory_symlink_swapped(watcher: Watcher, tmp_path: Path, swap: str) -> None:
    write(tmp_path / "v1/main", "1\n")
    write(tmp_path / "v2/main", "2\n")
    os.symlink("v1", tmp_path / "now")
    main = str(tmp_path / "now/main")
    watcher.want([main])
    sh(swap, tmp_path)
    assert last_heard(watcher) == {main: Kind.FINISHED}
    sh("echo stale > v1/main", tmp_path)
    assert heard(watcher) == []
    assert_watched(watcher, main)


@pytest.mark.parametrize("away", ["etc/kea", "etc"])
def test_directory_moved_away_and_back(watcher: Watcher, main: str, tmp_path: Path, away: str) -> None:
    watcher.want([main])
    sh(f"mv {away} away", tmp_path)
    assert heard(watcher) == [Hint(main, Kind.GONE)]
    sh("echo 1 > $(find away -type f)", tmp_path)
    assert heard(watcher) == []
    sh(f"mv away {away}", tmp_path)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    assert_watched(watcher, main)


def test_appearing_level_by_level(watcher: Watcher, tmp_path: Path) -> None:
    main = str(tmp_path / MAIN)
    assert watcher.want([main]) == {main}
    for directory in ("etc", "etc/kea"):
        os.mkdir(tmp_path / directory)
        assert heard(watcher) == [Hint(main, Kind.GONE)]
    write(tmp_path / MAIN, "new\n")
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    assert watcher.watches == 3
    assert_watched(watcher, main)


@pytest.mark.parametrize("command", ["mkdir -p etc/kea; echo new > etc/kea/kea-dhcp4.conf", "mkdir -p x/kea; mv x etc"])
def test_appearing_all_at_once(watcher: Watcher, tmp_path: Path, command: str) -> None:
    main = str(tmp_path / MAIN)
    watcher.want([main])
    sh(command, tmp_path)
    assert heard(watcher)[-1] == Hint(main, kind_of_finding(main))
    write(tmp_path / MAIN, "new\n")
    assert_watched(watcher, main)


@pytest.mark.parametrize(
    "remake", ["rm -r etc; mkdir -p etc/kea; echo 2 > $0", "rm -r etc/kea; mkdir etc/kea; echo 2 > $0"]
)
def test_directory_deleted_and_made_again(watcher: Watcher, main: str, tmp_path: Path, remake: str) -> None:
    watcher.want([main])
    for _ in range(3):  # often with the same inode numbers
        sh(remake.replace("$0", MAIN), tmp_path)
        assert last_heard(watcher) == {main: Kind.FINISHED}
        assert_watched(watcher, main)


def test_directory_deleted_while_somebody_is_in_it(watcher: Watcher, main: str, tmp_path: Path) -> None:
    watcher.want([main])
    fd = os.open(os.path.dirname(main), os.O_RDONLY)
    sh(f"rm -r etc; mkdir -p etc/kea; echo 2 > {MAIN}", tmp_path)
    assert last_heard(watcher) == {main: Kind.FINISHED}
    os.close(fd)
    assert_watched(watcher, main)


def test_want_between_the_death_of_a_watch_and_the_news_of_it(watcher: Watcher, main: str, tmp_path: Path) -> None:
    watcher.want([main])
    sh(f"rm -r etc/kea; mkdir etc/kea; echo 2 > {MAIN}", tmp_path)
    watcher.want([main])
    assert last_heard(watcher) == {main: Kind.FINISHED}
    assert_watched(watcher, main)


def test_races_never_leave_a_stale_view(watcher: Watcher, tmp_path: Path) -> None:
    """A reader that looks after each hint, and only then, ends up knowing the last text, however it got there."""
    main = tmp_path / MAIN
    watcher.want([str(main)])
    loop = (
        f"for n in $(seq 60); do rm -rf etc; mkdir -p etc/kea v$n; echo $n > {MAIN}"
        f"; mv etc old$n; echo $n > v$n/kea-dhcp4.conf; mkdir etc; ln -s ../v$n etc/kea; done"
    )
    seen = ""
    with subprocess.Popen(["sh", "-euc", loop], cwd=tmp_path) as process:
        while process.poll() is None:
            select.select([watcher.fd], [], [], 0.01)
            if watcher.read():
                seen = text_of(main)
    if heard(watcher):
        seen = text_of(main)
    assert process.returncode == 0
    assert seen == "60\n"
    assert_watched(watcher, str(main))


def test_directory_made_readable_again(watcher: Watcher, main: str, tmp_path: Path) -> None:
    watcher.want([main])
    os.chmod(tmp_path / "etc/kea", 0)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    os.chmod(tmp_path / "etc/kea", 0o750)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_way_back_up_through_a_symlink(watcher: Watcher, tmp_path: Path) -> None:
    """`now/../main` is beside the directory that the symlink leads to, not beside the symlink."""
    write(tmp_path / "srv/main", "old\n")
    os.mkdir(tmp_path / "srv/v1")
    os.symlink("srv/v1", tmp_path / "now")
    main = f"{tmp_path}//now/./../main"
    watcher.want([main])
    assert_watched(watcher, main)
    sh("mkdir -p other/v2; ln -sfn other/v2 now", tmp_path)
    assert heard(watcher) == [Hint(main, Kind.GONE)]
    sh("echo new > srv/main", tmp_path)
    assert heard(watcher) == []
    sh("echo new > other/main", tmp_path)
    assert last_heard(watcher) == {main: Kind.FINISHED}


def test_symlinks_in_a_circle(watcher: Watcher, tmp_path: Path) -> None:
    sh("ln -s b a; ln -s a b", tmp_path)
    main = str(tmp_path / "a")
    watcher.want([main])
    sh("echo new > new; mv new b", tmp_path)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    assert_watched(watcher, main)


def test_one_directory_by_two_names(watcher: Watcher, main: str, tmp_path: Path) -> None:
    os.symlink("etc", tmp_path / "also")
    also = str(tmp_path / "also/kea/kea-dhcp4.conf")
    watcher.want([main, also])
    assert watcher.watches == 3
    write(Path(main), "new\n")
    assert last_heard(watcher) == {main: Kind.FINISHED, also: Kind.FINISHED}
    watcher.want([also])
    assert watcher.watches == 3
    write(Path(main), "newer\n")
    assert last_heard(watcher) == {also: Kind.FINISHED}


def test_directory_on_the_way_to_one_file_that_holds_another(watcher: Watcher, main: str, tmp_path: Path) -> None:
    beside = write(tmp_path / "etc/beside", "old\n")
    watcher.want([main])
    assert watcher.want([main, beside]) == {main, beside}
    assert_watched(watcher, beside)
    watcher.want([main])
    write(Path(beside), "new\n")
    assert heard(watcher) == []
    assert_watched(watcher, main)


# -- names


@pytest.mark.parametrize("name", [b"\xff\xfe.conf", b"caf\xe9", "käse".encode(), b"-", b"a\nb"])
def test_odd_name_beside_the_file(watcher: Watcher, main: str, name: bytes) -> None:
    watcher.want([main])
    neighbour = os.path.join(os.fsencode(os.path.dirname(main)), name)
    with open(neighbour, "w") as file:
        file.write("x")
    os.rename(neighbour, neighbour + b"~")
    assert heard(watcher) == []
    os.rename(neighbour + b"~", main)
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]
    assert_watched(watcher, main)


def test_odd_name_of_the_file_itself(watcher: Watcher, tmp_path: Path) -> None:
    main = write(tmp_path / os.fsdecode(b"\xff") / os.fsdecode(b"\xfe"), "old\n")
    watcher.want([main])
    assert watcher.unwatchable == ()
    assert_watched(watcher, main)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000])
def test_impossible_name_in_the_configuration(watcher: Watcher, main: str, name: str) -> None:
    watcher.want([main, str(Path(main).parent / name)])
    assert_watched(watcher, main)


# -- want


def test_want_is_idempotent(watcher: Watcher, main: str, tmp_path: Path) -> None:
    assert watcher.want([main]) == {main}
    for _ in range(3):
        assert watcher.want([main]) == set()
    other = write(tmp_path / "srv/other", "x")
    assert watcher.want([main, other]) == {other}
    third = write(Path(main).parent / "third", "x")
    assert watcher.want([main, other, third]) == {third}
    assert watcher.watches == 4
    assert watcher.want([]) == set()
    assert watcher.watches == 0
    write(Path(main), "new\n")
    assert heard(watcher) == []


# -- what takes a process of its own: namespaces, so that nobody has to be root nor to clean up


def run(script: str, tmp_path: Path, *command: str) -> None:
    if command and subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip(f"{command[0]} is not possible here")
    python = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    subprocess.run([*command, *python], cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})


@pytest.mark.usefixtures("main")
def test_want_sees_a_mount_that_no_event_told(tmp_path: Path) -> None:
    write(tmp_path / "mounted/kea-dhcp4.conf", "other\n")
    script = """
        import subprocess, sys
        from kea_agent.watch import Hint, Kind, Watcher
        watcher, main = Watcher(root=sys.argv[1]), sys.argv[1] + "/etc/kea/kea-dhcp4.conf"
        watcher.want([main])
        subprocess.run(["mount", "--bind", "mounted", "etc/kea"], check=True)
        assert watcher.want([main]) == {main}
        with open(main, "w") as file:
            file.write("new")
        assert watcher.read() == (Hint(main, Kind.FINISHED),)
        subprocess.run(["umount", "etc/kea"], check=True)
        assert watcher.want([main]) == {main}
    """
    run(script, tmp_path, "unshare", "-rm")


@pytest.mark.usefixtures("main")
def test_no_watches_left(tmp_path: Path) -> None:
    script = """
        import sys
        from kea_agent.watch import Watcher
        def limit(number):
            with open("/proc/sys/user/max_inotify_watches", "w") as file:
                file.write(str(number))
        watcher, kea = Watcher(root=sys.argv[1]), sys.argv[1] + "/etc/kea"
        limit(2)
        watcher.want([kea + "/kea-dhcp4.conf"])
        assert watcher.watches == 2
        assert watcher.unwatchable == (kea + ": No space left on device (fs.inotify.max_user_watches)",)
        limit(3)
        assert watcher.want([kea + "/kea-dhcp4.conf"]) == {kea + "/kea-dhcp4.conf"}
        assert watcher.watches == 3
        assert watcher.unwatchable == ()
    """
    run(script, tmp_path, "unshare", "-r")


@pytest.mark.usefixtures("main")
def test_directory_that_may_be_passed_but_not_read(tmp_path: Path) -> None:
    script = """
        import logging, os, sys
        from kea_agent.watch import Hint, Kind, Watcher
        warnings = []
        logging.getLogger("kea_agent.watch").addFilter(lambda record: warnings.append(record.getMessage()))
        watcher, kea = Watcher(root=sys.argv[1]), sys.argv[1] + "/etc/kea"
        os.chmod(kea, 0o311)
        watcher.want([kea + "/kea-dhcp4.conf"])
        watcher.want([kea + "/kea-dhcp4.conf"])
        assert watcher.unwatchable == (kea + ": Permission denied",)
        assert warnings == [f"not watched, changes will be found late: {kea}: Permission denied"]
        os.chmod(kea, 0o755)
        assert watcher.read() == (Hint(kea + "/kea-dhcp4.conf", Kind.FINISHED),)
        assert watcher.unwatchable == ()
        assert watcher.watches == 3
    """
    run(script, tmp_path, *(["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []))


def test_no_inotify_instance_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        watcher = Watcher()
        assert not watcher.is_open
        assert not watcher.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    words = "files are only polled: inotify is unavailable: Too many open files (fs.inotify.max_user_instances)"
    assert caplog.messages == [words]
    main = write(tmp_path / "main", "x")
    assert watcher.want([main]) == frozenset()
    assert watcher.watches == 0
    watcher.close()
    assert watcher.open()
    assert watcher.want([main]) == {main}
    write(Path(main), "y")
    assert Hint(main, Kind.FINISHED) in watcher.read()
    watcher.close()


# -- the queue


def test_overflow(watcher: Watcher, main: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("the queue is too long to be filled in a test")
    also = write(Path(main).parent / "also", "x")
    watcher.want([main, also])
    noise = [write(Path(main).parent / name, "x") for name in ("noise1", "noise2")]
    heard(watcher)
    for _ in range(limit // 2 + 1):  # in turns, as the kernel merges equal events
        os.utime(noise[0])
        os.utime(noise[1])
    sh(f"rm -r etc/kea; mkdir etc/kea; echo lost > {MAIN}", tmp_path)
    assert last_heard(watcher) == {main: Kind.FINISHED, also: Kind.GONE}
    assert watcher.overflows == 1
    assert watcher.events > limit
    assert "overflow" in caplog.text
    assert_watched(watcher, main)


def test_many_events_are_read_in_bounded_portions(watcher: Watcher, main: str) -> None:
    watcher.want([main])
    for number in range(3000):
        os.utime(main, (number, number))
        Path(main + "~").touch()
    assert heard(watcher) == [Hint(main, Kind.FINISHED)]


def test_parse() -> None:
    data = struct.pack("iIII", 1, 2, 3, 0) + struct.pack("iIII8s", -1, 0x4000, 0, 8, b"\xe4b\0\0\0\0\0\0")
    assert [tuple(event) for event in parse(data)] == [(1, 2, ""), (-1, 0x4000, os.fsdecode(b"\xe4b"))]
    assert list(parse(b"")) == []


# -- the descriptor


def test_descriptor_is_close_on_exec_and_does_not_block(watcher: Watcher) -> None:
    assert fcntl.fcntl(watcher.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert fcntl.fcntl(watcher.fd, fcntl.F_GETFL) & os.O_NONBLOCK
    assert watcher.read() == ()


def test_close_twice(tmp_path: Path) -> None:
    watcher = Watcher(root=str(tmp_path))
    watcher.want([str(tmp_path / "x")])
    watcher.close()
    watcher.close()


def test_root_is_watched_by_default(main: str) -> None:
    watcher = Watcher()
    watcher.want([main])
    assert watcher.watches == len(Path(main).parents) - len(watcher.unwatchable)
    write(Path(main), "new\n")
    assert main in {hint.path for hint in heard(watcher)}
    watcher.close()


def test_pyinotify_does_not_log_by_itself() -> None:
    assert logging.getLogger("pyinotify").handlers == []


# -- the way to a file


def way(*files: Path, not_watched: frozenset[str] = frozenset()) -> list[str]:
    return [place.path for place in walk(map(str, files), not_watched).values()]


def test_walk_ends_where_nothing_is(tmp_path: Path) -> None:
    above = ["/", *(str(parent) for parent in reversed(tmp_path.parents[:-1])), str(tmp_path)]
    assert way(tmp_path / "a/b/c") == above
    write(tmp_path / "a", "a file, where a directory is expected")
    assert way(tmp_path / "a/b/c") == above
    assert way(tmp_path / "a", not_watched=frozenset(above[:-1])) == above[-1:]


@pytest.mark.parametrize(("links", "arrives"), [(40, True), (41, False)])
def test_walk_follows_as_many_links_as_the_kernel(tmp_path: Path, links: int, *, arrives: bool) -> None:
    target = tmp_path / "end/file"
    write(target, "x")
    for number in range(links):
        link = tmp_path / str(number)
        link.symlink_to(target)
        target = link
    try:
        target.read_text()
        kernel_arrives = True
    except OSError:
        kernel_arrives = False
    assert kernel_arrives is arrives
    assert (str(tmp_path / "end") in way(target)) is arrives
