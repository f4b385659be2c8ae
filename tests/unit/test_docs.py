# SPDX-License-Identifier: MPL-2.0
"""Every document can be found from the index, and every link in one leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "tests/lab/README.md"])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Each relative link of a document: the file it names, and the section, which may be empty."""
    for target in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if "://" not in target:
            path, _, section = target.partition("#")
            yield (document.parent / path).resolve() if path else document, section


def sections(document: Path) -> set[str]:
    """The anchors that a forge makes of a document's headings, and those that it names itself."""
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ +(.+)$", _FENCE.sub("", text), re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    missing = [
        f"{path}#{section}"
        for path, section in links(document)
        if not path.exists() or (section and section not in sections(path))
    ]
    assert missing == []


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    listed = {path for path, _ in links(index)}
    assert [str(path) for path in DOCUMENTS if path != index and path not in listed] == []
