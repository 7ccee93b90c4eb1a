"""A dataset that is exported, passed on and read back trains to the same numbers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import aspire
from aspire.data.export import Export

SHORT = {
    "fit.steps": 4,
    "fit.evaluations": 2,
    "fit.batch_size": 8,
    "fit.selection": "val_worst_group",
    "model": "small_cnn",
    "model.image_size": 16,
    "optimizer.lr": 0.05,
    "trainer.accelerator": "cpu",
}


def numbers(data: aspire.LoadedDataset, outputs: Path) -> dict[str, Any]:
    result = aspire.train(data, outputs=outputs, settings=SHORT).result
    return {k: result[k] for k in ("metrics", "history", "weights_sha256", "group_counts")}


def test_training_on_what_was_passed_on(waterbirds: aspire.Dataset, tmp_path: Path) -> None:
    expected = numbers(aspire.load_dataset(waterbirds), tmp_path / "outputs")
    Export(waterbirds).write("csv", tmp_path / "out")
    there = tmp_path / "elsewhere"
    shutil.move(tmp_path / "out", there)  # nothing leads back
    # as the card that goes along says
    names = {"class_names": ["landbird", "waterbird"], "attribute_names": ["land", "water"]}
    card = (there / "README.md").read_text("utf-8")
    assert all(f"dataset.{k}=[{','.join(v)}]" in card for k, v in names.items())
    data = aspire.load_dataset(there / "metadata.csv", **names)
    assert numbers(data, tmp_path / "again") == expected
