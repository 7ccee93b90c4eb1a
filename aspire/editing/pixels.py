"""What editing does to pixels: masks grow, scenes are pasted, holes blended, sizes changed."""

from __future__ import annotations

import numpy as np

from aspire.data.images import Pixels
from aspire.editing.base import Mask


def dilate(mask: Mask, pixels: int) -> Mask:
    """The mask grown by ``pixels`` in every direction."""
    import cv2

    if pixels <= 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel)) > 0


def paste(image: Pixels, keep: Mask, scene: Pixels, feather: int) -> Pixels:
    """``image`` where ``keep``, ``scene`` elsewhere, blended over ``feather`` pixels outside.

    Args:
        image, scene: (H, W, 3) uint8.
        keep: (H, W); these pixels come out bit-equal to ``image``.
        feather: width of the blend in pixels; 0 for a hard edge.

    Returns:
        (H, W, 3) uint8.
    """
    import cv2

    if feather <= 0:
        return np.where(keep[..., None], image, scene)
    distance = cv2.distanceTransform((~keep).astype(np.uint8), cv2.DIST_L2, 3)
    alpha = np.clip(1.0 - distance / (feather + 1.0), 0.0, 1.0)[..., None]
    blend = alpha * image.astype(np.float32) + (1.0 - alpha) * scene.astype(np.float32)
    return np.where(keep[..., None], image, np.round(blend).astype(np.uint8))


def fill(image: Pixels, hole: Mask, content: Pixels, feather: int) -> Pixels:
    """``content`` in the hole, ``image`` elsewhere, blended over ``feather`` pixels inside.

    The blend lies inside the hole, so that every pixel outside it is bit-equal to ``image``. Give
    the hole a margin of that width (``stage.edit.dilate``), or a rim of what was there remains.
    """
    return paste(image, ~hole, content, feather)


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Area interpolation when shrinking, cubic when growing."""
    import cv2

    shrink = image.shape[0] >= height
    how = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)


def _fitted(height: int, width: int, size: int) -> tuple[int, int]:
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def to_square(image: Pixels, size: int) -> Pixels:
    """The image with its longer side at ``size``, its last rows or columns repeated to a square.

    All images get one size this way, whatever else is in their batch, and keep their proportions.
    """
    height, width = _fitted(image.shape[0], image.shape[1], size)
    fitted = resize(image, height, width)
    return np.pad(fitted, ((0, size - height), (0, size - width), (0, 0)), mode="edge")


def mask_to_square(mask: Mask, size: int) -> Mask:
    """The mask that belongs to :func:`to_square`; a pixel that is touched belongs to it."""
    import cv2

    height, width = _fitted(mask.shape[0], mask.shape[1], size)
    how = cv2.INTER_AREA if mask.shape[0] >= height else cv2.INTER_NEAREST
    fitted = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=how)
    return np.pad(np.asarray(fitted) > 0, ((0, size - height), (0, size - width)))


def from_square(square: Pixels, height: int, width: int) -> Pixels:
    """The image of height x width that :func:`to_square` made a square of."""
    inner_height, inner_width = _fitted(height, width, square.shape[0])
    return resize(square[:inner_height, :inner_width], height, width)
