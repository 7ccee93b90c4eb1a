"""Blank: which generated images are thrown out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aspire.generation.base import GeneratedImage, Reference
from aspire.identity import Json
from aspire.values import NonNegative


class Blank:
    """Rejects images that are too dark.

    Args:
        min_mean: smallest accepted mean of the pixels, in [0, 255].
    """

    name = "blank"

    def __init__(self, min_mean: NonNegative = 20.0) -> None:
        self.min_mean = min_mean

    def measured(self) -> Mapping[str, Json]:
        return {"version": 1}

    def thresholds(self) -> Mapping[str, Json]:
        return {"min_mean": self.min_mean}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        return [round(float(image.pixels.mean()), 4) for image in images]

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {img_id for img_id, value in values.items() if float(value) < self.min_mean}
