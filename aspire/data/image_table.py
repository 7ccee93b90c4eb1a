"""Which images are trained or judged on. Free of torch, so that a finished run is found fast."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    paths: tuple[Path, ...]
    y: NDArray[np.int64]
    group: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> ImageTable:
        """These rows, in this order; a row may stand more than once."""
        weight = None if self.weight is None else self.weight[rows]
        paths = tuple(self.paths[row] for row in rows)
        return ImageTable(paths, self.y[rows], self.group[rows], weight)

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> ImageTable:
        """One split of a dataset."""
        rows = dataset.split(split)
        y, place = rows["y"].to_numpy(np.int64), rows["place"].to_numpy(np.int64)
        paths = tuple(dataset.path(name) for name in rows["img_filename"])
        return cls(paths, y, dataset.grouper.ids(y, place))
