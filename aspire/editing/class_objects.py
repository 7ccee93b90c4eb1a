"""The class objects of many images, each looked for once."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Mask, Segmentation, Segmenter
from aspire.editing.batching import Batches
from aspire.identity import digest_of

Known = tuple[Segmentation, Any, tuple[int, ...]]  # without its mask; its packed bits; its shape

# By segmenter and words, of this process: edits ask first, the images of each seed after them.
_FOUND: dict[str, OrderedDict[Hashable, Known]] = defaultdict(OrderedDict)


class ClassObjects:
    """Asks a segmenter for class objects and remembers the last answers, an eighth byte a pixel.

    An image is an edit's original and many others' donor, so it is asked for often. Whoever asks an
    equal segmenter with equal words shares what is remembered; what failed is asked for again.

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

    def segment(self, images: Sequence[LoadedImage]) -> list[Segmentation]:
        """One segmentation per image, in order; ``failed`` where the segmenter broke down."""
        known = self._known
        keys = [_key(i) for i in images]
        new = {key: i for key, i in zip(keys, images, strict=True) if key not in known}
        answers = Batches(max(1, len(new))).map(self._ask, list(new.values()))
        fresh = {
            key: Segmentation(reason="failed", detail=answer.detail)
            if isinstance(answer, Failure)
            else answer
            for key, answer in zip(new, answers, strict=True)
        }
        results = [fresh.get(key) or _recall(known, key) for key in keys]
        for key, segmentation in fresh.items():
            if segmentation.reason != "failed":
                mask = segmentation.mask
                packed = None if mask is None else np.packbits(mask)
                shape = () if mask is None else mask.shape
                known[key] = replace(segmentation, mask=None), packed, shape
        while len(known) > self.remembered:
            known.popitem(last=False)
        return results

    def masks(self, images: Sequence[LoadedImage]) -> list[Mask | None]:
        """One mask per image, in order; None where it is not known."""
        return [segmentation.mask for segmentation in self.segment(images)]

    def _ask(self, images: Sequence[LoadedImage]) -> list[Segmentation]:
        words = [self.class_words[i.ref.y] if self.class_words else () for i in images]
        return self.segmenter.segment_class_object(images, words)

    @property
    def _known(self) -> OrderedDict[Hashable, Known]:
        words = [list(w) for w in self.class_words]
        return _FOUND[digest_of({"segmenter": self.segmenter.identity(), "words": words})]


def _key(image: LoadedImage) -> Hashable:
    """An image as it lies there now, with its mask."""
    files = [image.root / f for f in (image.ref.file, image.ref.mask) if f is not None]
    try:
        state = [(s.st_mtime_ns, s.st_size) for s in (f.stat() for f in files)]
    except OSError:  # the segmenter says what is wrong with it
        state = []
    return (*map(str, files), *state, image.ref.img_id, image.ref.y)


def _recall(known: OrderedDict[Hashable, Known], key: Hashable) -> Segmentation:
    known.move_to_end(key)
    segmentation, packed, shape = known[key]
    if packed is None:
        return segmentation
    bits = np.unpackbits(packed, count=int(np.prod(shape)))
    return replace(segmentation, mask=bits.reshape(shape).astype(bool))
