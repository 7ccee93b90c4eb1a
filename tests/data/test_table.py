"""The metadata table: its contract, its error texts, its digest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aspire.data.groups import Grouper
from aspire.data.table import Dataset, Split, names_tuple
from aspire.data.waterbirds import Waterbirds
from aspire.errors import DataError


def dataset(root: Path = Path("/nowhere"), **columns: Any) -> Dataset:
    values = {
        "img_id": ["a", "b", "c", "d"],
        "img_filename": ["a.png", "b.png", "c.png", "d.png"],
        "y": [0, 1, 0, 1],
        "split": [0, 1, 2, 0],
        "place": [0, 1, -1, 0],
        **columns,
    }
    table = pd.DataFrame({k: v for k, v in values.items() if v is not None})
    return Dataset("toy", root, table, ("cat", "dog"), ("land", "water"))


def test_splits_keep_the_order_of_the_table() -> None:
    train = dataset().split(Split.TRAIN)
    assert list(train["img_id"]) == ["a", "d"]
    assert list(train.index) == [0, 1]


def test_group_counts_by_hand() -> None:
    assert dataset().group_counts(Split.TRAIN) == {
        "cat/land": 1,
        "cat/water": 0,
        "dog/land": 1,
        "dog/water": 0,
    }
    # the one test image has an unknown place and counts for no group
    assert sum(dataset().group_counts(Split.TEST).values()) == 0


def test_group_id_is_class_times_attributes_plus_place() -> None:
    grouper = Grouper(["a", "b"], ["x", "y", "z"])
    ids = grouper.ids(np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2, -1]))
    assert ids.tolist() == [0, 1, 2, 3, 4, 5, -1]
    assert grouper.names[4] == "b/y"
    assert grouper.num_groups == 6


def test_missing_values_of_optional_columns_become_empty_text() -> None:
    table = dataset(caption=["x", None, float("nan"), "y"]).table
    assert list(table["caption"]) == ["x", "", "", "y"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"y": [0, 1, 2, 1]},
            "toy: column 'y' holds 2 in row 2; expected a whole number from 0 to 1 (class_names).",
        ),
        ({"y": [0, -1, 0, 1]}, "column 'y' holds -1 in row 1"),
        ({"y": [0, 1, 0.5, 1]}, "column 'y' holds 0.5 in row 2"),
        ({"y": [0, 1, "dog", 1]}, "column 'y' holds 'dog' in row 2"),
        ({"y": [0, 1, None, 1]}, "column 'y' holds nan in row 2"),
        (
            {"place": [0, 2, 0, 1]},
            "column 'place' holds 2 in row 1; expected a whole number from -1",
        ),
        ({"split": [0, 1, 2, 4]}, "column 'split' holds 4 in row 3"),
        (
            {"split": [0, 0, 2, 2]},
            "the val split is empty. Expected rows with split=1 in the metadata table of /nowhere; "
            "found the splits [0, 2].",
        ),
        (
            {"img_id": ["a", "b", "b", "d"]},
            "img_id must be unique; 'b' appears more than once (first repeat in row 2)",
        ),
        ({"place": None, "plce": [0, 0, 0, 0]}, "no column 'place'. Did you mean plce?"),
        (
            {"split": None},
            "has no column 'split'. Expected the columns img_id, img_filename, y, split, place; "
            "found img_id, img_filename, y, place.",
        ),
    ],
)
def test_broken_contract_names_column_row_and_expectation(
    columns: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        dataset(**columns)
    assert said in str(caught.value)


def test_number_texts_are_read_as_numbers() -> None:
    assert list(dataset(y=["0", "1", "0", "1"]).table["y"]) == [0, 1, 0, 1]


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", ""]])
def test_names_are_distinct_and_not_empty(names: list[str]) -> None:
    with pytest.raises(DataError, match="distinct and not empty"):
        names_tuple(names)


def test_check_files_lists_missing_and_empty_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / "d.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        dataset(tmp_path).check_files()
    text = str(caught.value)
    assert f"2 of 4 images cannot be read in {tmp_path}" in text
    assert "row 2: c.png is missing" in text
    assert "row 3: d.png has zero bytes" in text
    assert "Put the files back or take their rows out" in text


def test_check_files_shows_five_and_counts_the_rest(tmp_path: Path) -> None:
    number = 8
    many = dataset(
        tmp_path,
        img_id=[str(i) for i in range(number)],
        img_filename=[f"{i}.png" for i in range(number)],
        y=[0] * number,
        place=[0] * number,
        split=[0, 1, 2] + [0] * 5,
    )
    with pytest.raises(DataError, match="and 3 more"):
        many.check_files()


def test_digest_does_not_depend_on_where_the_folder_lies(
    waterbirds_folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    here = Waterbirds(waterbirds_folder).read()
    before = here.digest(), here.digest(cache)
    moved = Path(shutil.move(waterbirds_folder, tmp_path / "elsewhere"))
    there = Waterbirds(moved).read()
    assert (there.digest(), there.digest(cache)) == before
    assert before[0] == before[1]


@pytest.mark.parametrize("column", ["img_filename", "mask_filename"])
def test_one_pixel_changes_the_digest_with_and_without_cache(
    waterbirds_folder: Path, tmp_path: Path, column: str
) -> None:
    cache = tmp_path / "cache"
    data = Waterbirds(waterbirds_folder).read()
    before = data.digest(cache)
    assert data.digest(cache) == before
    path = data.path(data.table[column].iloc[33])
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[:8, :8] = ~pixels[:8, :8]  # an 8 x 8 block, since JPEG would smooth one pixel away
    Image.fromarray(pixels).save(path)
    later = path.stat().st_mtime_ns + 10**9  # clocks of file systems are coarse
    os.utime(path, ns=(later, later))
    after = Waterbirds(waterbirds_folder).read()
    assert after.digest(cache) != before
    assert after.digest(cache) == after.digest()


def test_one_pixel_of_a_png_changes_the_digest(tmp_path: Path) -> None:
    for name in "abcd":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    before = dataset(tmp_path).digest()
    image = Image.new("RGB", (4, 4))
    image.putpixel((2, 1), (0, 0, 1))
    image.save(tmp_path / "c.png")
    assert dataset(tmp_path).digest() != before


def test_digest_changes_with_every_part_of_the_table(tmp_path: Path) -> None:
    for name in "abcd":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    plain = dataset(tmp_path)
    renamed = Dataset("toy", tmp_path, plain.table, ("cat", "wolf"), ("land", "water"))
    digests = [
        plain.digest(),
        renamed.digest(),
        dataset(tmp_path, y=[0, 1, 1, 1]).digest(),
        dataset(tmp_path, place=[0, 1, 0, 0]).digest(),
        dataset(tmp_path, caption=["x", "", "", ""]).digest(),
    ]
    assert len(set(digests)) == 5
    # columns that no training reads; what edits make of photographs is named by their stage
    assert dataset(tmp_path, note=["x", "", "", ""]).digest() == plain.digest()
    shared = dataset(tmp_path, place_filename=["p", "p", None, ""])
    assert shared.digest() == plain.digest()
    assert shared.table["place_filename"].tolist() == ["p", "p", "", ""]


def test_cache_spares_reading_the_files_again(tmp_path: Path) -> None:
    for name in "abcd":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    cache = tmp_path / "cache"
    before = dataset(tmp_path).digest(cache)
    stat = (tmp_path / "a.png").stat()
    (tmp_path / "a.png").write_bytes(b"x" * stat.st_size)  # same size and time: trusted
    os.utime(tmp_path / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert dataset(tmp_path).digest(cache) == before
    assert dataset(tmp_path).digest() != before
    os.utime(tmp_path / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))  # another time
    assert dataset(tmp_path).digest(cache) == dataset(tmp_path).digest() != before
