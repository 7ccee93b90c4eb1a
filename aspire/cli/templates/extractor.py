"""Blank: what finds objects and scenes in captions, and where it is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aspire.identity import Json
from aspire.language.base import Phrases, Unreadable
from aspire.language.phrases import normalise


class Blank:
    """The scene is what follows the last of the words; objects are not looked for.

    Args:
        before: words that a scene follows.
    """

    def __init__(self, before: Sequence[str] = ("on", "in")) -> None:
        self.before = tuple(before)

    def identity(self) -> Mapping[str, Json]:
        return {"extractor": "blank", "version": 1, "before": list(self.before)}

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> Iterator[Phrases | Unreadable]:
        for caption in captions:
            words = caption.lower().split()
            places = [number for number, word in enumerate(words) if word in self.before]
            scene = normalise(" ".join(words[places[-1] + 1 :])) if places else ""
            yield Phrases(background=scene or None)
