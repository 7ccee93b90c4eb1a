"""RWG: cross-entropy on batches that hold as many images of every group, the groups known.

Source: Idrissi et al., "Simple data balancing achieves competitive worst-group-accuracy", CLeaR
2022: rows are drawn with replacement, in proportion to 1 / n_g.

Deviations: none on real images. Where rows have sampling weights of their own, a group's rows keep
their proportions to one another and the groups are balanced all the same.

Nothing is found out, the groups being given. A generated image is of the group of its scene, and
within each group generated images have the share they have in the mixture: in proportion to their
numbers, they would drown the few real images of the groups that they are made for.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.baselines.base import Needs, RunContext
from aspire.baselines.erm import CrossEntropy
from aspire.classification.classifier import Classifier
from aspire.data.image_table import ImageTable

MAX_NAMES = 5  # groups named in a warning


class RWG:
    """One fit with cross-entropy on group-balanced batches."""

    needs: ClassVar[Needs] = Needs(train_groups=True)

    def run(self, ctx: RunContext) -> Classifier:
        present_groups(ctx, "RWG balances the others")
        return ctx.fit("train", CrossEntropy(), sample_weights=group_balanced(ctx.train))


def own_weights(table: ImageTable) -> NDArray[np.float64]:
    """(N,) the rows' sampling weights, ones where the table has none."""
    return np.ones(len(table)) if table.weight is None else table.weight


def group_balanced(table: ImageTable) -> NDArray[np.float64]:
    """(N,) sampling weights under which every group that is present is drawn equally often.

    Each group's weights sum to 1; within a group they are as in :func:`weights_within`.

    >>> from pathlib import Path
    >>> group = np.array([0, 0, 0, 3])
    >>> group_balanced(ImageTable((Path("x"),) * 4, group // 2, group, np.array([1, 1, 2, 1])))
    array([0.25, 0.25, 0.5 , 1.  ])
    """
    return _of_group(table.group, weights_within(table))


def weights_within(table: ImageTable) -> NDArray[np.float64]:
    """(N,) how often rows are drawn compared with others of their group: the rows' own weights.

    Where a group has both real rows and rows that an augmentation added, the added ones have the
    share of the group that they have of the table.

    >>> from pathlib import Path
    >>> y, real = np.array([0, 0, 0, 0, 1, 1]), np.array([True, True, False, False, True, False])
    >>> table = ImageTable((Path("x"),) * 6, y, y, np.array([1, 1, 1, 1, 1, 1]), real)
    >>> weights_within(table)
    array([0.25, 0.25, 0.25, 0.25, 0.5 , 0.5 ])
    """
    own = own_weights(table)
    if table.real is None:
        return own
    part = 2 * table.group + table.real
    both = np.isin(table.group, np.intersect1d(*(table.group[table.real == r] for r in (0, 1))))
    share = np.where(table.real, 1 - table.added_share, table.added_share)
    return np.where(both, share, 1.0) * _of_group(part, own)


def _of_group(group: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) each weight as a part of its group's; a group that is never drawn stays so."""
    mass = np.bincount(group, weights=weight)[group]
    return np.divide(weight, mass, out=np.zeros(len(group)), where=mass > 0)


def present_groups(ctx: RunContext, consequence: str) -> NDArray[np.int64]:
    """(P,) groups with images to train on; the others are named in a warning.

    Args:
        consequence: what the method does about a group that is missing, as a clause.
    """
    drawn = own_weights(ctx.train) > 0
    counts = np.bincount(ctx.train.group[drawn], minlength=ctx.info.num_groups)
    missing = [name for name, n in zip(ctx.info.group_names, counts, strict=True) if n == 0]
    if missing:
        ctx.warn(
            f"No training image of {listed(missing)}. {consequence}; what tells a missing group's "
            "images from others is not learned. Add images of it, or read its accuracy with care."
        )
    return np.flatnonzero(counts)


def listed(names: list[str]) -> str:
    """``a, b, c``; after a few of them only their number.

    >>> listed(["a", "b"])
    'a, b'
    >>> listed(list("abcdefgh"))
    'a, b, c, d, e and 3 more'
    """
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
