"""What the editing backends promise. Construction is cheap; models load on first use.

Every backend takes a sequence and gives a list, in order and as long. The answer for an item must
not depend on what else is in the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.identity import Json
from aspire.records import ImageRef

Mask = NDArray[np.bool_]  # (H, W)

NotFound = Literal["no_box", "low_score", "empty_mask", "failed"]
"""Why there is no mask: nothing like it in the image; only below the threshold; a place without
pixels; the backend broke down on this image."""


@dataclass(frozen=True)
class Failure:
    """What a backend gives for an item it broke down on. ``detail`` is counted and shown."""

    detail: str


@dataclass(frozen=True)
class Segmentation:
    """Where something is, or why that is not known: exactly one of ``mask`` and ``reason``.

    Args:
        mask: (H, W), as large as the image, with at least one pixel.
        score: the model's confidence in [0, 1], of the best candidate when none was good enough;
            None where no model was asked.
        reason, detail: why there is no mask.
    """

    mask: Mask | None = None
    score: float | None = None
    reason: NotFound | None = None
    detail: str = ""


def found(mask: Mask, score: float | None = None) -> Segmentation:
    """The segmentation of a mask: ``empty_mask`` when it has no pixel."""
    if not mask.any():
        return Segmentation(score=score, reason="empty_mask")
    return Segmentation(mask=mask, score=score)


class Segmenter(Protocol):
    """Finds what a phrase names."""

    def identity(self) -> Mapping[str, Json]: ...

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        """The pixels of each phrase in the image of the same place.

        An image with several phrases comes several times, as the same object.
        """
        ...

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        """The pixels of the object each image is labelled with.

        Args:
            images: the images.
            class_words: for each image the phrases that name its class object, best first;
                backends that know the object without words ignore them.
        """
        ...


@dataclass(frozen=True)
class Detection:
    """Boxes around what a phrase names, or the reason why there are none.

    Args:
        boxes: (n, 4) float32 of x0, y0, x1, y1 in pixels; n = 0 when there is a reason.
        score: confidence in [0, 1] of the best candidate; None where no model was asked.
    """

    boxes: NDArray[np.float32]
    score: float | None = None
    reason: NotFound | None = None
    detail: str = ""


class Detector(Protocol):
    """Puts boxes around what a phrase names."""

    def identity(self) -> Mapping[str, Json]: ...

    def detect(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Detection]:
        """The boxes of each phrase in the image of the same place."""
        ...

    def detect_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Detection]:
        """The boxes of the object each image is labelled with."""
        ...


class Inpainter(Protocol):
    """Fills holes so that it looks as if nothing had been there.

    ``bleeds`` says whether whatever is beside a hole runs into it. Then the class object is hidden
    too while the hole is filled, lest what is left of a dress be a smear of hair.
    """

    bleeds: bool

    def identity(self) -> Mapping[str, Json]: ...

    def inpaint(
        self, images: Sequence[Pixels], masks: Sequence[Mask], seeds: Sequence[int]
    ) -> list[Pixels | Failure]:
        """Each image (H, W, 3) with new content where its mask (H, W); bit-equal elsewhere."""
        ...


FindObjects: TypeAlias = Callable[[Sequence[LoadedImage]], list[Mask | None]]


@dataclass(frozen=True)
class RestyleRequest:
    """One image to move from one scene to another.

    Args:
        image: the original.
        keep: (H, W), what stands before the scene, the class object first of all; its pixels must
            come out bit-equal.
        source, target: the scene it shows and the scene it shall show, in words; equal for a
            control, which takes the same way and arrives where it started.
        donors: images that show the target scene, for restylers that cut and paste.
        spare: further ones, for when the object of none of the donors is known.
        find_objects: the class objects of donors, which must not come along; None where unknown.
        seed: for whatever is random.
    """

    image: LoadedImage
    keep: Mask
    source: str
    target: str
    donors: Sequence[LoadedImage]
    find_objects: FindObjects
    seed: int
    spare: Sequence[LoadedImage] = ()


@dataclass(frozen=True)
class Restyled:
    """The new image, and the donor its scene came from, if any."""

    pixels: Pixels  # (H, W, 3), as large as the original
    donor: ImageRef | None


class Restyler(Protocol):
    """Moves the objects of images from one scene to another.

    ``needs_donors`` says that a scene must be cut from an image that shows it; other restylers
    draw any scene that can be named.
    """

    needs_donors: ClassVar[bool]

    def identity(self) -> Mapping[str, Json]: ...

    def restyle(self, requests: Sequence[RestyleRequest]) -> list[Restyled | Failure | None]:
        """Each restyled image, or None where no other image shows the target scene."""
        ...
