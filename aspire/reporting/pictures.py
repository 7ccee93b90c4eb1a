"""Small pictures inside the page, and the few originals that are kept beside it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

from aspire.data.files import NotAFileError, open_regular
from aspire.stored.notes import note
from aspire.stored.seals import intact, write_sealed

Box: TypeAlias = tuple[float, float, float, float]

LARGEST = 192  # longer side of an embedded picture, in pixels
LOSSLESS = 96  # up to this size pictures stay PNG: they are small, and JPEG would smear them


@dataclass(frozen=True)
class Picture:
    """An image ready for an ``<img>``."""

    uri: str
    width: int
    height: int
    alt: str
    kind: str  # "png" or "jpeg"


class Pictures:
    """Turns image files into embedded pictures, small enough for one page.

    Originals belong to the dataset, which a report must outlive: those that are shown are kept,
    already small, in a folder beside the report. A kept picture that is not as it was left is
    made again, or shown as missing where the dataset is not at hand.

    Args:
        kept: that folder.
        root: of the dataset, or None when it is not at hand.
        files: img_id -> file relative to ``root``.
    """

    def __init__(self, kept: Path, root: Path | None, files: Mapping[str, str]) -> None:
        self.kept = kept
        self.root = root
        self.files = files

    def made(self, path: Path, alt: str) -> Picture | None:
        """A file of an artifact; None when it is missing or unreadable."""
        data = _shrunk(path)
        return None if data is None else _embedded(data, alt)

    def original(self, img_id: str, alt: str) -> Picture | None:
        """An image of the dataset, from the kept copies or from the dataset; else None."""
        return self._kept(img_id, img_id, None, alt)

    def part(self, img_id: str, box: Box, alt: str) -> Picture | None:
        """A part of one, likewise.

        Args:
            img_id: of the image.
            box: left, top, right, bottom in fractions of width and height.
            alt: what it shows.
        """
        return self._kept(f"{img_id} {box}", img_id, box, alt)

    def _kept(self, key: str, img_id: str, box: Box | None, alt: str) -> Picture | None:
        name = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:16]
        for copy in (self.kept / f"{name}.png", self.kept / f"{name}.jpeg"):
            if intact(copy):
                return _embedded(copy.read_bytes(), alt)
            if copy.is_file():
                note(f"{copy} is not the picture that was kept: made again, or left out.")
        if self.root is None or img_id not in self.files:
            return None
        data = _shrunk(self.root / self.files[img_id], box)
        picture = None if data is None else _embedded(data, alt)
        if data is not None and picture is not None:
            write_sealed(self.kept / f"{name}.{picture.kind}", data)
        return picture


def small(path: Path) -> Image.Image | None:
    """An image of at most ``LARGEST`` pixels a side, mode L or RGB; None when it is unreadable."""
    try:
        with open_regular(path) as file, Image.open(file) as image:
            image.load()
    except (OSError, NotAFileError, SyntaxError, ValueError):
        return None
    flat = image if image.mode in ("L", "RGB") else image.convert("RGB")
    if max(flat.size) > LARGEST:
        method = Image.Resampling.NEAREST if _is_mask(flat) else Image.Resampling.LANCZOS
        flat.thumbnail((LARGEST, LARGEST), method)
    return flat


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures at one height, side by side."""
    height = max(left.height, right.height)
    parts = [
        p.convert("RGB").resize((max(1, round(p.width * height / p.height)), height))
        for p in (left, right)
    ]
    whole = Image.new("RGB", (sum(p.width for p in parts), height))
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (parts[0].width, 0))
    return whole


def _is_mask(image: Image.Image) -> bool:
    return image.mode == "L" and len(image.getcolors() or range(9)) <= 2


def _shrunk(path: Path, box: Box | None = None) -> bytes | None:
    """PNG for small images and masks, JPEG for the rest; None when it cannot be read."""
    if (flat := small(path)) is None:
        return None
    if box is not None:
        ends = [min(max(b, 0.0), 1.0) * n for b, n in zip(box, flat.size * 2, strict=True)]
        left, top = (min(int(b), n - 1) for b, n in zip(ends[:2], flat.size, strict=True))
        flat = flat.crop((left, top, max(left + 1, round(ends[2])), max(top + 1, round(ends[3]))))
    buffer = io.BytesIO()
    if _is_mask(flat):
        flat.convert("1", dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    elif max(flat.size) <= LOSSLESS:
        flat.save(buffer, "PNG", optimize=True)
    else:
        flat.save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def _embedded(data: bytes, alt: str) -> Picture | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height, kind = *image.size, (image.format or "png").lower()
    except (OSError, UnidentifiedImageError):
        return None
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Picture(uri, width, height, alt, kind)
