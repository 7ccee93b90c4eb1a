"""Every yaml in conf/augmentation from the command line: adding a file there adds the tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from imported import heavy_imports_of

from aspire.cli import main
from aspire.confdir import conf_dir
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.training.context import TrainingContext

ARMS = sorted(p.stem for p in (conf_dir() / "augmentation").glob("*.yaml"))
# Thresholds low enough that few steps of training show a feature.
LOOSE = ["score.min_support=2", "score.max_q=1", "score.min_effect=0", "stage.filter.min_kept=0"]
TINY = [*LOOSE, "fit.batch_size=16", "fit.steps=8", "fit.evaluations=2", "logger=none"]
TINY += ["trainer.threads=1", "dataset.scale=0.02", "score.min_donors=2"]


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))


def results(root: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Baseline and arm -> result of the finished run."""
    found = (json.loads(p.read_text()) for p in root.glob("train/*/*/*/*/result.json"))
    return {(r["baseline"], r["augmentation"]): r for r in found}


@pytest.mark.slow
@pytest.mark.usefixtures("discovered")
def test_every_arm_trains_as_long_and_is_judged_on_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a method that must be told the group of every training image."""
    shutil.rmtree(tmp_path / "train")  # all trainings are looked at, also that of the first ERM
    tables: list[dict[Split, ImageTable]] = []
    original = TrainingContext.__post_init__

    def seen(self: TrainingContext) -> None:
        original(self)
        tables.append(dict(self.tables))

    monkeypatch.setattr(TrainingContext, "__post_init__", seen)
    words = ["-m", "baseline=erm,groupdro", "augmentation=glob(*)", *TINY]
    assert main(["train", *words]) == 0
    found = results(tmp_path)
    assert {arm for _, arm in found} == set(ARMS)
    assert len(found) == 2 * len(ARMS)
    for key in ("steps", "needs", "selection", "group_counts"):
        for baseline in ("erm", "groupdro"):
            values = [r[key] for (b, _), r in found.items() if b == baseline]
            assert all(v == values[0] for v in values), key
    # val and test are the same images for all, and none of them was generated
    assert len(tables) == 2 * len(ARMS)
    for told in tables:
        for split, table in told.items():
            assert table.paths == tables[0][split].paths
            assert not any("artifacts" in p.parts for p in table.paths)
    # what differs is what is trained on, and that is told apart
    assert len({r["key"] for r in found.values()}) == len(found)
    generated = {arm for (_, arm), r in found.items() if r["generated_digest"]}
    assert generated == set(ARMS) - {"none", "fixed_views", "randaugment"}


@pytest.mark.slow
@pytest.mark.usefixtures("discovered")
def test_a_run_makes_the_images_of_each_arm(tmp_path: Path) -> None:
    words = ["seeds=[0]", "arms=[none,fixed_views,edits,undiscovered,aspire]", *TINY]
    assert main(["run", *words]) == 0
    (path,) = tmp_path.glob("run/*/result.json")
    result = json.loads(path.read_text())
    assert [a["augmentation"] for a in result["arms"]] == [
        "none", "fixed_views", "edits", "undiscovered", "aspire",
    ]  # fmt: skip
    # the report's pictures are those of the run's own parts
    folders = {"": result["generation"]["0"], **{
        arm: sets["0"] for arm, sets in result["generation_of_arms"].items()
    }}  # fmt: skip
    assert set(folders) == {"", "edits", "undiscovered"}

    def sampler(entry: dict[str, Any]) -> str:
        manifest = json.loads(
            (tmp_path / entry["generate"]["folder"] / "manifest.json").read_text()
        )
        return str(manifest["identity"]["sampler"]["sampler"])

    assert {arm: sampler(e) for arm, e in folders.items()} == {
        "": "composition", "edits": "edits", "undiscovered": "composition",
    }  # fmt: skip
    # and what it calls shortcuts was tested, not drawn
    features = result["discovery"]["0"]["features"]
    assert all(f["q_value"] is not None for f in features if f["spurious"])


@pytest.mark.usefixtures("discovered")
def test_settings_of_arm_and_method_do_not_reach_the_classifier_that_is_looked_at(
    tmp_path: Path,
) -> None:
    words = ["augmentation=aspire", "augmentation.share=null", "stage.generate.amount=balance"]
    words += ["baseline=groupdro", "baseline.eta=0.05", *TINY]
    assert main(["train", *words]) == 0
    assert set(results(tmp_path)) == {("erm", "none"), ("groupdro", "aspire")}


@pytest.mark.parametrize("verb", ["discover", "run"])
def test_nothing_is_reported_on_features_drawn_by_lot(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "score=random", "dataset.scale=0.02"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "score=random draws features and says nothing about a classifier" in error
    assert "aspire run 'arms=[none,undiscovered,aspire]'" in error


def test_random_views_cannot_be_changed_where_there_are_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["augmentation=randaugment", "fit.augment=false", *TINY]
    assert main(["train", *words]) == 2
    assert "Expected fit.augment=true, or augmentation=fixed_views" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.slow
@pytest.mark.usefixtures("discovered")
def test_the_quickstart_personalises_and_generates_with_the_model_of_the_package(
    tmp_path: Path,
) -> None:
    short = ["personaliser.steps=4", "personaliser.strip_every=0", "personaliser.min_images=1"]
    short += ["personaliser.flipped_only=false", "generator.steps=2"]
    words = ["quickstart", "seeds=[0]", *short, *TINY]
    assert main(words) == 0
    (report,) = tmp_path.glob("run/*/report.html")
    drawn = report.stat()
    # the second time loads no model, nor what models are made of, and draws nothing again
    said, heavy = heavy_imports_of(words)
    assert heavy <= {"scipy"}  # matches the answers of a classifier as bad as this to other classes
    assert said.count(" hit ") == 14
    assert " run " not in said.partition("seed 0")[2].partition("test accuracy")[0]
    assert (report.stat().st_ino, report.stat().st_mtime_ns) == (drawn.st_ino, drawn.st_mtime_ns)
    (records,) = tmp_path.glob("artifacts/generate/*/records.jsonl")
    made = [json.loads(line) for line in records.read_text().splitlines()]
    kinds = {w for m in made for w in m["prompt"].split(",")[0].split()}
    assert kinds & {"<landbird>", "<waterbird>"}
    assert kinds & {"owl", "eagle", "crow", "duck", "swan", "penguin"}
    assert (tmp_path / "personalised").is_dir()
