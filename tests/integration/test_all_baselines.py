"""Every yaml in conf/baseline trains on the miniature; adding a file here adds the test."""

import json

import pytest
import torch

from aspire.cli import main
from aspire.confdir import conf_dir

BASELINES = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))


@pytest.mark.parametrize("augmentation", ["none", "aspire", "duplicates"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_trains(baseline, augmentation, tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    words = [f"baseline={baseline}", f"augmentation={augmentation}", "dataset.scale=0.02"]
    # Thresholds low enough that eight steps of training show a feature.
    words += ["stage.discover.min_support=1", "stage.discover.min_flip_rate=0", "logger=none"]
    assert (
        main(["train", *words, "fit.steps=8", "fit.evaluations=2", "stage.filter.min_kept=0"]) == 0
    )
    folders = list((tmp_path / "train" / "mini_waterbirds" / baseline / augmentation).iterdir())
    (folder,) = (f for f in folders if (f / "result.json").is_file())
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 8
    assert result["metrics"]["test"]["worst_group"] in result["metrics"]["test"]["groups"]
    assert sum(g["n"] for g in result["metrics"]["test"]["groups"].values()) == sum(
        result["group_counts"]["test"].values()
    )
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    assert all(torch.isfinite(w).all() for w in weights.values() if w.is_floating_point())
