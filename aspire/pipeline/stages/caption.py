"""Stage 1: what each training image shows, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from aspire.data.loaded import LoadedImage
from aspire.identity import Json
from aspire.language.base import Captioner, ClassAware
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import Caption, ImageRef, Rejected


class CaptionStage:
    """ImageRef -> Caption. An image without words is rejected as ``no_caption``.

    Args:
        captioner: says what images show.
        root: the dataset's root.
        class_words: for each class the words that name its object; part of the identity only
            where the captioner asks for them.
    """

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1
    record = Caption

    def __init__(
        self, captioner: Captioner, root: Path, class_words: Sequence[Sequence[str]] = ()
    ) -> None:
        self.captioner = captioner
        self.root = root
        self.class_words = class_words

    def identity(self) -> Mapping[str, Json]:
        if not isinstance(self.captioner, ClassAware):
            return self.captioner.identity()
        words = [list(own) for own in self.class_words]
        return {**self.captioner.identity(), "class_words": words}

    def item_id(self, item: ImageRef) -> str:
        return item.img_id

    def run(self, items: Sequence[ImageRef], save: SaveImage) -> Iterator[ItemResult[Caption]]:
        images = [LoadedImage(ref, self.root) for ref in items]
        if isinstance(self.captioner, ClassAware):
            words = [self.class_words[ref.y] if self.class_words else () for ref in items]
            captions = self.captioner.caption_classes(images, words)
        else:
            captions = self.captioner.caption(images)
        for ref, text in zip(items, captions, strict=True):
            if text and text.strip():
                yield ItemResult(ref.img_id, (Caption(img_id=ref.img_id, text=text.strip()),))
            else:
                yield ItemResult(
                    ref.img_id, rejected=(Rejected(item_id=ref.img_id, reason="no_caption"),)
                )
