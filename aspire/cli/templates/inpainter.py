"""Blank: what fills the place of a removed object, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.identity import Json
from aspire.values import NonNegative


class Blank:
    """Fills a hole with the mean colour around it, and noise.

    Args:
        noise: standard deviation of the noise, in grey levels of 255.
    """

    bleeds = False

    def __init__(self, noise: NonNegative = 0.0) -> None:
        self.noise = noise

    def identity(self) -> Mapping[str, Json]:
        return {"inpainter": "blank", "version": 1, "noise": self.noise}

    def inpaint(
        self, images: Sequence[Pixels], masks: Sequence[Mask], seeds: Sequence[int]
    ) -> list[Pixels | Failure]:
        return [self._fill(*given) for given in zip(images, masks, seeds, strict=True)]

    def _fill(self, image: Pixels, mask: Mask, seed: int) -> Pixels | Failure:
        if mask.all():
            return Failure("nothing is left around the hole")
        noise = np.random.default_rng(seed).normal(0, self.noise, image.shape)
        filled = np.clip(np.rint(image[~mask].mean(axis=0) + noise), 0, 255).astype(np.uint8)
        return np.where(mask[..., None], filled, image)
