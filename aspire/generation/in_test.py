"""A generated image that is a test image would let training look at the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.data.image_table import ImageTable
from aspire.data.images import read_image
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedImage, Reference
from aspire.generation.filters import perceptual_hash
from aspire.identity import Json
from aspire.values import Natural


class InTest:
    """Rejects images that look like one of the test split (64-bit perceptual hash).

    Measured is the number of bits by which the hash differs from the nearest test image's.

    Args:
        max_distance: rejected up to so many bits, in [0, 64].
    """

    name: ClassVar[str] = "in_test"

    def __init__(self, max_distance: Natural = 0) -> None:
        self.max_distance = max_distance
        self._hashes: tuple[ImageTable, NDArray[np.uint64]] | None = None

    def measured(self) -> Mapping[str, Json]:
        return {"hash": "phash64"}

    def thresholds(self) -> Mapping[str, Json]:
        return {"max_distance": self.max_distance}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        if reference.test is None:
            raise ConfigError(f"filter={self.name} needs the test images.")
        if self._hashes is None or self._hashes[0] is not reference.test:
            codes = [_code(perceptual_hash(read_image(p))) for p in reference.test.paths]
            self._hashes = reference.test, np.array(codes, dtype=np.uint64)
        known = self._hashes[1]
        if not len(known):
            return [64.0] * len(images)
        codes = [_code(perceptual_hash(i.pixels)) for i in images]
        return [float(np.bitwise_count(known ^ code).min()) for code in codes]

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) <= self.max_distance}


def _code(digits: str) -> np.uint64:
    return np.uint64(int(digits, 16))
