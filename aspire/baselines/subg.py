"""SUBG: cross-entropy on a subset with as many images of every group, the groups known.

Source: Idrissi et al., "Simple data balancing achieves competitive worst-group-accuracy", CLeaR
2022: of every group a random subset of the smallest group's size, drawn once per seed.

Deviations: none on real images. Groups without images are left out, since a subset of their size
would be empty. Where rows have sampling weights of their own (generated images mixed in), the
subset still counts rows, drawn evenly from a group, so real and generated ones fall away alike;
their weights then say how often a row is drawn within its group, and every group is drawn equally
often. So the augmentation keeps about the share in a group that it has in the whole table; without
the weights that would depend on how many images happened to be generated.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aspire.baselines.base import Needs, RunContext
from aspire.baselines.erm import CrossEntropy
from aspire.baselines.rwg import group_balanced, own_weights, present_groups
from aspire.classification.classifier import Classifier
from aspire.data.image_table import ImageTable


class SUBG:
    """One fit with cross-entropy on a balanced subset."""

    needs: ClassVar[Needs] = Needs(train_groups=True)

    def run(self, ctx: RunContext) -> Classifier:
        groups = present_groups(ctx, "SUBG balances the others")
        rows = balanced_rows(ctx.train, groups, ctx.rng("subset"))
        ctx.record(subset_images=len(rows), subset_images_per_group=len(rows) // len(groups))
        if len(rows) < ctx.batch_size:
            ctx.warn(
                f"The smallest group has {len(rows) // len(groups)} images, so SUBG trains on "
                f"{len(rows)}, fewer than one batch of {ctx.batch_size}, and will memorise them. "
                "Try baseline=rwg, which balances the groups and keeps every image."
            )
        subset = ctx.train.take(rows)
        weights = None if subset.weight is None else group_balanced(subset)
        return ctx.fit("train", CrossEntropy(), train=subset, sample_weights=weights)


def balanced_rows(
    table: ImageTable, groups: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of an even random subset: of each group as many as the smallest of them has.

    Args:
        table: what to draw from; a row with a sampling weight of 0 is none.
        groups: (P,) those that have rows.
        rng: decides the subset.

    Returns:
        (P * n,) ascending rows, each once.
    """
    drawn = own_weights(table) > 0
    members = [np.flatnonzero(drawn & (table.group == g)) for g in groups]
    size = min(len(rows) for rows in members)
    return np.sort(np.concatenate([rng.choice(rows, size, replace=False) for rows in members]))
