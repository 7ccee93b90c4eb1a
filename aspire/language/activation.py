"""Where in an image its class object is, read from what the eye sees: class activation maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from aspire.eye import Floats
from aspire.language.imagenet import thousand

FINE = slice(1, None)  # the sizes at which things stand out from their surroundings
RATHER = 0.35  # heat from which a place is rather one of the classes than not


def strength(logits: Floats, classes: Iterable[int]) -> Floats:
    """(..., 1000) logits -> (...) log of the summed exponentials of some classes."""
    return log_sum(logits[..., sorted(classes)])


def log_sum(values: Floats) -> Floats:
    """Over the last axis, without overflow."""
    highest = values.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - highest).sum(axis=-1)) + highest[..., 0])


def heat(answers: Sequence[Floats], classes: Iterable[int], shape: tuple[int, int]) -> Floats:
    """(H, W) in [0, 1] how much each place looks like some classes, at the fine sizes on average.

    Args:
        answers: see :meth:`aspire.eye.Eye.answers`.
        shape: (H, W) wanted.
    """
    chosen = sorted(classes)
    maps = [_scaled(strength(logits, chosen)) for logits in answers[FINE]]
    return np.asarray(np.mean([resized(m, shape) for m in maps], axis=0).clip(0, 1))


def sureness(answers: Sequence[Floats], classes: Iterable[int]) -> float:
    """The probability of some classes in the cell that is surest, at the fine sizes on average."""
    chosen = sorted(classes)
    best = [np.exp(strength(a, chosen) - log_sum(a)).max() for a in answers[FINE]]
    return float(np.clip(np.mean(best), 0, 1))


def resized(grid: Floats, shape: tuple[int, int]) -> Floats:
    """A map of another size, its mean kept when it shrinks."""
    import cv2

    height, width = shape
    how = cv2.INTER_AREA if height < grid.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grid, (width, height), interpolation=how), dtype=np.float32)


def object_classes(answers: Sequence[Floats], class_words: Sequence[str]) -> frozenset[int]:
    """ImageNet's classes that the class object of an image looks like.

    Those that its words name and their relatives. Where ImageNet has none ("giraffe"), what the
    image is most surely of: any animal, where that is an animal, since it will be a mixture of
    several; else all that is called the same.
    """
    table = thousand()
    related = table.relatives(class_words)
    if related:
        return related
    logits = np.mean([a.mean(axis=(0, 1)) for a in answers], axis=0)
    places = {i for numbers in table.places.values() for i in numbers}
    best = max(set(range(len(table.words))) - places, key=lambda i: float(logits[i]))
    return table.animals if best in table.animals else table.called(table.words[best])


def _scaled(grid: Floats) -> Floats:
    low, high = float(grid.min()), float(grid.max())
    return (grid - low) / max(high - low, 1e-6)
