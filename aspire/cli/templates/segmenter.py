"""Blank: what finds the pixels of a phrase, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Segmentation, found
from aspire.identity import Json
from aspire.values import PositiveFraction


class Blank:
    """Takes the middle of an image for its class object, and finds nothing else.

    Args:
        side: of the middle, as a fraction of the image's, above 0.
    """

    def __init__(self, side: PositiveFraction = 0.5) -> None:
        self.side = side

    def identity(self) -> Mapping[str, Json]:
        return {"segmenter": "blank", "version": 1, "side": self.side}

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        return [Segmentation(reason="no_box") for _ in images]

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        return [self._middle(*image.pixels.shape[:2]) for image in images]

    def _middle(self, height: int, width: int) -> Segmentation:
        top, left = (round(length * (1 - self.side) / 2) for length in (height, width))
        mask = np.zeros((height, width), dtype=bool)
        mask[top : height - top, left : width - left] = True
        return found(mask)
