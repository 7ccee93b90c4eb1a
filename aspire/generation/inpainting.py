"""``generator=inpainting``: a real object of the class, and a new scene painted around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Mask, Segmenter
from aspire.editing.class_objects import ClassObjects
from aspire.editing.pixels import dilate, from_square, mask_to_square, paste, to_square
from aspire.generation.base import Sampled
from aspire.generation.diffusion_sampler import DiffusionSampler, Plan
from aspire.identity import Json
from aspire.records import ImageRef
from aspire.values import Count, Fraction, Natural


class InpaintAround(DiffusionSampler):
    """Everything but the class object of a training image is made again.

    The object's pixels come out bit-equal, so the label is as right as the real image's.

    Args:
        root, refs, model: see :class:`DiffusionSampler`; a model with an inpainting UNet (9
            channels) fits best, any other will do.
        segmenter: finds the class objects.
        class_words: for each class the phrases that name its object; see the edit stage.
        attempts: objects tried when one has no usable mask.
        min_object, max_object: accepted share of the image that the object covers, in [0, 1].
        feather: pixels of soft rim outside the object.
        **settings: see :class:`DiffusionSampler`.
    """

    name: ClassVar[str] = "inpainting"
    pipeline: ClassVar[str] = "AutoPipelineForInpainting"

    def __init__(
        self,
        root: Path,
        refs: Mapping[str, ImageRef],
        model: str,
        segmenter: Segmenter,
        class_words: Sequence[Sequence[str]] = (),
        attempts: Count = 5,
        min_object: Fraction = 0.01,
        max_object: Fraction = 0.7,
        feather: Natural = 2,
        **settings: Any,
    ) -> None:
        super().__init__(root, refs, model, **settings)
        self.segmenter = segmenter
        self.objects = ClassObjects(segmenter, class_words)
        self.attempts = attempts
        self.min_object = min_object
        self.max_object = max_object
        self.feather = feather

    def identity(self) -> Mapping[str, Json]:
        return {
            **super().identity(),
            "segmenter": self.segmenter.identity(),
            "attempts": self.attempts,
            "object": [self.min_object, self.max_object],
            "feather": self.feather,
        }

    def _load(self) -> Any:
        pipe = super()._load()
        if pipe.unet.config.in_channels == pipe.vae.config.latent_channels:
            # A model of images, not of holes in them: the known part is put back after every step.
            # diffusers knows it by the 4 channels that latents of Stable Diffusion have.
            pipe.unet.register_to_config(in_channels=4)
        return pipe

    def make(self, pipe: Any, plans: Sequence[Plan], size: int) -> list[Sampled | Failure]:
        from PIL import Image

        found = [self._object(plan) for plan in plans]
        made: dict[int, Sampled | Failure] = {
            row: Failure(f"{self.attempts} attempts found no usable object")
            for row, answer in enumerate(found)
            if answer is None
        }
        usable = [(row, *answer) for row, answer in enumerate(found) if answer is not None]
        if usable:
            images = self.run(
                pipe,
                [plans[row] for row, _, _ in usable],
                image=[Image.fromarray(to_square(i.pixels, size)) for _, i, _ in usable],
                mask_image=[
                    Image.fromarray(mask_to_square(~dilate(keep, self.feather), size))
                    for _, _, keep in usable
                ],
                height=size,
                width=size,
                strength=1.0,
            )
            for (row, image, keep), square in zip(usable, images, strict=True):
                if isinstance(square, Failure):
                    made[row] = square
                    continue
                scene = from_square(square, *keep.shape)
                made[row] = Sampled(
                    paste(image.pixels, keep, scene, self.feather),
                    plans[row].prompt,
                    (image.ref.img_id, ""),
                    keep,
                    plans[row].negative_prompt,
                    plans[row].scene,
                )
        return [made[row] for row in range(len(plans))]

    def _object(self, plan: Plan) -> tuple[LoadedImage, Mask] | None:
        names, rng = plan.concept.objects, np.random.default_rng(plan.further)
        for _ in range(self.attempts if names else 0):
            image = LoadedImage(self.refs[names[int(rng.integers(len(names)))]], self.root)
            (keep,) = self.objects.masks([image])
            if keep is not None and self.min_object <= np.mean(keep) <= self.max_object:
                return image, keep
        return None
