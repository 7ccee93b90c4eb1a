"""SpuCoDogs: folders without any table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from aspire.data.spuco_dogs import SpuCoDogs
from aspire.data.table import Split
from aspire.errors import ConfigError, DataError

COUNTS = {  # split -> small indoor, small outdoor, big indoor, big outdoor
    "train": (4, 1, 1, 4),
    "val": (2, 1, 1, 2),
    "test": (2, 2, 2, 2),
}
GROUPS = ("small_dogs/indoor", "small_dogs/outdoor", "big_dogs/indoor", "big_dogs/outdoor")


def write(root: Path) -> Path:
    for split, counts in COUNTS.items():
        for group, number in zip(GROUPS, counts, strict=True):
            folder = root / split / group
            folder.mkdir(parents=True)
            for i in range(number):
                Image.new("RGB", (8, 6), (i, 0, 0)).save(folder / f"{i}.jpg")
    return root


def test_reads_the_folders(tmp_path: Path) -> None:
    root = write(tmp_path / "spuco_dogs")
    (root / "train" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "small_dogs" / "indoor" / "Thumbs.db").write_bytes(b"x")
    for place in (root, root.parent):  # the folder itself, or the one it was unpacked in
        data = SpuCoDogs(place).read()
        data.check_files()
        assert data.grouper.names == GROUPS
        for split, counts in COUNTS.items():
            assert tuple(data.group_counts(Split[split.upper()]).values()) == counts
    assert data.table["img_filename"].iloc[0] == "train/small_dogs/indoor/0.jpg"
    assert data.table["img_id"].is_unique


def test_masks_and_captions_beside(tmp_path: Path) -> None:
    root = write(tmp_path / "dogs")
    name = "train/big_dogs/indoor/0"
    (root / "segmentations" / name).parent.mkdir(parents=True)
    Image.new("1", (8, 6)).save(root / "segmentations" / f"{name}.png")
    (root / "captions.csv").write_text(f"img_filename,caption\n{name}.jpg,a dog on a sofa\n")
    row = SpuCoDogs(root).read().table.set_index("img_filename").loc[f"{name}.jpg"]
    assert row["mask_filename"] == f"segmentations/{name}.png"
    assert row["caption"] == "a dog on a sofa"


def test_same_name_with_two_endings_gives_two_ids(tmp_path: Path) -> None:
    root = write(tmp_path / "dogs")
    Image.new("RGB", (8, 6)).save(root / "train/small_dogs/indoor/0.png")
    assert SpuCoDogs(root).read().table["img_id"].is_unique


def remove(root: Path) -> None:
    shutil.rmtree(root / "val")


def rename(root: Path) -> None:
    (root / "train/small_dogs/indoor").rename(root / "train/small_dogs/indoors")


def empty(root: Path) -> None:
    for file in (root / "test/big_dogs/indoor").iterdir():
        file.unlink()


def stray(root: Path) -> None:
    Image.new("RGB", (8, 6)).save(root / "train/big_dogs/stray.jpg")


def deeper(root: Path) -> None:
    (root / "train/big_dogs/outdoor/more").mkdir()


def unknown(root: Path) -> None:
    (root / "train/big_dogs/outdoor/a.heic").write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove, "- val/"),
        (rename, "- indoor/    indoors/"),
        (empty, "test/big_dogs/indoor holds no image"),
        (stray, "is not laid out like SpuCoDogs"),
        (deeper, "holds the folder more/; expected images only"),
        (unknown, "holds 1 files that are not images of a known kind, such as a.heic"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, change: object, said: str) -> None:
    root = write(tmp_path / "dogs")
    change(root)
    with pytest.raises(DataError) as caught:
        SpuCoDogs(root).read()
    assert said in str(caught.value)


def test_missing_folder_and_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder\. Expected SpuCoDogs unpacked there"):
        SpuCoDogs(tmp_path / "nowhere").read()
    with pytest.raises(ConfigError, match="two classes and two places"):
        SpuCoDogs(tmp_path, class_names=("dog",))
