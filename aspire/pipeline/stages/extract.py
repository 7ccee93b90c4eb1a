"""Stage 2: captions -> foreground phrases, background, alternative background."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from aspire.language.alternatives import choose_alternatives
from aspire.language.base import Extractor
from aspire.pipeline.records import Caption, Extraction, Rejected
from aspire.pipeline.stage import ItemResult, Json, SaveImage


class ExtractStage:
    """Caption -> Extraction without alternatives yet (see :func:`with_alternatives`).

    A caption that names no background keeps its foreground phrases and is counted as
    ``no_background``.

    Args:
        extractor: finds the phrases.
        class_words: img_id -> words for the class object of that image.
    """

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 1
    record = Extraction

    def __init__(self, extractor: Extractor, class_words: Mapping[str, Sequence[str]]) -> None:
        self.extractor = extractor
        self.class_words = class_words

    def identity(self) -> Mapping[str, Json]:
        return self.extractor.identity()

    def item_id(self, item: Caption) -> str:
        return item.img_id

    def run(self, items: Sequence[Caption], save: SaveImage) -> Iterator[ItemResult[Extraction]]:
        found = self.extractor.extract(
            [c.text for c in items], [self.class_words[c.img_id] for c in items]
        )
        for caption, phrases in zip(items, found, strict=True):
            rejected: tuple[Rejected, ...] = ()
            if phrases.background is None:
                rejected = (
                    Rejected(item_id=caption.img_id, reason="no_background", detail=caption.text),
                )
            extraction = Extraction(
                img_id=caption.img_id,
                foreground=phrases.foreground,
                background=phrases.background,
                alternative=None,
            )
            yield ItemResult(caption.img_id, (extraction,), rejected)


def with_alternatives(extractions: Sequence[Extraction], seed: int) -> list[Extraction]:
    """Give each background that lacks one an alternative from the backgrounds of the corpus.

    An extractor that asks a language model brings its own alternatives; those are kept.
    """
    chosen = choose_alternatives({e.img_id: e.background for e in extractions}, seed)
    return [
        e
        if e.alternative is not None or e.background is None
        else msgspec.structs.replace(e, alternative=chosen[e.img_id])
        for e in extractions
    ]
