"""Reading and writing single images, with errors a person can act on.

What a file becomes, whatever its kind:

===================  =======================================================================
RGB, grey, palette   as stored
transparency         on white, as a browser shows it
CMYK, YCbCr, LAB     Pillow's conversion to RGB, without colour profiles
16-bit grey          scaled to 8 bit (65535 -> 255), not clipped
EXIF orientation     applied, so that the picture stands as a viewer shows it
animated             its first frame
===================  =======================================================================
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aspire.data.files import NotAFileError, open_regular
from aspire.errors import DataError

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W) for masks and label maps

# 134 million: above the largest phone cameras in common use, 400 MB once it is decoded.
MAX_PIXELS = 2**27

# What is looked for by content; Pillow's other decoders know their files by little, or start
# programs (EPS).
_KINDS = (
    "AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP"
)  # fmt: skip

# Pillow warns from 89 million pixels on; the limit here is MAX_PIXELS.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# Where a file can say that its picture lies on its side. Pillow turns TIFF files by itself.
_ORIENTED = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}


def read_image(path: Path) -> Pixels:
    """An image as RGB, upright; see the table at the top of this module.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: when the file is missing, empty, not an image, of more than ``MAX_PIXELS``
            pixels, or holds numbers that are not colours.
    """
    image = _upright(_open(path))
    if image.mode in _ALPHA or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    if image.mode == "RGB":
        return np.asarray(image)
    if image.mode.startswith("I"):
        grey = ((_whole_numbers(image, path) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise DataError(
            f"The image {path} holds decimal numbers (TIFF of 32-bit floats), whose black and "
            "white are not known. Save it with 8 or 16 bit per channel."
        )
    return np.asarray(image.convert("RGB"))


def read_labels(path: Path) -> Pixels:
    """A label map or mask: palette and grey levels as stored, one-bit masks as 0 and 1.

    An EXIF orientation of the mask's own file is applied; that of its image is not.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: as :func:`read_image`, and for labels above 255.
    """
    image = _upright(_open(path))
    if image.mode.startswith("I"):
        values = _whole_numbers(image, path)
        if np.isin(values, (0, 65535)).all():  # black and white at 16 bit
            values = values // 257
        if values.max(initial=0) > 255:
            raise DataError(
                f"The mask {path} holds labels up to {values.max()}; expected 0 (background), 1 "
                "(class object) and at most 255. Save it as an 8-bit grey or palette PNG."
            )
        return values.astype(np.uint8)
    return np.asarray(image if image.mode in ("P", "L", "1") else image.convert("L")).astype(
        np.uint8
    )


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as :func:`read_image` returns it, from the file's header alone.

    Raises:
        DataError: when the file is missing or not an image.
    """
    try:
        with open_regular(path) as file, Image.open(file) as image:
            return upright_size(image)
    except Exception as error:
        raise _unreadable(path, error) from None


def is_image(path: Path) -> bool:
    """Whether the beginning of a file is that of an image, whatever it is called."""
    try:
        with open_regular(path) as file, Image.open(file, formats=_KINDS):
            return True
    except Exception:  # a decoder raises anything
        return False


def png_bytes(pixels: NDArray[Any]) -> bytes:
    """PNG of (H, W, 3) or (H, W) uint8; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied: 1 (none) to 8."""
    if not image.info.keys() & _ORIENTED:
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF data is no reason to refuse a picture
        return 1
    return value if value in _TURNS else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) once the orientation is applied; needs the header only."""
    width, height = image.size
    return (width, height) if orientation(image) >= 5 else (height, width)


def refuse_huge(path: Path, image: Image.Image) -> None:
    """Stop before memory for the pixels is asked for.

    Raises:
        DataError: above ``MAX_PIXELS``.
    """
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"The image {path} is {image.width} x {image.height} pixels; at most "
            f"{MAX_PIXELS:,} are read. Make it smaller or take its row out of the metadata table."
        )


def _open(path: Path) -> Image.Image:
    try:
        with open_regular(path) as file, Image.open(file) as image:
            refuse_huge(path, image)
            image.load()
            return image
    except Exception as error:  # decoders raise anything at all on a damaged file
        raise _unreadable(path, error) from None


def reason(error: Exception) -> str:
    """Why a picture cannot be read; Pillow's own words for a file of no kind name its buffer."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known kind"
    return str(error) or type(error).__name__


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, NotAFileError):
        return DataError(f"The image {path} cannot be read: {str(error).removeprefix(f'{path} ')}")
    if isinstance(error, DataError):
        return error
    if isinstance(error, FileNotFoundError):
        return DataError(f"The image {path} does not exist.")
    size = path.stat().st_size if path.is_file() else 0
    return DataError(
        f"The image {path} ({size} bytes) cannot be read: {reason(error)}. Replace the file or "
        "take its row out of the metadata table."
    )


def _upright(image: Image.Image) -> Image.Image:
    turn = orientation(image)
    return image if turn == 1 else image.transpose(_TURNS[turn])


def _whole_numbers(image: Image.Image, path: Path) -> NDArray[np.int64]:
    """Grey levels of 16 bit; files of 32 bit may hold more than that."""
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise DataError(
            f"The image {path} holds grey levels from {values.min()} to {values.max()}; expected "
            "0 to 65535. Save it with 8 or 16 bit per channel."
        )
    return values
