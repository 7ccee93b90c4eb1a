"""Dogs of ten breeds, seen from the side: told apart by build, ears, tail and coat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from aspire.miniatures.drawing.pen import Pen, Rgb, Style, shade

SHEET = 150  # pixels
PINK, DARK = (214, 120, 130), (32, 26, 26)


@dataclass(frozen=True)
class Breed:
    """How a breed is built; lengths are shares of the sheet.

    Args:
        name: as captions call it.
        coats: colours, one is drawn at random.
        length, height: of the trunk.
        legs: their length.
        head: its radius.
        snout: its length.
        ears: "up" (pointed), "bat" (large and pointed) or "flop".
        tail: "up", "curl", "plume" or "stub".
        marking: what distinguishes the coat.
        second: the marking's colour.
    """

    name: str
    coats: tuple[Rgb, ...]
    length: float
    height: float
    legs: float
    head: float
    snout: float
    ears: Literal["up", "bat", "flop"]
    tail: Literal["up", "curl", "plume", "stub"]
    marking: Literal["none", "saddle", "spots", "mask", "bib", "curls"] = "none"
    second: Rgb = (250, 246, 240)


SMALL = (
    Breed(
        "chihuahua",
        ((214, 168, 112), (236, 208, 170), (240, 226, 204)),
        0.34,
        0.17,
        0.2,
        0.15,
        0.07,
        "bat",
        "up",
    ),
    Breed(
        "dachshund",
        ((150, 74, 36), (178, 92, 44), (134, 62, 34)),
        0.54,
        0.17,
        0.1,
        0.11,
        0.13,
        "flop",
        "up",
    ),
    Breed(
        "pug",
        ((220, 190, 150), (204, 172, 132)),
        0.4,
        0.24,
        0.15,
        0.16,
        0.04,
        "flop",
        "curl",
        "mask",
        (48, 40, 40),
    ),
    Breed(
        "toy poodle",
        ((240, 236, 230), (222, 168, 120), (246, 214, 180)),
        0.36,
        0.24,
        0.17,
        0.14,
        0.09,
        "flop",
        "stub",
        "curls",
    ),
    Breed(
        "corgi", ((224, 146, 70), (200, 120, 56)), 0.52, 0.22, 0.1, 0.14, 0.1, "bat", "stub", "bib"
    ),
)
BIG = (
    Breed("labrador", ((232, 202, 140), (44, 40, 42), (52, 42, 38)), 0.48, 0.22, 0.3, 0.12,
          0.12, "flop", "up"),
    Breed("german shepherd", ((190, 138, 84), (172, 116, 66)), 0.5, 0.21, 0.31, 0.11, 0.14, "up",
          "plume", "saddle", (46, 40, 38)),
    Breed("dalmatian", ((246, 244, 240),), 0.48, 0.19, 0.33, 0.11, 0.12, "flop", "up", "spots",
          (36, 32, 34)),
    Breed("husky", ((120, 126, 138), (74, 78, 88)), 0.47, 0.23, 0.28, 0.12, 0.12, "up", "curl",
          "bib"),
    Breed("great dane", ((150, 156, 168), (104, 108, 120), (58, 58, 66)), 0.46, 0.19, 0.38, 0.11,
          0.13, "up", "up", "mask", (44, 42, 46)),
)  # fmt: skip


def draw_dog(rng: np.random.Generator, breed: Breed, style: Style) -> Image.Image:
    """One dog of a breed, looking to the right.

    Returns:
        RGBA of ``SHEET`` x ``SHEET``.
    """
    pen = Pen(SHEET, style)
    coat = breed.coats[int(rng.integers(len(breed.coats)))]
    coat = shade(coat, float(rng.uniform(0.88, 1.1)))
    left, right = 0.5 - breed.length / 2 - 0.06, 0.5 + breed.length / 2 - 0.06
    base = 0.95
    mid = base - breed.legs - breed.height * 0.42  # middle of the trunk
    top = mid - breed.height / 2
    _tail(pen, rng, breed, coat, left, top)
    thick = 0.055 if breed.legs < 0.25 else 0.065
    pale = breed.marking in ("bib", "saddle")
    foot = breed.second if breed.marking == "bib" else coat
    stride = float(rng.uniform(0.02, 0.06))
    for at, tint, back in (
        (left + 0.11, 0.8, True), (right - 0.1, 0.8, True), (left + 0.05, 1.0, False),
        (right - 0.04, 1.0, False),
    ):  # fmt: skip
        step = stride if back else -stride * 0.4
        pen.line([(at, mid), (at + step, base - 0.03)], thick, shade(coat, tint))
        if pale:
            pen.line([(at + step, base - 0.06), (at + step, base - 0.03)], thick, shade(foot, tint))
    hx, hy = right + breed.head * 0.5, top - breed.head * (0.55 if breed.legs < 0.25 else 0.85)
    neck = breed.head * 1.1
    pen.line([(right - 0.06, mid - 0.02), (hx - 0.02, hy)], neck, coat)
    pen.box(left, top, right + 0.02, top + breed.height, coat, breed.height * 0.48)
    _coat(pen, rng, breed, coat, (left, top, right, hx, hy))
    _head(pen, breed, coat, hx, hy)
    return pen.image


def _tail(
    pen: Pen, rng: np.random.Generator, breed: Breed, coat: Rgb, left: float, top: float
) -> None:
    x, y = left + 0.03, top + 0.06
    lift = float(rng.uniform(0.1, 0.2))
    if breed.tail == "curl":
        pen.oval(x - 0.01, y - 0.06, 0.075, 0.075, coat)
        pen.oval(x + 0.01, y - 0.05, 0.03, 0.03, shade(coat, 0.75))
    elif breed.tail == "plume":
        pen.line([(x, y), (x - 0.09, y + 0.08), (x - 0.13, y + 0.2)], 0.07, shade(coat, 0.8))
    elif breed.tail == "up":
        pen.line([(x, y), (x - 0.08, y - lift * 0.4), (x - 0.12, y - lift)], 0.035, coat)
    else:
        pen.oval(x - 0.02, y - 0.05, 0.05, 0.05, coat)


def _coat(
    pen: Pen,
    rng: np.random.Generator,
    breed: Breed,
    coat: Rgb,
    at: tuple[float, float, float, float, float],
) -> None:
    left, top, right, hx, hy = at
    if breed.marking == "saddle":
        pen.box(left + 0.03, top, right - 0.02, top + breed.height * 0.55, breed.second, 0.07)
    elif breed.marking == "bib":
        pen.oval(right - 0.01, top + breed.height * 0.6, 0.07, breed.height * 0.42, breed.second)
        belly = top + breed.height * 0.8
        pen.box(left + 0.08, belly, right, top + breed.height, breed.second, 0.03)
    elif breed.marking == "spots":
        for _ in range(13):
            x, y = rng.uniform(left + 0.03, right - 0.02), rng.uniform(top + 0.03, top + 0.17)
            r = float(rng.uniform(0.012, 0.028))
            pen.oval(float(x), float(y), r, r, breed.second)
    elif breed.marking == "curls":
        for x in np.linspace(left, right, 5):
            for y in (top + 0.03, top + breed.height * 0.55, top + breed.height * 0.9):
                tint = shade(coat, float(rng.uniform(0.86, 1.06)))
                pen.oval(float(x), float(y), 0.075, 0.07, tint)
        for dx, dy in ((-0.09, 0.0), (0.0, -0.11), (0.07, -0.07), (-0.06, -0.09)):
            pen.oval(hx + dx, hy + dy, 0.085, 0.085, shade(coat, float(rng.uniform(0.9, 1.06))))


def _head(pen: Pen, breed: Breed, coat: Rgb, hx: float, hy: float) -> None:
    r = breed.head
    mask = breed.second if breed.marking == "mask" else coat
    ear = shade(breed.second if breed.marking in ("mask", "saddle", "spots") else coat, 0.78)
    if breed.ears != "flop":
        tall = r * (1.75 if breed.ears == "bat" else 1.35)
        wide = r * (0.75 if breed.ears == "bat" else 0.5)
        for dx in (-0.55 * r, 0.25 * r):
            points = [(hx + dx - wide / 2, hy - 0.4 * r), (hx + dx + wide / 2, hy - 0.5 * r)]
            pen.poly([*points, (hx + dx - 0.12 * r, hy - tall)], ear)
            if breed.ears == "bat":
                inner = [(hx + dx - wide / 4, hy - 0.6 * r), (hx + dx + wide / 4, hy - 0.6 * r)]
                pen.poly([*inner, (hx + dx - 0.1 * r, hy - 0.85 * tall)], PINK)
    pen.oval(hx, hy, r, r * 0.95, coat)
    tip = hx + 0.7 * r + breed.snout
    muzzle = breed.second if breed.marking == "bib" else mask
    pen.box(hx + 0.2 * r, hy - 0.1 * r, tip, hy + 0.75 * r, muzzle, 0.38 * r)
    if breed.marking == "bib":
        pen.oval(hx + 0.3 * r, hy + 0.35 * r, 0.5 * r, 0.5 * r, breed.second)
    if breed.ears == "flop":
        pen.oval(hx - 0.55 * r, hy + 0.15 * r, 0.36 * r, 0.85 * r, ear)
    pen.oval(tip - 0.015, hy + 0.05 * r, 0.03, 0.026, DARK)
    pen.oval(hx + 0.35 * r, hy - 0.28 * r, 0.022, 0.026, DARK)
    if breed.snout > 0.05:
        pen.line([(tip - 0.4 * r, hy + 0.5 * r), (tip - 0.04, hy + 0.45 * r)], 0.01, DARK)
