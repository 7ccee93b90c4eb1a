"""What is trained on: real images, and how the generated ones are mixed in.

Arms of a comparison differ in the table alone; the number of optimiser steps is the same.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from aspire.data.image_table import ImageTable
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.rng import seed_for


class Augmentation(Protocol):
    """Turns the train split into the table that is trained on."""

    uses_generated: ClassVar[bool]

    def table(self, dataset: Dataset, generated: GeneratedSet | None, seed: int) -> ImageTable: ...


class RealOnly:
    """The train split as it is."""

    uses_generated: ClassVar[bool] = False

    def table(self, dataset: Dataset, generated: GeneratedSet | None, seed: int) -> ImageTable:
        return ImageTable.of(dataset, Split.TRAIN)


class Generated:
    """Real and generated images in a fixed proportion.

    Within the generated part classes keep their share of the train split, so the class prior is
    that of the real data. A generated image belongs to the group of its scene, where that is known;
    only methods that are told the training groups get to see it.

    Args:
        share: expected fraction of a batch that is generated, in (0, 1).

    Raises:
        ConfigError: for a share outside.
    """

    uses_generated: ClassVar[bool] = True

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share < 1:
            raise ConfigError(
                f"augmentation.share={share}: expected a fraction between 0 and 1, both excluded. "
                "For real images only use augmentation=none."
            )
        self.share = share

    def table(self, dataset: Dataset, generated: GeneratedSet | None, seed: int) -> ImageTable:
        assert generated is not None
        real = ImageTable.of(dataset, Split.TRAIN)
        place = dict(zip(dataset.table["img_id"], dataset.table["place"], strict=True))
        y = np.array(generated.y, dtype=np.int64)
        places = np.array([place.get(p, -1) for p in generated.scene_parents], dtype=np.int64)
        paths = tuple(generated.root / f for f in generated.files)
        return ImageTable(
            real.paths + paths,
            np.concatenate([real.y, y]),
            np.concatenate([real.group, dataset.grouper.ids(y, places)]),
            mix_weights(real.y, y, self.share),
        )


class Duplicates(Generated):
    """Control arm: the same mixture with real images of the class in place of generated ones.

    What is left of a gain here is due to the changed sampling, not to the new images.
    """

    def table(self, dataset: Dataset, generated: GeneratedSet | None, seed: int) -> ImageTable:
        assert generated is not None
        real = ImageTable.of(dataset, Split.TRAIN)
        rng = np.random.default_rng(seed_for(seed, "duplicates"))
        rows = np.array(
            [rng.choice(np.flatnonzero(real.y == y)) for y in generated.y], dtype=np.int64
        )
        return ImageTable(
            real.paths + tuple(real.paths[r] for r in rows),
            np.concatenate([real.y, real.y[rows]]),
            np.concatenate([real.group, real.group[rows]]),
            mix_weights(real.y, real.y[rows], self.share),
        )


def mix_weights(
    real: np.ndarray[tuple[int], np.dtype[np.int64]],
    generated: np.ndarray[tuple[int], np.dtype[np.int64]],
    share: float,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Probability of each row of (real, generated) to be drawn; sums to 1.

    Each class keeps its share of the real rows; within a class ``share`` of the probability goes to
    its generated rows, evenly. A class without generated rows keeps all of it on its real ones.

    Args:
        real, generated: (N,), (M,) classes.
        share: in (0, 1).

    >>> mix_weights(np.array([0, 0, 0, 1]), np.array([0, 0]), 0.5)
    array([0.125 , 0.125 , 0.125 , 0.25  , 0.1875, 0.1875])
    """
    weights = np.zeros(len(real) + len(generated))
    for y in np.unique(real):
        r, g = real == y, generated == y
        mass = r.mean()
        of_generated = share if g.any() else 0.0
        weights[: len(real)][r] = mass * (1 - of_generated) / r.sum()
        if g.any():
            weights[len(real) :][g] = mass * of_generated / g.sum()
    return weights
