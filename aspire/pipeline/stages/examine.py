"""Before stage 1: what a classifier says of unedited images whose classes are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from aspire.classification.predictor import Probabilities
from aspire.data.images import read_image
from aspire.identity import Json
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import Answer, ImageRef

SAMPLE = 1000  # images of a larger dataset that are asked


class ExamineStage:
    """ImageRef -> Answer.

    Args:
        classifier: gives the probabilities.
        root: of the images.
    """

    name: ClassVar[str] = "examine"
    version: ClassVar[int] = 1
    record = Answer

    def __init__(self, classifier: Probabilities, root: Path) -> None:
        self.classifier = classifier
        self.root = root

    def identity(self) -> Mapping[str, Json]:
        return {"classifier": self.classifier.digest, "sample": SAMPLE}

    def item_id(self, item: ImageRef) -> str:
        return item.img_id

    def run(self, items: Sequence[ImageRef], save: SaveImage) -> Iterator[ItemResult[Answer]]:
        found = self.classifier([read_image(self.root / i.file) for i in items])
        for item, p in zip(items, found, strict=True):
            answer = Answer(
                img_id=item.img_id, y=item.y, predicted=int(p.argmax()), p=round(float(p.max()), 5)
            )
            yield ItemResult(item.img_id, (answer,))
