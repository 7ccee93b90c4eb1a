"""One image of a dataset with what is annotated about it, read when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aspire.data.images import Pixels, image_size, read_image, read_labels
from aspire.errors import DataError
from aspire.records import ImageRef


@dataclass(frozen=True)
class LoadedImage:
    """One image of a dataset, its files read when first asked for."""

    ref: ImageRef
    root: Path

    @cached_property
    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 RGB."""
        return read_image(self.root / self.ref.file)

    @cached_property
    def labels(self) -> Pixels | None:
        """(H, W) uint8 label map (0 background, 1 class object, 2.. objects), or None.

        Raises:
            DataError: when its size is not the image's.
        """
        if self.ref.mask is None:
            return None
        labels = read_labels(self.root / self.ref.mask)
        height, width = image_size(self.root / self.ref.file)
        if labels.shape != (height, width):
            raise DataError(
                f"The mask {self.ref.mask} is {labels.shape[1]} x {labels.shape[0]}, its image "
                f"{self.ref.file} {width} x {height}; they must be of one size."
            )
        return labels
