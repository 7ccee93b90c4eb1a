"""Hugging Face datasets on disk: splits, label names, images inside and outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aspire.data.hf_dataset import HFDataset
from aspire.data.images import read_image, read_labels
from aspire.data.table import Split
from aspire.errors import ConfigError, DataError

datasets = pytest.importorskip("datasets")


def pictures(number: int = 6) -> list[Image.Image]:
    return [Image.new("RGB", (5, 4), (i, 0, 0)) for i in range(number)]


def save(root: Path, columns: dict[str, Any], **types: Any) -> Path:
    made = datasets.Dataset.from_dict(columns)
    for name, kind in types.items():
        made = made.cast_column(name, kind)
    made.save_to_disk(str(root))
    return root


SPLITS = ["train", "train", "validation", "validation", "test", "test"]


def test_one_dataset_with_a_split_column(tmp_path: Path) -> None:
    columns = {
        "image": pictures(),
        "label": ["cat", "dog"] * 3,
        "a": ["land", None] * 3,
        "split": SPLITS,
    }
    root = save(tmp_path / "hf", columns, image=datasets.Image())
    data = HFDataset(root, tmp_path / "cache").read()
    assert data.class_names == ("cat", "dog")
    assert data.table["split"].tolist() == [0, 0, 1, 1, 2, 2]
    assert data.table["place"].tolist() == [0, -1] * 3
    pixels = [read_image(data.path(n))[0, 0, 0] for n in data.table["img_filename"]]
    assert pixels == [0, 1, 2, 3, 4, 5]


def test_images_are_written_once(tmp_path: Path) -> None:
    columns = {"image": pictures(), "label": [0, 1] * 3, "split": SPLITS}
    root = save(tmp_path / "hf", columns, image=datasets.Image())
    data = HFDataset(root, tmp_path / "cache").read()
    files = sorted(p for p in (tmp_path / "cache").rglob("*") if p.suffix == ".png")
    assert len(files) == 6
    times = [f.stat().st_mtime_ns for f in files]
    again = HFDataset(root, tmp_path / "cache").read()
    assert again.table.equals(data.table)
    assert [f.stat().st_mtime_ns for f in files] == times
    assert not list((tmp_path / "cache").glob("*.unfinished"))


def test_an_interrupted_writing_is_done_again(tmp_path: Path) -> None:
    columns = {"image": pictures(), "label": [0, 1] * 3, "split": SPLITS}
    root = save(tmp_path / "hf", columns, image=datasets.Image())
    data = HFDataset(root, tmp_path / "cache").read()
    (data.root / "index.json").unlink()  # as before it was finished
    (data.root / "0000003.png").unlink()
    HFDataset(root, tmp_path / "cache").read().check_files()


def test_numbers_of_class_labels_are_read_by_name(tmp_path: Path) -> None:
    """Names out of order, also of the split: 0 is not train here."""
    columns = {
        "image": pictures(),
        "label": [0, 1] * 3,
        "split": [2, 2, 0, 0, 1, 1],
        "place": [1, 0, 1, 0, 1, -1],
    }
    root = save(
        tmp_path / "hf",
        columns,
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["wolf", "ape"]),
        split=datasets.ClassLabel(names=["validation", "test", "train"]),
        place=datasets.ClassLabel(names=["1", "0"]),
    )
    data = HFDataset(root, tmp_path / "cache").read()
    assert data.class_names == ("wolf", "ape")
    assert data.table["y"].tolist() == [0, 1] * 3
    assert data.table["split"].tolist() == [0, 0, 1, 1, 2, 2]
    assert data.attribute_names == ("1", "0")
    assert data.table["place"].tolist() == [1, 0, 1, 0, 1, -1]


def test_paths_instead_of_images(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{i}.png")
    columns = {"path": [f"{i}.png" for i in range(6)], "label": [0, 1] * 3, "split": SPLITS}
    root = save(tmp_path / "hf", columns)
    data = HFDataset(root, tmp_path / "cache", images=tmp_path).read()
    data.check_files()
    assert not (tmp_path / "cache").exists()
    assert data.attribute_names == ("unknown",)


def test_no_splits_are_drawn(tmp_path: Path) -> None:
    root = save(
        tmp_path / "hf", {"image": pictures(20), "label": [0, 1] * 10}, image=datasets.Image()
    )
    data = HFDataset(root, tmp_path / "cache").read()
    assert [len(data.split(s)) for s in (Split.TRAIN, Split.VAL, Split.TEST)] == [14, 2, 4]


def test_masks_and_captions_come_along(tmp_path: Path) -> None:
    masks: list[Any] = [Image.fromarray(np.full((4, 5), i, np.uint8)) for i in range(6)]
    masks[2] = None
    columns = {
        "image": pictures(), "mask": masks, "label": [0, 1] * 3, "split": SPLITS,
        "caption": [f"a {i}" for i in range(6)],
    }  # fmt: skip
    root = save(tmp_path / "hf", columns, image=datasets.Image(), mask=datasets.Image())
    data = HFDataset(root, tmp_path / "cache").read()
    names = data.table["mask_filename"].tolist()
    assert names[2] == ""
    assert (read_labels(data.path(names[4])) == 4).all()
    assert data.table["caption"].tolist()[5] == "a 5"


def test_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.root is not set"):
        HFDataset(None, tmp_path)
    two = {"image": pictures(), "other": pictures(), "label": [0, 1] * 3, "split": SPLITS}
    root = save(tmp_path / "hf", two, image=datasets.Image(), other=datasets.Image())
    with pytest.raises(DataError, match="has 2 image columns, image, other"):
        HFDataset(root, tmp_path / "cache").read()
    chosen = HFDataset(root, tmp_path / "cache", columns={"img_filename": "other"}).read()
    chosen.check_files()


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    root = save(tmp_path / "hf", {"path": ["a"], "label": [0]})
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match="pip install datasets"):
        HFDataset(root, tmp_path / "cache").read()
