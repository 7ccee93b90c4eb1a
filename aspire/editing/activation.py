"""Masks from the activations of the small eye: a class activation map, cut out by GrabCut.

The map (Zhou et al. 2016, arXiv 1512.04150) says roughly where something is, the colours around
it say where it ends (Rother et al. 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Mask, NotFound, Segmentation, found
from aspire.editing.batching import Batches
from aspire.eye import Eye, Floats, shared_eye
from aspire.identity import Json
from aspire.language.activation import RATHER, heat, object_classes, sureness
from aspire.language.imagenet import thousand
from aspire.values import Count, Fraction

T = TypeVar("T")

_VERSION = 1  # raise when equal settings give other masks
_SIDE = 448  # larger images are cut at this longer side; the map has no more to say
# Heat up to which a pixel is surely none of it, and from which it surely is.
_NEVER, _SURELY = 0.05, 0.8


class ActivationSegmenter:
    """What the eye's words light up.

    The class object is labelled, so it is there, and is cut out wherever its words, or what the
    image is most surely of, light up most. A phrase is looked for by the words that ImageNet has
    for it.

    Args:
        threshold: least probability of a phrase, of a cell.
        near_threshold: an image whose best cell is below this is ``no_box``, between this and
            ``threshold`` ``low_score``.
        iterations: of GrabCut.
        device: "auto", or a device of torch.
    """

    def __init__(
        self,
        threshold: Fraction = 0.5,
        near_threshold: Fraction = 0.2,
        iterations: Count = 2,
        device: str = "auto",
    ) -> None:
        self.threshold = threshold
        self.near_threshold = near_threshold
        self.iterations = iterations
        self.device = device
        self.batches = Batches(1)

    def identity(self) -> Mapping[str, Json]:
        return {
            "segmenter": "activation",
            "version": _VERSION,
            "words": thousand().digest,
            "threshold": self.threshold,
            "near_threshold": self.near_threshold,
            "iterations": self.iterations,
            **self._eye.identity(),
        }

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        """See :class:`aspire.editing.base.Segmenter`."""
        return self._each(
            lambda pairs: [self._phrase(i.pixels, phrase) for i, phrase in pairs],
            list(zip(images, phrases, strict=True)),
        )

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        """See :class:`aspire.editing.base.Segmenter`."""
        return self._each(
            lambda pairs: [self._object(i.pixels, words) for i, words in pairs],
            list(zip(images, class_words, strict=True)),
        )

    @property
    def _eye(self) -> Eye:
        return shared_eye(self.device)

    def _each(
        self, work: Callable[[Sequence[T]], list[Segmentation]], items: Sequence[T]
    ) -> list[Segmentation]:
        answers = self.batches.map(work, items)
        return [
            Segmentation(reason="failed", detail=a.detail) if isinstance(a, Failure) else a
            for a in answers
        ]

    def _phrase(self, image: Pixels, phrase: str) -> Segmentation:
        classes = thousand().of_phrase(phrase)
        if not classes:
            return Segmentation(reason="no_box", detail="ImageNet has no such word")
        answers = self._answers(image)
        score = sureness(answers, classes)
        if score < self.threshold:
            reason: NotFound = "no_box" if score < self.near_threshold else "low_score"
            return Segmentation(score=score, reason=reason)
        return found(self._cut(image, answers, classes), score)

    def _object(self, image: Pixels, class_words: Sequence[str]) -> Segmentation:
        answers = self._answers(image)
        classes = object_classes(answers, class_words)
        return found(self._cut(image, answers, classes), sureness(answers, classes))

    def _answers(self, image: Pixels) -> tuple[Floats, ...]:
        return self._eye.answers(self._eye.look([image])[0])

    def _cut(self, image: Pixels, answers: Sequence[Floats], classes: frozenset[int]) -> Mask:
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        small = max(2, round(height * scale)), max(2, round(width * scale))
        shrunk = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
        hot = heat(answers, classes, small)
        mask = _cut_out(shrunk, hot, self.iterations)
        if small == (height, width):
            return mask
        grown = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(grown > 0.5)


def _cut_out(image: Pixels, hot: Floats, iterations: int) -> Mask:
    """(H, W) what belongs together by colour, begun from where it is hot."""
    import cv2

    labels = np.full(hot.shape, cv2.GC_BGD, np.uint8)
    labels[hot > _NEVER] = cv2.GC_PR_BGD
    labels[hot > RATHER] = cv2.GC_PR_FGD
    labels[hot > _SURELY] = cv2.GC_FGD
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if not inside.any() or inside.all():
        return np.asarray(inside)
    cv2.setRNGSeed(0)  # it starts from k-means, drawn from a generator all calls share
    models = np.zeros((1, 65)), np.zeros((1, 65))
    image = np.ascontiguousarray(image)
    cv2.grabCut(image, labels, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
