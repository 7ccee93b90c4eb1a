"""Landscapes: the land and water scenes of Mini-Waterbirds."""

from __future__ import annotations

import numpy as np

from aspire.miniatures.drawing.background import Background
from aspire.miniatures.drawing.fields import (
    Canvas,
    below,
    colour,
    depth,
    dots,
    gradient,
    grid,
    noise,
    ridge,
    sky,
    trunks,
    water,
)


def _grassy_field(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.3, 0.5))
    far, near = colour(rng, 0.25, 0.5, 0.68), colour(rng, 0.29, 0.65, 0.45)
    ground = gradient(depth(y, horizon), far, near)
    blades = noise(rng, size, size // 5, size // 2) * (0.04 + 0.12 * depth(y, horizon))
    return below(sky(rng, size, horizon), y > horizon, ground + blades[..., None]), horizon


def _meadow(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.35, 0.5))
    canvas = sky(rng, size, horizon)
    hills = y > ridge(rng, size, horizon + 0.03, 0.14, 5)
    canvas = below(canvas, hills, colour(rng, 0.33, 0.35, 0.55))
    far, near = colour(rng, 0.19, 0.5, 0.82), colour(rng, 0.24, 0.62, 0.62)
    ground = gradient(depth(y, horizon), far, near) + 0.08 * noise(rng, size, 10, 14)[..., None]
    canvas = below(canvas, y > horizon, ground)
    petals = [colour(rng, h, s, 0.95) for h, s in ((0.93, 0.5), (0.14, 0.7), (0.75, 0.4), (0.0, 0))]
    return dots(rng, canvas, int(rng.integers(14, 26)), horizon, (0.008, 0.02), petals), horizon


def _forest(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.5, 0.65))
    leaves = gradient(y / horizon, colour(rng, 0.32, 0.6, 0.42), colour(rng, 0.3, 0.5, 0.26))
    canvas = leaves + 0.11 * noise(rng, size, 10, 10, 3)[..., None]
    floor = gradient(depth(y, horizon), colour(rng, 0.16, 0.5, 0.36), colour(rng, 0.1, 0.5, 0.38))
    canvas = below(canvas, y > horizon, floor + 0.08 * noise(rng, size, 14, 12)[..., None])
    count = int(rng.integers(4, 8))
    return trunks(rng, canvas, count, (0.03, 0.1), (0.07, 0.45, 0.36), horizon), horizon


def _bamboo(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.6, 0.72))
    mist = gradient(y / horizon, colour(rng, 0.21, 0.35, 0.82), colour(rng, 0.25, 0.5, 0.5))
    canvas = mist + 0.06 * noise(rng, size, 5, 12)[..., None]
    floor = colour(rng, 0.12, 0.4, 0.5) + 0.09 * noise(rng, size, 14, 9)[..., None]
    canvas = below(canvas, y > horizon, floor)
    stems = int(rng.integers(9, 15))
    bark = (0.24, 0.6, 0.62)
    return trunks(rng, canvas, stems, (0.025, 0.06), bark, horizon, joints=True), horizon


def _desert(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.35, 0.5))
    canvas = sky(rng, size, horizon)
    for step, light in ((-0.02, 0.92), (0.08, 0.84), (0.25, 0.9)):  # dunes, one behind the other
        top = ridge(rng, size, horizon + step + 0.05, 0.12, int(rng.integers(3, 6)))
        slope = np.clip((y - top) * 3, 0, 1)
        dune = gradient(slope, colour(rng, 0.1, 0.45, light), colour(rng, 0.085, 0.55, 0.74))
        grains = 0.05 * noise(rng, size, 12, 16)[..., None]
        canvas = below(canvas, y > top, dune + grains)
    return canvas, horizon


def _mountains(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.5, 0.62))
    canvas = sky(rng, size, horizon)
    for rise, value, knots in ((0.42, 0.6, 7), (0.25, 0.46, 9)):
        top = ridge(rng, size, horizon, rise, knots)
        rock = colour(rng, 0.65, 0.18, value) + 0.08 * noise(rng, size, 8, 10)[..., None]
        canvas = below(canvas, y > top, rock)
        snow = (y > top) & (y < top + 0.06) & (top < horizon - 0.6 * rise)
        canvas = below(canvas, snow, np.full(3, 0.95, np.float32))
    ground = gradient(depth(y, horizon), colour(rng, 0.12, 0.25, 0.5), colour(rng, 0.09, 0.3, 0.4))
    stones = 0.14 * noise(rng, size, 12, 10, 3)[..., None]
    return below(canvas, y > horizon, ground + stones), horizon


def _lake(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.35, 0.5))
    canvas = sky(rng, size, horizon)
    shore = y > ridge(rng, size, horizon - 0.02, 0.16, 6)
    canvas = below(canvas, shore, colour(rng, 0.45, 0.35, 0.42))
    far, near = colour(rng, 0.56, 0.3, 0.78), colour(rng, 0.58, 0.55, 0.55)
    return below(canvas, y > horizon, water(rng, size, horizon, far, near, 0.06)), horizon


def _sea(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.3, 0.5))
    far, near = colour(rng, 0.57, 0.65, 0.55), colour(rng, 0.55, 0.7, 0.5)
    surface = water(rng, size, horizon, far, near, 0.12, crests=0.8)
    return below(sky(rng, size, horizon), y > horizon, surface), horizon


def _river(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.28, 0.4))
    canvas = sky(rng, size, horizon)
    bushes = colour(rng, 0.3, 0.5, 0.42) + 0.1 * noise(rng, size, 12, 12)[..., None]
    canvas = below(canvas, y > ridge(rng, size, horizon - 0.06, 0.16, 11), bushes)
    far, near = colour(rng, 0.5, 0.35, 0.62), colour(rng, 0.52, 0.5, 0.48)
    surface = water(rng, size, horizon, far, near, 0.1, crests=0.35)
    return below(canvas, y > horizon, surface), horizon


def _pond(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.2, 0.32))
    reeds = colour(rng, 0.27, 0.5, 0.5) + 0.2 * noise(rng, size, 3, size // 2)[..., None]
    far, near = colour(rng, 0.53, 0.42, 0.58), colour(rng, 0.56, 0.5, 0.4)
    canvas = below(reeds, y > horizon, water(rng, size, horizon, far, near, 0.05))
    pads = [colour(rng, 0.32, 0.55, 0.55), colour(rng, 0.36, 0.5, 0.45)]
    count = int(rng.integers(5, 11))
    return dots(rng, canvas, count, horizon + 0.08, (0.03, 0.07), pads), horizon


def _harbour(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, x = grid(size)
    horizon = float(rng.uniform(0.38, 0.5))
    canvas = sky(rng, size, horizon)
    left = -0.05
    while left < 1.0:  # warehouses along the quay
        width, top = rng.uniform(0.1, 0.24), horizon - rng.uniform(0.06, 0.26)
        wall = colour(rng, float(rng.choice([0.03, 0.1, 0.6])), 0.35, 0.62, spread=1.5)
        canvas = below(canvas, (x > left) & (x < left + width * 0.94) & (y > top), wall)
        left += width
    canvas = below(canvas, y > horizon - 0.05, colour(rng, 0.1, 0.08, 0.5))
    for _ in range(int(rng.integers(2, 5))):  # masts
        at = rng.uniform(0.05, 0.95)
        mast = (np.abs(x - at) < 0.01) & (y > horizon - rng.uniform(0.2, 0.35))
        canvas = below(canvas, mast, colour(rng, 0.08, 0.3, 0.3))
    far, near = colour(rng, 0.59, 0.3, 0.55), colour(rng, 0.6, 0.45, 0.42)
    return below(canvas, y > horizon, water(rng, size, horizon, far, near, 0.09)), horizon


def _lagoon(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = grid(size)
    horizon = float(rng.uniform(0.3, 0.45))
    canvas = sky(rng, size, horizon)
    island = y > ridge(rng, size, horizon + 0.04, 0.1, 6)
    canvas = below(canvas, island, colour(rng, 0.36, 0.45, 0.5))
    far, near = colour(rng, 0.5, 0.55, 0.72), colour(rng, 0.48, 0.45, 0.85)
    surface = water(rng, size, horizon, far, near, 0.05)
    glitter = np.clip(0.25 - np.abs(noise(rng, size, 8, 6)), 0, 1)[..., None]  # light on the bed
    surface += 0.5 * glitter
    return below(canvas, y > horizon, surface), horizon


LAND = (
    Background("grassy field", "in a grassy field", _grassy_field),
    Background("meadow", "in a meadow", _meadow),
    Background("forest", "in a forest", _forest),
    Background("bamboo forest", "in a bamboo forest", _bamboo),
    Background("desert", "in a desert", _desert),
    Background("mountains", "in the mountains", _mountains),
)
WATER = (
    Background("lake", "on a lake", _lake),
    Background("sea", "on the sea", _sea),
    Background("river", "on a river", _river),
    Background("pond", "on a pond", _pond),
    Background("harbour", "in a harbour", _harbour),
    Background("lagoon", "on a lagoon", _lagoon),
)
