"""Reading and writing single images, with errors a person can act on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aspire.errors import DataError

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W) for masks and label maps


def read_image(path: Path) -> Pixels:
    """An image as RGB.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: when the file is missing, empty or not an image.
    """
    return np.asarray(_open(path).convert("RGB"))


def read_labels(path: Path) -> Pixels:
    """A label map or mask: palette and grey levels as stored, one-bit masks as 0 and 1.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: as :func:`read_image`.
    """
    image = _open(path)
    return np.asarray(image if image.mode in ("P", "L", "1") else image.convert("L")).astype(
        np.uint8
    )


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise DataError(f"The image {path} does not exist.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        size = path.stat().st_size if path.is_file() else 0
        raise DataError(
            f"The image {path} ({size} bytes) cannot be read: {error}. Replace the file or take "
            "its row out of the metadata table."
        ) from None


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header alone.

    Raises:
        DataError: when the file is missing or not an image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error}.") from None


def png_bytes(pixels: NDArray[Any]) -> bytes:
    """PNG of (H, W, 3) or (H, W) uint8; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
