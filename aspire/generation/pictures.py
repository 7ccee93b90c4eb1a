"""What a personaliser looks at: the edited images that changed the classifier's mind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aspire.data.images import Pixels
from aspire.generation.base import ClassEvidence
from aspire.records import Effect


@dataclass(frozen=True)
class Selection:
    """Which edited images of a class are learnt from; the paper's numbers are the defaults.

    Args:
        images: at most so many of a class.
        per_feature: at most so many of its strongest feature, of its second, and so on; the last
            number holds for all further ones.
        flipped_only: only edits after which the classifier gave another class; otherwise those
            follow that lowered the probability of the true one.
    """

    images: int = 35
    per_feature: tuple[int, ...] = (15, 10)
    flipped_only: bool = True

    def choose(self, evidence: ClassEvidence) -> dict[str, tuple[Effect, ...]]:
        """Spurious phrase, strongest first -> effects whose edited images are learnt from.

        Within a phrase the edits come by whether they flipped, then by their drop.
        """
        chosen: dict[str, tuple[Effect, ...]] = {}
        features = sorted((f for f in evidence.features if f.spurious), key=lambda f: f.rank)
        left = self.images
        for place, feature in enumerate(features):
            limit = min(left, self.per_feature[min(place, len(self.per_feature) - 1)])
            found = [
                e
                for e in evidence.effects
                if e.phrase == feature.phrase
                and e.edit_id in evidence.edited
                and (e.flipped or (not self.flipped_only and e.drop > 0))
            ]
            found.sort(key=lambda e: (not e.flipped, -e.drop, e.edit_id))
            if limit > 0 and found:
                chosen[feature.phrase] = tuple(found[:limit])
                left -= len(chosen[feature.phrase])
        return chosen


@dataclass(frozen=True)
class Shown:
    """One image to learn from.

    Args:
        file: absolute.
        edit_id, img_id: of the edit and its original; "" for an image that is not one.
        scene: the scene the edit put there, if it did.
        caption: what is said about it; "" for what a template says.
    """

    file: Path
    edit_id: str = ""
    img_id: str = ""
    scene: str | None = None
    caption: str = ""


@dataclass(frozen=True)
class Subject:
    """Something to learn, and what shows it.

    Args:
        name: of the class, and what it is without.
        noun: the same as one says it.
        shown: images of it.
    """

    name: str
    noun: str
    shown: tuple[Shown, ...]


def subjects_of(
    evidence: ClassEvidence, chosen: Mapping[str, Sequence[Effect]], per_feature: bool
) -> list[Subject]:
    """The class as one subject, or the class once for each feature that was taken away.

    Args:
        evidence, chosen: what :meth:`Selection.choose` gave for it.
        per_feature: one for each feature.
    """
    shown = {
        phrase: tuple(
            Shown(evidence.edited[e.edit_id], e.edit_id, e.img_id, e.replacement) for e in effects
        )
        for phrase, effects in chosen.items()
    }
    if per_feature:
        return [
            Subject(f"{evidence.name} without {p}", f"{evidence.noun} without {p}", s)
            for p, s in shown.items()
        ]
    everything = tuple(s for group in shown.values() for s in group)
    return [Subject(evidence.name, evidence.noun, everything)]


def crop_square(pixels: Pixels, size: int) -> Pixels:
    """The middle of an image, (size, size, 3) uint8."""
    from aspire.editing.pixels import resize

    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(np.ascontiguousarray(pixels[top : top + side, left : left + side]), size, size)


# Neutral descriptions, the object templates of textual inversion (Gal et al. 2022, appendix C),
# which come from CLIP's prompts for ImageNet.
TEMPLATES = (
    "a photo of a {}",
    "a rendering of a {}",
    "a cropped photo of the {}",
    "the photo of a {}",
    "a photo of a clean {}",
    "a photo of a dirty {}",
    "a dark photo of the {}",
    "a photo of my {}",
    "a photo of the cool {}",
    "a close-up photo of a {}",
    "a bright photo of the {}",
    "a cropped photo of a {}",
    "a photo of the {}",
    "a good photo of the {}",
    "a photo of one {}",
    "a close-up photo of the {}",
    "a rendition of the {}",
    "a photo of the clean {}",
    "a rendition of a {}",
    "a photo of a nice {}",
    "a good photo of a {}",
    "a photo of the nice {}",
    "a photo of the small {}",
    "a photo of the weird {}",
    "a photo of the large {}",
    "a photo of a cool {}",
    "a photo of a small {}",
)
