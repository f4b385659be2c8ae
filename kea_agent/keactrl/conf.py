# SPDX-License-Identifier: MPL-2.0
"""keactrl.conf: shell assignments, read and never executed.

What sh(1) makes of an assignment is kept: quotes, backslashes, comments, `$name` and `${name}`, several assignments on
one line, `export`. Everything else that a shell would run is an error with its line.

Whoever writes the file says what its reader runs, so it has to be root's, or the caller's, by every step of its path.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping

from kea_agent.errors import ConfigError
from kea_agent.keactrl.errors import MissingVariableError, UntrustedConfError
from kea_agent.reading import UntrustedError, read_trusted

MAX_BYTES = 1 << 20

_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_]\w*)=", re.ASCII)
_BETWEEN = re.compile(r"(?:[ \t\n]|\\\n|#[^\n]*)+")
_PLAIN = re.compile(r"[^ \t\r\n\\\"'$`;&|<>()\x00]+")
_SINGLE = re.compile(r"'([^'\x00]*)'")
_ESCAPE = re.compile(r"\\(\n|[^\n])")
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
_QUOTED = re.compile(r'[^"\\$`\x00]+')
_WORD_END = re.compile(r"[ \t\n]|\Z")


class Conf:
    """The variables of one keactrl.conf; `path` is as it was given."""

    def __init__(self, path: str, variables: Mapping[str, str]) -> None:
        self.path = path
        self._variables = variables

    def __getitem__(self, name: str) -> str:
        """The value; raises MissingVariableError."""
        if name not in self._variables:
            raise MissingVariableError(name)
        return self._variables[name]

    def __contains__(self, name: str) -> bool:
        return name in self._variables

    def get(self, name: str) -> str:
        """The value, empty where there is none."""
        return self._variables.get(name, "")


def read(path: str, prefix: str, environ: Mapping[str, str]) -> Conf:
    """Read the file; `prefix` is where Kea is installed, which the script knows before it reads the file.

    Raises ConfigError with its line, MissingVariableError for a reference to nothing, and UntrustedConfError for a file
    that somebody but root and the caller may have written or put there.
    """
    return Conf(path, _Reader(path, _text(path), {"prefix": prefix}, environ).variables())


def _text(path: str) -> str:
    try:
        return os.fsdecode(read_trusted(path, MAX_BYTES))
    except UntrustedError as error:
        raise UntrustedConfError(path, error) from error
    except OSError as error:
        raise ConfigError(_why_unread(path, error), file=path) from error


def _why_unread(path: str, error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return f"larger than {MAX_BYTES} bytes, which no keactrl.conf is"
    return f"cannot read it: {'is a directory' if os.path.isdir(path) else (error.strerror or str(error)).lower()}"


class _Reader:
    """One pass over the text."""

    def __init__(self, path: str, text: str, known: dict[str, str], environ: Mapping[str, str]) -> None:
        self._path = path
        self._text = text
        self._at = 0
        self._environ = environ
        self._found = known

    def variables(self) -> dict[str, str]:
        while self._skip():
            assignment = self._take(_ASSIGNMENT)
            if not assignment:
                raise self._error("only assignments (name=value) are read here; nothing is executed")
            self._found[assignment[1]] = "".join(self._value())
        return self._found

    def _skip(self) -> bool:
        self._take(_BETWEEN)
        return self._at < len(self._text)

    def _value(self) -> Iterator[str]:
        if self._text.startswith("~", self._at):
            raise self._error("~ is not expanded here: write the directory out")
        while not _WORD_END.match(self._text, self._at):
            yield from self._part()

    def _part(self) -> Iterator[str]:
        if found := self._take(_PLAIN) or self._take(_ESCAPE):
            yield found[0] if found.re is _PLAIN else found[1].strip("\n")
        elif found := self._take(_SINGLE):
            yield found[1]
        elif self._text.startswith('"', self._at):
            yield from self._double_quoted()
        else:
            yield self._dollar()

    def _double_quoted(self) -> Iterator[str]:
        start = self._at
        self._at += 1
        while not self._text.startswith('"', self._at):
            if self._at >= len(self._text):
                self._at = start
                raise self._error('no closing "')
            yield self._inside_quotes()
        self._at += 1

    def _inside_quotes(self) -> str:
        if found := self._take(_QUOTED):
            return found[0]
        if found := self._take(_ESCAPE):
            # Inside double quotes a backslash stands for itself before anything else (sh(1)).
            return found[1].strip("\n") if found[1] in '$`"\\\n' else found[0]
        return self._dollar()

    def _dollar(self) -> str:
        found = self._take(_REFERENCE)
        if found:
            return self._referenced(found[1] or found[2])
        after = self._text[self._at + 1 : self._at + 2]
        if self._text[self._at] == "$" and (not after or after in ' \t\n"/.,:%+='):
            self._at += 1
            return "$"
        raise self._error(_WHY.get(self._text[self._at], "this is not executed here"))

    def _referenced(self, name: str) -> str:
        value = self._found.get(name, self._environ.get(name))
        if value is None:
            raise MissingVariableError(name)
        return value

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _error(self, message: str) -> ConfigError:
        line = self._text.count("\n", 0, self._at) + 1
        return ConfigError(message, file=self._path, line=line)


_WHY = {
    "$": "only $name and ${name} are replaced; no command is executed here",
    "`": "no command is executed here",
    ";": "one assignment after the other, without ;",
    "'": "no closing '",
    "\\": "a backslash with nothing behind it",
    "\r": "a carriage return: save the file with Unix line ends",
    "\x00": "a null character",
}
