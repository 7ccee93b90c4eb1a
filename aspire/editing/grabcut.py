"""Masks from boxes without a model: GrabCut (Rother et al. 2004), from OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.editing.batching import Batches
from aspire.identity import Json
from aspire.values import Count


class GrabCut:
    """Separates what is in a box from its surroundings by colour.

    Good where object and scene differ in colour, and not otherwise: of six photographs tried it
    did three well, two in part, and found nothing in one.

    Args:
        iterations: of fitting colours and cutting.
    """

    def __init__(self, iterations: Count = 5) -> None:
        self.iterations = iterations
        self.batches = Batches(1)

    def identity(self) -> Mapping[str, Json]:
        return {"masker": "grabcut", "iterations": self.iterations}

    def masks(
        self, images: Sequence[Pixels], boxes: Sequence[NDArray[np.float32]]
    ) -> list[Mask | Failure]:
        """The union of what is in the boxes of each prompt; see :class:`aspire.editing.sam.Sam`.

        A box without anything in it gives a mask without pixels.
        """
        return self.batches.map(
            lambda batch: [self._union(image, own) for image, own in batch],
            list(zip(images, boxes, strict=True)),
        )

    def _union(self, image: Pixels, boxes: NDArray[np.float32]) -> Mask:
        union = np.zeros(image.shape[:2], dtype=bool)
        for box in boxes:
            union |= self._cut(image, box)
        return union

    def _cut(self, image: Pixels, box: NDArray[np.float32]) -> Mask:
        import cv2

        height, width = image.shape[:2]
        x0, y0, x1, y1 = (round(float(v)) for v in box)
        # GrabCut learns the surroundings from what is outside: leave it one row and column.
        x0, y0 = max(1, x0), max(1, y0)
        x1, y1 = min(width - 1, x1), min(height - 1, y1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return np.zeros((height, width), dtype=bool)
        cv2.setRNGSeed(0)  # it starts from k-means, drawn from a generator all calls share
        labels = np.zeros((height, width), np.uint8)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        image = np.ascontiguousarray(image)
        rectangle = (x0, y0, x1 - x0, y1 - y0)
        cv2.grabCut(image, labels, rectangle, *models, self.iterations, cv2.GC_INIT_WITH_RECT)
        return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
