# SPDX-License-Identifier: MPL-2.0
"""Texts in Kea's configuration language, right ones and mutated ones, for comparing two readers of it."""

from __future__ import annotations

import random

HEAD, TAIL = b'{"Dhcp4": {"user-context":\n', b"\n}}\n"

# Everything in a user context is plain JSON to Kea's grammar, so only the language is compared, not the keywords.
BODIES = [
    b'{"a": 1}',
    b'{"a": [1, -2, 3.5, 1e5, true, false, null, "x"], "b": {}}',
    b'{"a": "q\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9", # one\n "b": /* two\n */ "//no", // three\n "c": "#no"}',
    b'{"a": [1,2,,], "b": [[],[{},],], "c": 1,,}',
    b'{"a": 007, "b": +5, "c": -.5, "d": 5., "e": 9223372036854775807, "f": -0}',
    b'{<?include "INC/map"?>, "z": [<?include "INC/list"?>]}',
    b'{"a": <?include "INC/deep"?> }',
    b'{\n<?include"INC/empty"?>\n"a"\n:\n<? \n include\t"INC/value" ?>\n}',
    b'{"\xc3\xa9": "\xff", # \xfe \x00\n "a": 1}',
    b'{"long": "' + b"x" * 70000 + b'", "a": [' + b"[" * 40 + b"]" * 40 + b"]}",
]
INCLUDED = {
    "map": b'"m": 1, # comment\n "n": [2]\n',
    "list": b"1, 2,\n",
    "value": b'/* v */ "v"',
    "empty": b"",
    "deep": b'<?include "INC/deeper"?>',
    "deeper": b'{"d": <?include "INC/value"?>}',
    "broken": b'"x": [1, 2\n',
    "badline": b'\n\n"x" 1\n',
    "open": b"1 /* never",
    "loop": b'<?include "INC/loop"?>',
    **{f"n{i}": b'\n<?include "INC/n%d"?>\n' % (i + 1) for i in range(1, 13)},
    "n13": b"1",
}
SNIPPETS = [
    b'"', b"\\", b",", b",,", b":", b"[", b"]", b"{", b"}", b"#", b"//", b"/*", b"*/", b"/", b"<?", b"?>", b"<", b"'a'",
    b" ", b"\n", b"\t", b"\r", b"\x00", b"\x0b", b"\x0c", b"\x7f", b"\xff", b"\xef\xbb\xbf", b"1", b"-", b"+", b".", b"e5",
    b"1e400", b"1e-400", b"1.2.3", b"00", b"0x1", b"9223372036854775808", b"-9223372036854775808", b"NaN", b"Infinity",
    b"true", b"True", b"nul", b"null", b'"a": 1', b'"a"', b"1, 2", b'"\\u12"', b'"\\u0100"', b'"\\x"', b'"\\"', b'"\t"',
    b'"a\nb"', b"[]", b"{}", b'<?include "INC/value"?>', b'<?include "INC/none"?>', b'<?include "INC/map"?>',
    b'<?include "INC/broken"?>', b'<?include "INC/badline"?>', b'<?include "INC/open"?>', b'<?include "INC/loop"?>',
    b'<?include "INC/n1"?>', b'<?include "INC/n3"?>', b'<?include ""?>', b"<?include INC/value?>", b'<?include "INC/value" x?>',
    b'<?include "INC/value"', b"<?incl", b'<?include /* */ "INC/value"?>', b'<?include "INC"?>',
]  # fmt: skip


def mutant(rng: random.Random) -> bytes:
    """A body with up to two pieces put in, cut out or replaced."""
    body = rng.choice(BODIES)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
        start = rng.randrange(len(body) + 1)
        end = min(len(body), start + rng.choice((0, 0, 1, 1, 2, 5)))
        body = body[:start] + rng.choice([*SNIPPETS, b"", b"", b""]) + body[end:]
    return HEAD + body + TAIL
