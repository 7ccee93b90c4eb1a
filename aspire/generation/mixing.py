"""What is trained on: real images, and how the generated ones are mixed in.

Arms of a comparison differ in the table alone; the number of optimiser steps is the same.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from aspire.data.image_table import ImageTable
from aspire.data.random_views import Change, RandAugment
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.rng import seed_for
from aspire.values import Count, OpenFraction


class Augmentation(Protocol):
    """Turns the train split into the table that is trained on.

    ``change`` is done to every random view after the crop and the flip; None for nothing.
    """

    uses_generated: ClassVar[bool]
    change: Change | None

    def table(self, dataset: Dataset, generated: GeneratedSet | None, seed: int) -> ImageTable: ...


class RealOnly:
    """The train split as it is."""

    uses_generated: ClassVar[bool] = False
    change: Change | None = None

    def table(self, dataset: Dataset, generated: GeneratedSet | None, seed: int) -> ImageTable:
        return ImageTable.of(dataset, Split.TRAIN)


class RandAugmented(RealOnly):
    """The same, its views changed by RandAugment; see :class:`RandAugment` for the arguments."""

    def __init__(
        self, num_ops: Count = 2, magnitude: Annotated[int, Meta(ge=0, le=30)] = 9
    ) -> None:
        self.change = RandAugment(num_ops, magnitude)


class Generated:
    """Real and generated images in a fixed proportion.

    Classes keep their share of the train split, so the class prior is that of the real data, unless
    all are to be drawn as often. A generated image belongs to the group of its scene, where that is
    known; only group-aware methods get to see it.

    Args:
        share: expected fraction of a batch that is generated, in (0, 1); None draws all images of
            a class alike, real or generated, however many there are.
        even_classes: draw every class as often.

    Raises:
        ConfigError: for a share outside.
    """

    uses_generated: ClassVar[bool] = True
    change: Change | None = None

    def __init__(self, share: OpenFraction | None = 0.5, even_classes: bool = False) -> None:
        self.share = share
        self.even_classes = even_classes

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
            self.weights(dataset, real, generated),
            np.arange(len(real) + len(y)) < len(real),
        )

    def weights(
        self, dataset: Dataset, real: ImageTable, generated: GeneratedSet
    ) -> NDArray[np.float64]:
        """(N + M,) probability of each real and each generated image to be drawn."""
        made = np.array(generated.y, dtype=np.int64)
        return mix_weights(real.y, made, self.share, self.even_classes)


class Replaced(Generated):
    """Each real image that is drawn is replaced, with probability ``share``, by one of its own.

    As DA-Fusion mixes (Trabucco et al. 2023, arXiv 2302.07944, section 4), where every real image
    has variations of itself. Its own are the generated images that show its object; an image
    without any is replaced by one that was made of no single object, else by any of its class.
    """

    def weights(
        self, dataset: Dataset, real: ImageTable, generated: GeneratedSet
    ) -> NDArray[np.float64]:
        if self.share is None:
            raise ConfigError(
                "augmentation.share=null: an image is replaced with a probability; expected a "
                "fraction between 0 and 1, or augmentation=aspire."
            )
        row = {str(img_id): r for r, img_id in enumerate(dataset.split(Split.TRAIN)["img_id"])}
        names = generated.parents or ("",) * len(generated)
        parents = np.array([row.get(p, -1) for p in names], dtype=np.int64)
        return replacement_weights(
            real.y, np.array(generated.y, dtype=np.int64), parents, self.share
        )


class Duplicates(Generated):
    """Control arm: the same mixture with real images of the class in place of generated ones.

    What is left of a gain here is due to the changed sampling, not to the new images. The copies
    are treated as generated images are: what a method finds out, it finds out without them.
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
            mix_weights(real.y, real.y[rows], self.share, self.even_classes),
            np.arange(len(real) + len(rows)) < len(real),
        )


def mix_weights(
    real: NDArray[np.int64],
    generated: NDArray[np.int64],
    share: float | None,
    even: bool = False,
) -> NDArray[np.float64]:
    """Probability of each row of (real, generated) to be drawn; sums to 1.

    Each class keeps its share of the real rows, or all have the same; within a class ``share`` of
    the probability goes to its generated rows, evenly. A class without generated rows keeps all of
    it on its real ones.

    Args:
        real, generated: (N,), (M,) classes.
        share: in (0, 1); None for the share of the generated rows among those of the class.
        even: every class alike.

    >>> mix_weights(np.array([0, 0, 0, 1]), np.array([0, 0]), 0.5)
    array([0.125 , 0.125 , 0.125 , 0.25  , 0.1875, 0.1875])
    >>> mix_weights(np.array([0, 0, 0, 1]), np.array([0, 0]), None)
    array([0.15, 0.15, 0.15, 0.25, 0.15, 0.15])
    >>> mix_weights(np.array([0, 0, 0, 1]), np.array([0, 1]), 0.6, even=True).round(3)
    array([0.067, 0.067, 0.067, 0.2  , 0.3  , 0.3  ])
    """
    weights = np.zeros(len(real) + len(generated))
    classes = np.unique(real)
    for y in classes:
        r, g = real == y, generated == y
        mass = 1 / len(classes) if even else r.mean()
        own = g.sum() / (r.sum() + g.sum()) if share is None else share
        of_generated = own if g.any() else 0.0
        weights[: len(real)][r] = mass * (1 - of_generated) / r.sum()
        if g.any():
            weights[len(real) :][g] = mass * of_generated / g.sum()
    return weights


def replacement_weights(
    real: NDArray[np.int64],
    generated: NDArray[np.int64],
    parents: NDArray[np.int64],
    share: float,
) -> NDArray[np.float64]:
    """The same where a drawn real row is replaced, with probability ``share``, by one of its own.

    Drawing a row and then throwing the coin is one draw with these probabilities.

    Args:
        real, generated: (N,), (M,) classes.
        parents: (M,) real row that a generated one was made of; -1 for none.
        share: in (0, 1).

    >>> replacement_weights(np.array([0, 0, 1]), np.array([0, 0]), np.array([0, 0]), 0.5)
    array([0.16666667, 0.16666667, 0.33333333, 0.16666667, 0.16666667])
    """
    weights = np.zeros(len(real) + len(generated))
    of_real, of_generated = weights[: len(real)], weights[len(real) :]
    has_parent = parents >= 0
    children = np.bincount(parents[has_parent], minlength=len(real))
    of_generated[has_parent] = share / children[parents[has_parent]]
    for y in np.unique(real):
        rows, made = real == y, generated == y
        of_real[rows] = 1 - share if made.any() else 1.0
        free = made & ~has_parent if (made & ~has_parent).any() else made
        if made.any():
            of_generated[free] += share * (rows & (children == 0)).sum() / free.sum()
    return weights / len(real)
