"""No page of the repository links to a file or a heading that is not there.

Pages of the site link to pages that are made (``docs/made``): those links are warnings of Sphinx,
and errors of ``test_site.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in (
        "*.md",
        "docs/*.md",
        "experiments/**/README.md",
        "aspire/weights/*/README.md",
        "tests/*.md",
        ".github/**/*.md",
    )
    for page in ROOT.glob(pattern)
)
LINK = re.compile(
    r"\]\(<?([^)\s>]+)>?(?: [^)]*)?\)|(?:href|src)=\"([^\"]+)\"|^\[[^\]]+\]: (\S+)", re.M
)


def prose(text: str) -> str:
    """A page without its code, in which brackets are no links."""
    text = re.sub(r"^( *)(```+|~~~+|:::+\{code).*?^\1\2\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)[^`].*?\1", "", text)


def links(text: str) -> Iterator[str]:
    """What a page links to that is no address elsewhere."""
    for match in LINK.finditer(prose(text)):
        target = next(filter(None, match.groups()))
        if not re.match(r"[a-z][a-z+.-]*:", target):
            yield unquote(target)


@cache
def anchors(page: Path) -> set[str]:
    """Of every heading, as GitHub and MyST make them."""
    text = re.sub(r"^ *(```+).*?^ *\1\s*$", "", page.read_text("utf-8"), flags=re.M | re.S)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        number = next(n for n in range(99) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if ROOT / "docs/made" in there.parents:
            continue
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in anchors(there)
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_link_is_dead(page: Path) -> None:
    assert dead(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A page\n\n## What `it` says, twice\n## Twice\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Top\n[a](there.md) [b](gone.md) [c](there.md#what-it-says-twice) [d](there.md#nothing)\n"
        "[e](#top) [f](#bottom) ![g](gone.png) [h](https://example.org/x#y) `[i](code.md)`\n"
        '<img src="lost.svg"> [j](there.md#twice-1) [k][ref]\n\n[ref]: nowhere.md\n'
        "```sh\n[l](code.md)\n```\n"
    )
    assert dead(page) == [
        "gone.md",
        "there.md#nothing",
        "#bottom",
        "gone.png",
        "lost.svg",
        "nowhere.md",
    ]
