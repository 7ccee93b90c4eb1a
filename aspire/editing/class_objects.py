"""The class objects of many images, each looked for once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Mask, Segmentation, Segmenter
from aspire.editing.batching import Batches


class ClassObjects:
    """Asks a segmenter for class objects and remembers the last answers, an eighth byte a pixel.

    An image is an edit's original and many others' donor, so it is asked for often.

    Args:
        segmenter: finds them.
        class_words: for each class the phrases that name its object, best first.
        remembered: number of answers kept; bounds memory.
    """

    def __init__(
        self, segmenter: Segmenter, class_words: Sequence[Sequence[str]], remembered: int = 2048
    ) -> None:
        self.segmenter = segmenter
        self.class_words = class_words
        self.remembered = remembered
        self._known: OrderedDict[str, tuple[Segmentation, Any, tuple[int, ...]]] = OrderedDict()

    def segment(self, images: Sequence[LoadedImage]) -> list[Segmentation]:
        """One segmentation per image, in order; ``failed`` where the segmenter broke down."""
        new = {i.ref.img_id: i for i in images if i.ref.img_id not in self._known}
        answers = Batches(max(1, len(new))).map(self._ask, list(new.values()))
        fresh = {
            img_id: Segmentation(reason="failed", detail=answer.detail)
            if isinstance(answer, Failure)
            else answer
            for img_id, answer in zip(new, answers, strict=True)
        }
        results = [fresh.get(i.ref.img_id) or self._recall(i.ref.img_id) for i in images]
        for img_id, segmentation in fresh.items():
            mask = segmentation.mask
            packed = None if mask is None else np.packbits(mask)
            shape = () if mask is None else mask.shape
            self._known[img_id] = replace(segmentation, mask=None), packed, shape
        while len(self._known) > self.remembered:
            self._known.popitem(last=False)
        return results

    def masks(self, images: Sequence[LoadedImage]) -> list[Mask | None]:
        """One mask per image, in order; None where it is not known."""
        return [segmentation.mask for segmentation in self.segment(images)]

    def _ask(self, images: Sequence[LoadedImage]) -> list[Segmentation]:
        words = [self.class_words[i.ref.y] if self.class_words else () for i in images]
        return self.segmenter.segment_class_object(images, words)

    def _recall(self, img_id: str) -> Segmentation:
        self._known.move_to_end(img_id)
        segmentation, packed, shape = self._known[img_id]
        if packed is None:
            return segmentation
        bits = np.unpackbits(packed, count=int(np.prod(shape)))
        return replace(segmentation, mask=bits.reshape(shape).astype(bool))
