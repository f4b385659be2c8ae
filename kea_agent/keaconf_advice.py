# SPDX-License-Identifier: MPL-2.0
"""What helps against each of the reader's errors: keaconf.py and keaconf_grammar.py say what is wrong, this what to do."""

from __future__ import annotations

import re

_OPEN = "Look at the end of the line above, too: Kea names the place where it could not go on."
_ADVICE = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        (r'expected "," or "[}\]]" before "?[}\]]', f"Another bracket is open here: close that one first. {_OPEN}"),
        (r'expected "," or "[}\]]" before the end', "Close every { with } and every [ with ]: one is still open."),
        (r'expected "," or ', f"Put a comma between this and what is before it. {_OPEN}"),
        (r"expected the top-level key", "A file has one map for one daemon; give each daemon a file of its own."),
        (r"expected .* before the end", "Finish the file, or take out what was begun."),
        (r'expected "?<\?include|expected "\?>"', 'Write <?include "/etc/kea/more.json"?>.'),
        (r"expected ", "Write what is expected, or look for what is missing before it."),
        (r"duplicate key", "Keep one of the two; in a list, each entry needs { } of its own."),
        (r"empty file", 'Write at least the map of the daemon with something in it, such as { "Dhcp4": { ... } }.'),
        (r"cannot (?:read|include)", "Mend the name, or the rights of the file, and see that it is a plain file of fair size."),
        (r"text after the last", "Take it out, or take out the bracket that closes too early."),
        (r"nested deeper", "Take levels of brackets out; no configuration of Kea's needs so many."),
        (r'.*has no "\*/"', "Close it with */."),
        (r"the string that starts here", 'Close it with "; a string cannot go on in the next line.'),
        (r'bad escape|.*is no escape|control character', r'In a string write \\ for a backslash, \" for a quote, \n for a new line.'),
        (r"byte order mark", "Kea refuses the whole file because of it."),
        (r'invalid|.*lower case', 'Strings stand in "double quotes", comments begin with # or //.'),
        (r".*is not a number", "Write a whole number of at most 64 bits, or one with a point."),
        (r"trailing comma", "Take it out, unless something was forgotten behind it."),
    )
)  # fmt: skip


def advice(message: str) -> str:
    """What to do; empty for an error that is none of the reader's."""
    return next((words for pattern, words in _ADVICE if pattern.match(message)), "")
