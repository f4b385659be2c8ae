# SPDX-License-Identifier: MPL-2.0
"""Why Kea could not open a database, from its own sentence: what it means, and what to do.

The sentences are libmariadb's, libpq's and Kea's, seen on 2.2.0, 2.6.3 and 3.0.4 with MariaDB 11.8 and PostgreSQL 17.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from kea_agent import redact
from kea_agent.plain import printable

# `-T` says the first, a start the second; both once more in the log.
_SENTENCE = re.compile(r"(?:Error encountered|Unable to open database): (.*)")

Kind = Literal["parameters", "schema", "hosts", "connection"]

_FAULTS: tuple[tuple[Kind, str, str, str], ...] = (
    (
        "parameters",
        r"expected format is name=value|Apostrophe|in connection info string|connection option|unterminated quoted",
        "cannot be opened",
        "take blanks and quotes out of its parameters",
    ),
    (
        "schema",
        r"schema version mismatch",
        "has another schema version than this Kea wants",
        "upgrade it with `kea-admin db-upgrade`, after a backup",
    ),
    ("schema", r"schema_version", "has no schema of Kea that this user can read", "make it with `kea-admin db-init`"),
    (
        "hosts",
        r"unable to (?:prepare|execute) \S+ statement",
        "does not let this user read reservations",
        "grant it the tables",
    ),
    (
        "connection",
        r"Unknown database|database \"[^\"]*+\" does not exist|to database '",
        "does not exist, or this user may not use it",
        "create it, or grant it to the user",
    ),
    (
        "connection",
        r"Access denied|authentication failed|no pg_hba\.conf entry|role \"[^\"]*+\" does not exist|no password",
        "refuses this user",
        "mend user and password in the file, or the user in the database",
    ),
    (
        "parameters",
        r"must specify a name|default value as credential|\bTLS\b|\bSSL\b|Did you forget|is not supported",
        "cannot be used with these parameters",
        "mend them in the file",
    ),
    ("connection", r"", "cannot be reached", "look whether it runs, and at host, port and firewall"),
)


@dataclass(frozen=True)
class Fault:
    """`meaning` follows the database's name. Of kind `connection`: what retry-on-startup tries again; `hosts`: what
    matters for reservations only, found after the schema was."""

    kind: Kind
    meaning: str
    sentence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.meaning}: {self.sentence}; {self.advice}"


def found_in(output: str, tree: Any) -> Fault | None:
    """The fault in what Kea printed, without the secrets of the tree; None where it did not come to the database."""
    sentences = _SENTENCE.findall(output)
    if not sentences:
        return None
    sentence = redact.cleaned(sentences[-1].strip().rstrip("."), tree)
    kind, meaning, advice = next(
        (kind, meaning, advice) for kind, words, meaning, advice in _FAULTS if re.search(words, sentence)
    )
    return Fault(kind, meaning, printable(_without_pieces(sentence)), advice)


def last_words(output: str, code: int, tree: Any) -> str:
    """How it ended, for whatever else went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return printable(redact.cleaned(lines[-1], tree)) if lines else f"it exited with {code} and said nothing"


def _without_pieces(sentence: str) -> str:
    """Kea makes one string of the parameters, and quotes a piece, of the password perhaps, where nobody can read it."""
    is_quoted = re.search(_FAULTS[0][1], sentence)
    return "its parameters, put into one string, cannot be taken apart" if is_quoted else sentence
