"""Blank: what makes the images without the shortcut, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.generation.base import GenerationRequest, Sampled
from aspire.identity import Json
from aspire.records import ImageRef, Rejected
from aspire.values import Fraction


class Blank:
    """Turns an image of the class around.

    Args:
        root: the dataset's root, from the pipeline.
        refs: img_id -> image, from the pipeline.
        noise: standard deviation of what is added to the pixels, as a share of 255, in [0, 1].
    """

    batch_size = 1

    def __init__(self, root: Path, refs: Mapping[str, ImageRef], noise: Fraction = 0.0) -> None:
        self.root = Path(root)
        self.refs = refs
        self.noise = noise

    def identity(self) -> Mapping[str, Json]:
        return {"sampler": "blank", "version": 1, "noise": self.noise}

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        return [self._one(request) for request in requests]

    def _one(self, request: GenerationRequest) -> Sampled | Rejected:
        rng = np.random.default_rng(request.seed)
        if not request.concept.objects:
            return Rejected(item_id=request.img_id, reason="no_object")
        parent = self.refs[request.concept.objects[int(rng.integers(len(request.concept.objects)))]]
        pixels = LoadedImage(parent, self.root).pixels[:, ::-1]
        noisy = np.clip(pixels + rng.normal(0, 255 * self.noise, pixels.shape), 0, 255)
        return Sampled(
            noisy.round().astype(np.uint8), prompt="", parents=(parent.img_id, ""), mask=None
        )
