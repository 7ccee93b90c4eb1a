"""The page of aspire discover: what it says is what the records say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pages import Outputs, Page

from aspire import records as rec
from aspire.errors import DamagedError
from aspire.reporting.discovery_report import write_discovery_report
from aspire.reporting.examined import examined
from aspire.reporting.labels import evidence_of, judged, why

DROPS = (0.1, 0.2, 0.6, 0.9)
SCORE = {
    "_target_": "a.b.Effect",
    "min_support": 2,
    "min_donors": 3,
    "max_q": 0.05,
    "min_effect": 0.1,
}


# fmt: off
def edit(index: int, y: int, kind: rec.EditKind, phrase: str) -> rec.Edit:
    return rec.Edit(
        edit_id=f"i/{index}/{kind}/{phrase}", img_id=f"i/{index}", y=y, kind=kind, phrase=phrase,
        replacement="moon" if kind == "change_background" else None, donor=None,
        file=f"files/e{index}.png", mask="files/m.png", edited_share=0.25, control="files/c.png",
    )


def effect(e: rec.Edit, p_after: float, predicted: int) -> rec.Effect:
    return rec.Effect(
        edit_id=e.edit_id, img_id=e.img_id, y=e.y, kind=e.kind, phrase=e.phrase,
        replacement=e.replacement, p_before=0.9, p_after=p_after, predicted_after=predicted,
        p_control=0.8, predicted_control=0, photograph=e.photograph,
    )


def feature(**changes: Any) -> rec.SpuriousFeature:
    fields: dict[str, Any] = {
        "feature_id": "000/0001", "y": 0, "rank": 1, "kind": "remove_object", "phrase": "sofa",
        "support": 3, "flips": 2, "flip_rate": 0.666667, "score": 0.5, "mean_drop": 0.6,
        "spurious": True, "examples": (), "members": ("sofa",), "interval": (0.2077, 0.9385),
        "controls": 3, "control_rate": 0.0, "control_drop": 0.1, "p_value": 0.00001,
        "q_value": 0.031,
    }
    return rec.SpuriousFeature(**(fields | changes))


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Cats lean on the sofa; the dogs are never recognised; nothing is known of birds."""
    made = Outputs(tmp_path / "outputs")
    made.folder = made.root / "discover" / "pets-12345678"
    edits = [edit(i, 0, "remove_object", "sofa") for i in range(3)]
    edits += [edit(3, 0, "change_background", "field"), edit(4, 1, "change_background", "field")]
    effects = [effect(e, p, int(p < 0.5)) for e, p in zip(edits[:4], DROPS, strict=True)]
    walls = [edit(i, 0, "change_background", "wall") for i in (5, 6)]  # both moved to one moor
    walls = [msgspec.structs.replace(e, donor="m", photograph="moor.jpg") for e in walls]
    edits, effects = edits + walls, effects + [effect(e, 0.5, 0) for e in walls]
    features = [
        feature(examples=tuple(e.edit_id for e in edits[:3])),
        feature(
            feature_id="000/0002", rank=2, kind="change_background", phrase="field", support=1,
            flips=0, flip_rate=0.0, score=-0.001, mean_drop=0.0, spurious=False, controls=1,
            interval=(0.0, 0.7935), p_value=None, q_value=None, members=("field",),
        ),
        feature(
            feature_id="000/0003", rank=3, kind="change_background", phrase="wall", support=2,
            flips=0, flip_rate=0.0, score=-1.0, mean_drop=0.4, spurious=False, controls=2,
            interval=(0.0, 0.6576), p_value=None, q_value=None, members=("wall",), donors=1,
        ),
    ]
    rejected = [
        rec.Rejected(
            item_id="i/0/remove_object/red lamp", reason="low_score", detail="red lamp",
            img_id="i/0", kind="remove_object", phrase="red lamp",
        ),
        rec.Rejected(
            item_id="i/1/remove_object/lamp", reason="no_box", detail="lamp: 0.1",
            img_id="i/1", kind="remove_object", phrase="lamp",
        ),
        rec.Rejected(
            item_id="i/2/change_background/field", reason="no_donor",
            img_id="i/2", kind="change_background", phrase="field",
        ),
    ]
    groups = [
        rec.PhraseGroup(phrase="lamp", members=("lamp", "red lamp")),
        rec.PhraseGroup(phrase="field", members=("field",)),
        rec.PhraseGroup(phrase="sofa", members=("sofa",)),
    ]
    wrong = rec.Rejected(item_id="i/4", reason="misclassified", detail="predicted 0, labelled 1")
    for name in ("m", "c", *(f"e{i}" for i in range(7))):
        made.image(made.root / f"artifacts/edit/0/files/{name}.png", mask=name == "m")
    no_caption = rec.Rejected(item_id="i/9", reason="no_caption")
    truth = {"y": 0, "attribute": "indoors", "true": ["sofa"]}
    truth |= {"precision": {"1": 1.0, "3": 0.5}, "recall": {"1": 1.0, "3": 1.0}}
    made.write({
        "schema": 1, "aspire": "0.1.0", "splits": ["train"], "seed": 0,
        "overrides": ["dataset=folder", "dataset.root=my pets"],
        "dataset": {
            "name": "pets", "digest": "digest-of-pets", "class_names": ["cat", "dog", "bird"],
            "images": {"train": 10, "test": 7},
        },
        "settings": {"score": SCORE, "stage": {"edit": {"images_per_class": 2}}},
        "classifier": {
            "choice": "torchscript", "digest": "digest-of-net",
            "settings": {"_target_": "x", "path": "net.pt", "names": None},
        },
        "stages": {
            "caption": made.artifact("caption", [], no_caption),
            "collapse": made.artifact("collapse", groups),
            "edit": made.artifact("edit", edits, *rejected),
        },
        "discovery": {"0": {
            "score": made.artifact("score", effects, wrong),
            "discover": made.artifact("discover", features),
            "features": [msgspec.to_builtins(f) for f in features],
            "without": [
                {"item_id": "001", "reason": "r", "detail": "no edit of a right image"},
                {"item_id": "002", "reason": "r", "detail": "no edit of a right image"},
            ],
            "truth": [truth],
        }},
    })
    return made
# fmt: on


@pytest.fixture
def page(made: Any, tmp_path: Path) -> Any:
    made.image(tmp_path / "pets" / "0.png")
    path = write_discovery_report(made.folder, made.root, tmp_path / "pets", {"i/0": "0.png"})
    return Page(path.read_text())


def test_the_page_is_whole_and_says_what_it_shows(page: Any) -> None:
    page.check_self_contained()
    page.check_headings()
    # of three edits mask, after and control; of one the original is at hand
    assert len(page.images) == 3 * 3 + 1
    alts = [i["alt"] for i in page.images]
    assert "cat with “sofa”, before; the answer is cat" in alts
    assert "cat, “sofa” removed; the answer is dog" in alts
    assert "cat, control edit that leaves “sofa”; the answer is cat" in alts


def test_the_verdict_needs_no_knowledge_of_the_method(page: Any) -> None:
    assert (
        "This classifier takes shortcuts. When it says “cat”, it leans on “sofa”. For example, "
        "removing “sofa” and keeping the cat changed the answer in 2 of 3 pictures (a control "
        "change that leaves it in place: 0 of 3). For “dog” and “bird” no shortcut was found."
    ) in page.text
    assert "shortcuts found 1 of 1 phrases judged" in page.text
    assert "classifier is right on 6 of 7 images" in page.text
    assert "edits that could be made 7 of 10" in page.text


def test_numbers_are_those_of_the_records(page: Any) -> None:
    _, *first = page.row("1")
    yes = "✓ yes 3 edits, hardly chance (q 0.031), net drop at least 0.50 (0.1 needed)"
    assert first[:4] == ["sofa object removed", yes, "0.50", "0.50"]
    assert first[4:] == ["2 / 3", "\N{EN DASH}", "67 %, 21 to 94 %", "0 / 3", "< 0.0001 0.031"]
    _, *second = page.row("2")
    short = "not judged too few edits to judge: 1, at least 2 needed"
    assert second[:4] == ["field scene changed", short, "0.00", "\N{MINUS SIGN}0.10"]
    assert second[4:] == ["0 / 1", "\N{EN DASH}", "0 %, 0 to 79 %", "0 / 1", "\N{EN DASH}"]
    _, *third = page.row("3")
    shared = "not judged 1 donor, at least 3 needed: more photographs of other scenes would help"
    assert third[:2] == ["wall scene changed", shared]
    assert third[4:6] == ["0 / 2", "1"]
    labels = [a["aria-label"] for tag, a in page.tags if tag == "svg"]
    assert (
        labels[0] == "flip rate 67 percent, interval 21 percent to 94 percent; controls 0 percent"
    )
    assert "after ✕ says dog p(cat) 0.10" in page.text
    assert "control says cat p(cat) 0.80" in page.text
    assert "indoors , which 1 of the phrases name: the first phrase names it; " in page.text


def test_what_was_not_tested_is_said(page: Any) -> None:
    assert page.row("edited")[1:3] == ["4", "3"]
    assert page.row("low_score")[2:] == [
        "1",
        "found, but not surely enough (first: “red lamp” in i/0)",
    ]
    assert page.row("no_box")[3].endswith("(first: “lamp” in i/1: 0.1)")
    for text in (
        "7 images of other splits (test). Only train images are looked at;",
        "1 images without a caption.",
        "1 images that the classifier gets wrong. dog 1 of 1.",
        "Nothing can be said about “dog”: no image of it is classified rightly.",
        "1 phrases that no edit could take away. “lamp”. Why: ",
        "1 phrases with too few edits. “field” (cat). They were edited in fewer than 2 images",
        "1 phrases with too few donors. “wall” (cat). The new scenes of their edits are from fewer "
        "than 3 photographs (score.min_donors)",
    ):
        assert text in page.text


def test_it_can_be_made_again(page: Any, made: Any) -> None:
    assert "aspire discover dataset=folder 'dataset.root=my pets'" in page.text
    for text in ("digest-of-pets", "digest-of-net", "digest-of-edit", "net.pt"):
        assert text in page.text
    before = (made.folder / "report.html").read_bytes()
    assert write_discovery_report(made.folder, made.root).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "score", "reason", "enough"),
    [
        ({}, SCORE, "3 edits, hardly chance (q 0.031), net drop at least 0.50 (0.1 needed)", True),
        ({"spurious": False, "support": 1}, SCORE, "too few edits to judge: 1, at least 2", False),
        ({"spurious": False, "q_value": None, "donors": 2}, SCORE, "2 donors, at least 3", False),
        ({"donors": 3}, SCORE, "3 edits, 3 donors, hardly chance", True),
        ({"spurious": False, "q_value": 0.2}, SCORE, "may be chance (q 0.2)", True),
        ({"spurious": False, "q_value": None}, SCORE, "too few edits with a control", False),
        ({"spurious": False, "score": 0.01}, SCORE, "net drop at least 0.01, below 0.1", True),
        ({"spurious": False, "score": 0.096}, SCORE, "net drop at least 0.09, below 0.1", True),
        ({}, {"min_support": 2, "min_flip_rate": 0.1}, "3 edits, 2 of 3 flip", True),
        ({"spurious": False}, {"min_flip_rate": 0.9}, "2 of 3 flip, at least 90 % needed", True),
        ({}, {"images": 35}, "taken by the score's rule", True),
    ],
)
def test_why(changes: Any, score: Any, reason: str, enough: bool) -> None:
    assert why(feature(**changes), score).startswith(reason)
    assert judged(feature(**changes), score) is enough


def test_donors_stand_beside_the_pictures() -> None:
    told = evidence_of(feature(kind="change_background", phrase="sea", donors=1), "cat")
    assert "changed the answer in 2 of 3 pictures with scenes from 1 donor (a control" in told


def test_a_shortcut_without_flips_is_told_by_its_drop() -> None:
    told = evidence_of(feature(flips=0, kind="change_background", phrase="sea"), "cat")
    assert told == (
        "putting the cat in another scene than “sea” lowered the classifier's probability by 0.60 "
        "on average"
    )


# fmt: off
EXAMINED = {
    "images": 40, "of": 90, "right": 24, "by_guessing": 13.25, "by_chance": False, "order": None,
    # a cat in four is taken for a dog; every dog for one of three; of birds nothing is known
    "confusion": [[0, 0, 15], [0, 1, 5], [1, 0, 4], [1, 1, 9], [1, 2, 7]],
}
# fmt: on


def examined_page(made: Any, **changes: Any) -> Any:
    result = json.loads((made.folder / "result.json").read_text())
    result["discovery"]["0"]["examination"] = EXAMINED | changes
    made.write(result)
    return Page(write_discovery_report(made.folder, made.root).read_text())


def test_the_page_shows_how_the_classifier_did_before_any_edit(made: Any) -> None:
    page = examined_page(made)
    page.check_headings()
    page.check_self_contained()
    assert (
        "The classifier is right on 24 of 40 unedited images (60.0 %, a sample of 90); guesses "
        "that name each class as often would be right on about 13."
    ) in page.text
    assert not [r for r in page.rows if r[0] == "bird"]
    assert page.row("cat") == ["cat", "20", "15", "75.0", "dog 5"]
    assert page.row("dog") == ["dog", "20", "9", "45.0", "bird 7, cat 4"]
    assert "may be concluded" not in page.text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"by_chance": True}, "is right no more often than guesses would be, so nothing here may"),
        (
            {"order": [1, 0, 2]},
            "would be right far more often if its outputs stood for other classes (“cat” is "
            "answered as “dog”, “dog” is answered as “cat”), so nothing here may be concluded",
        ),
    ],
)
def test_the_page_says_plainly_that_nothing_may_be_concluded(
    made: Any, changes: Any, why: str
) -> None:
    page = examined_page(made, **changes)
    assert page.text.count(f"Before any edit this classifier {why}") == 2  # above, and beside


def test_of_many_classes_the_worst_are_shown() -> None:
    names = [f"class {i}" for i in range(20)]
    kept = EXAMINED | {
        "confusion": [[y, y, y + 1] for y in range(20)] + [[y, 0, 1] for y in (7, 9)]
    }
    found = examined(kept, names)
    assert found is not None
    assert [c.name for c in found.classes[:2]] == ["class 7", "class 9"]  # 8 of 9, 10 of 11
    assert (len(found.classes), found.more) == (12, 8)
    assert examined(None, names) is None


@pytest.mark.parametrize("damage", [{"confusion": "x"}, {"right": -1}, {"order": ["cat"]}])
def test_an_examination_of_another_shape_is_a_damaged_result(made: Any, damage: Any) -> None:
    with pytest.raises(DamagedError, match="examination"):
        examined_page(made, **damage)


def test_numbers_of_classes_that_are_not_there_are_not_looked_up(made: Any) -> None:
    page = examined_page(made, confusion=[[9, 0, 1], [0, 9, 1], [0, 0, 3]], order=[9, 1, 2, 7])
    assert page.row("cat")[:4] == ["cat", "3", "3", "100.0"]


def test_a_visual_concept_is_shown_by_its_crops(made: Any, tmp_path: Path) -> None:
    made.image(tmp_path / "photos/a.png", size=40)
    boxes = [(0.25, 0.5, 0.5, 1.0), (-5.0, 0.5, 9.0, 0.5)]  # the second cannot be
    concept = rec.VisualConcept(
        name="sofa", y=0, parts=(rec.Part(cluster=0, radius=0.1),), scene=False, own=0.95,
        others=0.05, crops=tuple(rec.Crop(img_id="i/0", box=b) for b in boxes),
    )  # fmt: skip
    space = rec.ConceptSpace(mean=(), scale=(), basis=(), centres=(), concepts=(concept,))
    result = json.loads((made.folder / "result.json").read_text())
    result["stages"]["concept"] = made.artifact("concept", [space])
    made.write(result)
    files = {"i/0": "a.png"}
    path = write_discovery_report(made.folder, made.root, tmp_path / "photos", files)
    page = Page(path.read_text("utf-8"))
    assert "Seen in 95 % of the images of cat and 5 % of the others." in page.text
    pattern = r'<img[^>]*width="(\d+)" height="(\d+)" alt="part of an image that shows “sofa”'
    assert re.findall(pattern, path.read_text("utf-8")) == [("10", "20"), ("40", "1")]
