"""Stable Diffusion's safety checker as a flag: the image stays as it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from aspire.generation.base import GeneratedImage, Reference
from aspire.identity import Json
from aspire.pretrained import Checkpoint, device_and_dtype
from aspire.values import Count


class Safety:
    """Rejects images that the checker flags.

    Args:
        model: hub id or folder of the checker itself (a CLIP with a table of concepts).
        revision: commit, tag or branch of a hub model.
        device: "auto", or a device of torch.
        batch_size: images at once.
    """

    name: ClassVar[str] = "safety"

    def __init__(
        self,
        model: str = "CompVis/stable-diffusion-safety-checker",
        revision: str = "main",
        device: str = "auto",
        batch_size: Count = 32,
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "leave the filter safety out")
        self.device = device
        self.batch_size = batch_size

    def measured(self) -> Mapping[str, Json]:
        return self.checkpoint.identity()

    def thresholds(self) -> Mapping[str, Json]:
        return {}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        import torch

        model, processor = self._loaded
        flags: list[float | str] = []
        for start in range(0, len(images), self.batch_size):
            batch = [i.pixels for i in images[start : start + self.batch_size]]
            inputs = processor(images=batch, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                # it blackens what it is given; these are not the images
                blank = np.zeros((len(batch), 1, 1, 3), np.float32)
                _, flagged = model(clip_input=inputs.pixel_values, images=blank)
            flags += [float(f) for f in flagged]
        return flags

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from diffusers.pipelines.stable_diffusion.safety_checker import (
            StableDiffusionSafetyChecker,
        )
        from transformers import CLIPImageProcessor

        model = self.checkpoint.load(StableDiffusionSafetyChecker)
        processor = self.checkpoint.load(CLIPImageProcessor)
        return model.eval().to(device_and_dtype(self.device)[0]), processor

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) > 0}
