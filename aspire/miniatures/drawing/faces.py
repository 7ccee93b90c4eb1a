"""Portraits: a head with hair of a given colour, drawn feature by feature.

Faces are aligned, as those of CelebA are. The head and each thing the person wears are separate
sheets, so that each has its mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from aspire.data.images import Pixels
from aspire.miniatures.drawing.compose import MIN_VISIBLE, SUBJECT
from aspire.miniatures.drawing.fields import Canvas, Field, colour, grid, noise
from aspire.miniatures.drawing.pen import Pen, Rgb, Style, shade

OVERSAMPLE = 3
SKINS: tuple[Rgb, ...] = (
    (250, 220, 196), (240, 200, 168), (226, 178, 140), (198, 146, 106), (150, 104, 74),
)  # fmt: skip
# Name in captions, hue, saturation, value.
BLOND = (("blond", 0.125, 0.5, 0.88), ("blond", 0.12, 0.5, 0.84), ("blond", 0.135, 0.32, 0.93))
DARK = (
    ("black", 0.07, 0.25, 0.15), ("black", 0.65, 0.2, 0.18), ("brown", 0.065, 0.55, 0.36),
    ("brown", 0.08, 0.5, 0.45), ("red", 0.035, 0.7, 0.55), ("grey", 0.1, 0.05, 0.5),
)  # fmt: skip
DRESSES: tuple[Rgb, ...] = ((214, 44, 84), (168, 60, 168), (232, 110, 150), (40, 150, 150))
SUITS: tuple[Rgb, ...] = ((40, 46, 64), (84, 88, 96), (66, 52, 44), (36, 60, 100))
LIP, DARKEST = (196, 40, 60), (34, 26, 26)
CLOTHES = ("dress", "suit")  # behind the head
WEARABLE = (*CLOTHES, "hat", "glasses", "earrings", "necklace", "tie")


@dataclass(frozen=True)
class Portrait:
    """A drawn head and shoulders.

    Args:
        pixels: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8; 0 backdrop, 1 the head (hair, face and neck), 2, 3, ... what is worn.
        worn: phrase -> label of what shows of it (at least ``MIN_VISIBLE`` pixels).
        hair: its colour in words.
    """

    pixels: Pixels
    labels: Pixels
    worn: dict[str, int]
    hair: str


@dataclass(frozen=True)
class _Head:
    """Where the face is and what it looks like; lengths are shares of the side."""

    male: bool
    x: float
    y: float
    rx: float
    ry: float
    skin: Rgb
    long: bool


def draw_portrait(
    rng: np.random.Generator,
    backdrop: Canvas,
    blond: bool,
    male: bool,
    worn: tuple[str, ...],
    style: Style,
    grain: float = 0.03,
    uneven: float = 0.35,
) -> Portrait:
    """One portrait.

    Args:
        rng: where the randomness comes from.
        backdrop: (S, S, 3), what is behind the person.
        blond: whether the hair is blond; of another colour otherwise.
        male: a man, perhaps with a beard; a woman with lipstick otherwise.
        worn: of the things in ``WEARABLE``, in the order in which they are put on.
        style: flat with soft edges, or outlined in black.
        grain: standard deviation of the pixel noise.
        uneven: how far light and shadow change the hair's brightness, as a share.

    Returns:
        The picture, its label map and what can be seen in it.
    """
    size = len(backdrop)
    head = _head(rng, male)
    name, h, s, v = (BLOND if blond else DARK)[int(rng.integers(len(BLOND if blond else DARK)))]
    r, g, b = (round(255 * float(c)) for c in colour(rng, h, s, v, spread=0.8))
    hair: Rgb = (r, g, b)
    back = _hair(rng, head, hair, size, style, front=False)
    face = _face(rng, head, shade(hair, 0.75), size, style)
    front = _hair(rng, head, hair, size, style, front=True)
    clothes = [(_wear(rng, head, t, size, style), SUBJECT + 1 + i) for i, t in enumerate(worn)]
    under = [c for c, t in zip(clothes, worn, strict=True) if t in CLOTHES]
    over = [c for c, t in zip(clothes, worn, strict=True) if t not in CLOTHES]
    sheets = [*under, (back, SUBJECT), (face, SUBJECT), (front, SUBJECT), *over]
    canvas = backdrop.clip(0, 1)
    labels = np.zeros((size, size), np.uint8)
    light = _light(rng, size, uneven, style)
    for image, label in sheets:
        patch = np.asarray(image, np.float32) / 255
        ink = patch[..., :3] * (light[..., None] if image is back or image is front else 1.0)
        canvas = canvas + patch[..., 3:] * (ink - canvas)
        labels[patch[..., 3] > 0.5] = label
    cast = rng.uniform(0.82, 1.14, 3) * rng.uniform(0.75, 1.1)  # warm, cold, dim light
    canvas = canvas * cast.astype(np.float32)
    canvas += grain * rng.standard_normal(canvas.shape, dtype=np.float32)
    shown: dict[str, int] = {}
    for index, thing in enumerate(worn):
        label = SUBJECT + 1 + index
        if int((labels == label).sum()) >= MIN_VISIBLE:
            shown[thing] = label
        else:
            labels[labels == label] = 0 if thing in CLOTHES else SUBJECT
    pixels = (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Portrait(pixels, labels, shown, name)


def _light(rng: np.random.Generator, size: int, uneven: float, style: Style) -> Field:
    """What light does to the hair: dimmer on one side, patchy."""
    _, x = grid(size)
    side, dim = rng.choice([-1.0, 1.0]), rng.uniform(1 - uneven, 1.05)
    light: Field = (dim + 0.5 * uneven * side * (x - 0.5)).astype(np.float32)
    patches = 0.35 * uneven * noise(rng, size, size // 6, size // 4)
    return light if style == "openmoji" else light + patches


def _head(rng: np.random.Generator, male: bool) -> _Head:
    skin = SKINS[int(rng.integers(len(SKINS)))]
    return _Head(
        male=male,
        x=0.5 + float(rng.uniform(-0.03, 0.03)),
        y=0.4 + float(rng.uniform(-0.02, 0.03)),
        rx=float(rng.uniform(0.145, 0.165)) * (1.04 if male else 0.97),
        ry=float(rng.uniform(0.18, 0.2)),
        skin=shade(skin, float(rng.uniform(0.94, 1.04))),
        long=bool(rng.random() < (0.35 if male else 0.6)),
    )


def _sheet(size: int, style: Style) -> Pen:
    return Pen(OVERSAMPLE * size, style, ink=0.009)  # thin: hair must keep its colour


def _small(pen: Pen) -> Image.Image:
    return pen.image.reduce(OVERSAMPLE)


def _hair(
    rng: np.random.Generator, head: _Head, tint: Rgb, size: int, style: Style, front: bool
) -> Image.Image:
    pen = _sheet(size, style)
    x, y, rx, ry = head.x, head.y, head.rx, head.ry
    if not front:
        if head.long:
            low = y + ry * float(rng.uniform(1.1, 1.45))
            pen.box(x - rx * 1.35, y - ry * 0.9, x + rx * 1.35, low, tint, rx * 0.7)
        pen.oval(x, y - ry * 0.25, rx * 1.3, ry * 1.1, tint)
        return _small(pen)
    if head.male:
        part = float(rng.uniform(-0.5, 0.5)) * rx
        top = [(x - rx * 1.12, y - ry * 0.1), (x - rx * 1.02, y - ry * 0.85)]
        top += [(x - rx * 0.4, y - ry * 1.28), (x + rx * 0.4, y - ry * 1.28)]
        top += [(x + rx * 1.02, y - ry * 0.85), (x + rx * 1.12, y - ry * 0.1)]
        top += [(x + rx * 0.86, y - ry * 0.5), (x + part, y - ry * 0.62)]
        pen.poly([*top, (x - rx * 0.86, y - ry * 0.5)], tint)
    else:
        pen.pie(x, y - ry * 0.3, rx * 1.18, ry * 0.92, 180, 360, tint)
        side = float(rng.choice([-1.0, 1.0]))
        fringe = [(x + side * rx, y - ry * 0.42), (x + side * rx * 0.9, y - ry * 0.05)]
        pen.poly([(x - side * rx * 0.9, y - ry * 0.35), *fringe], tint)
        for sign in (-1, 1):
            lock = x + sign * rx * 1.08
            pen.line([(lock, y - ry * 0.35), (lock, y + ry * (0.9 if head.long else 0.4))],
                     rx * 0.36, tint)  # fmt: skip
    return _small(pen)


def _face(rng: np.random.Generator, head: _Head, brow: Rgb, size: int, style: Style) -> Image.Image:
    pen = _sheet(size, style)
    x, y, rx, ry, skin = head.x, head.y, head.rx, head.ry, head.skin
    wide = 0.085 if head.male else 0.065
    pen.box(x - wide, y + ry * 0.7, x + wide, y + ry * 1.45, shade(skin, 0.88), 0.03)
    for sign in (-1, 1):
        pen.oval(x + sign * rx, y + 0.01, 0.028, 0.042, shade(skin, 0.92))
    pen.oval(x, y, rx, ry, skin)
    if head.male:
        pen.box(x - rx * 0.76, y, x + rx * 0.76, y + ry * 0.98, skin, rx * 0.5)  # a square jaw
        if style == "openmoji":  # without the outline's upper edge
            pen.cover(x - rx * 0.72, y - ry * 0.1, x + rx * 0.72, y + ry * 0.5, skin)
        if rng.random() < 0.25:
            _beard(pen, head, shade((74, 54, 42), float(rng.uniform(0.6, 1.6))))
    _features(pen, head, brow)
    return _small(pen)


def _clothes(pen: Pen, rng: np.random.Generator, head: _Head, thing: str) -> None:
    """What covers the shoulders: it fills the lower third of the picture."""
    x, foot = head.x, head.y + head.ry * 1.3
    if thing == "suit":
        suit = SUITS[int(rng.integers(len(SUITS)))]
        left = [(x - 0.46, 1.02), (x - 0.4, foot + 0.1), (x - 0.3, foot + 0.03), (x - 0.08, foot)]
        pen.poly([*left, *((2 * x - px, py) for px, py in reversed(left))], suit)
        shirt = shade((236, 238, 244), float(rng.uniform(0.85, 1.05)))
        pen.poly([(x - 0.12, foot), (x + 0.12, foot), (x, 0.98)], shirt)
        return
    dress = shade(DRESSES[int(rng.integers(len(DRESSES)))], float(rng.uniform(0.85, 1.1)))
    left = [(x - 0.36, 1.02), (x - 0.31, foot + 0.12), (x - 0.22, foot + 0.04), (x - 0.08, foot)]
    outline = [*left, *((2 * x - px, py) for px, py in reversed(left))]
    pen.poly(outline, head.skin)
    low = [(x - 0.36, 1.02), (x - 0.3, foot + 0.14), (x - 0.2, foot + 0.06), (x - 0.1, foot + 0.16)]
    pen.poly([*low, (x, foot + 0.19), *((2 * x - px, py) for px, py in reversed(low))], dress)


def _beard(pen: Pen, head: _Head, tint: Rgb) -> None:
    x, y, rx, ry = head.x, head.y, head.rx, head.ry
    pen.poly([(x - rx * 0.92, y + ry * 0.15), (x - rx * 0.5, y + ry * 0.42),
              (x + rx * 0.5, y + ry * 0.42), (x + rx * 0.92, y + ry * 0.15),
              (x + rx * 0.7, y + ry * 0.9), (x, y + ry * 1.12), (x - rx * 0.7, y + ry * 0.9)],
             tint)  # fmt: skip


def _features(pen: Pen, head: _Head, brow: Rgb) -> None:
    x, y, rx, ry = head.x, head.y, head.rx, head.ry
    for sign in (-1, 1):
        ex = x + sign * rx * 0.42
        pen.oval(ex, y - 0.01, 0.034, 0.022, (250, 250, 250))
        pen.oval(ex, y - 0.01, 0.016, 0.018, DARKEST)
        thick = 0.024 if head.male else 0.012
        lift = y - (0.055 if head.male else 0.07)
        pen.line([(ex - 0.045, lift), (ex + 0.045, lift)], thick, brow)
        if not head.male:
            pen.line([(ex - 0.035, y - 0.032), (ex + 0.035, y - 0.032)], 0.014, DARKEST)
            pen.oval(x + sign * rx * 0.6, y + ry * 0.3, 0.035, 0.022, (236, 150, 140))
    pen.line([(x, y), (x + 0.012, y + 0.055)], 0.016, shade(head.skin, 0.75))
    mouth = y + ry * 0.58
    if head.male:
        pen.line([(x - 0.042, mouth), (x + 0.042, mouth)], 0.018, shade(head.skin, 0.55))
    else:
        pen.oval(x, mouth, 0.045, 0.022, LIP)


def _wear(
    rng: np.random.Generator, head: _Head, thing: str, size: int, style: Style
) -> Image.Image:
    pen = _sheet(size, style)
    x, y, rx, ry = head.x, head.y, head.rx, head.ry
    hue = colour(rng, float(rng.uniform(0, 1)), 0.6, 0.65)
    r, g, b = (round(255 * float(v)) for v in hue)
    tint: Rgb = (r, g, b)
    if thing in CLOTHES:
        _clothes(pen, rng, head, thing)
    elif thing == "hat":
        brim, top = y - ry * 0.62, y - ry * 1.55
        pen.box(x - rx * 0.95, top, x + rx * 0.95, brim + 0.02, tint, 0.05)
        pen.box(x - rx * 0.95, brim - 0.06, x + rx * 0.95, brim, shade(tint, 0.55))
        pen.oval(x, brim + 0.01, rx * 1.65, 0.035, tint)
    elif thing == "glasses":
        for sign in (-1, 1):
            pen.arc(x + sign * rx * 0.46, y - 0.005, 0.062, 0.053, 0, 360, DARKEST, 0.026)
        pen.line([(x - 0.02, y - 0.01), (x + 0.02, y - 0.01)], 0.02, DARKEST)
    elif thing == "earrings":
        for sign in (-1, 1):
            pen.oval(x + sign * rx * 1.07, y + 0.085, 0.03, 0.042, (244, 196, 60))
    elif thing == "necklace":
        for angle in np.linspace(0.25, np.pi - 0.25, 9):
            bx, by = x + 0.13 * float(np.cos(angle)), y + ry * 1.35 + 0.09 * float(np.sin(angle))
            pen.oval(bx, by, 0.021, 0.021, (246, 244, 236))
    else:  # tie
        low = y + ry * 1.35
        pen.poly([(x - 0.035, low - 0.02), (x + 0.035, low - 0.02), (x + 0.055, 0.97),
                  (x, 1.02), (x - 0.055, 0.97)], tint)  # fmt: skip
    return _small(pen)


def backdrop(rng: np.random.Generator, size: int, hue: float, saturation: float) -> Canvas:
    """A studio's backdrop: one colour with soft spots of light.

    Args:
        rng: where the randomness comes from.
        size: side in pixels.
        hue, saturation: of the colour.

    Returns:
        (S, S, 3) float32.
    """
    y, x = grid(size)
    base = colour(rng, hue, saturation, float(rng.uniform(0.45, 0.8)))
    canvas: Canvas = np.ones((size, size, 3), np.float32) * base
    for _ in range(int(rng.integers(5, 10))):
        cy, cx, r = rng.uniform(0, 0.9), rng.uniform(0, 1), rng.uniform(0.05, 0.14)
        spot = ((y - cy) ** 2 + (x - cx) ** 2 < r * r).astype(np.float32)[..., None]
        canvas = canvas + spot * float(rng.uniform(-0.1, 0.16))
    soft = Image.fromarray((canvas.clip(0, 1) * 255).astype(np.uint8))
    soft = soft.filter(ImageFilter.GaussianBlur(size / 50))
    return np.asarray(soft, np.float32) / np.float32(255)
