# SPDX-License-Identifier: MPL-2.0
"""Kea's configuration language: the text and its includes in, one tree with its positions out.

The language is JSON with `#`, `//` and `/* */` comments, `<?include "FILE"?>` between any two tokens and surplus
commas after a value. The facts stand in Kea's src/bin/dhcp4/dhcp4_lexer.ll and dhcp4_parser.yy (2.2.0, 2.6.3 and 3.0.4
do not differ here) and were compared with `kea-dhcp4 -t` of these three (tests/unit/test_keaconf_oracle.py). Kea reads
bytes: so does this module, and a column counts bytes. It sees the language only: which keywords there are is for Kea.

This module is about files: it splices includes, drops comments and knows where every piece of text came from.
keaconf_grammar makes a tree of the result; keaconf_places tells, for whoever asks, where in the files a value stands.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pwd
import re
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kea_agent.errors import ConfigError
from kea_agent.keaconf_grammar import parse, shown, utf8_tree, without_escapes
from kea_agent.plain import printable

__all__ = ["MAX_BYTES", "Document", "Source", "file_set", "fingerprint", "json_text", "meaning_of", "read", "utf8_tree"]

MAX_BYTES = 64 * 1024 * 1024
MAX_NESTED_INCLUDES = 11  # Kea gives up at the twelfth: "Too many nested include."
MAX_INCLUDES = 65536  # Kea has no limit; a directive that costs 20 bytes may not cost unbounded work
MAX_WARNINGS = 50
PATH_MAX = 4096  # the kernel's

_NULL_DEVICE = os.makedev(1, 3)  # a link to /dev/null is how people mask a file, and Kea reads it as empty

# Possessive quantifiers stand on single characters only: on groups, Python 3.11.2 gets them wrong (cpython gh-106052).
# The bound keeps sre from remembering a way back for each of a million strings.
_PLAIN = re.compile(r'(?:[^"#/<]*+"[^"\\\x00-\x1f]*+"){0,500}[^"#/<]*+')
_INSIDE_STRING = re.compile(r'(?:\\["\\/bfnrtu]|[^"\\\x00-\x1f]++){1,500}')
_DIRECTIVE = re.compile(r'<\?[ \t\r\n]*+include[ \t\r\n]*+"([^"\n]++)"')
_DIRECTIVE_START = re.compile(r"<\?[ \t\r\n]*+(?:include[ \t\r\n]*+)?")
_SPACE = re.compile(r"[ \t\r\n]*+")
# Forgives everything that `read` would refuse, so that a half-typed file still names its includes.
_TOLERANT = re.compile(
    r"""[^"#/<]++|"[^"\n]*+"?|\#[^\n]*+|//[^\n]*+|/\*(?s:.*?)(?:\*/|\Z)"""
    r"""|<\?[ \t\r\n]*+include[ \t\r\n]*+"([^"\n]++)"|."""
)


@dataclass(frozen=True)
class Document:
    """One configuration as read; `files` are absolute as far as directives resolve, not resolved through links.

    `digest` changes with any byte of any file; `meaning` only when the tree does. `size`: bytes of all text together.
    """

    path: str
    files: tuple[str, ...]
    tree: dict[str, Any]
    root: dict[str, Any]
    digest: str
    meaning: str
    warnings: tuple[str, ...]
    cwd: str = "/"
    size: int = MAX_BYTES


def read(path: str, root_key: str, *, max_bytes: int = MAX_BYTES, cwd: str = "/") -> Document:
    """Read the configuration `path`, whose one top-level key has to be `root_key`.

    Relative includes start at `cwd`, the daemon's working directory (systemd: /), and not at the including file.
    All text together may have `max_bytes`, a file included twice counting twice. Raises ConfigError and nothing else.
    Strings that are not UTF-8 are kept by surrogate escapes.
    """
    try:
        return _read(path, root_key, max_bytes, cwd)
    except ConfigError as error:
        # The frames that raised it hold the text, and the text's source holds the error: not left to the collector.
        error.__context__ = None
        raise error.with_traceback(None) from None


def _read(path: str, root_key: str, max_bytes: int, cwd: str) -> Document:
    source = Source(cwd=cwd, max_bytes=max_bytes)
    text = source.expand(path)
    tree, commas = parse(text, root_key, error=source.error, stop=source.stop)
    return Document(
        path=path,
        files=tuple(source.texts),
        tree=tree,
        root=tree[root_key],
        digest=source.hash.hexdigest(),
        meaning=meaning_of(tree),
        warnings=tuple(_warnings(source, commas)),
        cwd=cwd,
        size=max_bytes - source.bytes_left,
    )


def file_set(path: str, *, cwd: str = "/", max_bytes: int = MAX_BYTES) -> tuple[str, ...]:
    """The main file and every file its directives name, recursively; never raises.

    Files that are missing or unreadable are in it: their arrival matters. On wrong text it is a best guess.
    """
    found: dict[str, None] = {}
    waiting = [_absolute(path)]
    while waiting and len(found) < MAX_INCLUDES:
        file = waiting.pop()
        if file in found:
            continue
        found[file] = None
        data = _read_or_errno(file, max_bytes)
        if isinstance(data, bytes):
            max_bytes -= len(data)
            waiting.extend(reversed([_resolve(name, cwd) for name in _named_includes(data)]))
    return tuple(found)


def fingerprint(files: Iterable[str], *, max_bytes: int = MAX_BYTES) -> str:
    """What `Document.digest` would be for these files as they are on disk now; never raises.

    A file that cannot be read enters as the name of its errno, one beyond `max_bytes` in total as EFBIG.
    """
    digest = hashlib.sha256()
    for file in files:
        data = _read_or_errno(file, max_bytes)
        _feed(digest.update, file, data)
        max_bytes -= len(data) if isinstance(data, bytes) else 0
    return digest.hexdigest()


def json_text(tree: Mapping[str, Any]) -> bytes:
    """JSON as Kea reads it, with the bytes of the file's own strings: Kea knows no escapes beyond U+00FF."""
    return json.dumps(tree, ensure_ascii=False).encode(errors="surrogateescape")


def meaning_of(tree: dict[str, Any]) -> str:
    """The hash of what a tree says, whatever the order of its keys; config-get's answers need `utf8_tree` first."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# Files


def _read_bytes(path: str, max_bytes: int) -> bytes:
    """The content of a regular file; OSError for all else, and it never waits for a FIFO's writer."""
    if "\0" in path:
        raise ValueError("there is a NUL byte in its name")
    # Asked before opening, too: to open a device can already do something (/dev/watchdog).
    if _is_null_device(os.stat(path)):
        return b""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as file:
        if _is_null_device(os.fstat(file.fileno())):
            return b""
        # One byte more than allowed: the size that stat tells may be history by now.
        data = file.read(max(max_bytes, 0) + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return data


def _is_null_device(status: os.stat_result) -> bool:
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL_DEVICE:
        return True
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return False


def _read_or_errno(path: str, max_bytes: int) -> bytes | str:
    try:
        return _read_bytes(path, max_bytes)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "EIO")
    except ValueError:  # the name holds what the kernel cannot even be asked about
        return "EINVAL"


def _feed(update: Callable[[bytes], object], file: str, data: bytes | str) -> None:
    """Add one file to a digest; lengths keep names and contents apart, the kind keeps content and errno apart."""
    name = file.encode("utf-8", "surrogatepass")
    kind, content = (b"data", data) if isinstance(data, bytes) else (b"errno", data.encode())
    update(b"%d %s %d %s " % (len(name), kind, len(content), name))
    update(content)


def _reason(error: OSError | ValueError, max_bytes: int) -> str:
    """Why a file was not read; a ValueError is ours, or Python's for a name that the kernel cannot be asked about."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return f'permission denied for user "{_user()}" on the file or a directory above it'
    if error.errno == errno.EFBIG:
        return f"the configuration would have more than {max_bytes} bytes"
    return (error.strerror or "input/output error").lower()


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _absolute(path: str) -> str:
    try:
        return os.path.join(os.getcwd(), path)
    except OSError:  # the working directory has been removed
        return path


def _resolve(name: str, cwd: str) -> str:
    """The path of an include; `..` stays, because after a link it is not what it looks like."""
    return os.path.join(cwd, os.fsdecode(name.encode("latin-1")))


def _named_includes(data: bytes) -> list[str]:
    if b"<?" not in data:  # most files, and what is no configuration at all
        return []
    text = data.decode("latin-1")
    names = (text[slice(*match.span(1))] for match in _TOLERANT.finditer(without_escapes(text)) if match.lastindex)
    return [name for name in names if "\0" not in name]


# Text, comments and includes


class Source:
    """All files as one text without comments, remembering where each piece of it was taken from."""

    def __init__(self, *, cwd: str, max_bytes: int) -> None:
        self.cwd = cwd
        self.max_bytes = self.bytes_left = max_bytes
        self.includes = 0
        self.texts: dict[str, str] = {}
        self.hash = hashlib.sha256()
        # What ended the text early. The parser tells it only if there is nothing wrong before.
        self.stop: ConfigError | None = None
        self._lines: dict[str, tuple[int, int]] = {}
        self._chain: list[str] = []
        self._pieces: list[str] = []
        self._length = 0
        self._starts: list[int] = []
        self._origins: list[tuple[str, int]] = []

    def expand(self, path: str) -> str:
        """The whole text, or what of it comes before `stop`."""
        name = _absolute(path)
        try:
            text = self._text(name)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read it: {_reason(error, self.max_bytes)}", file=printable(path)) from error
        if not text:
            raise ConfigError("empty file", file=printable(path))
        try:
            self._splice(name, text)
        except ConfigError as error:
            self.stop = error
        return "".join(self._pieces)

    def error(self, offset: int, message: str) -> ConfigError:
        """The error for an offset of the expanded text."""
        return self._error(*self.origin(offset), message)

    def origin(self, offset: int) -> tuple[str, int]:
        """The file, and the offset in it, of an offset of the expanded text."""
        index = bisect_right(self._starts, offset) - 1
        name, start = self._origins[index]
        return name, start + offset - self._starts[index]

    def _error(self, name: str, offset: int, message: str) -> ConfigError:
        text = self.texts[name]
        # Counted from the last place that was asked for: a thousand places are no thousand walks through the text.
        last, line = self._lines.get(name, (0, 1))
        line += text.count("\n", last, offset) - text.count("\n", offset, last)
        self._lines[name] = offset, line
        column = offset - text.rfind("\n", 0, offset)
        return ConfigError(message, file=printable(name), line=line, column=column)

    def _text(self, name: str) -> str:
        """A file's text, one character a byte; read once, however often it is included."""
        if name not in self.texts:
            data = _read_bytes(name, self.bytes_left)
            _feed(self.hash.update, name, data)
            self.texts[name] = data.decode("latin-1")
        text = self.texts[name]
        self.bytes_left -= len(text)
        if self.bytes_left < 0:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return text

    def _splice(self, name: str, text: str) -> None:
        self._chain.append(name)
        position = 0
        while True:
            match = _PLAIN.match(text, position)
            end = match.end() if match else position
            self._add(name, position, text[position:end])
            if end == len(text):
                break
            position = self._special(name, text, end)
        self._add(name, len(text), "")
        self._chain.pop()

    def _add(self, name: str, offset: int, text: str) -> None:
        self._starts.append(self._length)
        self._origins.append((name, offset))
        # The space keeps tokens apart that a comment or the end of a file kept apart.
        self._pieces += (text, " ")
        self._length += len(text) + 1

    def _special(self, name: str, text: str, at: int) -> int:
        """Deal with what is neither plain text nor a plain string at `at`; returns where to go on."""
        if text[at] == "#" or text.startswith("//", at):
            end = text.find("\n", at)
            return end if end >= 0 else len(text)
        if text.startswith("/*", at):
            return self._block_comment(name, text, at)
        if text.startswith("<?", at):
            return self._include(name, text, at)
        if text[at] == '"':
            return self._string(name, text, at)
        raise self._error(name, at, f'invalid character "{text[at]}"')

    def _block_comment(self, name: str, text: str, at: int) -> int:
        end = text.find("*/", at + 2)
        if end < 0:
            raise self._error(name, at, 'the comment that starts here has no "*/"')
        return end + 2

    def _string(self, name: str, text: str, at: int) -> int:
        end = at + 1
        while match := _INSIDE_STRING.match(text, end):
            end = match.end()
        if text.startswith('"', end):
            self._add(name, at, text[at : end + 1])
            return end + 1
        if end == len(text) or text[end] == "\n":
            raise self._error(name, at, "the string that starts here is not closed on its line")
        if text[end] == "\\":
            raise self._error(name, end, f'bad escape "{shown(text[end : end + 2])}" in a string')
        raise self._error(name, end, f"control character {ord(text[end]):#04x} in a string")

    def _include(self, name: str, text: str, at: int) -> int:
        match = _DIRECTIVE.match(text, at)
        if not match:
            start = _DIRECTIVE_START.match(text, at)
            raise self._error(name, start.end() if start else at, 'expected <?include "FILE"?>')
        try:
            self._enter(match[1])
        except (OSError, ValueError) as error:
            hint = "" if match[1].startswith("/") else f" (relative includes start at {self.cwd!r})"
            message = f'cannot include "{shown(match[1], PATH_MAX)}": {_reason(error, self.max_bytes)}{hint}'
            raise self._error(name, at, message) from error
        return self._directive_end(name, text, match.end())

    def _enter(self, written: str) -> None:
        target = _resolve(written, self.cwd)
        self.includes += 1
        if target in self._chain:
            raise ValueError(f"include loop: {self._chain_to(target)}")
        if len(self._chain) > MAX_NESTED_INCLUDES:
            raise ValueError(f"nested deeper than {MAX_NESTED_INCLUDES}: {self._chain_to(target)}")
        if self.includes > MAX_INCLUDES:
            raise ValueError(f"more than {MAX_INCLUDES} includes")
        self._splice(target, self._text(target))

    def _chain_to(self, target: str) -> str:
        return " -> ".join(printable(name) for name in [*self._chain, target])

    def _directive_end(self, name: str, text: str, at: int) -> int:
        space = _SPACE.match(text, at)
        end = space.end() if space else at
        if not text.startswith("?>", end):
            raise self._error(name, end, 'expected "?>" at the end of the include directive')
        return end + 2


def _warnings(source: Source, commas: list[int]) -> list[str]:
    """One line for each trailing (or repeated) comma, up to a limit: a place costs a walk through the text."""
    message = "trailing comma, which Kea ignores: is something missing here?"
    lines = [str(source.error(offset, message)) for offset in commas[:MAX_WARNINGS]]
    more = len(commas) - len(lines)
    return [*lines, f"{printable(next(iter(source.texts)))}: {more} more trailing commas"] if more else lines
