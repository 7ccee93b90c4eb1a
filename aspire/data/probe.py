"""A look at one image file: is it whole, how large is it, what is unusual about it.

Only the header is read, and the last bytes, by which a JPEG or PNG that was cut off is known. Any
other kind, and whatever looks cut off, is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from aspire.data.files import NotAFileError, open_regular
from aspire.data.images import orientation, read_image, reason, refuse_huge, upright_size
from aspire.errors import DataError

# Last bytes of a whole file, by format.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


@dataclass(frozen=True)
class Probe:
    """What one file is.

    Args:
        size: (height, width) as it will be read; None where there is a problem.
        problem: kind and remark of why it cannot be used.
        notes: kind and remark of what will be converted.
    """

    size: tuple[int, int] | None = None
    problem: tuple[str, str] | None = None
    notes: tuple[tuple[str, str], ...] = ()


def probe(path: Path, thorough: bool = False, read: Callable[[Path], Any] = read_image) -> Probe:
    """Look at a file.

    Args:
        path: of the file.
        thorough: decode it in any case.
        read: how it will be read, raising ``DataError`` when it cannot.
    """
    bytes_there = 0
    try:
        with open_regular(path) as file:
            end, bytes_there = _end(file)
            if not bytes_there:
                return Probe(problem=("zero bytes", " has zero bytes"))
            with Image.open(file) as image:
                refuse_huge(path, image)
                size, notes = upright_size(image), _peculiarities(image)
                whole = end.endswith(_ENDS.get(image.format or "", b"\0never"))
                if image.mode == "F" and read is read_image:
                    return Probe(problem=("colours unknown", " holds decimal numbers"))
    except FileNotFoundError:
        return Probe(problem=("missing", " is missing"))
    except NotAFileError as error:
        return Probe(problem=("no file", str(error).removeprefix(str(path)).rstrip(".")))
    except (DataError, Image.DecompressionBombError) as error:
        return Probe(problem=("too large", f": {_reason(error, path)}"))
    except Exception as error:  # Pillow's plugins raise anything on a damaged header
        text = f" ({bytes_there} bytes): {_reason(error, path)}"
        return Probe(problem=("unreadable", text))
    if thorough or not whole:
        try:
            read(path)
        except DataError as error:
            cut = "truncated" in str(error) or (not whole and "incomplete" in str(error))
            kind = "truncated" if cut else "unreadable"
            return Probe(problem=(kind, f": {_reason(error, path)}"))
    return Probe(size, None, tuple(notes))


def _end(file: IO[bytes]) -> tuple[bytes, int]:
    """The last bytes and the size of a file, which is left at its beginning."""
    size = file.seek(0, 2)
    file.seek(max(size - 16, 0))
    end = file.read()
    file.seek(0)
    return end, size


def _peculiarities(image: Any) -> list[tuple[str, str]]:
    found = []
    if image.mode == "CMYK":
        found.append(("CMYK", " is converted without its colour profile"))
    if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile):
        found.append(("16-bit", " is scaled to 8 bit"))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        found.append(("transparent", " is put on white"))
    if getattr(image, "is_animated", False):
        found.append(("animated", f": the first of {image.n_frames} frames is taken"))
    turn = orientation(image)
    if turn != 1:
        found.append(("EXIF-rotated", f" is turned upright (orientation {turn})"))
    return found


def _reason(error: Exception, path: Path) -> str:
    """What an error says, without repeating the path and the advice."""
    text = reason(error)
    if isinstance(error, DataError):
        text = text.split(" cannot be read: ", 1)[-1].split(". Replace")[0].split(". Make it")[0]
    return text.replace(f"The image {path} ", "").replace(f"'{path}'", "").strip(" .")
