"""Things of Mini-Hard-ImageNet that no emoji shows: apparatus, clothes, keys, a player."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aspire.miniatures.drawing.dogs import BIG, draw_dog
from aspire.miniatures.drawing.pen import Pen, Rgb, Style, shade

SHEET = 150  # pixels
BRIGHT: tuple[Rgb, ...] = (
    (216, 44, 60), (36, 96, 200), (32, 150, 90), (240, 180, 30), (150, 60, 170), (30, 34, 44),
)  # fmt: skip
STEEL, WOOD, DARK, PALE = (150, 158, 170), (206, 150, 92), (30, 30, 34), (246, 246, 248)
SKINS: tuple[Rgb, ...] = ((246, 208, 178), (214, 160, 120), (146, 98, 70))


def _bright(rng: np.random.Generator) -> Rgb:
    return BRIGHT[int(rng.integers(len(BRIGHT)))]


def _skin(rng: np.random.Generator) -> Rgb:
    return SKINS[int(rng.integers(len(SKINS)))]


def balance_beam(rng: np.random.Generator, style: Style) -> Image.Image:
    """A padded beam on two splayed feet."""
    pen = Pen(SHEET, style)
    for x in (0.22, 0.78):
        pen.line([(x, 0.5), (x - 0.1, 0.74)], 0.04, STEEL)
        pen.line([(x, 0.5), (x + 0.1, 0.74)], 0.04, STEEL)
    pen.box(0.02, 0.4, 0.98, 0.52, shade(WOOD, float(rng.uniform(0.9, 1.15))), 0.03)
    pen.box(0.02, 0.48, 0.98, 0.53, shade(WOOD, 0.7), 0.01)
    return pen.image


def horizontal_bar(rng: np.random.Generator, style: Style) -> Image.Image:
    """A steel bar on two tall posts with guy wires."""
    pen = Pen(SHEET, style)
    tint = _bright(rng)
    for x, out in ((0.2, -0.16), (0.8, 0.16)):
        pen.line([(x, 0.12), (x + out, 0.94)], 0.02, shade(STEEL, 0.8))
        pen.line([(x, 0.08), (x, 0.94)], 0.055, tint)
        pen.box(x - 0.09, 0.9, x + 0.09, 0.96, shade(tint, 0.7))
    pen.line([(0.16, 0.1), (0.84, 0.1)], 0.05, PALE)
    return pen.image


def seat_belt(rng: np.random.Generator, style: Style) -> Image.Image:
    """A strap from the shoulder to a red buckle, and one across the lap."""
    pen = Pen(SHEET, style)
    strap = shade((70, 72, 80), float(rng.uniform(0.7, 1.6)))
    pen.line([(0.14, 0.06), (0.78, 0.8)], 0.13, strap)
    pen.line([(0.1, 0.88), (0.78, 0.82)], 0.11, shade(strap, 0.85))
    pen.line([(0.18, 0.06), (0.8, 0.77)], 0.02, shade(strap, 1.5))
    pen.box(0.68, 0.7, 0.94, 0.94, STEEL, 0.03)
    pen.box(0.72, 0.76, 0.9, 0.86, (220, 36, 40), 0.02)
    return pen.image


def swimming_cap(rng: np.random.Generator, style: Style) -> Image.Image:
    """A head from the side, most of it under a rubber cap with a stripe."""
    pen = Pen(SHEET, style)
    tint, skin = _bright(rng), _skin(rng)
    pen.oval(0.5, 0.6, 0.32, 0.33, skin)
    pen.oval(0.82, 0.66, 0.05, 0.05, skin)
    pen.pie(0.48, 0.52, 0.42, 0.44, 172, 368, tint)
    pen.poly([(0.06, 0.54), (0.9, 0.58), (0.88, 0.64), (0.06, 0.62)], shade(tint, 0.7))
    pen.arc(0.48, 0.52, 0.22, 0.42, 190, 350, PALE, 0.06)
    pen.oval(0.7, 0.7, 0.035, 0.04, DARK)
    return pen.image


def patio(rng: np.random.Generator, style: Style) -> Image.Image:
    """Paving stones with a table and two chairs under a parasol."""
    pen = Pen(SHEET, style)
    stone, tint = shade((196, 186, 172), float(rng.uniform(0.85, 1.1))), _bright(rng)
    pen.poly([(0.16, 0.7), (0.84, 0.7), (1.0, 0.97), (0.0, 0.97)], stone)
    for x0, x1 in ((0.33, 0.25), (0.5, 0.5), (0.67, 0.75)):
        pen.line([(x0, 0.71), (x1, 0.96)], 0.012, shade(stone, 0.7))
    pen.line([(0.1, 0.83), (0.9, 0.83)], 0.012, shade(stone, 0.7))
    pen.line([(0.5, 0.14), (0.5, 0.84)], 0.03, shade(WOOD, 0.6))
    pen.poly([(0.08, 0.36), (0.5, 0.06), (0.92, 0.36)], tint)
    pen.poly([(0.38, 0.36), (0.5, 0.06), (0.62, 0.36)], PALE)
    for x, back in ((0.2, 0.14), (0.8, 0.86)):
        pen.line([(back, 0.52), (back, 0.88)], 0.03, shade(WOOD, 0.8))
        pen.line([(back, 0.7), (x + (x - back), 0.7)], 0.035, shade(WOOD, 0.8))
        pen.line([(x + (x - back), 0.7), (x + (x - back), 0.88)], 0.03, shade(WOOD, 0.8))
    pen.oval(0.5, 0.64, 0.2, 0.05, shade(WOOD, 1.1))
    return pen.image


def puck(rng: np.random.Generator, style: Style) -> Image.Image:
    """A flat black disc."""
    pen = Pen(SHEET, style)
    tint = shade((40, 40, 46), float(rng.uniform(0.7, 1.5)))
    pen.box(0.05, 0.46, 0.95, 0.66, shade(tint, 0.6))
    pen.oval(0.5, 0.66, 0.45, 0.16, shade(tint, 0.6))
    pen.oval(0.5, 0.46, 0.45, 0.16, tint)
    pen.arc(0.5, 0.46, 0.36, 0.11, 0, 360, shade(tint, 2.2), 0.02)
    return pen.image


def miniskirt(rng: np.random.Generator, style: Style) -> Image.Image:
    """A pleated trapezium with a belt."""
    pen = Pen(SHEET, style)
    tint = _bright(rng)
    pen.poly([(0.28, 0.2), (0.72, 0.2), (0.98, 0.82), (0.02, 0.82)], tint)
    for top, low in ((0.39, 0.26), (0.5, 0.5), (0.61, 0.74)):
        pen.line([(top, 0.28), (low, 0.8)], 0.018, shade(tint, 0.65))
    pen.box(0.26, 0.17, 0.74, 0.27, shade(tint, 0.5), 0.02)
    return pen.image


def woman(rng: np.random.Generator, style: Style) -> Image.Image:
    """A standing woman with bare legs; the skirt goes over the middle."""
    pen = Pen(SHEET, style, ink=0.016)
    skin, top, hair = _skin(rng), _bright(rng), shade((96, 62, 40), float(rng.uniform(0.4, 2.0)))
    pen.box(0.37, 0.03, 0.63, 0.28, hair, 0.1)
    for x in (0.435, 0.565):
        pen.line([(x, 0.54), (x, 0.93)], 0.085, skin)
        pen.line([(x, 0.95), (x + 0.02, 0.97)], 0.06, DARK)
    for sign in (-1, 1):
        pen.line([(0.5 + sign * 0.13, 0.3), (0.5 + sign * 0.2, 0.54)], 0.055, skin)
    pen.box(0.46, 0.2, 0.54, 0.3, shade(skin, 0.9))
    pen.poly([(0.36, 0.27), (0.64, 0.27), (0.6, 0.56), (0.4, 0.56)], top)
    pen.oval(0.5, 0.14, 0.085, 0.1, skin)
    pen.pie(0.5, 0.1, 0.1, 0.08, 180, 360, hair)
    pen.oval(0.47, 0.14, 0.012, 0.014, DARK)
    pen.oval(0.53, 0.14, 0.012, 0.014, DARK)
    pen.line([(0.475, 0.19), (0.525, 0.19)], 0.016, (196, 40, 60))
    return pen.image


def space_bar(rng: np.random.Generator, style: Style) -> Image.Image:
    """One long key."""
    pen = Pen(SHEET, style, ink=0.03)
    tint = shade((226, 226, 222), float(rng.uniform(0.85, 1.1)))
    pen.box(0.01, 0.4, 0.99, 0.62, shade(tint, 0.6), 0.03)
    pen.box(0.04, 0.4, 0.96, 0.57, tint, 0.03)
    pen.line([(0.42, 0.53), (0.58, 0.53)], 0.02, shade(tint, 0.5))
    return pen.image


def keyboard(rng: np.random.Generator, style: Style) -> Image.Image:
    """Four rows of keys in a case, with room for the space bar below."""
    pen = Pen(SHEET, style, ink=0.012)
    case = shade((70, 74, 84), float(rng.uniform(0.6, 1.5)))
    pen.box(0.0, 0.28, 1.0, 0.82, case, 0.03)
    key = shade((226, 226, 222), float(rng.uniform(0.85, 1.1)))
    for row in range(4):
        shift = 0.02 * row
        for col in range(11 if row % 2 else 12):
            left = 0.025 + shift * (row % 2) + col * 0.08
            pen.box(left, 0.32 + row * 0.1, left + 0.062, 0.39 + row * 0.1, key, 0.01)
    for left in (0.025, 0.11, 0.81, 0.89):
        pen.box(left, 0.72, left + 0.07, 0.79, key, 0.01)
    return pen.image


def baseball_player(rng: np.random.Generator, style: Style) -> Image.Image:
    """A batter in a white uniform with cap, socks and bat."""
    pen = Pen(SHEET, style, ink=0.018)
    tint, skin = _bright(rng), _skin(rng)
    pen.line([(0.64, 0.42), (0.9, 0.06)], 0.06, WOOD)
    for hip, foot in ((0.42, 0.3), (0.54, 0.64)):
        pen.line([(hip, 0.58), (foot, 0.78)], 0.12, PALE)
        pen.line([(foot, 0.8), (foot, 0.9)], 0.09, tint)
        pen.line([(foot, 0.94), (foot + 0.06, 0.94)], 0.06, DARK)
    pen.box(0.34, 0.3, 0.62, 0.62, PALE, 0.06)
    pen.line([(0.38, 0.36), (0.64, 0.44)], 0.085, tint)
    pen.line([(0.58, 0.35), (0.66, 0.42)], 0.085, tint)
    pen.oval(0.66, 0.43, 0.045, 0.045, skin)
    pen.line([(0.34, 0.6), (0.62, 0.6)], 0.03, DARK)
    pen.oval(0.49, 0.19, 0.11, 0.12, skin)
    pen.pie(0.49, 0.15, 0.125, 0.11, 175, 365, tint)
    pen.box(0.5, 0.13, 0.7, 0.17, shade(tint, 0.7), 0.02)
    pen.oval(0.55, 0.2, 0.014, 0.018, DARK)
    return pen.image


def husky(rng: np.random.Generator, style: Style) -> Image.Image:
    """A sled dog."""
    return draw_dog(rng, BIG[3], style)
