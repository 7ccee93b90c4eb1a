"""The photos as a table, as folders and as a Hugging Face dataset train to the same numbers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aspire.cli import main
from aspire.data.table import Dataset
from aspire.data.waterbirds import Waterbirds

SHARED = Path(os.environ.get("ASPIRE_SHARED_DATA") or Path(__file__).parents[3] / "shared/data")
PHOTOS = SHARED / "waterpets"
WORDS = ["train", "val", "test"]
FAST = ["model=small_cnn", "model.image_size=32", "fit.steps=12", "fit.evaluations=2"]


def as_csv(source: Dataset, folder: Path) -> list[str]:
    rows = source.table
    frame = pd.DataFrame(
        {
            "path": rows["img_filename"],
            "label": np.array(source.class_names)[rows["y"]],
            "attribute": np.array(source.attribute_names)[rows["place"]],
            "split": np.array(WORDS)[rows["split"]],
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    return [
        "dataset=csv",
        f"dataset.metadata={folder / 'table.csv'}",
        f"dataset.images={source.root}",
    ]


def as_folder(source: Dataset, folder: Path) -> list[str]:
    for i, row in enumerate(source.table.itertuples()):
        group = (WORDS[row.split], source.class_names[row.y], source.attribute_names[row.place])
        target = folder.joinpath("photos", *group) / f"{i:06d}.jpg"  # in the order of the table
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.path(row.img_filename), target)
    return ["dataset=folder", f"dataset.root={folder / 'photos'}"]


def as_hf(source: Dataset, folder: Path) -> list[str]:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(source.class_names)),
            "place": datasets.ClassLabel(names=list(source.attribute_names)),
        }
    )
    parts = {}
    for split, word in enumerate(WORDS):
        rows = source.table[source.table["split"] == split]
        columns = {
            "image": [str(source.path(n)) for n in rows["img_filename"]],
            "label": rows["y"].tolist(),
            "place": rows["place"].tolist(),
        }
        parts[word] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(folder / "saved"))
    return ["dataset=hf", f"dataset.root={folder / 'saved'}"]


def numbers(outputs: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What training gives: every accuracy, the curve and the digest of the weights."""
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(outputs))
    selection = "fit.selection=val_worst_group"
    assert main(["train", *words, *FAST, selection, "logger=none", "optimizer.lr=0.05"]) == 0
    (path,) = outputs.glob("train/*/*/*/*/result.json")
    result = json.loads(path.read_text())
    return {k: result[k] for k in ("metrics", "history", "weights_sha256", "group_counts")}


@pytest.mark.slow
@pytest.mark.realdata
def test_photos_in_every_form_train_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not PHOTOS.is_dir():
        pytest.skip(f"no photos at {PHOTOS}; set ASPIRE_SHARED_DATA")
    names = ["cat", "dog"]
    waterbirds = ["dataset=waterbirds", f"dataset.root={PHOTOS}", "dataset.class_names=[cat,dog]"]
    expected = numbers(tmp_path / "waterbirds", waterbirds, monkeypatch)
    assert sum(g["n"] for g in expected["metrics"]["test"]["groups"].values()) == 300
    source = Waterbirds(PHOTOS, names).read()
    for form in (as_csv, as_folder, as_hf):
        folder = tmp_path / form.__name__
        folder.mkdir()
        assert numbers(folder / "outputs", form(source, folder), monkeypatch) == expected
