"""Many images stored at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.pipeline.stage import SaveImage


def save_all(save: SaveImage, images: Sequence[NDArray[Any]]) -> list[str]:
    """Store images by several threads: while one is compressed, Python can go on with the next.

    Args:
        save: stores one image and gives its name, the same for equal images.
        images: (H, W, 3) or (H, W) uint8. Equal ones are handed on once, so that no two threads
            write the same file.

    Returns:
        For each image the name of its file.
    """
    keys = [_key(image) for image in images]
    different = dict(zip(keys, images, strict=True))
    threads = _threads()
    if threads == 1 or len(different) < 2:
        names = dict(zip(different, map(save, different.values()), strict=True))
    else:
        with ThreadPoolExecutor(threads) as pool:
            names = dict(zip(different, pool.map(save, different.values()), strict=True))
    return [names[key] for key in keys]


def _threads() -> int:
    """All cores, or ``OMP_NUM_THREADS``, by which jobs share a machine."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else os.cpu_count() or 1


def _key(image: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return image.shape, hashlib.sha256(np.ascontiguousarray(image).data).digest()
