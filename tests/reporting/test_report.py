"""The report: one page that holds everything, says the right numbers and survives a move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aspire.data.images import png_bytes
from aspire.errors import ConfigError
from aspire.pipeline import records as rec
from aspire.reporting.pictures import Pictures
from aspire.reporting.report import write_report

EVIL = '<script>alert("x")</script> & sea'
GROUPS = ("landbird/land", "landbird/water", "waterbird/land", "waterbird/water")
VOID = {"meta", "link", "img", "br", "rect", "line", "circle"}


class Page(HTMLParser):
    """What the tests look at; fails on tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []
        self.images = [attrs for tag, attrs in self.tags if tag == "img"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, first: str) -> list[str]:
        return next(r for r in self.rows if r and r[0] == first)


class Outputs:
    """An outputs folder as aspire run leaves it, drawn by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "run" / "birds-12345678"
        self.rng = np.random.default_rng(0)

    def image(self, path: Path, mask: bool = False, size: int = 8) -> None:
        pixels = self.rng.integers(0, 256, (size, size) if mask else (size, size, 3))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            png_bytes((np.where(pixels > 127, 255, 0) if mask else pixels).astype("u1"))
        )

    def artifact(
        self, stage: str, records: Sequence[rec.Record], *rejected: rec.Rejected, **identity: Any
    ) -> dict[str, Any]:
        folder = self.root / "artifacts" / stage / "0"
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in (("records", records), ("rejected", rejected)):
            data = b"".join(msgspec.json.encode(r) + b"\n" for r in lines)
            (folder / f"{name}.jsonl").write_bytes(data)
        (folder / "manifest.json").write_text(json.dumps({"identity": identity}))
        reasons = {r.reason: sum(o.reason == r.reason for o in rejected) for r in rejected}
        counts = {"records": len(records), "rejected": reasons}
        return {"folder": f"artifacts/{stage}/0", "digest": f"digest-of-{stage}"} | counts

    def write(self, result: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "result.json").write_text(json.dumps(result))


def arm(augmentation: str, worst: Sequence[float], acc: Sequence[float]) -> dict[str, Any]:
    runs = []
    for seed, (w, a) in enumerate(zip(worst, acc, strict=True)):
        groups = {g: {"acc": w if g == GROUPS[1] else 0.9, "n": 50} for g in GROUPS}
        test = {"worst_group_acc": w, "worst_group": GROUPS[1], "acc": a, "acc_adjusted": 0.9}
        test |= {"worst_class_acc": w, "groups": groups}
        folder = f"train/birds/erm/{augmentation}/s{seed}"
        run = {"seed": seed, "folder": folder, "train_images": 10, "selected_step": 5}
        runs.append(run | {"metrics": {"test": test}})
    name = "erm" if augmentation == "none" else f"erm + {augmentation}"
    settings = {"needs": "none", "selection": "val_acc", "steps": 10}
    return {"arm": name, "baseline": "erm", "augmentation": augmentation, "runs": runs} | settings


# fmt: off
def result_of(made: Outputs) -> dict[str, Any]:
    """Two classes; the first leans on EVIL, the second on nothing."""
    edit_id = f"a/change_background/{EVIL}"
    edit = rec.Edit(
        edit_id=edit_id, img_id="a/1", y=0, kind="change_background", phrase=EVIL,
        replacement="desert", donor="b", file="files/e.png", mask="files/m.png", edited_share=0.5,
    )
    effect = rec.Effect(
        edit_id=edit_id, img_id="a/1", y=0, kind="change_background", phrase=EVIL,
        replacement="desert", p_before=0.98, p_after=0.03, predicted_after=1,
    )
    feature = rec.SpuriousFeature(
        feature_id="000/0001", y=0, rank=1, kind="change_background", phrase=EVIL, support=20,
        flips=10, flip_rate=0.5, score=0.299, mean_drop=0.61, spurious=True, examples=(edit_id,),
    )
    context = rec.Context(phrase="desert", weight=1.0, donors=("b",))
    concept = rec.Concept(
        concept_id="000", y=0, objects=("a/1",), avoided=(EVIL,), contexts=(context,)
    )
    reasons = (None, None, None, "duplicate", "low_confidence")
    images, decisions = [], []
    for i, reason in enumerate(reasons):
        images.append(rec.SyntheticImage(
            img_id=f"g{i}", y=0, seed=i, prompt=f"a landbird, scene {i}", parents=("a/1", "b"),
            file=f"files/{i}.png", mask=None,
        ))
        scores = {"low_confidence": 0.001 if reason == "low_confidence" else 0.5}
        decisions.append(
            rec.FilterDecision(img_id=f"g{i}", kept=reason is None, reason=reason, scores=scores)
        )
        made.image(made.root / f"artifacts/generate/0/files/{i}.png")
    made.image(made.root / "artifacts/edit/0/files/e.png")
    made.image(made.root / "artifacts/edit/0/files/m.png", mask=True)
    no_mask = rec.Rejected(item_id="c/remove_object/tree", reason="no_mask")
    weak = "the strongest is weak"
    without = rec.Rejected(item_id="001", reason="no_spurious_feature", detail=weak)
    return {
        "schema": 1, "aspire": "0.1.0", "seeds": [0, 1],
        "dataset": {
            "name": "birds", "digest": "digest-of-birds", "spurious_attribute": "background",
            "class_names": ["landbird", "waterbird"], "attribute_names": ["land", "water"],
            "group_counts": {s: dict.fromkeys(GROUPS, 50) for s in ("train", "val", "test")},
        },
        "settings": {
            "fit": {"steps": 10, "selection": "val_acc"}, "stage": {"edit": {"dilate": 3}},
            "filter": {"low_confidence": {"_target_": "x", "min_probability": 0.02}},
        },
        "arms": [arm("none", (0.1, 0.3), (0.5, 0.7)), arm("aspire", (0.6, 0.8), (0.8, 0.8))],
        "missing": [],
        "stages": {
            "caption": made.artifact("caption", []),
            "edit": made.artifact("edit", [edit], no_mask),
        },
        "discovery": {"0": {
            "score": made.artifact("score", [effect]),
            "discover": made.artifact("discover", [feature], without),
            "features": [msgspec.to_builtins(feature)],
            "without": [msgspec.to_builtins(without)],
        }},
        "generation": {"0": {
            "personalise": made.artifact("personalise", [concept]),
            "generate": made.artifact("generate", images, per_class={"0": 6}),
            "filter": made.artifact("filter", decisions),
            "kept": 3, "reasons": {"duplicate": 1, "low_confidence": 1},
        }},
    }
# fmt: on


def report(made: Outputs) -> Page:
    return Page(write_report(made.folder, made.root).read_text())


@pytest.fixture
def made(tmp_path: Path) -> Outputs:
    outputs = Outputs(tmp_path / "outputs")
    outputs.write(result_of(outputs))
    return outputs


@pytest.fixture
def dataset(made: Outputs, tmp_path: Path) -> Path:
    made.image(tmp_path / "dataset" / "one.png")
    return tmp_path / "dataset"


def test_the_page_loads_nothing_and_describes_every_image(made: Outputs, dataset: Path) -> None:
    path = write_report(made.folder, made.root, dataset, {"a/1": "one.png"})
    page = Page(path.read_text())
    assert "script" not in [tag for tag, _ in page.tags]
    links = [attrs[k] or "" for _, attrs in page.tags for k in ("src", "href") if k in attrs]
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not {w for w in ("url(", "@import") if w in path.read_text()}
    assert all(i["alt"] for i in page.images)
    assert len(page.images) == 3 + 3 + 2  # before, mask, after; kept; rejected
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert {a["href"][1:] for t, a in page.tags if t == "a" and a["href"]} <= targets
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert (levels[0], levels.count(1)) == (1, 1)


def test_numbers(made: Outputs) -> None:
    page = report(made)
    # (10 + 30) / 2 = 20 and sqrt(2 * 10 ** 2) = 14.1; (50 + 70) / 2 = 60, the same spread
    expected = ["erm", "none", "val_acc", "10", "20.0 ± 14.1 (2)", "60.0 ± 14.1 (2)"]
    assert page.row("erm") == [*expected, "90.0 ± 0.0 (2)"]
    assert page.row("erm + aspire")[4:6] == ["70.0 ± 14.1 (2)", "80.0 ± 0.0 (2)"]
    assert page.row("landbird/water")[3:] == ["20.0 ± 14.1 (2)", "70.0 ± 14.1 (2)", "+50.0"]
    assert (
        "ERM leans on the background: worst group 20.0 % → 70.0 % with ASPIRE, "
        "average 60.0 % → 80.0 % (test set, mean of 2 seeds)."
    ) in page.text
    assert "The worst group is better with every seed." in page.text
    assert "p(landbird) 0.98 → 0.03 now waterbird" in page.text
    assert page.row("1")[3] == "10 / 20"
    assert page.row("1")[5:8] == ["50 %", "30 %", "0.61"]


def test_reasons_are_named_and_counted(made: Outputs) -> None:
    page = report(made)
    assert page.row("edit")[3].startswith("no_mask 1: the phrase was not found")
    assert "c/remove_object/tree" in page.text
    assert "duplicate 1" in page.row("filter")[3]
    assert ["0", "landbird", "6", "5", "3", "duplicate 1, low_confidence 1"] in page.rows
    assert "low_confidence 0.001" in page.text
    assert "min_probability 0.02" in page.text
    assert "No shortcut found for waterbird: the strongest is weak." in page.text


def test_the_command_is_the_one_that_was_typed(made: Outputs) -> None:
    made.write(result_of(made) | {"overrides": ["fit.steps=10", "seeds=[0,1]"]})
    typed = report(made)
    assert "aspire run fit.steps=10 'seeds=[0,1]'" in typed.text


def test_phrases_are_text_and_nothing_else(made: Outputs) -> None:
    path = write_report(made.folder, made.root)
    assert "<script" not in path.read_text()
    assert EVIL in Page(path.read_text()).text


def test_rebuilding_without_the_dataset_gives_the_same_bytes(
    made: Outputs, dataset: Path, tmp_path: Path
) -> None:
    path = write_report(made.folder, made.root, dataset, {"a/1": "one.png"})
    first = path.read_bytes()
    shutil.rmtree(dataset)
    moved = made.root.rename(tmp_path / "elsewhere")
    (moved / "run" / made.folder.name / "report.html").unlink()
    again = write_report(moved / "run" / made.folder.name, moved)
    assert again.read_bytes() == first


def test_an_original_that_is_not_at_hand_leaves_the_edit(made: Outputs) -> None:
    page = report(made)
    assert (len(page.images), "not at hand" in page.text) == (2 + 3 + 2, True)


def test_missing_artifacts_are_named_and_the_numbers_stay(made: Outputs) -> None:
    shutil.rmtree(made.root / "artifacts")
    page = report(made)
    assert "artifacts/edit/0" in page.text
    assert (page.row("erm")[4], page.images) == ("20.0 ± 14.1 (2)", [])


def test_nothing_found(made: Outputs) -> None:
    result = result_of(made)
    found = result["discovery"]["0"]
    found["features"][0]["spurious"] = False
    found["without"].insert(0, {"item_id": "000", "reason": "r", "detail": "2 flips in 20"})
    reason = "no spurious feature found"
    missing = [{"arm": "erm + aspire", "seed": s, "reason": reason} for s in (0, 1)]
    made.write(result | {"arms": result["arms"][:1], "missing": missing, "generation": {}})
    page = report(made)
    assert "No shortcut was found" in page.text
    assert page.row("erm + aspire") == ["erm + aspire", f"not run with seed 0, 1: {reason}"]
    assert "No shortcut found for landbird: 2 flips in 20." in page.text
    assert f"No images were generated: {reason}." in page.text


@pytest.mark.parametrize(
    ("worst", "acc", "says"),
    [
        ((0.1, 0.2), (0.6, 0.7), "but ASPIRE does not help here: worst group 20.0 % → 15.0 %"),
        ((0.05, 0.9), (0.6, 0.6), "The worst group is better with 1 of 2 seeds."),
        ((0.6, 0.6), (0.4, 0.4), "The average falls: 60.0 % → 40.0 %."),
        ((0.6,), (0.9,), "average 50.0 % → 90.0 % (test set, one seed that both arms have)"),
        ((0.6,), (0.9,), "One seed cannot tell a gain from chance."),
        ((0.6,), (0.9,), "landbird/water 50 50 20.0 ± 14.1 (2) 60.0 (1) +50.0"),
    ],
)
def test_the_verdict_is_honest(
    made: Outputs, worst: tuple[float, ...], acc: tuple[float, ...], says: str
) -> None:
    result = result_of(made)
    result["arms"][1] = arm("aspire", worst, acc)
    made.write(result)
    assert says in report(made).text


def test_unknown_groups_fall_back_on_the_worst_class(made: Outputs) -> None:
    result = result_of(made)
    for entry in result["arms"]:
        for run in entry["runs"]:
            test = run["metrics"]["test"]
            test |= {"worst_group_acc": None, "worst_group": None, "acc_adjusted": None}
            test["groups"] = {g: {"acc": None, "n": 0} for g in GROUPS}
    made.write(result)
    page = report(made)
    assert "worst class 20.0 % → 70.0 % with ASPIRE" in page.text
    assert page.row("erm")[4] == "-"


@pytest.mark.parametrize("content", [None, {"weights_sha256": "w"}])
def test_another_folder_says_what_to_type(tmp_path: Path, content: Any) -> None:
    if content:
        (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"Expected .*outputs/run/DATASET.*aspire (run|table)"):
        write_report(tmp_path, tmp_path)


def test_large_pictures_shrink_and_masks_stay_two_coloured(tmp_path: Path) -> None:
    made = Outputs(tmp_path)
    made.image(tmp_path / "photo.png", size=500)
    made.image(tmp_path / "mask.png", mask=True, size=500)
    made.image(tmp_path / "tiny.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    pictures = Pictures(tmp_path / "kept", tmp_path, {"../x": "photo.png"})
    shown = [pictures.original("../x", "a photo")]
    shown += [pictures.made(tmp_path / f"{n}.png", n) for n in ("mask", "tiny", "broken")]
    sizes = [p and (p.kind, p.width) for p in shown]
    assert sizes == [("jpeg", 192), ("png", 192), ("png", 8), None]
    assert [p.parent for p in tmp_path.rglob("*.jpeg")] == [tmp_path / "kept"]
