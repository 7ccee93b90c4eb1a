"""Whole images at 16 x 16 pixels: what looks alike there has one composition and its colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels, read_image

SIDE = 16
AMONG = 20_000  # real images that are searched, at most


def tiny_view(pixels: Pixels) -> NDArray[np.float32]:
    """(SIDE, SIDE, 3) in [0, 1]."""
    from aspire.editing.pixels import resize

    return resize(pixels, SIDE, SIDE).astype(np.float32) / np.float32(255)


@lru_cache(maxsize=1)  # filters and classifiers of all seeds look among the same images
def tiny_views(files: tuple[Path, ...]) -> NDArray[np.float32]:
    """(N, 3 * SIDE * SIDE) of image files."""
    return np.stack([tiny_view(read_image(f)).reshape(-1) for f in files])


def nearest_view(pixels: Pixels, files: Sequence[Path]) -> tuple[int, float]:
    """The image that another looks most like; an image and its mirror image count as one.

    Returns:
        Its place in ``files``, and the root mean square difference of all values, in [0, 1]: 0 for
        a copy.
    """
    known, view = tiny_views(tuple(files)), tiny_view(pixels)
    sides = [((known - side.reshape(-1)) ** 2).mean(1) for side in (view, view[:, ::-1])]
    squares = np.minimum(*sides)
    best = int(squares.argmin())
    return best, float(np.sqrt(squares[best]))


def evenly(number: int) -> list[int]:
    """Which of so many real images are searched."""
    share = min(number, AMONG)
    return [i * number // share for i in range(share)]
