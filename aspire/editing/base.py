"""What the editing backends promise. Construction is cheap; models load on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.pipeline.stage import Json

Mask = NDArray[np.bool_]  # (H, W)


class Segmenter(Protocol):
    """Finds what a phrase names."""

    def identity(self) -> Mapping[str, Json]: ...

    def segment(self, image: LoadedImage, phrase: str) -> Mask | None:
        """The pixels of ``phrase``, or None when it is not found."""
        ...

    def segment_class_object(self, image: LoadedImage) -> Mask | None:
        """The pixels of the object the image is labelled with, or None."""
        ...


class Inpainter(Protocol):
    """Fills a hole so that it looks as if nothing had been there."""

    def identity(self) -> Mapping[str, Json]: ...

    def inpaint(self, image: Pixels, mask: Mask, seed: int) -> Pixels:
        """``image`` (H, W, 3) with new content where ``mask`` (H, W); bit-equal elsewhere."""
        ...


@dataclass(frozen=True)
class RestyleRequest:
    """One image to move from one scene to another.

    Args:
        image: the original.
        keep: (H, W), the class object, whose pixels must come out bit-equal.
        source, target: the scene it shows and the scene it shall show, in words.
        donors: images that show the target scene, for restylers that cut and paste.
        find_object: the class object of a donor, which must not come along.
        seed: for whatever is random.
    """

    image: LoadedImage
    keep: Mask
    source: str
    target: str
    donors: Sequence[LoadedImage]
    find_object: Callable[[LoadedImage], Mask | None]
    seed: int


@dataclass(frozen=True)
class Restyled:
    """The new image, and the donor its scene came from, if any."""

    pixels: Pixels  # (H, W, 3), as large as the original
    donor: str | None


class Restyler(Protocol):
    """Moves the object of an image from one scene to another."""

    def identity(self) -> Mapping[str, Json]: ...

    def restyle(self, request: RestyleRequest) -> Restyled | None:
        """The restyled image, or None where the target scene cannot be had (no donor)."""
        ...
