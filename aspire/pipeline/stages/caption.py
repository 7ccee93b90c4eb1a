"""Stage 1: what each training image shows, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from aspire.data.loaded import LoadedImage
from aspire.identity import Json
from aspire.language.base import Captioner
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import Caption, ImageRef, Rejected


class CaptionStage:
    """ImageRef -> Caption. An image without words is rejected as ``no_caption``."""

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1
    record = Caption

    def __init__(self, captioner: Captioner, root: Path) -> None:
        self.captioner = captioner
        self.root = root

    def identity(self) -> Mapping[str, Json]:
        return self.captioner.identity()

    def item_id(self, item: ImageRef) -> str:
        return item.img_id

    def run(self, items: Sequence[ImageRef], save: SaveImage) -> Iterator[ItemResult[Caption]]:
        images = [LoadedImage(ref, self.root) for ref in items]
        for ref, text in zip(items, self.captioner.caption(images), strict=True):
            if text and text.strip():
                yield ItemResult(ref.img_id, (Caption(img_id=ref.img_id, text=text.strip()),))
            else:
                yield ItemResult(
                    ref.img_id, rejected=(Rejected(item_id=ref.img_id, reason="no_caption"),)
                )
