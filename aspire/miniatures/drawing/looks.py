"""How a miniature looks: the set that its things are taken from, and what takes the picture.

The look says nothing about the class: all splits share it, and counts, captions and masks stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aspire.data.images import Pixels
from aspire.miniatures.drawing.fields import grid
from aspire.miniatures.drawing.pen import Style

LookName = Literal["plain", "openmoji", "infrared"]
Camera = Callable[[Pixels], Pixels]

# Colour infrared film records near infrared as red, red as green and green as blue. How much near
# infrared there is, is guessed: leaves throw it back, water swallows it.
INFRARED = np.array([[0.3, 1.3, -0.7], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
DARK_RIM = 0.45  # by how much the corners are darker


@dataclass(frozen=True)
class Look:
    """One look.

    Args:
        style: of the things and of all that a pen draws.
        unseen: the same in the unseen split.
        camera: (S, S, 3) uint8 RGB -> the same as it is recorded; None for as it is.
    """

    style: Style = "twemoji"
    unseen: Style = "openmoji"
    camera: Camera | None = None


def infrared(pixels: Pixels) -> Pixels:
    """(S, S, 3) uint8 RGB on colour infrared film: meadows magenta, water dark, corners darker."""
    y, x = grid(len(pixels))
    rim = 1 - DARK_RIM * 2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    film = (pixels.astype(np.float32) / 255) @ INFRARED.T * rim[..., None]
    exposed: Pixels = (film.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return exposed


LOOKS: dict[LookName, Look] = {
    "plain": Look(),
    "openmoji": Look("openmoji", "twemoji"),
    "infrared": Look(camera=infrared),
}
