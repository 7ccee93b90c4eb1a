"""What the language backends promise: captions for images, phrases for captions.

Backends have cheap constructors: models are imported and loaded on first use, so that a
configuration can be checked, and a stage found up to date, without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aspire.data.loaded import LoadedImage
from aspire.pipeline.stage import Json


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of one caption, each a contiguous span of the lower-cased caption.

    ``foreground`` never holds the class object nor the background; ``background`` is the one
    scene the caption names, or None.
    """

    foreground: tuple[str, ...] = ()
    background: str | None = None


class Captioner(Protocol):
    """Says in words what an image shows."""

    def identity(self) -> Mapping[str, Json]:
        """Everything the captions depend on (model, revision, prompt), without loading it."""
        ...

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        """One caption per image, in order; None where the image has none."""
        ...


class Extractor(Protocol):
    """Finds the foreground and background phrases of captions."""

    def identity(self) -> Mapping[str, Json]:
        """Everything the phrases depend on (model, version, rules), without loading it."""
        ...

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> list[Phrases]:
        """One result per caption, in order.

        Args:
            captions: the captions.
            class_words: for each caption the lower-case words for its class object.
        """
        ...
