"""SUBG: cross-entropy on a subset with as many images of every group, the groups known.

Source: Idrissi et al., "Simple data balancing achieves competitive worst-group-accuracy", CLeaR
2022: of every group a random subset of the smallest group's size, drawn once per seed.

Deviations: none on real images. Groups without images are left out, since a subset of their size
would be empty.

The subset is of the real images alone, the same as without generated images. These are all added
to it and keep their share of a batch: nothing needs to be thrown away of what can be made.
"""

from __future__ import annotations

from dataclasses import replace
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
        real = ctx.real
        groups = present_groups(real, "SUBG balances the others")
        rows = balanced_rows(real.train, groups, ctx.rng("subset"))
        ctx.record(subset_images=len(rows), subset_images_per_group=len(rows) // len(groups))
        if len(rows) < ctx.batch_size:
            ctx.warn(
                f"The smallest group has {len(rows) // len(groups)} images, so SUBG trains on "
                f"{len(rows)}, fewer than one batch of {ctx.batch_size}, and will memorise them. "
                "Try baseline=rwg, which balances the groups and keeps every image."
            )
        chosen = np.zeros(len(real.train), dtype=bool)
        chosen[rows] = True
        train = ctx.train
        if train.weight is not None:
            train = replace(train, weight=train.reweighted(chosen))
        subset = train.take(np.flatnonzero(train.widened(chosen, 1)))
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
