from __future__ import annotations

from pathlib import Path

import pytest

from aspire.errors import DataError
from aspire.language.agreement import (
    Agreement,
    Label,
    Span,
    agreement,
    background_agreement,
    distinct,
    foreground_agreement,
    read_labels,
)
from aspire.language.base import Phrases, Unreadable

CAPTION = "a dog on a man's shoulder near the Dry stone wall, by a wall"
#          0 1   2  3 4     5        6    7   8   9     10    11 12 13
WALL, MAN = Span(8, 11), Span(4, 5)


@pytest.mark.parametrize(
    ("phrase", "span", "by_head", "by_overlap"),
    [
        ("dry stone wall", WALL, 1, 1),
        ("wall", WALL, 1, 1),
        ("stone wall", WALL, 1, 1),
        ("dry stone", WALL, 0, 1),  # the head is the wall
        ("man", MAN, 1, 1),
        ("man's shoulder", MAN, 0, 1),
        ("shoulder", MAN, 0, 0),
        ("wall", Span(13, 14), 1, 1),  # appears twice in the caption
        ("stone wall", Span(13, 14), 0, 0),  # same head, elsewhere
        ("fence", WALL, 0, 0),  # not in the caption
        ("walls", Span(13, 14), 0, 0),
    ],
)
def test_a_phrase_meets_a_span(phrase: str, span: Span, by_head: int, by_overlap: int) -> None:
    assert agreement([CAPTION], [[phrase]], [[span]]) == Agreement(by_head, 1, 1)
    assert agreement([CAPTION], [[phrase]], [[span]], heads=False) == Agreement(by_overlap, 1, 1)


def test_a_span_is_met_once() -> None:
    found = [["wall", "dry stone wall", "man"]]
    assert agreement([CAPTION], found, [[WALL, MAN]]) == Agreement(2, 3, 2)


def test_fractions() -> None:
    counts = Agreement(right=3, found=4, labelled=6)
    assert (counts.precision, counts.recall) == (0.75, 0.5)
    assert counts.f1 == pytest.approx(0.6)  # 2 * 0.75 * 0.5 / 1.25
    assert Agreement(0, 0, 0).f1 == Agreement(0, 0, 3).precision == Agreement(0, 3, 0).recall == 1
    assert Agreement(0, 0, 3).f1 == Agreement(0, 3, 0).f1 == 0


def test_backgrounds_and_foregrounds_over_captions() -> None:
    captions = ["a dog on a beach with a ball", "a dog on a mat", "a dog", "a dog in the snow"]
    labels = [
        Label(0, Span(4, 5), (Span(7, 8),)),
        Label(1, None, (Span(4, 5),)),
        Label(2, None, ()),
        Label(3, Span(4, 5), ()),
    ]
    found = [
        Phrases(("ball",), "beach"),
        Phrases((), "mat"),
        Phrases(),
        Unreadable("I see a dog."),  # found nothing
    ]
    assert background_agreement(captions, found, labels) == Agreement(1, 2, 2)
    assert foreground_agreement(captions, found, labels) == Agreement(1, 1, 2)


def test_labels_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("row,background,foreground\n17,11-12,3-5 8-9\n4,,\n")
    assert read_labels(path) == [
        Label(17, Span(11, 12), (Span(3, 5), Span(8, 9))),
        Label(4, None, ()),
    ]


@pytest.mark.parametrize("line", ["x,,", "1,3-3,", "1,3,", "1,1-2 4-5,", "1", "1,,2-1"])
def test_a_line_that_is_no_label(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"row,background,foreground\n4,,\n{line}\n")
    with pytest.raises(DataError, match=r"line 3: .* is no label .* 17,11-12,3-5 8-9"):
        read_labels(path)


def test_distinct_captions() -> None:
    assert distinct(["a dog", "A  dog ", "a cat", "a dog"]) == [0, 2]
