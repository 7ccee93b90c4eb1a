"""How a classifier does on images whose classes are known, before anything is concluded from it.

Discovery asks what changes the answers of images that are classified right. Where they are right by
luck, or where the outputs are taken in the wrong order, an answer that changes proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ONE_SIDED = 1.645  # standard deviations; 5 % of guesses are right more often
LISTED = 8  # classes named in a line


@runtime_checkable
class Reorderable(Protocol):
    """A classifier whose outputs can be given to other classes."""

    def reorder(self, order: Sequence[int]) -> str:
        """What to type so that class y gets what class ``order[y]`` has now."""
        ...


@dataclass(frozen=True)
class Examination:
    """What a classifier answered.

    Args:
        class_names: in index order.
        confusion: (K, K) images by label (row) and answer (column).
        of: images there are; more than were asked where only a sample was.
        splits: names of the splits they are from.
    """

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    of: int
    splits: tuple[str, ...]

    @property
    def images(self) -> int:
        """Images that were asked."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """Images that are classified right."""
        return int(self.confusion.trace())

    @cached_property
    def guessed(self) -> tuple[float, float]:
        """Right answers by luck: mean and standard deviation.

        Those of the same answers dealt out to the images by chance, so that always naming the most
        frequent class is guessing too.
        """
        n = self.images
        label, answer = self.confusion.sum(1), self.confusion.sum(0)
        mean = float(label @ answer) / n
        # variance of a linear permutation statistic (Hoeffding 1951): doubly centred, squared
        centred = np.eye(len(label)) - answer[:, None] / n - label[None, :] / n + mean / n
        variance = (np.outer(label, answer) * centred**2).sum() / max(1, n - 1)
        return mean, float(np.sqrt(variance))

    @property
    def by_chance(self) -> bool:
        """Whether guesses are right as often (one-sided, 5 %)."""
        mean, deviation = self.guessed
        return self.right < self.images and self.right <= mean + ONE_SIDED * deviation

    @cached_property
    def order(self) -> tuple[int, ...] | None:
        """Answer that each class should have, where another order of the outputs fits far better.

        Far better: of the classes that change, more than half of the images would be right, and at
        least twice as many as now (each class counted alike).
        """
        shares = self.confusion / np.maximum(1, self.confusion.sum(1, keepdims=True))
        if (shares.max(1) <= shares.diagonal()).all():  # no other order could be better
            return None
        from scipy.optimize import linear_sum_assignment

        # a class without images, and equally good orders, stay as they are
        _, best = linear_sum_assignment(shares + 1e-6 * np.eye(len(shares)), maximize=True)
        moved = np.flatnonzero(best != np.arange(len(best)))
        if not len(moved):
            return None
        now, then = shares[moved, moved].mean(), shares[moved, best[moved]].mean()
        return tuple(map(int, best)) if then > 0.5 and then >= 2 * now else None

    def lines(self) -> list[str]:
        """One line about all images, and one about the classes."""
        sample = f"{self.images} of {self.of}" if self.images < self.of else f"{self.images}"
        wrong = [
            (int(self.confusion[y, a]), y, a)
            for y, a in np.argwhere(self.confusion)
            if y != a and self.confusion[y, a]
        ]
        names, counts = self.class_names, self.confusion.sum(1)
        # the worst first, where not all can be listed
        classes = sorted(
            (int(y) for y in np.flatnonzero(counts)),
            key=lambda y: self.confusion[y, y] / counts[y] if len(counts) > LISTED else y,
        )
        right = ", ".join(
            f"{names[y]} {self.confusion[y, y]}/{counts[y]}" for y in classes[:LISTED]
        )
        more = f" and {len(classes) - LISTED} more" if len(classes) > LISTED else ""
        taken = ", ".join(
            f"{names[y]} for {names[a]} {n}x"
            for n, y, a in sorted(wrong, key=lambda w: (-w[0], w[1:]))[:3]
        )
        return [
            f"classifier: right on {self.right} of {sample} {'/'.join(self.splits)} images "
            f"({100 * self.right / self.images:.1f} %; guesses as frequent: "
            f"{100 * self.guessed[0] / self.images:.1f} %)",
            f"right of each class: {right}{more}" + (f"; mistaken: {taken}" if taken else ""),
            *self._numbered(),
        ]

    def _numbered(self) -> list[str]:
        """The order of classes that are called by numbers: as text, 10 comes before 2."""
        if not all(name.isdecimal() for name in self.class_names):
            return []
        return [f"classes in this order: {', '.join(self.class_names)}"]

    def problem(self, classifier: object) -> str | None:
        """Why nothing should be concluded, and what may be wrong; None when all is well.

        Args:
            classifier: tells what to type where it is :class:`Reorderable`.
        """
        found = f"The classifier is right on {self.right} of {self.images} images"
        if self.order is not None:
            then = int(self.confusion[np.arange(len(self.order)), list(self.order)].sum())
            how = "if its outputs stood for other classes"
            if isinstance(classifier, Reorderable):
                how = f"with {classifier.reorder(self.order)}"
            pairs = ", ".join(
                f"'{self.class_names[y]}' is answered as '{self.class_names[a]}'"
                for y, a in list(enumerate(self.order))
                if y != a
            )
            return f"{found}. {then} of {self.images} would be right {how}: {pairs}."
        if self.by_chance:
            return (
                f"{found}; guesses that name each class as often are right on "
                f"{self.guessed[0]:.1f}, give or take {self.guessed[1]:.1f}. An image that is "
                "right by luck proves nothing when an edit changes the answer, so nothing is said "
                "of its shortcuts. Is it trained, is the order of its outputs that of the classes "
                f"({_some(self.class_names)}), and is the preprocessing that of its training?"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """For ``result.json``; ``confusion`` holds [label, answer, images] where there are any."""
        return {
            "images": self.images,
            "of": self.of,
            "right": self.right,
            "by_guessing": round(self.guessed[0], 2),
            "by_chance": self.by_chance,
            "order": None if self.order is None else list(self.order),
            "confusion": [
                [int(y), int(a), int(self.confusion[y, a])] for y, a in np.argwhere(self.confusion)
            ],
        }


def examined(
    class_names: Sequence[str],
    labels: Sequence[int],
    answers: Sequence[int],
    of: int,
    splits: Sequence[str],
) -> Examination:
    """The examination of so many images with these labels and answers."""
    confusion = np.zeros((len(class_names), len(class_names)), np.int64)
    np.add.at(confusion, (np.asarray(labels, int), np.asarray(answers, int)), 1)
    return Examination(tuple(class_names), confusion, of, tuple(splits))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
