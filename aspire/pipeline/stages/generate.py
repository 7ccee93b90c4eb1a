"""Stages 5 and 6: personalise on a class, then make new images of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from aspire.generation.base import (
    ClassEvidence,
    GenerationRequest,
    Personaliser,
    Sampled,
    Sampler,
)
from aspire.identity import Json
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import Concept, Rejected, SyntheticImage

__all__ = ["GenerateStage", "GenerationRequest", "PersonaliseStage"]


class PersonaliseStage:
    """ClassEvidence -> Concept. A class without a spurious feature is rejected as such."""

    name: ClassVar[str] = "personalise"
    version: ClassVar[int] = 1
    record = Concept

    def __init__(self, personaliser: Personaliser) -> None:
        self.personaliser = personaliser

    def identity(self) -> Mapping[str, Json]:
        return self.personaliser.identity()

    def item_id(self, item: ClassEvidence) -> str:
        return f"{item.y:03d}"

    def run(self, items: Sequence[ClassEvidence], save: SaveImage) -> Iterator[ItemResult[Concept]]:
        for evidence in items:
            outcome = self.personaliser.personalise(evidence)
            if isinstance(outcome, Rejected):
                yield ItemResult(self.item_id(evidence), rejected=(outcome,))
            else:
                yield ItemResult(self.item_id(evidence), (outcome,))


class GenerateStage:
    """GenerationRequest -> SyntheticImage; each from its own seed, so it can be made again.

    Args:
        sampler: makes the images.
        seed: the seed the requests' own seeds were derived from.
        per_class: images asked for, by class.
        usual: share of them in the class's usual scenes.
    """

    name: ClassVar[str] = "generate"
    version: ClassVar[int] = 2
    record = SyntheticImage

    def __init__(
        self, sampler: Sampler, seed: int, per_class: Mapping[int, int], usual: float = 0.0
    ) -> None:
        self.usual = usual
        self.sampler = sampler
        self.seed = seed
        self.per_class = per_class

    def identity(self) -> Mapping[str, Json]:
        return {
            "sampler": self.sampler.identity(),
            "seed": self.seed,
            "per_class": {str(y): n for y, n in self.per_class.items()},
            **({"usual": self.usual} if self.usual else {}),
        }

    def item_id(self, item: GenerationRequest) -> str:
        return item.img_id

    def run(
        self, items: Sequence[GenerationRequest], save: SaveImage
    ) -> Iterator[ItemResult[SyntheticImage]]:
        size = max(1, self.sampler.batch_size)
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            for item, made in zip(batch, self.sampler.sample(batch), strict=True):
                yield _result(item, made, save)


def _result(
    item: GenerationRequest, made: Sampled | Rejected, save: SaveImage
) -> ItemResult[SyntheticImage]:
    if isinstance(made, Rejected):
        return ItemResult(
            item.img_id, rejected=(msgspec.structs.replace(made, item_id=item.img_id),)
        )
    image = SyntheticImage(
        img_id=item.img_id,
        y=item.concept.y,
        seed=item.seed,
        prompt=made.prompt,
        parents=made.parents,
        file=save(made.pixels),
        mask=None if made.mask is None else save(made.mask.astype(np.uint8) * 255),
        concept_id=item.concept.concept_id,
        negative_prompt=made.negative_prompt,
        scene=made.scene,
    )
    return ItemResult(item.img_id, (image,))
