# SPDX-License-Identifier: MPL-2.0
"""The standard options as Kea's source defines them, of all versions together.

Reads src/lib/dhcp/std_option_defs.h, dhcp4.h and dhcp6.h at the tags of keagrammar.RELEASES. Run as a program, it prints
kea_agent/rules/options.table: `python tests/keaoptions.py CLONE > kea_agent/rules/options.table`.
"""

from __future__ import annotations

import re
import sys

import keagrammar

_SPACES = {"DHCP4_OPTION_SPACE": "4", "DHCP6_OPTION_SPACE": "6"}
_DEFINITION = re.compile(r'\{\s*"([^"]+)",\s*(\w+),\s*(\w+),\s*OPT_(\w+?)_TYPE,\s*(true|false),')
_CODE = re.compile(r"\b((?:DHO|D6O|D60)_\w+)\s*=?\s+([0-9]+)")
_HEAD = """\
# SPDX-License-Identifier: MPL-2.0
# The standard options of all versions of Kea of 2.2, 2.4, 2.6, 3.0, 3.2 and 3.3, written by tests/keaoptions.py:
# 4 or 6, code, name, type; [] where there may be several.
"""


def table(clone: str) -> str:
    """The file."""
    tags = [tag for release in keagrammar.RELEASES for tag in keagrammar.tags(clone, release)]
    rows = {row for tag in tags for row in _rows(clone, tag)}
    return _HEAD + "".join(f"{' '.join(map(str, row))}\n" for row in sorted(rows))


def _rows(clone: str, tag: str) -> set[tuple[int, int, str, str]]:
    texts = [
        keagrammar.shown(clone, f"Kea-{tag}:src/lib/dhcp/{name}.h") for name in ("dhcp4", "dhcp6", "std_option_defs")
    ]
    codes = {name: int(number) for text in texts for name, number in _CODE.findall(text)}
    return {
        (int(_SPACES[space]), codes[code], name, kind.lower() + ("[]" if many == "true" else ""))
        for name, code, space, kind, many in _DEFINITION.findall(texts[2])
        if space in _SPACES
    }


if __name__ == "__main__":
    print(table(sys.argv[1]), end="")
