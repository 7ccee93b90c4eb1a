"""Folders of classes, with and without attributes and splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from aspire.data.image_folder import ImageFolder
from aspire.data.table import Split
from aspire.errors import ConfigError, DataError


def draw(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 0, 0)).save(root / name)
    return root


def test_classes_only(tmp_path: Path) -> None:
    names = [f"{c}/{i:02d}.png" for c in ("dog", "cat") for i in range(20)]
    data = ImageFolder(draw(tmp_path, *names)).read()
    assert data.class_names == ("cat", "dog")
    assert data.attribute_names == ("unknown",)
    assert sum(data.group_counts(Split.TRAIN).values()) == 0  # no group is known
    for y in (0, 1):
        split = data.table.loc[data.table["y"] == y, "split"]
        assert [(split == s).sum() for s in (0, 1, 2)] == [14, 2, 4]
    again = ImageFolder(tmp_path).read()
    assert again.table.equals(data.table)


def test_too_few_to_draw_splits_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 2 images in class folders, too few to draw train"):
        ImageFolder(draw(tmp_path, "dog/1.png", "cat/1.png")).read()


def test_splits_and_attributes(tmp_path: Path) -> None:
    root = draw(
        tmp_path,
        "Train/cat/land/3.png", "Train/cat/water/1.png", "Train/dog/water/2.png",
        "valid/cat/land/0.png", "test/dog/land/0.png", ".cache/x.png",
    )  # fmt: skip
    data = ImageFolder(root, spurious_attribute="background").read()
    train = data.split(Split.TRAIN)
    assert train["img_filename"].tolist() == [  # in the order of the file names
        "Train/cat/water/1.png", "Train/dog/water/2.png", "Train/cat/land/3.png"
    ]  # fmt: skip
    assert train["y"].tolist() == [0, 1, 0]
    assert train["place"].tolist() == [1, 1, 0]
    assert data.group_counts(Split.TEST)["dog/land"] == 1
    assert data.group_definition == "class and background of an image"


def test_given_order_of_the_classes(tmp_path: Path) -> None:
    root = draw(tmp_path, "train/a/0.png", "train/b/1.png", "val/a/0.png", "test/a/0.png")
    data = ImageFolder(root, class_names=["b", "a"]).read()
    assert data.split(Split.TRAIN)["y"].tolist() == [1, 0]
    with pytest.raises(DataError, match=r"class_names lists a, c; the class folders .* are a, b"):
        ImageFolder(root, class_names=["a", "c"]).read()


def test_val_is_drawn_where_it_is_missing(tmp_path: Path) -> None:
    names = [f"train/{c}/{i}.png" for c in "ab" for i in range(20)]
    data = ImageFolder(draw(tmp_path, *names, "test/a/0.png", "test/b/0.png")).read()
    assert [len(data.split(s)) for s in (Split.TRAIN, Split.VAL, Split.TEST)] == [36, 4, 2]


def test_captions_and_masks(tmp_path: Path) -> None:
    root = draw(
        tmp_path, "train/a/0.png", "train/b/1.png", "val/a/0.png", "test/a/0.png",
        "segmentations/train/a/0.png",
    )  # fmt: skip
    (root / "captions.csv").write_text("img_filename,caption\ntrain/b/1.png,a b\n")
    table = ImageFolder(root).read().table
    assert table["mask_filename"].tolist() == ["segmentations/train/a/0.png", "", "", ""]
    assert table["caption"].tolist() == ["", "a b", "", ""]


def test_root_must_be_set() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.root is not set"):
        ImageFolder(None)
