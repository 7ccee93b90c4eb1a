"""``generator=image_to_image``: from the edited images, partly noised (SDEdit, arXiv 2108.01073).

DA-Fusion (Trabucco et al. 2023, arXiv 2302.07944) makes its images so, at strength 0.5.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aspire.data.images import read_image
from aspire.editing.base import Failure
from aspire.errors import ConfigError
from aspire.generation.base import Sampled
from aspire.generation.diffusion_sampler import DiffusionSampler, Plan
from aspire.generation.pictures import crop_square
from aspire.identity import Json
from aspire.records import Concept, ImageRef
from aspire.values import PositiveFraction


class ImageToImage(DiffusionSampler):
    """Variations of the edited images that the concept was learnt from.

    Args:
        root, refs, model: see :class:`DiffusionSampler`.
        strength: share of the denoising that is done again, in (0, 1]; the larger, the less of the
            edited image is left.
        **settings: see :class:`DiffusionSampler`.
    """

    name: ClassVar[str] = "image_to_image"
    pipeline: ClassVar[str] = "AutoPipelineForImage2Image"

    def __init__(
        self,
        root: Path,
        refs: Mapping[str, ImageRef],
        model: str,
        strength: PositiveFraction = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(root, refs, model, **settings)
        self.strength = strength

    def identity(self) -> Mapping[str, Json]:
        return {**super().identity(), "strength": self.strength}

    def available(self, concept: Concept) -> int:
        """None of a class without a found feature, which has no edited image to start from.

        See :class:`aspire.generation.quota.Limited`.
        """
        return sys.maxsize if concept.pictures or concept.avoided else 0

    def make(self, pipe: Any, plans: Sequence[Plan], size: int) -> list[Sampled | Failure]:
        from PIL import Image

        if not plans[0].concept.pictures:
            raise ConfigError(
                "generator=image_to_image starts from the edited images that a concept was learnt "
                "from, and this personaliser keeps none; choose personaliser=textual_inversion, "
                "lora or dreambooth."
            )
        pictures = []
        for plan in plans:
            choice = np.random.default_rng(plan.further).integers(len(plan.concept.pictures))
            pictures.append(plan.concept.pictures[int(choice)])
        starts = [crop_square(read_image(self.folder / p.file), size) for p in pictures]
        images = self.run(
            pipe, plans, image=[Image.fromarray(s) for s in starts], strength=self.strength
        )
        return [
            image
            if isinstance(image, Failure)
            else Sampled(
                image, plan.prompt, (picture.img_id, ""), None, plan.negative_prompt, plan.scene
            )
            for image, plan, picture in zip(images, plans, pictures, strict=True)
        ]
