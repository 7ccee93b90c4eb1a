"""Stage 2: captions -> foreground phrases, background, alternative background."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from aspire.identity import Json
from aspire.language.alternatives import choose_alternatives
from aspire.language.base import Extractor, Phrases, Priced, Unreadable
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import Caption, Extraction, Rejected

_LONGEST_DETAIL = 2000  # characters of an unreadable answer that are kept


class ExtractStage:
    """Caption -> Extraction, often without an alternative yet (see :func:`with_alternatives`).

    A caption that names no background keeps its foreground phrases and is counted as
    ``no_background``; one without a usable answer is rejected with the answer as detail.
    Captioners repeat themselves: equal captions of equal class words are asked once.

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
        self._answers: dict[tuple[str, tuple[str, ...]], Phrases | Unreadable] = {}

    def identity(self) -> Mapping[str, Json]:
        return self.extractor.identity()

    def item_id(self, item: Caption) -> str:
        return item.img_id

    def quote(self, items: Sequence[Caption]) -> None:
        """Let an extractor that costs money look at all its questions beforehand.

        Raises:
            DryRun, ConfigError: see :class:`aspire.language.base.Priced`.
        """
        if isinstance(self.extractor, Priced):
            questions = list(dict.fromkeys(map(self._question, items)))
            self.extractor.quote([text for text, _ in questions], [words for _, words in questions])

    def run(self, items: Sequence[Caption], save: SaveImage) -> Iterator[ItemResult[Extraction]]:
        new = [q for q in dict.fromkeys(map(self._question, items)) if q not in self._answers]
        answers = iter(self.extractor.extract([text for text, _ in new], [w for _, w in new]))
        for caption in items:
            question = self._question(caption)
            if question not in self._answers:  # the next of ``new``
                self._answers[question] = next(answers)
            yield _result(caption, self._answers[question])

    def _question(self, item: Caption) -> tuple[str, tuple[str, ...]]:
        return item.text, tuple(self.class_words[item.img_id])


def _result(caption: Caption, answer: Phrases | Unreadable) -> ItemResult[Extraction]:
    if isinstance(answer, Unreadable):
        detail = answer.raw[:_LONGEST_DETAIL]
        rejected = Rejected(item_id=caption.img_id, reason=answer.reason, detail=detail)
        return ItemResult(caption.img_id, rejected=(rejected,))
    extraction = Extraction(
        img_id=caption.img_id,
        foreground=answer.foreground,
        background=answer.background,
        alternative=answer.alternative if answer.background is not None else None,
    )
    if answer.background is not None:
        return ItemResult(caption.img_id, (extraction,))
    without = Rejected(item_id=caption.img_id, reason="no_background", detail=caption.text)
    return ItemResult(caption.img_id, (extraction,), (without,))


def with_alternatives(
    extractions: Sequence[Extraction], seed: int, needs_donors: bool, classes: Mapping[str, int]
) -> list[Extraction]:
    """Give each background an alternative, from the backgrounds of the corpus where needed.

    An extractor that asks a language model brings alternatives of its own.

    Args:
        needs_donors: of the restyler. One that can draw any scene gets those; for one that cuts
            them out of other images, only what the corpus shows is of use, so the nearest to the
            model's is taken.
        classes: img_id -> class.
    """
    chosen = choose_alternatives(
        {e.img_id: e.background for e in extractions},
        seed,
        {e.img_id: e.alternative for e in extractions},
        classes,
    )
    return [
        e
        if e.background is None or (e.alternative is not None and not needs_donors)
        else msgspec.structs.replace(e, alternative=chosen[e.img_id])
        for e in extractions
    ]
