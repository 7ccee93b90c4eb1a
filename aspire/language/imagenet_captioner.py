"""Captions without a language model: the words of ImageNet that stand out of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.eye import Eye, Floats, Sight, shared_eye
from aspire.identity import Json
from aspire.language.activation import FINE, heat, log_sum, object_classes
from aspire.language.imagenet import SIZE, thousand
from aspire.language.phrases import head
from aspire.language.scenes import has, lexicon
from aspire.values import Fraction, Natural

_VERSION = 1  # raise when equal settings give other captions
_COARSE = slice(None, 2)  # the sizes at which places are named best
_OBJECT = 0.25  # heat from which a cell belongs to the class object

# How a caption says that something is at a place.
_WHERE = {
    "sea": "by the sea", "beach": "on a beach", "rocky coast": "on a rocky coast",
    "lake": "by a lake", "river": "by a river", "harbour": "in a harbour",
    "field": "in a field", "meadow": "on a meadow", "lawn": "on a lawn", "park": "in a park",
    "garden": "in a garden", "fence": "in front of a fence",
    "stone wall": "in front of a stone wall", "mountains": "in front of mountains",
    "valley": "in a valley", "cliff": "in front of a cliff", "snow": "in the snow",
    "street": "on a street", "railway track": "on a railway track", "room": "in a room",
    "bathroom": "in a bathroom", "kitchen": "in a kitchen", "shop": "in a shop",
    "stadium": "in a stadium", "theater": "in a theater",
}  # fmt: skip


class ImagenetCaptioner:
    """What the small eye makes out besides the object: "a photo of a cat with a barn in a field".

    The class object is known by the dataset's words for it, and by what it looks like where
    ImageNet has no such word; it and its relatives are never named otherwise. The place is read
    from what is left, at the coarse sizes and from all of it at once; things are what single cells
    at the fine sizes are sure of.

    Args:
        place: least probability of a word for a place, among all that are no animals.
        thing: least probability, of a cell, of a thing.
        most_things: named per image, surest first.
        device: "auto", or a device of torch.
    """

    def __init__(
        self,
        place: Fraction = 0.01,
        thing: Fraction = 0.95,
        most_things: Natural = 2,
        device: str = "auto",
    ) -> None:
        self.place = place
        self.thing = thing
        self.most_things = most_things
        self.device = device

    def identity(self) -> Mapping[str, Json]:
        return {
            "captioner": "imagenet",
            "version": _VERSION,
            "words": thousand().digest,
            "place": self.place,
            "thing": self.thing,
            "most_things": self.most_things,
            **self._eye.identity(),
        }

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        """See :class:`aspire.language.base.Captioner`; the object is what stands out most."""
        return self.caption_classes(images, [()] * len(images))

    def caption_classes(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[str | None]:
        """See :class:`aspire.language.base.ClassAware`."""
        return [
            self._caption(self._eye.look([image.pixels])[0], words)
            for image, words in zip(images, class_words, strict=True)
        ]

    @property
    def _eye(self) -> Eye:
        return shared_eye(self.device)

    def _caption(self, sight: Sight, class_words: Sequence[str]) -> str:
        answers = self._eye.answers(sight)
        own = object_classes(answers, class_words)
        name = class_words[0].replace("_", " ") if class_words else thousand().words[min(own)]
        text = f"a photo of {_with_article(name)}"
        # What of each size is not the object; all of it where that leaves nothing.
        beside = []
        for logits in answers:
            outside = heat(answers, own, logits.shape[:2]) < _OBJECT
            beside.append(logits[outside] if outside.any() else logits.reshape(-1, SIZE))
        things = self._things(beside[FINE], own)
        if things:
            text += f" with {' and '.join(map(_with_article, things))}"
        place = self._place(beside[_COARSE], own)
        return text if place is None else f"{text} {_WHERE[place]}"

    def _place(self, beside: Sequence[Floats], own: frozenset[int]) -> str | None:
        """The place that is seen beside the object, if any is."""
        logits = np.mean([cells.mean(axis=0) for cells in beside], axis=0)
        named = sorted(set(range(SIZE)) - thousand().animals - own)
        probability = np.zeros(SIZE, np.float32)
        probability[named] = np.exp(logits[named] - log_sum(logits[named]))
        best = {p: max(float(probability[i]) for i in ids) for p, ids in thousand().places.items()}
        place = max(best, key=lambda p: best[p])
        return place if best[place] >= self.place else None

    def _things(self, beside: Sequence[Floats], own: frozenset[int]) -> list[str]:
        """What else is seen, surest first; no scenery, and no animals beside an animal."""
        words = nameable(bool(own & thousand().animals))
        shares = [np.exp(cells - log_sum(cells)[:, None]) for cells in beside]
        sure = {
            word: float(np.mean([share[:, ids].sum(axis=1).max() for share in shares]))
            for word, ids in words.items()
            if not own & set(ids)
        }
        found = sorted((w for w in sure if sure[w] >= self.thing), key=lambda w: -sure[w])
        return found[: self.most_things]


@cache
def nameable(beside_animal: bool) -> dict[str, list[int]]:
    """Words for things, with their classes: no scenery, and no animals beside an animal."""
    table = thousand()
    barred = table.named["geological formation"] | table.named["fence"]
    barred |= table.animals if beside_animal else frozenset()
    return {
        word: ids
        for word, ids in table.things().items()
        if not barred & set(ids) and not has(head(word), lexicon().scenes)
    }


def _with_article(name: str) -> str:
    """The name after "a" or "an"; plurals as they are."""
    if name.endswith("s") and not name.endswith(("ss", "us", "is")):
        return name
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
