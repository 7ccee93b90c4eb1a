"""Every yaml in conf/baseline on every miniature: adding a file there adds the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from aspire.classification.selection import RULES
from aspire.cli import main
from aspire.cli._app import compose_config
from aspire.cli.jobs import Job
from aspire.confdir import conf_dir
from aspire.training.checkpoints import SelectionCheckpoint

BASELINES = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))
MINIATURES = sorted(p.stem for p in (conf_dir() / "dataset").glob("mini_*.yaml"))
# A batch or two of every phase; some hundred images keep 64 runs short.
SCALES = {"mini_celeba": 0.003}
TINY = ["fit.batch_size=16", "logger=none", "trainer.threads=1"]


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))


def only_result(root: Path, baseline: str) -> Path:
    """The result of the one finished run of this baseline."""
    (found,) = (p for p in root.glob(f"train/*/{baseline}/*/*/result.json"))
    return found


def check(path: Path) -> dict[str, Any]:
    """What holds for every result."""
    result: dict[str, Any] = json.loads(path.read_text())
    test = result["metrics"]["test"]
    assert test["worst_group"] in test["groups"]
    counted = sum(g["n"] for g in test["groups"].values())
    assert counted == sum(result["group_counts"]["test"].values())
    assert set(result["selectable"]) <= set(RULES)
    weights = load_file(path.with_name("model.safetensors"))
    assert all(torch.isfinite(w).all() for w in weights.values() if w.is_floating_point())
    return result


@pytest.mark.parametrize("dataset", MINIATURES)
def test_every_baseline_trains(dataset: str, tmp_path: Path) -> None:
    words = ["-m", f"baseline={','.join(BASELINES)}", f"dataset={dataset}", *TINY]
    words += [f"dataset.scale={SCALES.get(dataset, 0.02)}"]
    assert main(["train", *words, "fit.steps=2", "fit.evaluations=1"]) == 0
    for baseline in BASELINES:
        result = check(only_result(tmp_path, baseline))
        assert result["history"], baseline
        assert result["needs"]
        assert all(isinstance(w, str) and len(w) > 30 for w in result["warnings"])


@pytest.mark.usefixtures("discovered")
@pytest.mark.parametrize("augmentation", ["aspire", "duplicates"])
def test_every_baseline_takes_generated_images(augmentation: str, tmp_path: Path) -> None:
    words = ["-m", f"baseline={','.join(BASELINES)}", f"augmentation={augmentation}", *TINY]
    words += ["dataset.scale=0.02"]
    # Thresholds low enough that few steps of training show a feature.
    words += ["score.min_support=2", "score.min_donors=2", "score.max_q=1", "score.min_effect=0"]
    words += ["stage.filter.min_kept=0", "fit.steps=8", "fit.evaluations=2"]
    assert main(["train", *words]) == 0
    for baseline in BASELINES:
        paths = tmp_path.glob(f"train/*/{baseline}/{augmentation}/*/result.json")
        (result,) = (check(path) for path in paths)
        assert result["generated_digest"]


class Kill(BaseException):
    """Stands for a power cut right after an evaluation was kept."""


@pytest.mark.parametrize("baseline", BASELINES)
def test_killed_anywhere_it_ends_the_same(
    baseline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut after every evaluation of every phase, one after the other: as often as it has any."""
    words = [f"baseline={baseline}", *TINY, "dataset.scale=0.02"]
    words += ["fit.steps=6", "fit.evaluations=3"]
    cfg, _ = compose_config("train", words)  # what a command does first, and the same each time

    def train() -> None:
        job = Job("train", cfg, words)
        job.experiment.train(job.recipe())

    train()
    whole = only_result(tmp_path, baseline)
    original = SelectionCheckpoint.on_train_epoch_end

    def killed(self: SelectionCheckpoint, *args: Any) -> None:
        original(self, *args)
        raise Kill

    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "cut"))
    kills = 0
    for _ in range(20):
        with monkeypatch.context() as patch:
            patch.setattr(SelectionCheckpoint, "on_train_epoch_end", killed)
            try:
                train()
                break
            except Kill:
                kills += 1
    assert kills >= 3
    cut = only_result(tmp_path / "cut", baseline)
    assert cut.read_bytes() == whole.read_bytes()
