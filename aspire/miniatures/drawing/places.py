"""Places people make or play in: rooms, streets, parks, grounds, snow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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

Colour = NDArray[np.float32]


def _rect(
    canvas: Canvas, left: float, top: float, right: float, bottom: float, fill: Colour
) -> None:
    """A filled rectangle, in place; coordinates are shares of the side."""
    n = len(canvas)
    rows = slice(max(round(top * n), 0), max(round(bottom * n), 0))
    canvas[rows, max(round(left * n), 0) : max(round(right * n), 0)] = fill


def _window(rng: np.random.Generator, canvas: Canvas, left: float, top: float, side: float) -> None:
    """A window with a frame and a cross, in place."""
    n = len(canvas)
    frame = colour(rng, 0.1, 0.1, 0.92)
    _rect(canvas, left, top, left + side, top + 1.1 * side, frame)
    view = sky(rng, n, 0.8)
    edge = 0.12 * side
    rows = slice(round((top + edge) * n), round((top + 1.1 * side - edge) * n))
    cols = slice(round((left + edge) * n), round((left + side - edge) * n))
    canvas[rows, cols] = view[rows, cols]
    _rect(canvas, left, top + 0.5 * side, left + side, top + 0.56 * side, frame)
    _rect(canvas, left + 0.48 * side, top, left + 0.54 * side, top + 1.1 * side, frame)


def _walls(
    rng: np.random.Generator, size: int, wall: tuple[float, float, float], boards: bool
) -> tuple[Canvas, float]:
    """A wall over a floor of boards (converging) or of one colour."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.5, 0.62))
    canvas: Canvas = np.ones((size, size, 3), np.float32) * colour(rng, *wall)
    canvas += 0.05 * noise(rng, size, 2, 2)[..., None]
    ground = gradient(depth(y, horizon), colour(rng, 0.08, 0.4, 0.52), colour(rng, 0.07, 0.5, 0.6))
    if boards:
        fan = (x - 0.5) / (y - horizon + 0.35) * rng.uniform(3.5, 6)
        ground -= 0.12 * ((fan + rng.uniform(0, 1)) % 1.0 < 0.12)[..., None]
    ground += 0.03 * noise(rng, size, 14, 8)[..., None]
    canvas = below(canvas, y > horizon, ground)
    _rect(canvas, 0, horizon - 0.03, 1, horizon, colour(rng, 0.1, 0.06, 0.9))
    return canvas, horizon


def living_room(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Wall with window or picture, sofa at the back, carpet in front."""
    y, x = grid(size)
    hue = float(rng.choice([0.1, 0.13, 0.06, 0.97]))
    canvas, horizon = _walls(rng, size, (hue, 0.25, 0.85), boards=True)
    _window(rng, canvas, float(rng.uniform(0.05, 0.6)), float(rng.uniform(0.04, 0.1)), 0.26)
    left, tint = rng.uniform(0.0, 0.45), colour(rng, float(rng.uniform(0, 1)), 0.45, 0.6)
    right, top = left + 0.5, horizon - 0.16
    _rect(canvas, left, top, right, horizon + 0.08, tint)
    _rect(canvas, left + 0.04, horizon - 0.02, right - 0.04, horizon + 0.03, tint * 1.2)
    for arm in (left - 0.04, right - 0.03):
        _rect(canvas, arm, horizon - 0.09, arm + 0.07, horizon + 0.09, tint * 0.85)
    rug = ((x - rng.uniform(0.35, 0.65)) / 0.42) ** 2 + ((y - 0.86) / 0.11) ** 2
    canvas = below(canvas, rug < 1, colour(rng, float(rng.uniform(0, 1)), 0.4, 0.65))
    return below(canvas, (rug < 0.8) & (rug > 0.6), colour(rng, 0.1, 0.2, 0.88)), horizon


def kitchen(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Tiled wall, cupboards, a stove, chequered floor."""
    y, x = grid(size)
    canvas, horizon = _walls(rng, size, (float(rng.choice([0.14, 0.5, 0.58])), 0.15, 0.9), False)
    lines = (((x * 9) % 1.0 < 0.1) | ((y * 9) % 1.0 < 0.1)) & (y < horizon)
    canvas = below(canvas, lines, canvas * 0.9)
    fan = np.floor((x - 0.5) / (y - horizon + 0.4) * 5) + np.floor(6 * np.sqrt(depth(y, horizon)))
    checks = np.where((fan % 2 == 0)[..., None], colour(rng, 0.1, 0.05, 0.85), 0.55)
    canvas = below(canvas, y > horizon, checks.astype(np.float32))
    wood = colour(rng, float(rng.choice([0.08, 0.33, 0.6, 0.0])), 0.35, 0.7)
    for start in np.arange(0, 1, 0.25):
        _rect(canvas, start + 0.01, 0.0, start + 0.24, 0.16, wood)
        _rect(canvas, start + 0.01, horizon - 0.17, start + 0.24, horizon + 0.04, wood * 0.92)
        _rect(canvas, start + 0.19, 0.11, start + 0.21, 0.14, wood * 0.5)
    _rect(canvas, 0, horizon - 0.2, 1, horizon - 0.17, colour(rng, 0.1, 0.1, 0.4))
    stove = rng.uniform(0.05, 0.65)
    _rect(canvas, stove, horizon - 0.18, stove + 0.26, horizon + 0.05, colour(rng, 0.6, 0.03, 0.8))
    _rect(canvas, stove + 0.04, horizon - 0.1, stove + 0.22, horizon + 0.02, np.full(3, 0.2, "f"))
    return canvas, horizon


def bedroom(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """A bed with pillow and cover under a window."""
    hue = float(rng.choice([0.75, 0.92, 0.55, 0.15]))
    canvas, horizon = _walls(rng, size, (hue, 0.22, 0.82), boards=True)
    _window(rng, canvas, float(rng.uniform(0.3, 0.66)), 0.06, 0.26)
    left, cover = rng.uniform(-0.05, 0.3), colour(rng, float(rng.uniform(0, 1)), 0.5, 0.7)
    _rect(canvas, left, horizon - 0.22, left + 0.05, horizon + 0.12, colour(rng, 0.07, 0.5, 0.4))
    _rect(canvas, left + 0.05, horizon - 0.08, left + 0.68, horizon + 0.1, cover)
    _rect(canvas, left + 0.06, horizon - 0.13, left + 0.24, horizon - 0.03, np.full(3, 0.95, "f"))
    return canvas, horizon


def office(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Shelves of files at the back and a desk that fills the lower part."""
    y, _ = grid(size)
    canvas, _ = _walls(rng, size, (0.58, 0.06, 0.8), boards=False)
    horizon = float(rng.uniform(0.42, 0.52))
    for top in (0.05, 0.22):
        left = rng.uniform(0.0, 0.05)
        while left < 0.95:
            width = rng.uniform(0.03, 0.07)
            tint = colour(rng, float(rng.uniform(0, 1)), 0.4, 0.6)
            _rect(canvas, left, top + rng.uniform(0, 0.04), left + width, top + 0.14, tint)
            left += width + 0.01
        _rect(canvas, 0, top + 0.14, 1, top + 0.16, colour(rng, 0.08, 0.3, 0.4))
    wood = gradient(depth(y, horizon), colour(rng, 0.08, 0.45, 0.6), colour(rng, 0.08, 0.45, 0.72))
    wood += 0.04 * noise(rng, size, 22, 3)[..., None]
    return below(canvas, y > horizon, wood), horizon


def plain_wall(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """An empty room: one colour of wall, one of floor."""
    y, _ = grid(size)
    horizon = float(rng.uniform(0.55, 0.7))
    wall = colour(rng, float(rng.uniform(0, 1)), 0.14, 0.8, spread=1.5)
    canvas: Canvas = np.ones((size, size, 3), np.float32) * wall
    canvas += 0.05 * noise(rng, size, 2, 2)[..., None]
    floor = colour(rng, float(rng.uniform(0, 1)), 0.15, 0.6, spread=1.5)
    floor = gradient(depth(y, horizon), floor, floor * 0.85)
    return below(canvas, y > horizon, floor), horizon


def gym(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Sports hall: wall bars, high windows, a wooden floor with lines, blue mats."""
    y, x = grid(size)
    canvas, horizon = _walls(rng, size, (0.12, 0.18, 0.82), boards=True)
    floor = colour(rng, 0.09, 0.55, 0.78)
    canvas = below(canvas, y > horizon, gradient(depth(y, horizon), floor, floor * 0.92))
    for left in np.arange(rng.uniform(-0.1, 0), 1, 0.34):
        _rect(canvas, left, 0.03, left + 0.24, 0.14, colour(rng, 0.55, 0.15, 0.97))
        for bar in np.arange(0.2, horizon - 0.05, 0.055):
            _rect(canvas, left, bar, left + 0.24, bar + 0.02, colour(rng, 0.07, 0.6, 0.5))
    for tint, slope in ((0.0, 0.9), (0.6, -1.1)):
        line = np.abs(x - rng.uniform(0.2, 0.8) - slope * (y - 0.8)) < 0.012
        canvas = below(canvas, line & (y > horizon), colour(rng, tint, 0.8, 0.8))
    left = rng.uniform(0.0, 0.4)
    mat = (y > horizon + 0.18) & (y < horizon + 0.3) & (x > left) & (x < left + 0.6)
    return below(canvas, mat, colour(rng, 0.61, 0.75, 0.7)), horizon


def car(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Seen from the dashboard: windows on both sides, two seats with headrests."""
    y, x = grid(size)
    hue, dark = float(rng.choice([0.08, 0.6, 0.0])), float(rng.uniform(0.22, 0.34))
    canvas: Canvas = np.ones((size, size, 3), np.float32) * colour(rng, hue, 0.12, dark)
    view = sky(rng, size, 0.5)
    view = below(view, y > ridge(rng, size, 0.42, 0.12, 6), colour(rng, 0.3, 0.4, 0.5))
    panes = (y > 0.08 + 0.1 * np.abs(x - 0.5)) & (y < 0.44) & (np.abs(np.abs(x - 0.5) - 0.25) < 0.2)
    canvas = below(canvas, panes, view)
    leather = colour(rng, hue, 0.25, dark + 0.24)
    for middle in (0.2 + rng.uniform(-0.04, 0.04), 0.8 + rng.uniform(-0.04, 0.04)):
        back = (np.abs(x - middle) < 0.2 + 0.04 * y) & (y > 0.4)
        canvas = below(canvas, back, leather * (1.05 - 0.25 * np.abs(x - middle)[..., None] * 4))
        rest = ((x - middle) / 0.11) ** 2 + ((y - 0.31) / 0.09) ** 2 < 1
        canvas = below(canvas, rest, leather * 0.9)
        seam = (np.abs(np.abs(x - middle) - 0.1) < 0.012) & (y > 0.45)
        canvas = below(canvas, seam, leather * 0.7)
    return canvas, 0.5


def pool(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Turquoise water with lane ropes, a tiled edge at the back."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.2, 0.3))
    canvas, _ = _walls(rng, size, (0.53, 0.12, 0.9), boards=False)
    surface = water(
        rng, size, horizon, colour(rng, 0.52, 0.55, 0.85), colour(rng, 0.53, 0.6, 0.8), 0.06
    )
    surface += 0.4 * np.clip(0.2 - np.abs(noise(rng, size, 9, 7)), 0, 1)[..., None]
    canvas = below(canvas, y > horizon, surface)
    middle = rng.uniform(0.3, 0.7)
    for offset in (-0.55, 0.0, 0.55):  # ropes run to a point at the far edge
        at = middle + offset * (y - horizon + 0.15) * 1.3
        rope = (np.abs(x - at) < 0.006 + 0.012 * depth(y, horizon)) & (y > horizon)
        buoys = ((np.sqrt(depth(y, horizon)) * 9) % 1.0 < 0.5)[..., None]
        tint = np.where(buoys, colour(rng, 0.0, 0.8, 0.9), np.float32(0.95)).astype(np.float32)
        canvas = below(canvas, rope, tint)
    _rect(canvas, 0, horizon - 0.05, 1, horizon, colour(rng, 0.1, 0.08, 0.88))
    return canvas, horizon


def ice_rink(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """White ice with red and blue lines, boards with stripes, a dim crowd."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.3, 0.42))
    crowd = 0.3 + 0.25 * noise(rng, size, size // 2, size // 2)[..., None]
    canvas: Canvas = (crowd * colour(rng, 0.65, 0.3, 0.9)).astype(np.float32)
    _rect(canvas, 0, horizon - 0.12, 1, horizon, colour(rng, 0.6, 0.03, 0.93))
    _rect(canvas, 0, horizon - 0.035, 1, horizon, colour(rng, 0.14, 0.8, 0.9))
    ice = gradient(depth(y, horizon), colour(rng, 0.56, 0.12, 0.9), colour(rng, 0.56, 0.05, 0.97))
    ice += 0.04 * noise(rng, size, 6, 16)[..., None]
    canvas = below(canvas, y > horizon, ice)
    at = rng.uniform(0.2, 0.8)
    blue = np.abs(x - at - 0.5 * (y - 0.6)) < 0.01 + 0.02 * depth(y, horizon)
    canvas = below(canvas, blue & (y > horizon), colour(rng, 0.6, 0.75, 0.8))
    ring = ((x - (at + 0.4) % 1.0) / 0.3) ** 2 + ((y - 0.82) / 0.12) ** 2
    return below(canvas, np.abs(ring - 1) < 0.14, colour(rng, 0.99, 0.75, 0.85)), horizon


def street(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Houses with windows, pavement, asphalt with a dashed line."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.45, 0.58))
    canvas = sky(rng, size, horizon)
    left = -0.05
    while left < 1.0:
        width, top = rng.uniform(0.18, 0.34), horizon - rng.uniform(0.25, 0.45)
        wall = colour(rng, float(rng.choice([0.03, 0.1, 0.58, 0.0])), 0.3, 0.62, spread=1.5)
        _rect(canvas, left, top, left + width, horizon, wall)
        pane = colour(rng, 0.57, 0.2, float(rng.uniform(0.3, 0.9)))
        for row in np.arange(top + 0.04, horizon - 0.06, 0.1):
            for col in np.arange(left + 0.03, left + width - 0.05, 0.08):
                _rect(canvas, col, row, col + 0.04, row + 0.055, pane)
        left += width
    road = colour(rng, 0.6, 0.04, 0.4) + 0.05 * noise(rng, size, 20, 14)[..., None]
    canvas = below(canvas, y > horizon, road)
    canvas = below(canvas, (y > horizon) & (y < horizon + 0.07), colour(rng, 0.1, 0.06, 0.68))
    dash = (np.abs(y - horizon - 0.26) < 0.012) & ((x * 3 + rng.uniform(0, 1)) % 1.0 < 0.55)
    return below(canvas, dash, colour(rng, 0.13, 0.2, 0.92)), horizon


def park(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Lawn with a winding path, round trees at the back."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.38, 0.5))
    canvas = sky(rng, size, horizon)
    for _ in range(int(rng.integers(4, 8))):
        cx, r = rng.uniform(0, 1), rng.uniform(0.09, 0.17)
        cy = horizon - r - rng.uniform(0.0, 0.08)
        _rect(canvas, cx - 0.015, cy, cx + 0.015, horizon + 0.02, colour(rng, 0.07, 0.5, 0.35))
        crown = (x - cx) ** 2 + (y - cy) ** 2 < r * r * (1 + 0.35 * noise(rng, size, 6, 6, 1))
        canvas = below(canvas, crown, colour(rng, 0.3, 0.55, float(rng.uniform(0.35, 0.6))))
    lawn = gradient(depth(y, horizon), colour(rng, 0.26, 0.5, 0.66), colour(rng, 0.28, 0.6, 0.52))
    lawn += 0.06 * noise(rng, size, size // 5, size // 3)[..., None]
    canvas = below(canvas, y > horizon, lawn)
    bend = rng.uniform(0.3, 0.7) + rng.uniform(-0.3, 0.3) * np.sin(4 * y)
    path = (np.abs(x - bend) < 0.02 + 0.16 * depth(y, horizon)) & (y > horizon)
    return below(canvas, path, colour(rng, 0.1, 0.2, 0.76)), horizon


def beach(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Sea with surf behind, sand in front."""
    y, _ = grid(size)
    horizon = float(rng.uniform(0.26, 0.38))
    canvas = sky(rng, size, horizon)
    far, near = colour(rng, 0.57, 0.6, 0.6), colour(rng, 0.5, 0.5, 0.78)
    canvas = below(canvas, y > horizon, water(rng, size, horizon, far, near, 0.08, crests=0.6))
    edge = ridge(rng, size, horizon + 0.22, 0.06, 6)
    canvas = below(canvas, y > edge - 0.025, np.full(3, 0.96, np.float32))
    sand = gradient(
        depth(y, horizon + 0.18), colour(rng, 0.1, 0.4, 0.78), colour(rng, 0.11, 0.38, 0.9)
    )
    return below(
        canvas, y > edge, sand + 0.05 * noise(rng, size, 18, 20)[..., None]
    ), horizon + 0.12


def garden(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Hedge and fence at the back, beds full of flowers, lawn."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.4, 0.5))
    canvas = sky(rng, size, horizon)
    hedge = colour(rng, 0.33, 0.6, 0.36) + 0.14 * noise(rng, size, 16, 16)[..., None]
    canvas = below(canvas, y > ridge(rng, size, horizon - 0.22, 0.06, 12), hedge)
    boards = ((x * 14 + rng.uniform(0, 1)) % 1.0 < 0.7) & (y > horizon - 0.14) & (y < horizon)
    canvas = below(canvas, boards, colour(rng, 0.09, 0.15, 0.86))
    lawn = colour(rng, 0.27, 0.55, 0.55) + 0.07 * noise(rng, size, 16, 24)[..., None]
    canvas = below(canvas, y > horizon, lawn)
    petals = [
        colour(rng, h, s, 0.95) for h, s in ((0.93, 0.6), (0.14, 0.8), (0.8, 0.5), (0.0, 0.8))
    ]
    canvas = dots(rng, canvas, int(rng.integers(12, 20)), horizon - 0.05, (0.012, 0.03), petals)
    return dots(rng, canvas, int(rng.integers(14, 24)), 0.82, (0.015, 0.03), petals), horizon


def snow(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """White slopes before mountains and firs."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.36, 0.48))
    canvas = sky(rng, size, horizon)
    for rise, value in ((0.34, 0.75), (0.2, 0.86)):
        top = ridge(rng, size, horizon, rise, 7)
        peak = colour(rng, 0.6, 0.16, value) + 0.05 * noise(rng, size, 8, 10)[..., None]
        canvas = below(canvas, y > top, peak)
    for _ in range(int(rng.integers(3, 8))):
        cx, h = rng.uniform(0, 1), rng.uniform(0.1, 0.2)
        fir = (np.abs(x - cx) < 0.4 * (y - horizon - 0.04 + h)) & (y < horizon + 0.04)
        canvas = below(canvas, fir, colour(rng, 0.4, 0.4, 0.32))
    white = gradient(depth(y, horizon), colour(rng, 0.58, 0.07, 0.9), colour(rng, 0.58, 0.03, 0.97))
    tracks = 0.05 * noise(rng, size, 5, 9)
    return below(canvas, y > horizon, white + tracks[..., None]), horizon


def jungle(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Dense leaves, hanging vines, dark stems."""
    y, x = grid(size)
    canvas = gradient(y, colour(rng, 0.3, 0.7, 0.5), colour(rng, 0.36, 0.7, 0.24))
    canvas += 0.16 * noise(rng, size, 9, 9, 3)[..., None]
    canvas = trunks(rng, canvas, int(rng.integers(2, 5)), (0.04, 0.1), (0.08, 0.5, 0.28), 1.1)
    for _ in range(int(rng.integers(3, 6))):
        at = rng.uniform(0, 1) + 0.04 * np.sin(rng.uniform(4, 9) * y)
        vine = (np.abs(x - at) < 0.012) & (y < rng.uniform(0.5, 1.0))
        canvas = below(canvas, vine, colour(rng, 0.25, 0.7, 0.4))
    leaves = [colour(rng, 0.3, 0.7, v) for v in (0.35, 0.5, 0.65)]
    return dots(rng, canvas, int(rng.integers(30, 45)), 0.0, (0.03, 0.08), leaves), 0.55


def playground(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Rubber ground in bright patches, a climbing tower with a slide at the back."""
    y, x = grid(size)
    canvas, horizon = park(rng, size)
    ground = colour(rng, 0.03, 0.55, 0.68) + 0.04 * noise(rng, size, 20, 20)[..., None]
    canvas = below(canvas, y > horizon + 0.06, ground)
    patch = ((x - rng.uniform(0.2, 0.8)) / 0.3) ** 2 + ((y - 0.85) / 0.1) ** 2 < 1
    canvas = below(canvas, patch, colour(rng, 0.6, 0.6, 0.7))
    left, top = rng.uniform(0.05, 0.6), horizon - 0.26
    roof = (np.abs(x - left - 0.1) < 0.8 * (y - top + 0.12)) & (y < top) & (y > top - 0.12)
    canvas = below(canvas, roof, colour(rng, 0.99, 0.8, 0.85))
    for post in (left, left + 0.18):
        _rect(canvas, post, top, post + 0.025, horizon + 0.08, colour(rng, 0.14, 0.8, 0.9))
    _rect(canvas, left, top + 0.14, left + 0.2, top + 0.17, colour(rng, 0.14, 0.8, 0.9))
    slide = np.abs(y - top - 0.16 - 0.9 * (x - left - 0.2)) < 0.03
    canvas = below(
        canvas, slide & (x > left + 0.2) & (y < horizon + 0.08), colour(rng, 0.58, 0.8, 0.9)
    )
    return canvas, horizon + 0.05


def baseball_field(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    """Stands and fence, mown stripes, the brown infield with white lines."""
    y, x = grid(size)
    horizon = float(rng.uniform(0.3, 0.42))
    stands = 0.5 + 0.3 * noise(rng, size, size // 2, size // 2)[..., None]
    canvas: Canvas = (stands * colour(rng, 0.6, 0.25, 0.9)).astype(np.float32)
    _rect(canvas, 0, 0, 1, horizon - 0.2, colour(rng, 0.57, 0.35, 0.9))
    _rect(canvas, 0, horizon - 0.07, 1, horizon, colour(rng, 0.42, 0.7, 0.35))
    stripes = ((x - 0.5) / (y - horizon + 0.4) * 4 + rng.uniform(0, 1)) % 1.0 < 0.5
    grass = colour(rng, 0.3, 0.65, 0.5) * np.where(stripes, 1.0, 1.18)[..., None]
    canvas = below(canvas, y > horizon, grass.astype(np.float32))
    cx = rng.uniform(0.35, 0.65)
    diamond = np.abs(x - cx) / 0.6 + np.abs(y - 0.82) / 0.26
    canvas = below(canvas, diamond < 1, colour(rng, 0.06, 0.5, 0.66))
    canvas = below(canvas, np.abs(diamond - 1) < 0.05, np.full(3, 0.95, np.float32))
    return canvas, horizon + 0.1


ROOMS = (
    Background("living room", "in a living room", living_room),
    Background("kitchen", "in a kitchen", kitchen),
    Background("bedroom", "in a bedroom", bedroom),
    Background("office", "in an office", office),
)
PARK = Background("park", "in a park", park)
BEACH = Background("beach", "on a beach", beach)
STREET = Background("street", "on a street", street)
GARDEN = Background("garden", "in a garden", garden)
PLAYGROUND = Background("playground", "on a playground", playground)
OUTDOORS = (PARK, BEACH, STREET, GARDEN, PLAYGROUND)
OFFICE = ROOMS[3]
PLAIN_ROOM = Background("room", "in a room", plain_wall)
GYM = Background("gym", "in a gym", gym)
CAR = Background("car interior", "in a car interior", car)
POOL = Background("swimming pool", "in a swimming pool", pool)
RINK = Background("ice rink", "on an ice rink", ice_rink)
SNOW = Background("snow", "in the snow", snow)
JUNGLE = Background("jungle", "in a jungle", jungle)
BASEBALL = Background("baseball field", "on a baseball field", baseball_field)
