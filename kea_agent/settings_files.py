# SPDX-License-Identifier: MPL-2.0
"""The files behind the settings: which ones, in which order, and one `Draft` of what they say together.

Nothing stops at the first problem: a person who mends a file wants to mend it once.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kea_agent.settings_kinds import Kind, did_you_mean, quote

MAIN_FILE = "kea-agent.toml"
DROP_IN_DIRECTORY = "kea-agent.d"
# Dozens of times what a file with every setting takes; a log or an image is not read into memory.
MAX_FILE_BYTES = 256 * 1024

Known = Mapping[str, Mapping[str, Kind]]


@dataclass
class Draft:
    """The accepted values by table and key, the file each of them is from, and every problem as one line."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin: dict[tuple[str, str], Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def blame(self, table: str, key: str, what: str) -> None:
        """A problem of values with each other, put down to the file that has the one at `key`."""
        self.problems.append(f"{self.origin[table, key]}: {table}.{key}: {what}")


def read_draft(directory: Path, known: Known) -> Draft:
    """The main file and the drop-ins under `directory`, later ones over earlier ones, key by key."""
    draft = Draft()
    for path in [directory / MAIN_FILE, *_drop_ins(directory / DROP_IN_DIRECTORY, draft)]:
        for table, content in _tables(_document(path, draft)):
            _take(path, table, content, known, draft)
    return draft


def _drop_ins(directory: Path, draft: Draft) -> list[Path]:
    """Sorted by name; names with a dot in front are an editor's own business."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".toml") and name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        draft.problems.append(f"{directory}: cannot be listed: {error.strerror}")
        return []
    return [directory / name for name in names]


def _document(path: Path, draft: Draft) -> dict[str, Any]:
    """One file as TOML has it; an empty one if there is none or it cannot be used."""
    try:
        return tomllib.loads(_text(path))
    except FileNotFoundError:
        problem = "points to a file that is not there" if path.is_symlink() else None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start + 1}"
    except RecursionError:
        problem = "is not TOML: nested too deeply"
    except ValueError as error:  # TOMLDecodeError, and int() for a number of thousands of digits
        problem = str(error) if isinstance(error, _UnusableFileError) else f"is not TOML: {error}"
    if problem:
        draft.problems.append(f"{path}: {problem}")
    return {}


class _UnusableFileError(ValueError):
    pass


def _text(path: Path) -> str:
    # O_NONBLOCK: opening a FIFO would wait for somebody to write into it
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _UnusableFileError("is not a file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise _UnusableFileError(f"is larger than {MAX_FILE_BYTES} bytes, so not a file of settings")
    return content.decode()


def _tables(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tables by their full names: [daemon.dhcp4] is one like [agent]."""
    for name, content in document.items():
        if name == "daemon" and isinstance(content, dict):
            yield from ((f"daemon.{_spelt(key)}", value) for key, value in content.items())
        else:
            yield _spelt(name), content


def _take(path: Path, table: str, content: object, known: Known, draft: Draft) -> None:
    if table not in known:
        draft.problems.append(f"{path}: {table}: {_unknown_table(table, content, known)}")
    elif not isinstance(content, dict):
        draft.problems.append(f"{path}: {table}: {quote(content)} is not a table, allowed: [{table}] and its keys")
    else:
        for key, value in content.items():
            _take_value(path, table, key, value, known, draft)


def _take_value(path: Path, table: str, key: str, value: object, known: Known, draft: Draft) -> None:
    where = f"{path}: {table}.{_spelt(key)}"
    kind = known[table].get(key)
    if kind is None:
        draft.problems.append(f"{where}: {_unknown_key(table, key, known)}")
        return
    try:
        draft.values.setdefault(table, {})[key] = kind.accept(value)
        draft.origin[table, key] = path
    except ValueError as error:
        draft.problems.append(f"{where}: {error}, allowed: {kind.allowed}")


def _unknown_table(table: str, content: object, known: Known) -> str:
    if isinstance(content, dict):
        return f"unknown table{did_you_mean(table, tuple(known))}, allowed: {', '.join(known)}"
    return f"unknown key outside of every table{_elsewhere(table, known)}"


def _unknown_key(table: str, key: str, known: Known) -> str:
    hint = did_you_mean(key, tuple(known[table])) or _elsewhere(key, known)
    return f"unknown key{hint}, allowed: {', '.join(known[table])}"


def _elsewhere(key: str, known: Known) -> str:
    """The tables that do have such a key: the usual mistake is a line below the wrong heading."""
    homes = [f"[{table}]" for table, keys in known.items() if key in keys]
    return f" (it belongs to {' or '.join(homes)})" if homes else ""


def _spelt(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quote(key)
