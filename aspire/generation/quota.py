"""How many images are made of each class: so many a real one, or until the groups are even."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from aspire.records import Concept


@runtime_checkable
class Limited(Protocol):
    """A sampler that cannot make any number of images."""

    def available(self, concept: Concept) -> int:
        """How many it can make of a concept."""
        ...


def images_wanted(
    settings: Mapping[str, Any],
    concepts: Sequence[Concept],
    phrases: Mapping[int, Sequence[frozenset[str]]],
    counts: Sequence[int],
    sampler: object,
) -> dict[int, int]:
    """Class -> number of images to ask for, at most ``max_per_class``.

    ``amount=per_real``: ``per_real`` for each training image of the class. ``amount=even``: as many
    in all, but equally many of each class, so that a small one gets more. ``amount=balance``: as
    many as its captions name a found feature more often than not, so that afterwards as many images
    show none as show one. Images without a caption count on neither side.

    Args:
        settings: ``stage.generate``.
        concepts: what images are made of.
        phrases: class -> the phrases of each captioned training image.
        counts: training images of each class.
        sampler: one that is :class:`Limited` is asked for no more than it has.
    """

    def per_real(concept: Concept) -> int:
        per_image: float = settings["per_real"]
        return round(per_image * counts[concept.y])

    def balance(concept: Concept) -> int:
        avoided = frozenset(concept.avoided)
        shown = [bool(found & avoided) for found in phrases.get(concept.y, ())]
        return max(0, 2 * sum(shown) - len(shown))

    def even(concept: Concept) -> int:
        per_image: float = settings["per_real"]
        return round(per_image * sum(counts) / len(counts))

    amounts = {"per_real": per_real, "even": even, "balance": balance}
    amount = amounts[settings.get("amount", "per_real")]
    number = {c.y: min(settings["max_per_class"], amount(c)) for c in concepts}
    if isinstance(sampler, Limited):
        number = {c.y: min(number[c.y], sampler.available(c)) for c in concepts}
    return number
