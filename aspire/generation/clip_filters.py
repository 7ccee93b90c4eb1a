"""Filters that ask CLIP what generated images show.

Each compares texts by ``softmax(100 cos(image, text))``, CLIP's own scale. CLIP has seen the world
that the classifier has not, so it does not share its shortcuts (it may have others).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from aspire.clip import Clip
from aspire.data.images import Pixels
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedImage, Reference
from aspire.generation.class_nouns import Wording
from aspire.identity import Json
from aspire.values import Count, Fraction

SCALE = 100.0


class ImageText(Protocol):
    """Vectors of images and texts that can be compared; :class:`aspire.clip.Clip`."""

    def identity(self) -> Mapping[str, Json]: ...

    def images(self, images: Sequence[Pixels]) -> NDArray[np.float32]: ...

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class ClipFilter:
    """What the filters below share.

    Args:
        model, revision, device, batch_size: see :class:`aspire.clip.Clip`.
        clip: another source of vectors instead of that model.
    """

    name: ClassVar[str]
    speaks: ClassVar[bool] = True

    def __init__(
        self,
        model: str = "openai/clip-vit-large-patch14",
        revision: str = "main",
        device: str = "auto",
        batch_size: Count = 32,
        clip: ImageText | None = None,
    ) -> None:
        self.clip: ImageText = clip or Clip(model, revision, device, batch_size)

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        if not reference.class_names:
            raise ConfigError(f"filter={self.name} needs the names of the classes.")
        vectors = self.clip.images([i.pixels for i in images])
        return [
            round(float(self.judge(vector, image.y, reference)), 4)
            for vector, image in zip(vectors, images, strict=True)
        ]

    def probabilities(
        self, vector: NDArray[np.float32], texts: Sequence[str]
    ) -> NDArray[np.floating]:
        """Of each text to be the one that belongs to the image; they sum to 1."""
        from scipy.special import softmax  # only where it is used

        shares: NDArray[np.floating] = softmax(SCALE * self.clip.texts(texts) @ vector)
        return shares

    def wordings(self, reference: Reference) -> Sequence[Wording]:
        """How the classes are called."""
        return reference.wordings or [Wording.of_name(n) for n in reference.class_names]

    @abstractmethod
    def judge(self, vector: NDArray[np.float32], y: int, reference: Reference) -> float:
        """The measured value of one image of class ``y``."""


class ClipClass(ClipFilter):
    """Rejects images that look more like another class.

    Measures the probability of the class minus that of the likeliest other one; that of a class is
    the one of its likeliest word.

    Args:
        min_margin: smallest accepted difference, in [-1, 1]; 0: the class must be the likeliest.
        prompt: with ``{class}``.
        **settings: see :class:`ClipFilter`.
    """

    name: ClassVar[str] = "clip_class"

    def __init__(
        self, min_margin: float = 0.0, prompt: str = "a photo of a {class}", **settings: object
    ) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.min_margin = min_margin
        self.prompt = prompt

    def measured(self) -> Mapping[str, Json]:
        return {**self.clip.identity(), "prompt": self.prompt}

    def thresholds(self) -> Mapping[str, Json]:
        return {"min_margin": self.min_margin}

    def judge(self, vector: NDArray[np.float32], y: int, reference: Reference) -> float:
        own = [w.own for w in self.wordings(reference)]
        words = list(dict.fromkeys(word for of_class in own for word in of_class))
        p = self.probabilities(vector, [self.prompt.replace("{class}", w) for w in words])
        best = np.array([max(p[words.index(w)] for w in of_class) for of_class in own])
        return float(best[y] - np.delete(best, y).max(initial=0.0))

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) < self.min_margin}


class ClipFeature(ClipFilter):
    """Rejects images that show a feature which they were made to be without.

    For each feature of the class CLIP chooses between the class with it and the class alone; the
    largest probability of "with it" is measured.

    Args:
        max_probability: largest accepted, in [0, 1].
        present, absent: the texts, with ``{class}`` and ``{feature}``.
        **settings: see :class:`ClipFilter`.
    """

    name: ClassVar[str] = "clip_feature"

    def __init__(
        self,
        max_probability: Fraction = 0.8,
        present: str = "a photo of a {class}, {feature}",
        absent: str = "a photo of a {class}",
        **settings: object,
    ) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.max_probability = max_probability
        self.present = present
        self.absent = absent

    def measured(self) -> Mapping[str, Json]:
        return {**self.clip.identity(), "present": self.present, "absent": self.absent}

    def thresholds(self) -> Mapping[str, Json]:
        return {"max_probability": self.max_probability}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        measured = super().measure(images, reference)
        return [0.0 if i.usual else value for i, value in zip(images, measured, strict=True)]

    def judge(self, vector: NDArray[np.float32], y: int, reference: Reference) -> float:
        noun = self.wordings(reference)[y].noun
        seen = [0.0]
        for feature in reference.avoided.get(y, ()):
            texts = [
                t.replace("{class}", noun).replace("{feature}", feature)
                for t in (self.present, self.absent)
            ]
            seen.append(float(self.probabilities(vector, texts)[0]))
        return max(seen)

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) > self.max_probability}


class AliaSemantic(ClipFilter):
    """Rejects images that look like nothing in particular (ALIA, Dunlap et al. 2023).

    Kept iff the likeliest of all prompts is a positive one; measured is the probability of the
    likeliest positive prompt minus that of the likeliest negative one.

    Args:
        positive: what the images should be, e.g. "a photo of a bird"; with ``{class}`` if wished.
        negative: what failed edits look like. ALIA's own list is longer and differs by dataset.
        **settings: see :class:`ClipFilter`; ALIA's model is ViT-L/14.
    """

    name: ClassVar[str] = "alia_semantic"

    def __init__(
        self,
        positive: Sequence[str] = ("a photo of a {class}",),
        negative: Sequence[str] = (
            "a photo",
            "a photo of an object",
            "a photo of a scene",
            "a photo of geometric shapes",
            "a blurry photo",
            "a black image",
            "noise",
        ),
        **settings: object,
    ) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        if not positive or not negative:
            raise ConfigError(
                "filter.alia_semantic: expected at least one positive and one negative prompt."
            )
        self.positive = tuple(positive)
        self.negative = tuple(negative)

    def measured(self) -> Mapping[str, Json]:
        prompts = {"positive": self.positive, "negative": self.negative}
        return {**self.clip.identity(), **prompts}

    def thresholds(self) -> Mapping[str, Json]:
        return {}

    def measure(self, images: Sequence[GeneratedImage], reference: Reference) -> list[float | str]:
        measured = super().measure(images, reference)
        return [0.0 if i.usual else value for i, value in zip(images, measured, strict=True)]

    def judge(self, vector: NDArray[np.float32], y: int, reference: Reference) -> float:
        noun = self.wordings(reference)[y].noun
        texts = [t.replace("{class}", noun) for t in (*self.positive, *self.negative)]
        p = self.probabilities(vector, texts)
        return float(p[: len(self.positive)].max() - p[len(self.positive) :].max())

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        return {i for i, v in values.items() if float(v) < 0}
