"""RWG: cross-entropy on batches that hold as many images of every group, the groups known.

Source: Idrissi et al., "Simple data balancing achieves competitive worst-group-accuracy", CLeaR
2022: rows are drawn with replacement, in proportion to 1 / n_g.

Deviations: none on real images. Where rows have sampling weights of their own (generated images
mixed in), a group's rows keep their proportions to one another and the groups are balanced all the
same. The augmentation's share of a batch is then the mean of its shares in the groups.
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

    Each group's weights sum to 1; within a group they are in proportion to the rows' own.

    >>> from pathlib import Path
    >>> group = np.array([0, 0, 0, 3])
    >>> group_balanced(ImageTable((Path("x"),) * 4, group // 2, group, np.array([1, 1, 2, 1])))
    array([0.25, 0.25, 0.5 , 1.  ])
    """
    base = own_weights(table)
    mass = np.bincount(table.group, weights=base)[table.group]
    # a group that is never drawn stays so
    return np.divide(base, mass, out=np.zeros(len(table)), where=mass > 0)


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
