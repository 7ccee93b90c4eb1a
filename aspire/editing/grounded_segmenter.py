"""Phrase to boxes to mask, as the authors do it: a detector, then a model that masks its boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Detection, Detector, Failure, Mask, Segmentation, found
from aspire.identity import Json


class Masker(Protocol):
    """Turns boxes into masks; see :class:`aspire.editing.sam.Sam`."""

    def identity(self) -> Mapping[str, Json]: ...

    def masks(
        self, images: Sequence[Pixels], boxes: Sequence[NDArray[np.float32]]
    ) -> list[Mask | Failure]: ...


class GroundedSegmenter:
    """Grounded SAM: every box of a phrase is masked, the masks are united.

    Args:
        detector: phrase -> boxes.
        masker: boxes -> masks.
    """

    def __init__(self, detector: Detector, masker: Masker) -> None:
        self.detector = detector
        self.masker = masker

    def identity(self) -> Mapping[str, Json]:
        return {
            "segmenter": "grounded",
            "detector": self.detector.identity(),
            "masker": self.masker.identity(),
        }

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        return self._masked(images, self.detector.detect(images, phrases))

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        return self._masked(images, self.detector.detect_class_object(images, class_words))

    def _masked(
        self, images: Sequence[LoadedImage], detections: Sequence[Detection]
    ) -> list[Segmentation]:
        pairs = [(i, d) for i, d in zip(images, detections, strict=True) if len(d.boxes)]
        masks = iter(self.masker.masks([i.pixels for i, _ in pairs], [d.boxes for _, d in pairs]))
        results: list[Segmentation] = []
        for detection in detections:
            if not len(detection.boxes):
                results.append(
                    Segmentation(None, detection.score, detection.reason, detection.detail)
                )
                continue
            mask = next(masks)
            if isinstance(mask, Failure):
                results.append(Segmentation(None, detection.score, "failed", mask.detail))
            else:
                results.append(found(mask, detection.score))
        return results
