"""How a classifier did on unedited images, as plain values for a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LISTED = 12  # classes in the table, the worst ones where there are more
TAKEN = 3  # wrong answers named for each


@dataclass(frozen=True)
class ExaminedClass:
    """Images of one class, how many were classified right, and what others were taken for."""

    name: str
    images: int
    right: int
    taken: str

    @property
    def acc(self) -> float:
        """Share that is right, in [0, 1]."""
        return self.right / self.images


@dataclass(frozen=True)
class Examined:
    """The examination of one classifier.

    Args:
        images, of: images asked, of so many there are.
        right, guessed: images that are right; that many would be by guesses as frequent.
        doubt: why nothing may be concluded from this classifier, or "".
        classes: at most ``LISTED``.
        more: classes that are not listed.
    """

    images: int
    of: int
    right: int
    guessed: float
    doubt: str
    classes: tuple[ExaminedClass, ...]
    more: int

    @property
    def text(self) -> str:
        """In one sentence without its full stop."""
        sample = f", a sample of {self.of}" if self.images < self.of else ""
        share = 100 * self.right / max(1, self.images)
        return (
            f"right on {self.right} of {self.images} unedited images ({share:.1f} %{sample}); "
            f"guesses that name each class as often would be right on about {self.guessed:.0f}"
        )


def examined(kept: Mapping[str, Any] | None, class_names: Sequence[str]) -> Examined | None:
    """What ``result.json`` keeps of an examination; None in results of old.

    Args:
        kept: of :meth:`aspire.classification.examination.Examination.to_dict`.
        class_names: in index order.
    """
    if kept is None:
        return None
    answers: dict[int, dict[int, int]] = defaultdict(dict)
    for y, answer, images in kept["confusion"]:
        if y < len(class_names) and answer < len(class_names):
            answers[y][answer] = images
    classes = [
        ExaminedClass(
            class_names[y], sum(given.values()), given.get(y, 0), _taken(y, given, class_names)
        )
        for y, given in sorted(answers.items())
        if sum(given.values())
    ]
    if len(classes) > LISTED:
        classes.sort(key=lambda c: c.acc)
    return Examined(
        images=kept["images"],
        of=kept["of"],
        right=kept["right"],
        guessed=kept["by_guessing"],
        doubt=_doubt(kept, class_names),
        classes=tuple(classes[:LISTED]),
        more=max(0, len(classes) - LISTED),
    )


def _taken(y: int, given: Mapping[int, int], names: Sequence[str]) -> str:
    wrong = sorted((-n, answer) for answer, n in given.items() if answer != y and n)
    said = [f"{names[answer]} {-n}" for n, answer in wrong[:TAKEN]]
    return ", ".join(said + ([f"{len(wrong) - TAKEN} more"] if len(wrong) > TAKEN else []))


def _doubt(kept: Mapping[str, Any], names: Sequence[str]) -> str:
    """As :meth:`aspire.classification.examination.Examination.problem` judged."""
    if kept["order"]:
        pairs = [
            f"“{names[y]}” is answered as “{names[answer]}”"
            for y, answer in enumerate(kept["order"][: len(names)])
            if y != answer and answer < len(names)
        ]
        found = "would be right far more often if its outputs stood for other classes"
        found += f" ({', '.join(pairs[:LISTED])})" if pairs else ""
    elif kept["by_chance"]:
        found = "is right no more often than guesses would be"
    else:
        return ""
    return f"Before any edit this classifier {found}, so nothing here may be concluded from."
