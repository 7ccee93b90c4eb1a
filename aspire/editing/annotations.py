"""Masks from the dataset's own annotations: no model, exact where the dataset is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Mask
from aspire.language.phrases import normalise
from aspire.pipeline.stage import Json

CLASS_OBJECT = 1  # its value in a label map


class AnnotationSegmenter:
    """Looks a phrase up among an image's annotated objects.

    "old sailing ship" finds the annotation "ship": one must be the end of the other.
    """

    def identity(self) -> Mapping[str, Json]:
        return {"segmenter": "annotations", "version": 1}

    def segment(self, image: LoadedImage, phrase: str) -> Mask | None:
        wanted = f" {normalise(phrase)}"
        for name, value in image.ref.objects.items():
            annotated = f" {normalise(name)}"
            if wanted.endswith(annotated) or annotated.endswith(wanted):
                return _where(image, value)
        return None

    def segment_class_object(self, image: LoadedImage) -> Mask | None:
        return _where(image, CLASS_OBJECT)


def _where(image: LoadedImage, value: int) -> Mask | None:
    if image.labels is None:
        return None
    # A mask without named objects may mark its one object with any value (1, 255, ...).
    found = image.labels == value if image.ref.objects else image.labels > 0
    return np.asarray(found) if found.any() else None
