"""Whether the feature is still there, asked of the classifier that leans on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from aspire.errors import ConfigError
from aspire.generation.base import GeneratedImage, Reference
from aspire.generation.filters import GREY
from aspire.identity import Json
from aspire.values import Fraction


class ClassifierFeature:
    """Rejects images whose surroundings alone still give their class away.

    The class object is painted grey. The classifier leans on the found features, so as long as it
    recognises the class from what is left, one of them is still there. Measured is its probability
    of the class.

    Args:
        max_probability: largest accepted, in [0, 1].
    """

    name: ClassVar[str] = "classifier_feature"

    def __init__(self, max_probability: Fraction = 0.8) -> None:
        self.max_probability = max_probability

    def measured(self) -> Mapping[str, Json]:
        return {"view": "grey object"}

    def thresholds(self) -> Mapping[str, Json]:
        return {"max_probability": self.max_probability}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        views = []
        for image in images:
            if image.mask is None:
                raise ConfigError(
                    f"filter={self.name} must know where the class object is, and this generator "
                    "does not say it (composition and inpainting do). Take clip_feature or "
                    "alia_confidence instead."
                )
            views.append(np.where(image.mask[..., None], GREY, image.pixels))
        probabilities = reference.classifier(views)
        return [
            0.0 if i.usual else round(float(p[i.y]), 5)
            for i, p in zip(images, probabilities, strict=True)
        ]

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) > self.max_probability}
