"""Blank: the phrases of captions."""

from __future__ import annotations

from aspire.cli.templates.extractor import Blank
from aspire.language.base import Phrases


def test_scenes() -> None:
    captions = ["A bird in a tree on the lake", "a bird"]
    found = list(Blank().extract(captions, [["bird"], ["bird"]]))
    assert found == [Phrases(background="lake"), Phrases()]
    assert list(Blank(["in"]).extract(captions[:1], [["bird"]])) == [
        Phrases(background="tree on the lake")
    ]
