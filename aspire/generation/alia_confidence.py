"""ALIA's confidence filter (Dunlap et al. 2023, arXiv 2305.16289)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import read_image
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedImage, Reference
from aspire.identity import Json
from aspire.values import Count


class AliaConfidence:
    """Rejects what the classifier is too sure about: right is too easy, wrong is mislabelled.

    The threshold of a class is its mean confidence in itself on real images::

        t_c = mean over training images i of class c of p_c(x_i)
        rejected iff max_k p_k(x) > t_y

    Measured is ``max_k p_k(x) - t_y``.

    Args:
        min_excess: rejected above; 0 as published, in [-1, 1].
        batch_size: training images read at once.
    """

    name: ClassVar[str] = "alia_confidence"

    def __init__(self, min_excess: float = 0.0, batch_size: Count = 64) -> None:
        self.min_excess = min_excess
        self.batch_size = batch_size
        self._confidence: tuple[str, NDArray[np.float64]] | None = None

    def measured(self) -> Mapping[str, Json]:
        return {"thresholds": "mean confidence of the train split"}

    def thresholds(self) -> Mapping[str, Json]:
        return {"min_excess": self.min_excess}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        if self._confidence is None or self._confidence[0] != reference.classifier.digest:
            self._confidence = reference.classifier.digest, self.confidence(reference)
        limit = self._confidence[1]
        best = reference.classifier([i.pixels for i in images]).max(axis=1)
        return [round(float(m - limit[i.y]), 5) for m, i in zip(best, images, strict=True)]

    def confidence(self, reference: Reference) -> NDArray[np.float64]:
        """(K,) mean confidence of each class; 1 for a class without training images."""
        table = reference.train
        if table is None:
            raise ConfigError(f"filter={self.name} needs the training images.")
        parts = []
        for start in range(0, len(table), self.batch_size):
            chunk = [read_image(p) for p in table.paths[start : start + self.batch_size]]
            parts.append(reference.classifier(chunk))
        p = np.concatenate(parts)
        own = p[np.arange(len(p)), table.y].astype(np.float64)
        of_class = [own[table.y == y] for y in range(p.shape[1])]
        return np.array([c.mean() if len(c) else 1.0 for c in of_class])

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) > self.min_excess}
