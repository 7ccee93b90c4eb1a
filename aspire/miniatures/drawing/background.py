"""A kind of scene, and how to paint one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aspire.miniatures.drawing.fields import Canvas

# A painter returns the canvas and its horizon (0 top to 1 bottom): ground things stand below it.
Painter = Callable[[np.random.Generator, int], tuple[Canvas, float]]


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
