"""What the generation backends promise. Construction is cheap; models load on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from aspire.classification.predictor import Probabilities
from aspire.data.image_table import ImageTable
from aspire.data.images import Pixels
from aspire.editing.base import Mask
from aspire.generation.class_nouns import Wording
from aspire.identity import Json
from aspire.records import Concept, Effect, ImageRef, Rejected, SpuriousFeature


@dataclass(frozen=True)
class Captioned:
    """A training image and what a captioner says of it.

    Args:
        file: absolute.
        y: its class.
        caption: as the captioner put it.
        scene: its background phrase; "" for none.
    """

    file: Path
    y: int
    caption: str
    scene: str = ""


@dataclass(frozen=True)
class ClassEvidence:
    """What is known about one class when it is personalised.

    Args:
        y, name: the class.
        features: its ranked features.
        effects: of the edits of its images.
        objects: training images of the class whose object is annotated or was found.
        scenes: background phrase -> training images (of any class) that show it.
        phrases: img_id -> every phrase of that image.
        edited: edit_id -> file of the edited image, for every effect.
        wording: how it is called in a sentence; None for its name.
        captioned: the training images of all classes that have a caption.
        controls: edit_id -> file of the control edit, where one could be made.
        foreign: of the edits that took a found object out of images of other classes.
        masks: edit_id -> file of where the edit may have changed pixels, for ``effects`` and
            ``foreign``.
    """

    y: int
    name: str
    features: tuple[SpuriousFeature, ...]
    effects: tuple[Effect, ...]
    objects: tuple[ImageRef, ...]
    scenes: Mapping[str, tuple[ImageRef, ...]]
    phrases: Mapping[str, frozenset[str]]
    edited: Mapping[str, Path] = field(default_factory=dict)
    wording: Wording | None = None
    captioned: tuple[Captioned, ...] = ()
    controls: Mapping[str, Path] = field(default_factory=dict)
    foreign: tuple[Effect, ...] = ()
    masks: Mapping[str, Path] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        """What the class is in a sentence."""
        return (self.wording or Wording.of_name(self.name)).noun


class Personaliser(Protocol):
    """Learns how a class looks in its domain, free of its spurious features."""

    def identity(self) -> Mapping[str, Json]: ...

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected: ...


@runtime_checkable
class ShowsUsual(Protocol):
    """A personaliser that says itself how a class without a found feature is made.

    For others it stands anywhere; see :func:`aspire.generation.contexts.in_usual_scenes`.
    """

    def usual(self, evidence: ClassEvidence) -> Concept | None:
        """None where it cannot be made."""
        ...


@runtime_checkable
class Loggable(Protocol):
    """A personaliser whose learning can be followed."""

    def log_to(self, loggers: Callable[[Path], Sequence[Any]]) -> None:
        """Tell loggers of losses and samples.

        Args:
            loggers: folder of a personalisation -> Lightning loggers; one that has
                ``log_image(key, images, step)`` is shown samples too.
        """
        ...


@dataclass(frozen=True)
class GenerationRequest:
    """One image to make; everything random about it comes from ``seed``."""

    img_id: str
    concept: Concept
    class_name: str
    seed: int
    wording: Wording | None = None  # how the class is called in a sentence; None for its name


@dataclass(frozen=True)
class Sampled:
    """One generated image.

    Args:
        pixels: (H, W, 3).
        prompt: what was asked for.
        parents: img_ids it was made from: the object's image first, the scene's last; "" where
            there is none.
        mask: (H, W), the class object, where the sampler knows it.
        negative_prompt: what was asked not to be there.
        scene: phrase of the scene that was asked for; "" for none.
    """

    pixels: Pixels
    prompt: str
    parents: tuple[str, ...]
    mask: Mask | None
    negative_prompt: str = ""
    scene: str = ""


class Sampler(Protocol):
    """Makes images of concepts.

    ``batch_size`` is how many it makes at once: so many are lost when the process is killed.
    """

    @property
    def batch_size(self) -> int: ...

    def identity(self) -> Mapping[str, Json]: ...

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        """One image a request, in order; it must not depend on the other requests."""
        ...


@dataclass(frozen=True)
class GeneratedImage:
    """A generated image as a filter sees it."""

    img_id: str
    y: int
    pixels: Pixels
    mask: Mask | None  # of the class object
    usual: bool = False  # made in a usual scene: may show what the class avoids


@dataclass(frozen=True)
class Reference:
    """What filters hold generated images against.

    Args:
        classifier: the one whose shortcuts are being removed.
        class_names: in index order.
        avoided: class -> phrases that its images may not show.
        train, test: the real images.
        wordings: how the classes are called in a sentence; empty for their names.
    """

    classifier: Probabilities
    class_names: tuple[str, ...] = ()
    avoided: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    train: ImageTable | None = None
    test: ImageTable | None = None
    wordings: tuple[Wording, ...] = ()


def speaks(backend: object) -> bool:
    """Whether a backend puts classes into words, so that their wording changes what it does."""
    return bool(getattr(backend, "speaks", False))


class Filter(Protocol):
    """Measures every image by itself, then decides on the whole set.

    The two are apart so that a threshold can be changed without measuring again.
    """

    name: str

    def measured(self) -> Mapping[str, Json]:
        """What the measurement depends on."""
        ...

    def thresholds(self) -> Mapping[str, Json]:
        """What the decision depends on besides."""
        ...

    def measure(
        self, images: Sequence[GeneratedImage], reference: Reference
    ) -> list[float | str]: ...

    def reject(self, values: Mapping[str, float | str]) -> set[str]:
        """The img_ids that may not be trained on. ``values`` is in img_id order."""
        ...


@dataclass(frozen=True)
class GeneratedSet:
    """The kept generated images: what training needs of them.

    Args:
        root: folder that the files are relative to.
        files, y: one a kept image.
        scene_parents: img_id of a real image with the scene of each, or "".
        digest: of every image and every decision.
        parents: img_id of the real image each object comes from, or ""; empty where none is known.
    """

    root: Path
    files: tuple[str, ...]
    y: tuple[int, ...]
    scene_parents: tuple[str, ...]
    digest: str
    parents: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)
