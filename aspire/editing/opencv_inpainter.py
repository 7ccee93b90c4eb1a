"""Classical inpainting: instant, offline, good on smooth surroundings and smaller holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.identity import Json
from aspire.values import Positive


class OpenCVInpainter:
    """Telea's fast marching or Navier-Stokes inpainting (``cv2.inpaint``).

    Args:
        method: "telea" (Telea 2004) or "navier_stokes" (Bertalmio et al. 2001).
        radius: neighbourhood in pixels.

    Raises:
        ConfigError: for another method.
    """

    bleeds = True

    def __init__(
        self, method: Literal["telea", "navier_stokes"] = "telea", radius: Positive = 4.0
    ) -> None:
        self.method = method
        self.radius = radius

    def identity(self) -> Mapping[str, Json]:
        return {"inpainter": "opencv", "method": self.method, "radius": self.radius}

    def inpaint(
        self, images: Sequence[Pixels], masks: Sequence[Mask], seeds: Sequence[int]
    ) -> list[Pixels | Failure]:
        return [self._fill(image, mask) for image, mask in zip(images, masks, strict=True)]

    def _fill(self, image: Pixels, mask: Mask) -> Pixels:
        import cv2

        flag = cv2.INPAINT_TELEA if self.method == "telea" else cv2.INPAINT_NS
        filled = cv2.inpaint(
            np.ascontiguousarray(image), mask.astype(np.uint8) * 255, self.radius, flag
        )
        # Bit-equal outside the hole is our promise, whatever the algorithm does at its rim.
        return np.where(mask[..., None], np.asarray(filled, dtype=np.uint8), image)
