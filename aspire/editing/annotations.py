"""Masks from the dataset's own annotations: no model, exact where the dataset is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Segmentation, found
from aspire.identity import Json
from aspire.language.phrases import normalise

CLASS_OBJECT = 1  # its value in a label map


class AnnotationSegmenter:
    """Looks a phrase up among an image's annotated objects.

    "old sailing ship" finds the annotation "ship": one must be the end of the other. What is not
    annotated is ``no_box``, what is annotated and in no pixel ``empty_mask``.
    """

    def identity(self) -> Mapping[str, Json]:
        return {"segmenter": "annotations", "version": 1}

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        return [_named(image, phrase) for image, phrase in zip(images, phrases, strict=True)]

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        return [_where(image, CLASS_OBJECT) for image in images]


def _named(image: LoadedImage, phrase: str) -> Segmentation:
    wanted = f" {normalise(phrase)}"
    for name, value in image.ref.objects.items():
        annotated = f" {normalise(name)}"
        if wanted.endswith(annotated) or annotated.endswith(wanted):
            return _where(image, value)
    return Segmentation(reason="no_box", detail="not annotated")


def _where(image: LoadedImage, value: int) -> Segmentation:
    if image.labels is None:
        return Segmentation(reason="no_box", detail="the image has no annotated mask")
    # A mask without named objects may mark its one object with any value (1, 255, ...).
    return found(np.asarray(image.labels == value if image.ref.objects else image.labels > 0))
