"""One image of a dataset that is passed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspire.data.files import read_regular
from aspire.data.images import png_bytes, read_labels


@dataclass(frozen=True)
class Entry:
    """One image to be passed on.

    Args:
        values: by column; file names are those it has now.
        image, mask: its files.
        synthetic: whether it was generated.
    """

    values: dict[str, Any]
    image: Path
    mask: Path | None
    synthetic: bool

    def mask_bytes(self) -> bytes:
        """The label map as a PNG: 0 background, 1 class object."""
        assert self.mask is not None
        if self.synthetic:  # these are 255 on the object
            return png_bytes((read_labels(self.mask) > 0).astype("uint8"))
        if self.mask.suffix.lower() == ".png":
            return read_regular(self.mask)
        return png_bytes(read_labels(self.mask))
