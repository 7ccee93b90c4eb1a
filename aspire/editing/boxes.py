"""Boxes without a model: around annotated masks, or simply in the middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.base import Detection, Segmentation
from aspire.identity import Json
from aspire.values import Natural, PositiveFraction

_NONE = np.zeros((0, 4), dtype=np.float32)


class AnnotatedBoxes:
    """Boxes around the dataset's own masks, for masks that are rough (hand-drawn boxes, say).

    Args:
        margin: pixels by which a box is widened.
    """

    def __init__(self, margin: Natural = 2) -> None:
        self.margin = margin
        self.annotations = AnnotationSegmenter()

    def identity(self) -> Mapping[str, Json]:
        return {
            "detector": "annotated_boxes",
            "margin": self.margin,
            **self.annotations.identity(),
        }

    def detect(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Detection]:
        return [self._around(s) for s in self.annotations.segment(images, phrases)]

    def detect_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Detection]:
        return [self._around(s) for s in self.annotations.segment_class_object(images, class_words)]

    def _around(self, segmentation: Segmentation) -> Detection:
        if segmentation.mask is None:
            return Detection(_NONE, reason=segmentation.reason, detail=segmentation.detail)
        height, width = segmentation.mask.shape
        rows, columns = np.nonzero(segmentation.mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        wider = np.array(box) + np.array([-1, -1, 1, 1]) * self.margin
        return Detection(wider.clip(0, [width, height] * 2).astype(np.float32)[None])


class CentredBox:
    """The class object is assumed to be in a box around the middle; phrases are never found.

    A guess, not a detection: right for photographs that show their object large and centred, and
    nothing says when it is wrong. Look at the masks before you trust a number made with it.

    Args:
        share: width and height of the box as a fraction of the image's, in (0, 1].
    """

    def __init__(self, share: PositiveFraction = 0.8) -> None:
        self.share = share

    def identity(self) -> Mapping[str, Json]:
        return {"detector": "centred_box", "share": self.share}

    def detect(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Detection]:
        detail = "a centred box is known for the class object only"
        return [Detection(_NONE, reason="no_box", detail=detail) for _ in images]

    def detect_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Detection]:
        low, high = (1 - self.share) / 2, (1 + self.share) / 2
        shapes = [image.pixels.shape[:2] for image in images]
        return [
            Detection(np.array([[w * low, h * low, w * high, h * high]], np.float32))
            for h, w in shapes
        ]
