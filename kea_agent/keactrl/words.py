# SPDX-License-Identifier: MPL-2.0
"""Words as sh(1) splits them: at blanks, tabs and line ends; str.split() would split at Unicode's blanks as well."""

from __future__ import annotations

_BLANKS = str.maketrans("\t\n", "  ")


def split(text: str) -> list[str]:
    """The words of an expansion without quotes."""
    return [word for word in text.translate(_BLANKS).split(" ") if word]
