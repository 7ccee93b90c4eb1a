"""Which images are trained or judged on. Free of torch, so that a finished run is found fast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aspire.data.table import Dataset, Split


@dataclass(frozen=True)
class ImageTable:
    """Images with their labels, ready to load; row ``i`` is example ``i`` everywhere.

    Args:
        paths: absolute, one a row.
        y, group: (N,) int64; group is -1 where unknown.
        weight: (N,) probability of being drawn in training, or None for an even pass.
        real: (N,) bool, False for what an augmentation added; None where nothing was.
    """

    paths: tuple[Path, ...]
    y: NDArray[np.int64]
    group: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None
    real: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> ImageTable:
        """These rows, in this order; a row may appear more than once."""
        weight = None if self.weight is None else self.weight[rows]
        real = None if self.real is None else self.real[rows]
        paths = tuple(self.paths[row] for row in rows)
        return ImageTable(paths, self.y[rows], self.group[rows], weight, real)

    @property
    def is_real(self) -> NDArray[np.bool_]:
        """(N,) whether a row is one of the dataset's own."""
        return np.ones(len(self), dtype=bool) if self.real is None else self.real

    @property
    def added_share(self) -> float:
        """Expected share of what is drawn that an augmentation added."""
        if self.real is None:
            return 0.0
        weight = np.ones(len(self)) if self.weight is None else self.weight
        return float(weight[~self.real].sum() / weight.sum())

    def only_real(self) -> ImageTable:
        """The table as it was before an augmentation added to it; itself where none did."""
        if self.real is None:
            return self
        rows = self.take(np.flatnonzero(self.real))
        return replace(rows, weight=None, real=None)

    def widened(
        self, found: NDArray[np.int64], others: NDArray[np.int64] | int
    ) -> NDArray[np.int64]:
        """(N,) what was found of each real row, in order, and something else for the others."""
        result = np.broadcast_to(others, len(self)).astype(np.int64)
        result[self.is_real] = found
        return result

    def reweighted(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) sampling weights, those of the real rows times ``factors``, in order.

        What an augmentation added keeps its share of what is drawn.

        >>> own = np.array([0.25, 0.25, 0.5])
        >>> table = ImageTable((Path("x"),) * 3, np.zeros(3), np.zeros(3), own, own < 0.5)
        >>> table.reweighted(np.array([4.0, 1.0]))
        array([0.4, 0.1, 0.5])
        """
        weights = np.ones(len(self)) if self.weight is None else self.weight.copy()
        before, after = weights[self.is_real], weights[self.is_real] * factors
        if self.real is not None:
            after *= before.sum() / after.sum()
        weights[self.is_real] = after
        return weights

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> ImageTable:
        """One split of a dataset."""
        rows = dataset.split(split)
        y, place = rows["y"].to_numpy(np.int64), rows["place"].to_numpy(np.int64)
        paths = tuple(dataset.path(name) for name in rows["img_filename"])
        return cls(paths, y, dataset.grouper.ids(y, place))
