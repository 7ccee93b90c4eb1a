"""The stages of discovery on hand-made items: scores, ranks, collapsed phrases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aspire.data.images import png_bytes
from aspire.discovery.base import Candidate, Evidence
from aspire.discovery.collapse import Collapser
from aspire.discovery.effect import Effect as EffectScore
from aspire.discovery.wilson import Wilson
from aspire.pipeline.stages.discover import (
    CollapseStage,
    EditedImage,
    RankStage,
    ScoreStage,
    Vocabulary,
)
from aspire.records import (
    Edit,
    Effect,
    ImageRef,
    Rejected,
)


def no_files(pixels: Any) -> str:
    raise AssertionError("this stage writes no images")


class FirstPixel:
    """Probability of class 1 is the first pixel's red value over 255."""

    digest = "first-pixel"

    def __init__(self) -> None:
        self.shown: list[int] = []

    def __call__(self, images: Sequence[Any]) -> Any:
        self.shown += [int(i[0, 0, 0]) for i in images]
        p = np.array([i[0, 0, 0] / 255 for i in images], np.float32)
        return np.stack([1 - p, p], axis=1).reshape(-1, 2)


def stored(folder: Path, name: str, red: int) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(png_bytes(np.full((2, 2, 3), red, np.uint8)))
    return name


def an_edit(img_id: str, phrase: str, y: int, file: str) -> Edit:
    return Edit(
        edit_id=f"{img_id}/remove_object/{phrase}", img_id=img_id, y=y, kind="remove_object",
        phrase=phrase, replacement=None, donor=None, file=file, mask="m", edited_share=0.1,
    )  # fmt: skip


def test_score_looks_at_correctly_classified_images_only(tmp_path: Path) -> None:
    images, edits = tmp_path / "images", tmp_path / "edits"
    right = ImageRef(img_id="r", file=stored(images, "r.png", 204), y=1)  # p(1) = 0.8
    wrong = ImageRef(img_id="w", file=stored(images, "w.png", 102), y=1)  # p(1) = 0.4
    items = [
        EditedImage(
            right,
            (
                an_edit("r", "boat", 1, stored(edits, "0.png", 51)),  # p(1) = 0.2: flipped
                an_edit("r", "tree", 1, stored(edits, "1.png", 153)),  # p(1) = 0.6
                an_edit("r", "sun", 1, stored(edits, "2.png", 255)),  # p(1) = 1.0
            ),
        ),
        EditedImage(wrong, (an_edit("w", "boat", 1, stored(edits, "3.png", 7)),)),
    ]
    classifier = FirstPixel()
    first, second = ScoreStage(classifier, images, edits).run(items, no_files)
    assert [e.phrase for e in first.records] == ["boat", "tree", "sun"]
    assert [e.p_before for e in first.records] == pytest.approx([0.8] * 3)
    assert [e.p_after for e in first.records] == pytest.approx([0.2, 0.6, 1.0])
    assert [e.flipped for e in first.records] == [True, False, False]
    assert [e.drop for e in first.records] == pytest.approx([0.6, 0.2, -0.2])
    assert second.records == ()
    assert second.rejected == (
        Rejected(item_id="w", reason="misclassified", detail="predicted class 0, labelled 1"),
    )
    assert 7 not in classifier.shown


def test_score_with_nothing_right(tmp_path: Path) -> None:
    ref = ImageRef(img_id="w", file=stored(tmp_path, "w.png", 0), y=1)
    (result,) = ScoreStage(FirstPixel(), tmp_path, tmp_path).run(
        [EditedImage(ref, (an_edit("w", "boat", 1, "none.png"),))], no_files
    )
    assert result.rejected[0].reason == "misclassified"


def test_score_is_identified_by_the_weights() -> None:
    assert ScoreStage(FirstPixel(), Path("a"), Path("b")).identity() == {
        "classifier": "first-pixel"
    }


def an_effect(number: int, flipped: bool) -> Effect:
    return Effect(
        edit_id=str(number), img_id=str(number), y=1, kind="remove_object", phrase="boat",
        replacement=None, p_before=0.9, p_after=0.5, predicted_after=0 if flipped else 1,
    )  # fmt: skip


def judged(score: Any, *effects: Effect) -> tuple[Any, Any]:
    """Features and rejections of three classes."""
    by_class: dict[int, list[Effect]] = {}
    for effect in effects:
        by_class.setdefault(effect.y, []).append(effect)
    candidates = [
        Candidate(y, "remove_object", "boat", tuple(group), {"boat": len(group)})
        for y, group in by_class.items()
    ]
    (result,) = RankStage(score, 3).run([Evidence(tuple(candidates))], no_files)
    return result.records, {int(r.item_id): (r.reason, r.detail) for r in result.rejected}


def test_rank_says_why_a_class_has_no_spurious_feature() -> None:
    enough = [an_effect(i, i < 4) for i in range(8)]
    few = [msgspec.structs.replace(an_effect(i, True), y=2, predicted_after=0) for i in range(3)]
    features, rejected = judged(Wilson(min_support=5, min_flip_rate=0.5), *enough, *few)
    assert [(f.y, f.spurious) for f in features] == [(1, True), (2, False)]
    assert rejected == {
        0: ("no_spurious_feature", "no edit of a correctly classified image"),
        2: ("no_spurious_feature", "the strongest is 'boat' with 3 flips in 3"),
    }


def test_rank_says_that_controls_are_missing() -> None:
    features, rejected = judged(EffectScore(), *(an_effect(i, True) for i in range(8)))
    assert features == ()
    assert rejected[1][1].startswith("8 edits and no control edit to compare them with")
    assert "stage.edit.controls=true" in rejected[1][1]
    assert "score=wilson" in rejected[1][1]


def test_rank_is_identified_by_the_score() -> None:
    assert RankStage(Wilson(), 2).identity() == Wilson().identity()
    assert RankStage(Wilson(3), 2).identity() != RankStage(Wilson(), 2).identity()


def test_score_asks_about_the_control_too(tmp_path: Path) -> None:
    ref = ImageRef(img_id="r", file=stored(tmp_path, "r.png", 204), y=1)  # p(1) = 0.8
    edit = an_edit("r", "boat", 1, stored(tmp_path, "e.png", 51))  # 0.2
    control = stored(tmp_path, "c.png", 153)  # 0.6
    bare = an_edit("r", "tree", 1, "e.png")
    edits = (msgspec.structs.replace(edit, control=control), bare)
    classifier = FirstPixel()
    (result,) = ScoreStage(classifier, tmp_path, tmp_path).run([EditedImage(ref, edits)], no_files)
    with_control, without = result.records
    assert with_control.p_control == pytest.approx(0.6)
    assert with_control.predicted_control == 1
    assert with_control.net_drop == pytest.approx(0.4)
    assert (without.p_control, without.predicted_control, without.net_drop) == (None, None, None)
    assert classifier.shown == [204, 51, 153]  # equal files are asked about once


def test_collapse_gives_every_phrase_one_group() -> None:
    words = Vocabulary({"dog": 1, "dogs": 3, "lake": 2})
    (result,) = CollapseStage(Collapser()).run([words], no_files)
    assert [(g.phrase, g.members) for g in result.records] == [
        ("dogs", ("dog", "dogs")), ("lake", ("lake",)),
    ]  # fmt: skip
