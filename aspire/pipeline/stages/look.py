"""Stages 1 and 2 where no caption is asked for: visual concepts, and which image shows which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aspire.data.loaded import LoadedImage
from aspire.identity import Json
from aspire.language.base import Looking
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import ConceptSpace, Extraction, ImageRef, Rejected


@dataclass(frozen=True)
class Sample:
    """The images that concepts are learnt from."""

    refs: tuple[ImageRef, ...]


class ConceptStage:
    """Sample -> ConceptSpace.

    Args:
        extractor: learns them.
        class_words: for each class the words for its object.
        root: the dataset's root.
    """

    name: ClassVar[str] = "concept"
    version: ClassVar[int] = 1
    record = ConceptSpace

    def __init__(
        self, extractor: Looking, class_words: Sequence[Sequence[str]], root: Path
    ) -> None:
        self.extractor = extractor
        self.class_words = class_words
        self.root = root

    def identity(self) -> Mapping[str, Json]:
        words = [list(own) for own in self.class_words]
        return {**self.extractor.identity(), "class_words": words}

    def item_id(self, item: Sample) -> str:
        return "all"

    def run(self, items: Sequence[Sample], save: SaveImage) -> Iterator[ItemResult[ConceptSpace]]:
        for item in items:
            images = [LoadedImage(ref, self.root) for ref in item.refs]
            space = self.extractor.learn(images, self.class_words)
            yield ItemResult("all", (space,))


class LookStage:
    """ImageRef -> Extraction. An image without any concept is counted as ``no_concept``.

    Args:
        extractor: looks.
        space: the concepts.
        root: the dataset's root.
    """

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 1
    record = Extraction

    def __init__(self, extractor: Looking, space: ConceptSpace, root: Path) -> None:
        self.extractor = extractor
        self.space = space
        self.root = root

    def identity(self) -> Mapping[str, Json]:
        return self.extractor.identity()

    def item_id(self, item: ImageRef) -> str:
        return item.img_id

    def run(self, items: Sequence[ImageRef], save: SaveImage) -> Iterator[ItemResult[Extraction]]:
        images = [LoadedImage(ref, self.root) for ref in items]
        for ref, found in zip(items, self.extractor.look(images, self.space), strict=True):
            shows = found.foreground or found.background
            none = Rejected(item_id=ref.img_id, reason="no_concept")
            yield ItemResult(ref.img_id, (found,), () if shows else (none,))
