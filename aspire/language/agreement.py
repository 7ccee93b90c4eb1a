"""How far extracted phrases agree with phrases labelled by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aspire.errors import DataError
from aspire.language.base import Phrases, Unreadable
from aspire.language.phrases import head, singular

_EDGE = ".,;:!?\"'()[]"
_GENITIVE = ("'s", "\u2019s")


@dataclass(frozen=True, slots=True)
class Span:
    """The words ``start`` to ``end`` (not included) of a caption split at white space."""

    start: int
    end: int

    def meets(self, other: Span) -> bool:
        """Whether the spans share a word."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Label:
    """What a reader marked in one caption: at most one background, any number of others."""

    row: int
    background: Span | None
    foreground: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts over captions, and what follows from them; fractions in [0, 1].

    Where nothing was found, precision is 1; where nothing was labelled, recall is.
    """

    right: int
    found: int
    labelled: int

    @property
    def precision(self) -> float:
        """Share of the found phrases that are right."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the labelled phrases that were found."""
        return self.right / self.labelled if self.labelled else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 1 where nothing was labelled and nothing found."""
        total = self.found + self.labelled
        return 2 * self.right / total if total else 1.0


def read_labels(path: str | Path) -> list[Label]:
    """Labels from a table ``row,background,foreground`` with spans like ``5-7``.

    Raises:
        DataError: naming the line that does not fit.
    """
    labels = []
    with Path(path).open(newline="", encoding="utf-8") as file:
        for number, line in enumerate(csv.DictReader(file), start=2):
            try:
                scenes = _spans(line["background"])
                objects = _spans(line["foreground"])
                row = int(line["row"])
                if len(scenes) > 1:
                    raise ValueError("at most one background")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path}, line {number}: {line} is no label ({error}). Expected is "
                    "row,background,foreground, as in 17,11-12,3-5 8-9"
                ) from None
            labels.append(Label(row, scenes[0] if scenes else None, objects))
    return labels


def background_agreement(
    captions: Sequence[str],
    found: Sequence[Phrases | Unreadable],
    labels: Sequence[Label],
    heads: bool = True,
) -> Agreement:
    """Agreement on the backgrounds; see :func:`agreement`."""
    phrases = [(p.background,) if isinstance(p, Phrases) and p.background else () for p in found]
    spans = [(label.background,) if label.background else () for label in labels]
    return agreement(captions, phrases, spans, heads)


def foreground_agreement(
    captions: Sequence[str],
    found: Sequence[Phrases | Unreadable],
    labels: Sequence[Label],
    heads: bool = True,
) -> Agreement:
    """Agreement on the foreground phrases; see :func:`agreement`."""
    phrases = [p.foreground if isinstance(p, Phrases) else () for p in found]
    return agreement(captions, phrases, [label.foreground for label in labels], heads)


def agreement(
    captions: Sequence[str],
    phrases: Sequence[Sequence[str]],
    spans: Sequence[Sequence[Span]],
    heads: bool = True,
) -> Agreement:
    """Count phrases of all captions that meet a labelled span.

    A phrase is right if some place where it is in the caption shares a word with a labelled
    span and, with ``heads``, both have the same head noun (their last word, in the singular). A
    span is met once: a second phrase for it is wrong.

    Args:
        captions: the captions, as they were given to the extractor.
        phrases: for each caption the phrases found.
        spans: for each caption the spans labelled.
        heads: False lets any overlap count.
    """
    right = 0
    for caption, given, wanted in zip(captions, phrases, spans, strict=True):
        words = [_plain(word) for word in caption.lower().split()]
        open_spans = list(wanted)
        for phrase in given:
            hit = next((s for s in open_spans if _hits(phrase, s, words, heads)), None)
            if hit is not None:
                open_spans.remove(hit)
                right += 1
    return Agreement(right, sum(map(len, phrases)), sum(map(len, spans)))


def _hits(phrase: str, span: Span, words: Sequence[str], heads: bool) -> bool:
    if heads and singular(_plain(head(phrase))) != singular(words[span.end - 1]):
        return False
    return any(place.meets(span) for place in _places(phrase, words))


def _places(phrase: str, words: Sequence[str]) -> Iterator[Span]:
    """Where a phrase is in a caption."""
    part = [_plain(word) for word in phrase.lower().split()]
    for start in range(len(words) - len(part) + 1):
        if part == words[start : start + len(part)]:
            yield Span(start, start + len(part))


def _plain(word: str) -> str:
    """Without punctuation at the ends and the genitive: "(man's," is "man"."""
    word = word.strip(_EDGE)
    return word[: -len(_GENITIVE[0])] if word.endswith(_GENITIVE) else word


def _spans(text: str) -> tuple[Span, ...]:
    return tuple(_span(*part.split("-")) for part in text.split())


def _span(start: str, end: str) -> Span:
    if not 0 <= int(start) < int(end):
        raise ValueError(f"{start}-{end} is not a span")
    return Span(int(start), int(end))


def distinct(captions: Iterable[str]) -> list[int]:
    """Positions of the captions that no earlier one repeats."""
    first: dict[str, int] = {}
    for position, caption in enumerate(captions):
        first.setdefault(" ".join(caption.lower().split()), position)
    return list(first.values())
