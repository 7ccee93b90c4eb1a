"""The place of a control edit: the same hole, somewhere else."""

from __future__ import annotations

import numpy as np

from aspire.editing.base import Mask


def elsewhere(mask: Mask, avoid: Mask, seed: int) -> Mask | None:
    """A hole of the size of ``mask`` at another place of the image.

    Its shape is that of ``mask`` where that fits, at a place drawn from all such places. What
    fits nowhere, as a dress below the head it must not touch, keeps its area only: the pixels
    nearest to one drawn from all that are free.

    Args:
        mask: (H, W), with at least one pixel.
        avoid: (H, W), pixels that the hole must not touch.
        seed: for the draw.

    Returns:
        (H, W), with as many pixels as ``mask`` and none of ``avoid``; None when fewer are free.
    """
    import cv2

    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    shape = mask[top : rows.max() + 1, left : columns.max() + 1]
    # The correlation counts, for every place at once, the pixels it would share with ``avoid``.
    shared = cv2.matchTemplate(avoid.astype(np.float32), shape.astype(np.float32), cv2.TM_CCORR)
    places = np.argwhere(np.asarray(shared) < 0.5)
    rng = np.random.default_rng(seed)
    moved = np.zeros_like(mask)
    if len(places):
        top, left = places[rng.integers(len(places))]
        moved[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
        return moved
    free = np.argwhere(~avoid)
    area = int(mask.sum())
    if len(free) < area:
        return None
    away = np.square(free - free[rng.integers(len(free))]).sum(axis=1)
    moved[tuple(free[np.argsort(away, kind="stable")[:area]].T)] = True
    return moved
