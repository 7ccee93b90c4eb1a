"""The report: one page that holds everything, says the right numbers and survives a move."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pages import EVIL, GROUPS, Outputs, Page, arm, result_of
from runfolders import run_folder

from aspire.errors import ConfigError
from aspire.reporting.pictures import Pictures
from aspire.reporting.report import write_report


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
    page.check_self_contained()
    # before, mask, after, control; kept; two of them beside their nearest real ones; rejected
    assert len(page.images) == 4 + 3 + 2 * 2 + 2
    page.check_headings()


def test_generated_images_stand_by_class_kept_near_and_rejected(made: Outputs) -> None:
    page = report(made)
    order = [
        "Asked for 6, made 5, kept 3. What was learnt of the class changes the predicted noise by "
        "3.1 %. Avoided:",
        "a landbird, scene 0",
        "landbird: nearest training images",
        "b difference 0.125",  # the most alike first
        "b difference 0.250",
        "landbird rejected: duplicate · 1 images",
        "a landbird, scene 3",
        "landbird rejected: low_confidence · 1 images",
        "min_probability 0.02",
        "None for waterbird",
    ]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    result = result_of(made)
    result["generation"]["0"].pop("nearest")  # of a run of an older version
    made.write(result)
    assert "nearest training images" not in report(made).text


def test_numbers(made: Outputs) -> None:
    page = report(made)
    # (10 + 30) / 2 = 20 and sqrt(2 * 10 ** 2) = 14.1; (50 + 70) / 2 = 60, the same spread
    expected = ["erm", "20.0 ± 14.1 (2)", "60.0 ± 14.1 (2)", "90.0 ± 0.0 (2)"]
    assert page.row("erm") == [*expected, "none", "val_acc", "10"]
    assert page.row("erm + aspire")[1:3] == ["70.0 ± 14.1 (2)", "80.0 ± 0.0 (2)"]
    assert page.row("landbird/water")[3:] == ["20.0 ± 14.1 (2)", "70.0 ± 14.1 (2)", "+50.0"]
    assert (
        "ERM leans on the background: worst group 20.0 % → 70.0 % with ASPIRE, "
        "average 60.0 % → 80.0 % (test set, mean of 2 seeds)."
    ) in page.text
    assert "The worst group is better with every seed." in page.text
    assert "before says landbird p(landbird) 0.98" in page.text
    assert "after ✕ says waterbird p(landbird) 0.03" in page.text
    assert "control says landbird p(landbird) 0.91" in page.text
    _, phrase, verdict, *numbers = page.row("1")
    assert phrase == f"{EVIL} scene changed; with ocean"
    assert verdict == "✓ yes 20 edits, hardly chance (q 0.0012)"
    # net drop 0.61 - 0.09; controls 0.05 * 20
    assert numbers == ["0.52", "0.52", "10 / 20", "50 %, 30 to 70 %", "1 / 20", "0.0004 0.0012"]


def test_reasons_are_named_and_counted(made: Outputs) -> None:
    page = report(made)
    assert page.row("edit")[3].startswith("no_box 1: nothing like it was found in the image")
    assert page.row("no_box")[1:3] == ["0", "1"]
    assert page.row("edited")[1:3] == ["1", "0"]
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
    assert (len(page.images), "not at hand" in page.text) == (3 + 3 + 4 + 2, True)


def test_missing_artifacts_are_named_and_the_numbers_stay(made: Outputs) -> None:
    shutil.rmtree(made.root / "artifacts")
    page = report(made)
    assert "artifacts/edit/0" in page.text
    assert (page.row("erm")[1], page.images) == ("20.0 ± 14.1 (2)", [])


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


def test_swaps_are_the_arm_with_aspire_where_no_other_is(made: Outputs) -> None:
    result = result_of(made)
    swaps = arm("swaps", (0.3, 0.5), (0.6, 0.6))  # the plain arm: 10 and 30
    made.write(result | {"arms": [result["arms"][0], swaps]})
    page = report(made)
    assert "worst group 20.0 % → 40.0 % with ASPIRE" in page.text
    assert page.row("landbird/water")[-1] == "+20.0"
    made.write(result | {"arms": [*result["arms"], swaps]})
    assert "worst group 20.0 % → 70.0 % with ASPIRE" in report(made).text


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
    assert page.row("erm")[1] == "20.0 ± 14.1 (2)"
    assert "worst_group_acc" not in page.rows[0]


@pytest.mark.parametrize("trained", [False, True])
def test_another_folder_says_what_to_type(tmp_path: Path, trained: bool) -> None:
    if trained:
        tmp_path = run_folder(tmp_path)
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


def test_a_kept_picture_that_was_exchanged_is_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Outputs(tmp_path)
    made.image(tmp_path / "photo.png", size=8)
    files = {"a": "photo.png"}
    first = Pictures(tmp_path / "kept", tmp_path, files).original("a", "")
    (copy,) = (tmp_path / "kept").glob("*.png")
    without = Pictures(tmp_path / "kept", None, {})
    assert without.original("a", "") == first
    made.image(copy, mask=True, size=8)  # a whole PNG, of something else
    assert without.original("a", "") is None
    assert f"{copy} is not the picture that was kept" in caplog.text
    assert Pictures(tmp_path / "kept", tmp_path, files).original("a", "") == first
    assert without.original("a", "") == first  # made again
    copy.with_name(f"{copy.name}.sha256").unlink()  # nothing says what it was
    assert without.original("a", "") is None


def test_the_classifiers_are_shown_before_their_edits(made: Outputs) -> None:
    result = result_of(made)
    kept = {
        "images": 10, "of": 10, "right": 9, "by_guessing": 5.0, "by_chance": False, "order": None,
        "confusion": [[0, 0, 5], [1, 0, 1], [1, 1, 4]],
    }  # fmt: skip
    first = result["discovery"]["0"] | {"examination": kept}
    worse = kept | {"right": 5, "by_chance": True, "confusion": [[0, 0, 5], [1, 0, 5]]}
    result["discovery"] = {"0": first, "1": first | {"examination": worse}}
    made.write(result)
    page = report(made)
    page.check_headings()
    assert "The classifier with seed 0 is right on 9 of 10 unedited images (90.0 %)" in page.text
    assert ["waterbird", "5", "4", "80.0", "landbird 1"] in page.rows
    assert ["waterbird", "5", "0", "0.0", "landbird 5"] in page.rows
    assert "Seed 1: right on 5 of 10, nothing may be concluded" in page.text
    assert page.text.count("is right no more often than guesses would be") == 1
