"""Blank: what says in words what an image shows, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aspire.data.loaded import LoadedImage
from aspire.identity import Json

COLOURS = ("red", "green", "blue")


class Blank:
    """Names the strongest colour.

    Args:
        sentence: ``{}`` in it stands for the colour.
    """

    def __init__(self, sentence: str = "something {}") -> None:
        self.sentence = sentence

    def identity(self) -> Mapping[str, Json]:
        return {"captioner": "blank", "version": 1, "sentence": self.sentence}

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        strongest = [int(image.pixels.mean(axis=(0, 1)).argmax()) for image in images]
        return [self.sentence.replace("{}", COLOURS[s]) for s in strongest]
