"""The place of a control edit: the same hole, somewhere else."""

from __future__ import annotations

import numpy as np

from aspire.editing.base import Mask


def elsewhere(mask: Mask, avoid: Mask, seed: int) -> Mask | None:
    """The shape of ``mask`` at another place of the image, drawn from all places where it fits.

    Args:
        mask: (H, W), with at least one pixel.
        avoid: (H, W), pixels that the moved shape must not touch.
        seed: for the draw.

    Returns:
        (H, W), with as many pixels as ``mask`` and none of ``avoid``; None when it fits nowhere.
    """
    import cv2

    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    shape = mask[top : rows.max() + 1, left : columns.max() + 1]
    # The correlation counts, for every place at once, the pixels it would share with ``avoid``.
    shared = cv2.matchTemplate(avoid.astype(np.float32), shape.astype(np.float32), cv2.TM_CCORR)
    free = np.argwhere(np.asarray(shared) < 0.5)
    if not len(free):
        return None
    top, left = free[np.random.default_rng(seed).integers(len(free))]
    moved = np.zeros_like(mask)
    moved[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return moved
