"""Visual concepts: parts of images that look alike, and go along with a class.

Each image is a grid of cells with the network's features of each (Ghorbani et al. 2019 cluster
segments in a like way, class by class). The cells of a class are put into ``k`` clusters by
k-means; a cluster is in an image where one of its cells lies within the radius that holds ``CORE``
of the class's own. What matters is how much oftener it is in the class's images than in those of
others: its *contrast*. Of several ``k`` the one is taken whose clearest cluster has the largest
contrast, the smallest of equals: too few clusters hide a small thing among its surroundings, and
the silhouette, which is the usual rule, is nearly flat on photographs and wants the fewest
(``experiments/planted``). Clusters that touch each other in most images, and together set the class
apart no less than alone, are parts of one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aspire.records import ConceptSpace, Region

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

DIMENSIONS = 32  # that the features are reduced to
CORE = 0.8  # share of a cluster's own cells that count as it
SAMPLE = 10_000  # cells that axes and centres are learnt from
TOUCHING = 0.5  # share of a cluster's images in which it touches what it is a part of
LOSS = 0.02  # of contrast that is no loss
DIGITS = 5  # that are kept


@dataclass(frozen=True)
class Cluster:
    """One of a class's clusters.

    Args:
        number: row of the class's centres.
        radius: largest squared distance of a cell that counts as it.
        own, others: share of the class's images, and of the other classes', that show it.
    """

    number: int
    radius: float
    own: float
    others: float

    @property
    def contrast(self) -> float:
        """How much oftener it is in images of the class."""
        return self.own - self.others


@dataclass(frozen=True)
class Axes:
    """How features become points: scaled, turned, and of length 1."""

    mean: Floats  # (C,)
    scale: Floats  # (C,)
    basis: Floats  # (D, C)

    def points(self, grids: Floats) -> Floats:
        """(..., C) -> (..., D)."""
        found = ((grids - self.mean) / self.scale) @ self.basis.T
        length = np.linalg.norm(found, axis=-1, keepdims=True)
        return np.asarray(found / np.maximum(length, 1e-6), dtype=np.float32)


def learn_axes(grids: Floats, seed: int) -> Axes:
    """The main axes of a sample of cells.

    Args:
        grids: (N, side, side, C).
        seed: of the sample.
    """
    from sklearn.decomposition import PCA

    cells = grids.reshape(-1, grids.shape[-1])
    if len(cells) > SAMPLE:
        rng = np.random.default_rng(seed)
        cells = cells[np.sort(rng.choice(len(cells), SAMPLE, replace=False))]
    mean, scale = cells.mean(axis=0), cells.std(axis=0) + 1e-6
    dimensions = min(DIMENSIONS, *cells.shape)
    basis = PCA(dimensions, random_state=seed).fit((cells - mean) / scale).components_
    return Axes(*(np.round(a, DIGITS).astype(np.float32) for a in (mean, scale, basis)))


def clusters_of(
    points: Floats, own: Bools, numbers: Sequence[int], seed: int
) -> tuple[Floats, list[Cluster]]:
    """The clusters of a class, those with the largest contrast first.

    Args:
        points: (N, cells, D) of the images of all classes.
        own: (N,) which are of the class.
        numbers: of clusters to try.
        seed: of the starts of k-means.

    Returns:
        The centres, (k, D), and the clusters.
    """
    from sklearn.cluster import KMeans

    cells = points[own].reshape(-1, points.shape[-1])
    rng = np.random.default_rng(seed)
    sample = cells[np.sort(rng.permutation(len(cells))[:SAMPLE])]
    best: tuple[Floats, list[Cluster]] | None = None
    for k in sorted(numbers):
        if k > len(cells):
            break
        found = KMeans(k, n_init=2, max_iter=50, random_state=seed).fit(sample).cluster_centers_
        centres = np.round(found, DIGITS).astype(np.float32)
        near, far = nearest(points, centres)
        clusters = []
        for j in range(k):
            mine = far[own][near[own] == j]
            if not mine.size:
                continue
            radius = round(float(np.quantile(mine, CORE)), DIGITS)
            clusters.append(Cluster(j, radius, *shares_of((near == j) & (far <= radius), own)))
        clusters.sort(key=lambda c: (-c.contrast, c.number))
        if best is None or clusters[0].contrast > best[1][0].contrast + 1e-9:
            best = centres, clusters
    assert best is not None, "a class has no image"
    return best


def joined(
    clusters: Sequence[Cluster], near: NDArray[np.int64], far: Floats, own: Bools
) -> list[list[Cluster]]:
    """Those that are parts of one thing together, by what has the largest contrast among them.

    Args:
        clusters: of a class, those with the largest contrast first.
        near, far: (N, side, side) the nearest centre and the distance from it, in all images.
        own: (N,) which images are of the class.
    """
    groups: list[tuple[list[Cluster], Bools]] = []
    for cluster in clusters:
        places: Bools = np.asarray((near == cluster.number) & (far <= cluster.radius))
        mine = own & places.any(axis=(1, 2))
        for i, (members, there) in enumerate(groups):
            touch = (grown(there[mine]) & places[mine]).any(axis=(1, 2))
            both = np.asarray(there | places)
            (shown, elsewhere), before = shares_of(both, own), shares_of(there, own)
            no_loss = shown - elsewhere >= before[0] - before[1] - LOSS
            if touch.mean() >= TOUCHING and no_loss:
                groups[i] = [*members, cluster], both
                break
        else:
            groups.append(([cluster], places))
    return [members for members, _ in groups]


def shares_of(places: Bools, own: Bools) -> tuple[float, float]:
    """Share of the class's images, and of the others, that show something; places (N, ...)."""
    shows: Bools = np.asarray(places.reshape(len(places), -1).any(axis=1))
    sides: tuple[Bools, Bools] = own, np.logical_not(own)
    own_share, others = (float(shows[w].mean()) if w.any() else 0.0 for w in sides)
    return own_share, others


def grown(cells: Bools) -> Bools:
    """(..., side, side) with the cells around: a thing's middle is seen more surely than its rim.

    >>> grown(np.array([[True, False, False], [False] * 3, [False] * 3])).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    rim = [(0, 0)] * (cells.ndim - 2) + [(1, 1), (1, 1)]
    padded, side = np.pad(cells, rim), cells.shape[-1]
    rows = cells.shape[-2]
    found = np.zeros_like(cells)
    for i in range(3):
        for j in range(3):
            found |= padded[..., i : i + rows, j : j + side]
    return found


def nearest(points: Floats, centres: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Of each point the nearest centre, and the squared distance to it; both (N, cells)."""
    square = (points**2).sum(-1, keepdims=True) + (centres**2).sum(-1) - 2 * points @ centres.T
    return square.argmin(-1), np.asarray(square.min(-1), dtype=np.float32)


def axes_of(space: ConceptSpace) -> Axes:
    """As they were learnt."""
    parts = (space.mean, space.scale, space.basis)
    return Axes(*(np.array(p, dtype=np.float32) for p in parts))


def region_of(cells: Bools) -> Region:
    """(side, side) -> a region.

    >>> region_of(np.eye(2, dtype=bool))
    Region(side=2, cells='90')
    """
    return Region(side=len(cells), cells=np.packbits(cells).tobytes().hex())


def cells_of(region: Region) -> Bools:
    """The same back, (side, side).

    >>> cells_of(Region(side=2, cells='90')).tolist()
    [[True, False], [False, True]]
    """
    number = region.side**2
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(region.cells), np.uint8), count=number)
    return bits.reshape(region.side, region.side).astype(bool)
