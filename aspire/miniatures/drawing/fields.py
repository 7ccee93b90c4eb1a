"""Paint on a canvas of floats: smooth noise, colours, skies, stems, water.

Only Pillow and numpy draw: their results do not depend on the number of threads.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Canvas = NDArray[np.float32]  # (S, S, 3) RGB, 0 to 1 (values outside are clipped at the end)
Field = NDArray[np.float32]  # (S, S)


@cache
def grid(size: int) -> tuple[Field, Field]:
    """Row and column coordinates, each (S, S) float32 from 0 to 1; shared, so never written to."""
    line = ((np.arange(size) + 0.5) / size).astype(np.float32)
    y, x = np.meshgrid(line, line, indexing="ij")
    y.flags.writeable = x.flags.writeable = False
    return y, x


def noise(rng: np.random.Generator, size: int, rows: int, cols: int, octaves: int = 2) -> Field:
    """Smooth noise: random grids of ``rows`` x ``cols`` cells, doubled and halved per octave.

    More rows than columns gives horizontal streaks (water), the reverse vertical ones (grass).

    Returns:
        (S, S) float32, mean about 0, standard deviation about 0.5.
    """
    total: Field = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        shape = (min(rows << octave, size), min(cols << octave, size))
        cells = rng.standard_normal(shape, dtype=np.float32)
        smooth = Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * np.float32(0.6 * 0.5**octave)
    return total


def colour(
    rng: np.random.Generator, hue: float, saturation: float, value: float, spread: float = 1.0
) -> NDArray[np.float32]:
    """A colour near the given HSV values (each 0 to 1).

    Returns:
        (3,) float32 RGB, 0 to 1.
    """
    dh, ds, dv = rng.uniform(-spread, spread, 3) * (0.025, 0.1, 0.1)
    s, v = min(max(saturation + ds, 0.0), 1.0), min(max(value + dv, 0.0), 1.0)
    return np.array(colorsys.hsv_to_rgb((hue + dh) % 1.0, s, v), np.float32)


def gradient(t: Field, start: NDArray[np.float32], end: NDArray[np.float32]) -> Canvas:
    """Colours from ``start`` (t <= 0) to ``end`` (t >= 1)."""
    mix = np.clip(t, 0, 1)[..., None]
    canvas: Canvas = np.asarray(start * (1 - mix) + end * mix, np.float32)
    return canvas


def ridge(rng: np.random.Generator, size: int, base: float, height: float, knots: int) -> Field:
    """A skyline: per column the y of its top, (1, S) float32."""
    ys = base - height * rng.uniform(0.0, 1.0, knots)
    line = np.interp(np.linspace(0, knots - 1, size), np.arange(knots), ys)
    return line.astype(np.float32)[None, :]


def sky(rng: np.random.Generator, size: int, horizon: float) -> Canvas:
    """Day, haze or dusk with clouds; the same choice for every place, so it tells nothing."""
    y, _ = grid(size)
    kind = rng.integers(4)
    if kind == 0:  # grey day
        top, low = colour(rng, 0.6, 0.12, 0.72), colour(rng, 0.6, 0.06, 0.86)
    elif kind == 1:  # dusk
        top, low = colour(rng, 0.62, 0.35, 0.62), colour(rng, 0.06, 0.38, 0.93)
    else:
        top, low = colour(rng, 0.58, 0.5, 0.85), colour(rng, 0.56, 0.18, 0.95)
    canvas: Canvas = gradient(y / max(horizon, 0.05), top, low)
    clouds = np.clip(noise(rng, size, 6, 3) - rng.uniform(0.1, 0.5), 0, 0.6)[..., None]
    canvas += clouds * (1 - canvas)
    return canvas


def depth(y: Field, horizon: float) -> Field:
    """0 at the horizon and above it, 1 at the lower edge."""
    depth: Field = np.clip((y - horizon) / (1 - horizon), 0, 1)
    return depth


def below(canvas: Canvas, inside: NDArray[np.bool_], fill: Canvas | NDArray[np.float32]) -> Canvas:
    """``fill`` where ``inside``, else the canvas."""
    return np.where(inside[..., None], fill, canvas).astype(np.float32, copy=False)


def span(low: float, high: float, size: int) -> slice:
    """The pixels between two coordinates: small things need not touch the whole canvas."""
    return slice(max(math.floor(low * size), 0), max(math.ceil(high * size), 0))


def dots(
    rng: np.random.Generator,
    canvas: Canvas,
    count: int,
    top: float,
    radii: tuple[float, float],
    colours: Sequence[NDArray[np.float32]],
) -> Canvas:
    """Small flat ellipses (flowers, lily pads) below ``top``, larger towards the viewer."""
    y, x = grid(len(canvas))
    for _ in range(count):
        cy, cx = rng.uniform(top, 1.0), rng.uniform(0, 1)
        r = rng.uniform(*radii) * (0.5 + cy)
        box = span(cy - r, cy + r, len(canvas)), span(cx - r, cx + r, len(canvas))
        disc = ((y[box] - cy) * 1.6) ** 2 + (x[box] - cx) ** 2 < r * r
        canvas[box][disc] = colours[int(rng.integers(len(colours)))]
    return canvas


def trunks(
    rng: np.random.Generator,
    canvas: Canvas,
    count: int,
    widths: tuple[float, float],
    bark: tuple[float, float, float],
    foot: float,
    joints: bool = False,
) -> Canvas:
    """Upright stems with a lit left and a dark right side; ``joints`` rings them as bamboo."""
    y, x = grid(len(canvas))
    for _ in range(count):
        left, width = rng.uniform(-0.03, 1.0), rng.uniform(*widths)
        lean, tint = rng.uniform(-0.04, 0.04), colour(rng, *bark)
        box = slice(None), span(left - 0.04, left + width + 0.04, len(canvas))
        u = (x[box] - left + lean * y[box]) / width
        shade = 1.12 - 0.45 * u
        if joints:
            ring = (y[box] * rng.uniform(5, 8) + rng.uniform(0, 1)) % 1.0 < 0.16
            shade[ring] *= 0.72
        inside = (u > 0) & (u < 1) & (y[box] < foot + rng.uniform(-0.05, 0.08))
        canvas[box][inside] = (tint * shade[..., None])[inside]
    return canvas


def water(
    rng: np.random.Generator,
    size: int,
    horizon: float,
    far: NDArray[np.float32],
    near: NDArray[np.float32],
    waves: float,
    crests: float = 0.0,
) -> Canvas:
    """Water from the horizon down: horizontal waves that grow towards the viewer, white crests."""
    y, _ = grid(size)
    near_by = depth(y, horizon)
    surface: Canvas = gradient(near_by, far, near)
    streaks = noise(rng, size, size // 3, 4)
    # Rows of waves get wider apart towards the viewer, which is what makes a plane look flat.
    bend = 0.35 * noise(rng, size, 3, 4)
    phase = rng.uniform(5, 8) * np.sqrt(near_by) + bend + rng.uniform(0, 1)
    rows: Field = np.sin(2 * np.pi * phase)
    light = waves * (0.5 + near_by) * (0.6 * streaks + 0.5 * rows)
    surface += light[..., None]
    foam = (np.clip(rows + streaks - 1.25, 0, 1) * crests)[..., None]
    surface += foam * (1 - surface)
    return surface
