"""What ``aspire review`` wrote is obeyed by the API, and is part of what a run is named by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blue import Blue, to_tensor

import aspire
from aspire.reporting.review import Review
from aspire.stored.decisions import Judge, Rename

SETTINGS = {"score.min_support": 3, "stage.generate.per_real": 0.5}
SHORT = {"fit.steps": 2, "fit.evaluations": 1, "fit.batch_size": 8, "trainer.accelerator": "cpu"}


@pytest.fixture(scope="module")
def given(waterbirds: aspire.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of every call."""
    outputs = tmp_path_factory.mktemp("outputs")
    return {"dataset": aspire.load_dataset(waterbirds), "outputs": outputs}


@pytest.fixture(scope="module")
def asked(given: dict[str, Any]) -> dict[str, Any]:
    """Of every call about the network."""
    return {"model": Blue(), "transform": to_tensor, "settings": SETTINGS, **given}


@pytest.fixture(scope="module")
def found(asked: dict[str, Any]) -> aspire.Findings:
    return aspire.discover(**asked)


@pytest.fixture(scope="module")
def decisions(found: aspire.Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that waterbirds were found by is rejected, in a file with a blank in its name."""
    file = tmp_path_factory.mktemp("of a person") / "it's decided.json"
    review = Review(found.folder, file)
    for (y, kind, phrase), evidence in review.features.items():
        if y == 1 and evidence.spurious:
            review.take(Judge(y=y, kind=kind, phrase=phrase, found=True, verdict="reject"))
    return file


def spurious(found: aspire.Findings) -> set[tuple[str, str]]:
    rows = found.features[found.features["spurious"]]
    return set(zip(rows["class"], rows["feature"], strict=True))


def test_what_is_rejected_is_no_shortcut_any_more(
    found: aspire.Findings, decisions: Path, asked: dict[str, Any]
) -> None:
    before = {("landbird", "jungle"), ("landbird", "forest"), ("waterbird", "lake")}
    assert spurious(found) == {*before, ("waterbird", "sea")}
    decided = aspire.discover(**asked, decisions=decisions)
    assert spurious(decided) == {("landbird", "jungle"), ("landbird", "forest")}
    assert set(decided.groups.query("`class` == 'waterbird'")["shortcut"]) <= {
        "without shortcut",
        "unknown",
    }
    assert decided.folder != found.folder


def test_nothing_is_generated_against_what_is_rejected(
    decisions: Path, asked: dict[str, Any]
) -> None:
    first, second = aspire.generate(**asked), aspire.generate(**asked, decisions=str(decisions))
    assert set(first.images["class"]) == {"landbird", "waterbird"}
    assert set(second.images["class"]) == {"landbird"}


def test_it_is_part_of_which_run_it_is(
    decisions: Path, given: dict[str, Any], tmp_path: Path, found: aspire.Findings
) -> None:
    def trained(augmentation: str = "aspire", **further: Any) -> aspire.Run:
        return aspire.train(
            **given,
            classifier=Blue(),
            classifier_transform=to_tensor,
            augmentation=augmentation,
            settings={**SETTINGS, **SHORT, "filter": []},
            **further,
        )

    plain, decided = trained(), trained(decisions=decisions)
    assert plain.folder != decided.folder
    assert trained(decisions=decisions)._trained.state == "hit"
    # nothing that is trained on follows from a name
    named = Review(found.folder, tmp_path / "named.json")
    named.take(Rename(phrase="lake", name="fresh water"))
    assert trained(decisions=named.file).folder == plain.folder
    # without generated images there is nothing to decide on
    assert trained("none").folder == trained("none", decisions=decisions).folder


def test_what_cannot_be_obeyed(decisions: Path, asked: dict[str, Any], given: Any) -> None:
    with pytest.raises(aspire.AspireError, match=r"decisions=gone.json: no such file"):
        aspire.train(**given, decisions="gone.json")
    other = {**asked, "settings": {"score.min_support": 99}}
    with pytest.raises(aspire.AspireError, match="what it decides on does not exist here"):
        aspire.discover(**other, decisions=decisions)
