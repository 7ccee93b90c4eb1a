"""Filters: which generated images are worth training on, each rejection with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aspire.data.images import Pixels
from aspire.generation.base import GeneratedImage, Reference
from aspire.identity import Json
from aspire.values import Fraction, Natural, NonNegative

GREY = np.uint8(127)


class NearUniform:
    """Rejects images that show (almost) one colour, such as a safety checker's black square.

    Args:
        min_std: smallest accepted standard deviation of the grey values, in [0, 255].
    """

    name = "near_uniform"

    def __init__(self, min_std: NonNegative = 8.0) -> None:
        self.min_std = min_std

    def measured(self) -> Mapping[str, Json]:
        return {}

    def thresholds(self) -> Mapping[str, Json]:
        return {"min_std": self.min_std}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        return [round(float(i.pixels.mean(axis=2).std()), 4) for i in images]

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) < self.min_std}


class Duplicate:
    """Rejects all but the first of images that look the same (64-bit perceptual hash).

    Args:
        max_distance: images whose hashes differ in at most so many bits are the same, in [0, 64].
    """

    name = "duplicate"

    def __init__(self, max_distance: Natural = 0) -> None:
        self.max_distance = max_distance

    def measured(self) -> Mapping[str, Json]:
        return {"hash": "phash64"}

    def thresholds(self) -> Mapping[str, Json]:
        return {"max_distance": self.max_distance}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        return [perceptual_hash(i.pixels) for i in images]

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        rejected: set[str] = set()
        kept = np.zeros(0, dtype=np.uint64)
        for img_id, value in values.items():
            code = np.uint64(int(str(value), 16))
            if len(kept) and int(np.bitwise_count(kept ^ code).min()) <= self.max_distance:
                rejected.add(img_id)
            else:
                kept = np.append(kept, code)
        return rejected


class LowConfidence:
    """Rejects images whose object the classifier does not take for its class at all.

    Everything outside the object is painted grey first: the classifier leans on the background,
    which is why the image was made, and must not be asked about it. (The image's own mean colour
    gives the background away: on mini_waterbirds it had a quarter of the waterbirds rejected, all
    of them in forests.) So an image whose object is not known, as from ``text_to_image``, is not
    judged: of the waterbirds that tiny-sd draws on land the classifier of the quickstart would
    leave 4 in 139. ``clip_class`` knows classes without that shortcut.

    Args:
        min_probability: smallest accepted probability of the class, in [0, 1].
    """

    name = "low_confidence"

    def __init__(self, min_probability: Fraction = 0.02) -> None:
        self.min_probability = min_probability

    def measured(self) -> Mapping[str, Json]:
        return {"view": "object on grey, or none"}

    def thresholds(self) -> Mapping[str, Json]:
        return {"min_probability": self.min_probability}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        views = {
            row: np.where(image.mask[..., None], image.pixels, GREY)
            for row, image in enumerate(images)
            if image.mask is not None
        }
        values: list[float | str] = ["object not known"] * len(images)
        answers = reference.classifier(list(views.values())) if views else ()
        for row, p in zip(views, answers, strict=True):
            values[row] = round(float(p[images[row].y]), 5)
        return values

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if isinstance(v, float) and v < self.min_probability}


def perceptual_hash(pixels: Pixels) -> str:
    """64 bits of an image's coarse structure, as 16 hexadecimal digits."""
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(pixels)))
