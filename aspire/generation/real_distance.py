"""Limits to how far a generated image may be from the real ones, and how near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aspire.errors import ConfigError
from aspire.generation.base import GeneratedImage, Reference
from aspire.generation.thumbnails import AMONG, SIDE, evenly, nearest_view
from aspire.identity import Json
from aspire.values import Fraction


class RealDistance:
    """Rejects copies of training images, and what looks like none of them.

    DA-Fusion (Trabucco et al. 2023) keeps its images near the real ones by how little it noises
    them; here the distance is measured, whatever they were made of: the root mean square
    difference to the nearest training image, both shrunk to 16 x 16.

    Args:
        min_distance: rejected below, in [0, 1]; 0 keeps copies too.
        max_distance: rejected above, in [0, 1].
    """

    name: ClassVar[str] = "real_distance"

    def __init__(self, min_distance: Fraction = 0.005, max_distance: Fraction = 0.3) -> None:
        if not 0 <= min_distance <= max_distance:
            raise ConfigError(
                f"filter.real_distance: min_distance={min_distance} and "
                f"max_distance={max_distance}; expected 0 <= min_distance <= max_distance."
            )
        self.min_distance = min_distance
        self.max_distance = max_distance

    def measured(self) -> Mapping[str, Json]:
        return {"view": f"rgb {SIDE}", "among": AMONG}

    def thresholds(self) -> Mapping[str, Json]:
        return {"min_distance": self.min_distance, "max_distance": self.max_distance}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        if reference.train is None:
            raise ConfigError(f"filter={self.name} needs the training images.")
        files = [reference.train.paths[i] for i in evenly(len(reference.train))]
        return [round(nearest_view(i.pixels, files)[1], 5) for i in images]

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {
            i for i, v in values.items() if not self.min_distance <= float(v) <= self.max_distance
        }
