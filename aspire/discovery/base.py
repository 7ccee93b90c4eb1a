"""What a score is given, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aspire.identity import Json
from aspire.records import EditKind, Effect, ImageRef


@dataclass(frozen=True)
class Candidate:
    """One collapsed phrase of one class, with all that its edits did.

    Args:
        y, kind, phrase: what is judged; the phrase is the most common of its members.
        effects: of the edits of any member, on correctly classified images of the class. Empty
            where only misclassified images show it, or where no edit succeeded.
        occurrences: member -> correctly classified images of the class whose caption names it,
            edited or not.
    """

    y: int
    kind: EditKind
    phrase: str
    effects: tuple[Effect, ...]
    occurrences: Mapping[str, int]

    @property
    def flips(self) -> int:
        """Edits that changed the classifier's mind."""
        return sum(e.flipped for e in self.effects)

    @property
    def donors(self) -> int | None:
        """Photographs that the edits' new scenes are from; None where they are from none."""
        return len({e.photograph for e in self.effects} - {None}) or None

    @property
    def mean_drop(self) -> float:
        """Mean fall of the true class's probability; 0 without an edit."""
        return sum(e.drop for e in self.effects) / max(1, len(self.effects))


@dataclass(frozen=True)
class Evidence:
    """Everything known about one classifier on one dataset.

    Args:
        candidates: of all classes.
        right, wrong: the images that the classifier was asked about, by its answer.
        root: folder that the images' files are relative to.
    """

    candidates: tuple[Candidate, ...]
    right: tuple[ImageRef, ...] = ()
    wrong: tuple[ImageRef, ...] = ()
    root: Path = Path()


@dataclass(frozen=True)
class Verdict:
    """What a score says of one candidate.

    Args:
        score: larger is stronger; comparable within a class.
        spurious: whether it passed the score's thresholds.
        p_value, q_value: where the score tests anything; q is corrected over all candidates.
    """

    score: float
    spurious: bool
    p_value: float | None = None
    q_value: float | None = None


class Score(Protocol):
    """Tells how strongly a classifier leans on each candidate. Construction is cheap."""

    def identity(self) -> Mapping[str, Json]:
        """Everything the verdicts depend on besides the evidence."""
        ...

    def judge(self, evidence: Evidence) -> Sequence[Verdict | None]:
        """One verdict a candidate, in order; None for what this score cannot speak about.

        All classes come together, since a correction for many tests must know them all.
        """
        ...
