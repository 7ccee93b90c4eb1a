"""Groups: every combination of class and spurious attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grouper:
    """Class and attribute indices <-> group id, the one place that defines it.

    ``group = y * num_attributes + place``; -1 where the attribute is unknown.
    """

    class_names: Sequence[str]
    attribute_names: Sequence[str]

    @property
    def num_groups(self) -> int:
        """Classes times attributes."""
        return len(self.class_names) * len(self.attribute_names)

    @property
    def names(self) -> tuple[str, ...]:
        """``"<class>/<attribute>"`` in id order.

        >>> Grouper(["a", "a/b"], ["b/c", "c"]).names  # else two groups would have one name
        ('a/b%2Fc', 'a/c', 'a%2Fb/b%2Fc', 'a%2Fb/c')
        """
        pairs = [(c, a) for c in self.class_names for a in self.attribute_names]
        names = [f"{c}/{a}" for c, a in pairs]
        if len(set(names)) < len(names):
            names = ["/".join(part.replace("/", "%2F") for part in pair) for pair in pairs]
        return tuple(names)

    def ids(self, y: NDArray[Any], place: NDArray[Any]) -> NDArray[np.int64]:
        """Group ids, -1 where ``place`` is -1.

        Args:
            y, place: (N,) class and attribute indices.

        Returns:
            (N,) int64.

        >>> grouper = Grouper(["cat", "dog"], ["land", "water"])
        >>> grouper.ids(np.array([0, 1, 1]), np.array([1, 0, -1]))
        array([ 1,  2, -1])
        """
        y, place = np.asarray(y, dtype=np.int64), np.asarray(place, dtype=np.int64)
        return np.where(place < 0, -1, y * len(self.attribute_names) + place)
