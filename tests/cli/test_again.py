"""Again from the folder: rerun, diff, evaluate of a moved run; and the loggers beside W&B."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aspire.cli import main

pytestmark = pytest.mark.timeout(900)  # several jobs in one fixture
TINY = ["dataset.scale=0.02", "fit.steps=4", "fit.evaluations=2", "trainer.threads=1"]
TYPED = [
    "baseline=jtt",
    "baseline.upweight=7",
    "optimizer=adamw",
    "hparams=mini",
    "filter=[duplicate]",
]


@pytest.fixture(scope="module")
def outputs(tiny_data, tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("again") / "outputs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASPIRE_DATA", str(tiny_data))
        patch.setenv("ASPIRE_OUTPUTS", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", f"file:{folder}/mlflow")  # tables of SQLite take 10 s
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield folder


@pytest.fixture(scope="module")
def runs(outputs) -> tuple[Path, Path]:
    """A JTT with settings of its own, and an ERM."""
    assert main(["train", *TINY, *TYPED, "logger=[tensorboard,csv,mlflow]"]) == 0
    assert main(["train", *TINY, "seed=3", "logger=none"]) == 0
    (jtt,) = outputs.glob("train/*/jtt/none/*")
    (erm,) = outputs.glob("train/*/erm/none/*-s3-*")
    return jtt, erm


def test_a_rerun_composes_the_stored_settings_and_gives_the_same_numbers(runs, capfd):
    jtt, _ = runs
    assert main(["rerun", str(jtt)]) == 0
    out = capfd.readouterr().out
    assert "changed" not in out
    assert "++baseline.upweight=7" in out
    assert "optimizer=adamw" in out
    assert "weights and every number are those of the run" in out
    (again,) = (jtt.parents[4] / "rerun" / jtt.name / "train").glob("*/jtt/none/*")
    assert again.name == jtt.name  # the key is a hash of everything that changes the result
    before, after = (json.loads((r / "result.json").read_text()) for r in (jtt, again))
    assert after["weights_sha256"] == before["weights_sha256"]


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("result.json", {"dataset_digest": "x" * 64}, "data: "),
        ("result.json", {"key": "000000000000"}, "code: training gives other numbers by now"),
        ("environment.json", {"aspire": "0.0.9"}, "code: aspire 0.0.9 then"),
    ],
)
def test_a_rerun_refuses_what_would_not_be_comparable(
    file, change, expected, runs, tmp_path, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(runs[1], folder)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | change))
    assert main(["rerun", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert expected in out
    assert "Type anyway=true to run it all the same" in err
    assert main(["rerun", str(folder), "dry_run=true"]) == 0


def test_diff_shows_what_two_runs_do_not_share(runs, capsys):
    jtt, erm = runs
    assert main(["diff", str(jtt), str(erm), "format=json"]) == 0
    found = {(d["section"], d["name"]): d for d in json.loads(capsys.readouterr().out)}
    upweight = found["settings", "baseline.upweight"]
    assert (upweight["left"], upweight["right"]) == (7, None)
    seed = found["settings", "seed"]
    assert (seed["left"], seed["right"]) == (0, 3)
    assert found["settings", "optimizer._target_"]["left"] == "torch.optim.AdamW"
    assert ("settings", "fit.steps") not in found
    assert not [k for k in found if k[0] == "data"]
    results = [json.loads((r / "result.json").read_text()) for r in runs]
    acc = found["results", "test.groups.landbird/land.acc"]
    groups = [r["metrics"]["test"]["groups"]["landbird/land"]["acc"] for r in results]
    assert [acc["left"], acc["right"]] == groups

    assert main(["diff", str(jtt), str(erm)]) == 0
    text = capsys.readouterr().out
    assert "settings  what changes the result: " in text
    assert "on which data: 0 differ" in text
    assert main(["diff", str(jtt), str(jtt), "format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["diff", str(jtt), "nowhere"]) == 2
    assert "nowhere: no result.json in it" in capsys.readouterr().err


def test_a_run_folder_that_was_moved_is_evaluated(runs, tmp_path, capsys):
    _, erm = runs
    moved = tmp_path / "elsewhere" / "mine"
    shutil.copytree(erm, moved)
    with pytest.MonkeyPatch.context() as patch:  # nothing of its old outputs folder is at hand
        patch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "new"))
        assert main(["evaluate", f"run={moved}"]) == 0
        assert main(["evaluate", str(moved), "selection=val_acc"]) == 0
    files = [json.loads(p.read_text()) for p in (tmp_path / "new" / "evaluate").glob("mine-*.json")]
    result = json.loads((erm / "result.json").read_text())
    assert {f["selection"] for f in files} == {result["selection"], "val_acc"}
    (same,) = [f for f in files if f["selection"] == result["selection"]]
    assert same["metrics"]["test"] == result["metrics"]["test"]


def test_csv_and_tensorboard_have_the_same_curves(runs):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    jtt, _ = runs
    history = json.loads((jtt / "result.json").read_text())["history"]["train"]
    expected = [row["val/worst_group_acc"] for row in history]
    events = event_accumulator.EventAccumulator(str(jtt / "tensorboard" / "train"))
    events.Reload()
    values = [e.value for e in events.Scalars("val/worst_group_acc")]
    assert values == pytest.approx(expected)
    with (jtt / "csv" / "train" / "metrics.csv").open() as file:
        rows = [r["val/worst_group_acc"] for r in csv.DictReader(file)]
    assert [float(v) for v in rows if v] == pytest.approx(expected)


def test_mlflow_has_a_run_with_the_curves_and_the_results(runs, outputs):
    from mlflow.tracking import MlflowClient

    jtt, _ = runs
    result = json.loads((jtt / "result.json").read_text())
    client = MlflowClient(f"file:{outputs}/mlflow")
    experiment = client.get_experiment_by_name("aspire")
    (run,) = client.search_runs([experiment.experiment_id])
    curve = client.get_metric_history(run.info.run_id, "val/worst_group_acc")
    assert {m.step: m.value for m in curve} == {
        row["step"]: pytest.approx(row["val/worst_group_acc"]) for row in result["history"]["train"]
    }
    assert "erm/val/acc" in run.data.metrics  # of the phase that finds the errors
    test = result["metrics"]["test"]
    assert run.data.metrics["test/worst_group_acc"] == pytest.approx(test["worst_group_acc"])
    for name, group in test["groups"].items():
        assert run.data.metrics[f"test/group/{name}/n"] == group["n"]
    assert run.data.tags["aspire.key"] == result["key"]
    assert run.data.tags["arm"] == "jtt"
    assert run.data.tags["test/worst_group"] == test["worst_group"]
    assert run.data.params["settings/baseline/upweight"] == "7"
    assert run.info.status == "FINISHED"
