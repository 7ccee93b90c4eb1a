"""Pictures that look alike, whatever their size, format and compression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aspire.data.images import read_image
from aspire.errors import DataError

BITS = 2  # of 64 that may differ; rescaling and recompression change none to two
_BANDS = BITS + 1


def look_alikes(paths: Sequence[Path]) -> list[list[int]]:
    """Clusters of images, each within ``BITS`` of 64 bits of another one of its cluster.

    Images that cannot be read and single-coloured ones, which all have one hash, are left out.

    Returns:
        Lists of two or more positions in ``paths``, each sorted.
    """
    hashes: dict[int, list[int]] = {}
    for index, path in enumerate(paths):
        value = _hash(path)
        if value is not None:
            hashes.setdefault(value, []).append(index)
    parent = {value: value for value in hashes}

    def top(value: int) -> int:
        while parent[value] != value:
            parent[value] = parent[parent[value]]
            value = parent[value]
        return value

    # Two hashes that differ in BITS bits are equal in one of BITS + 1 bands.
    width = -(-64 // _BANDS)
    for band in range(_BANDS):
        near: dict[int, list[int]] = {}
        for value in hashes:
            near.setdefault((value >> (band * width)) & ((1 << width) - 1), []).append(value)
        for values in near.values():
            for first, second in _close(np.array(values, dtype=np.uint64)):
                parent[top(first)] = top(second)
    clusters: dict[int, list[int]] = {}
    for value, rows in hashes.items():
        clusters.setdefault(top(value), []).extend(rows)
    return sorted(sorted(rows) for rows in clusters.values() if len(rows) > 1)


def _close(values: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    for i in range(len(values) - 1):
        differing = np.bitwise_count(values[i + 1 :] ^ values[i])
        for j in np.flatnonzero(differing <= BITS).tolist():
            yield int(values[i]), int(values[i + 1 + j])


def _hash(path: Path) -> int | None:
    try:
        pixels = read_image(path)
    except DataError:
        return None
    if (pixels == pixels[0, 0]).all():
        return None
    return int(str(imagehash.phash(Image.fromarray(pixels))), 16)
