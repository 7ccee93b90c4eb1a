"""What the language backends promise: captions for images, phrases for captions.

Backends have cheap constructors: models are imported and loaded on first use, so that a
configuration can be checked, and a stage found up to date, without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from aspire.data.loaded import LoadedImage
from aspire.identity import Json
from aspire.records import ConceptSpace, Extraction


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of one caption, each a contiguous span of the lower-cased caption.

    ``foreground`` never holds the class object nor the background; ``background`` is the one
    scene the caption names, or None. ``alternative`` is another scene, in words of the
    extractor's own, where it proposes one; without it one of the corpus is chosen.
    """

    foreground: tuple[str, ...] = ()
    background: str | None = None
    alternative: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """No phrases for one caption, and why.

    Args:
        raw: what was answered instead, word for word; empty where nothing was.
        reason: short and countable: "unreadable", "no_answer", "not_in_file".
    """

    raw: str
    reason: str = "unreadable"


class Captioner(Protocol):
    """Says in words what an image shows."""

    def identity(self) -> Mapping[str, Json]:
        """Everything the captions depend on (model, revision, prompt), without loading it."""
        ...

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        """One caption per image, in order; None where the image has none.

        Args:
            images: each with its ``pixels``, (H, W, 3) uint8 RGB, and in ``ref`` what is known of
                it: ``img_id``, ``file``, ``y`` (class index), ``caption``, ...
        """
        ...


@runtime_checkable
class ClassAware(Protocol):
    """A captioner that looks past the class object, and so has to know it."""

    def caption_classes(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[str | None]:
        """The same as ``caption``, told for each image the words that name its class object."""
        ...


class Extractor(Protocol):
    """Finds the foreground and background phrases of captions."""

    def identity(self) -> Mapping[str, Json]:
        """Everything the phrases depend on (model, version, rules), without loading it."""
        ...

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> Iterable[Phrases | Unreadable]:
        """One result per caption, in order; may be lazy, so that each is kept as it arrives.

        Args:
            captions: the captions.
            class_words: for each caption the lower-case words for its class object.

        Raises:
            ServiceError: when nobody answers any more; what came before it stands.
        """
        ...


@runtime_checkable
class Looking(Protocol):
    """An extractor that looks at the images themselves, at many before it speaks of one."""

    def identity(self) -> Mapping[str, Json]: ...

    images_per_class: int

    def learn(
        self,
        images: Sequence[LoadedImage],
        class_words: Sequence[Sequence[str]],
    ) -> ConceptSpace:
        """What concepts there are, from at most ``images_per_class`` images of each class."""
        ...

    def look(self, images: Sequence[LoadedImage], space: ConceptSpace) -> list[Extraction]:
        """Which of them each image shows, and where."""
        ...


@runtime_checkable
class Priced(Protocol):
    """An extractor whose answers cost money."""

    def quote(self, captions: Sequence[str], class_words: Sequence[Sequence[str]]) -> None:
        """Look at all that may be asked, each once, before the first question.

        Raises:
            DryRun: when only the price was wanted.
            ConfigError: when it is above what may be spent.
        """
        ...
