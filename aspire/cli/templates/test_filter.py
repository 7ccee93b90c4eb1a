"""Blank: what it measures, and what it throws out."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from aspire.cli.templates.filter import Blank
from aspire.generation.base import GeneratedImage, Reference


def test_dark_images_go() -> None:
    grey = [np.full((2, 2, 3), level, np.uint8) for level in (10, 30)]
    images = [GeneratedImage(str(n), 0, pixels, None) for n, pixels in enumerate(grey)]
    values = Blank().measure(images, Reference(cast(Any, None)))  # no classifier is asked
    assert values == [10.0, 30.0]
    assert Blank(20).reject({"0": 10.0, "1": 30.0}) == {"0"}
