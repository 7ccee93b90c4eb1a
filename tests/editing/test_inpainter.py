"""Inpainting: the hole is filled, everything else is untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aspire.editing.opencv_inpainter import OpenCVInpainter

METHODS = ("telea", "navier_stokes")


def fill(inpainter: OpenCVInpainter, image: Any, mask: Any) -> Any:
    (filled,) = inpainter.inpaint([image], [mask], [0])
    return filled


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(20, 30), (16, 600)])
def test_pixels_outside_the_mask_are_bit_equal(method: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*shape, 3), dtype=np.uint8)
    mask = rng.random(shape) < 0.1
    before = image.copy()
    filled = fill(OpenCVInpainter(method), image, mask)
    assert filled.dtype == np.uint8
    assert filled.shape == image.shape
    assert (filled[~mask] == image[~mask]).all()
    assert (filled[mask] != image[mask]).any()
    assert (image == before).all()


@pytest.mark.parametrize("method", METHODS)
def test_hole_in_a_plain_wall_becomes_wall(method: str) -> None:
    image = np.full((20, 20, 3), (10, 120, 240), np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[8:12, 8:12] = True
    image[mask] = 0
    filled = fill(OpenCVInpainter(method), image, mask)
    # the algorithms' weights lose a few grey levels; the hole was up to 240 away
    assert np.abs(filled.astype(int) - (10, 120, 240)).max() < 5


def test_views_and_read_only_pixels_are_welcome() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)[:, ::2]
    image.flags.writeable = False
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:8, 5:8] = True
    filled = fill(OpenCVInpainter(), image, mask)
    assert (filled[~mask] == image[~mask]).all()


def test_identity_holds_method_and_radius() -> None:
    one = OpenCVInpainter().identity()
    assert OpenCVInpainter("navier_stokes").identity() != one
    assert OpenCVInpainter(radius=3.0).identity() != one
