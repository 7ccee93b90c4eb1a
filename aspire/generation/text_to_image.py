"""``generator=text_to_image``: from words and noise alone, as the paper does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from aspire.editing.base import Failure
from aspire.generation.base import Sampled
from aspire.generation.diffusion_sampler import DiffusionSampler, Plan


class TextToImage(DiffusionSampler):
    """Images of the learnt word in scenes free of the class's spurious features."""

    name: ClassVar[str] = "text_to_image"
    pipeline: ClassVar[str] = "AutoPipelineForText2Image"

    def make(self, pipe: Any, plans: Sequence[Plan], size: int) -> list[Sampled | Failure]:
        images = self.run(pipe, plans, height=size, width=size)
        return [
            i
            if isinstance(i, Failure)
            else Sampled(i, p.prompt, ("", ""), None, p.negative_prompt, p.scene)
            for i, p in zip(images, plans, strict=True)
        ]
