"""Blank: what is in the hole, and that nothing else has changed."""

from __future__ import annotations

import numpy as np

from aspire.cli.templates.inpainter import Blank
from aspire.editing.base import Failure


def test_a_hole_is_filled_with_what_is_around_it() -> None:
    image = np.array([[[10, 0, 0], [20, 0, 0], [99, 9, 9]]], dtype=np.uint8)
    hole = np.array([[False, False, True]])
    (filled,) = Blank().inpaint([image], [hole], [0])
    assert not isinstance(filled, Failure)
    assert filled[0].tolist() == [[10, 0, 0], [20, 0, 0], [15, 0, 0]]
    (nothing,) = Blank().inpaint([image], [np.ones_like(hole)], [0])
    assert isinstance(nothing, Failure)
