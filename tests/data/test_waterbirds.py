"""The Waterbirds reader on a written layout, whole and broken."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aspire.data.images import read_labels
from aspire.data.table import Split
from aspire.data.waterbirds import Waterbirds
from aspire.errors import ConfigError, DataError


def change(folder: Path, row: int, column: str, value: object) -> None:
    table = pd.read_csv(folder / "metadata.csv", dtype=object)
    table.loc[row, column] = value
    table.to_csv(folder / "metadata.csv", index=False)


def test_reads_the_layout(waterbirds_folder: Path) -> None:
    data = Waterbirds(waterbirds_folder).read()
    data.check_files()
    assert data.grouper.names == (
        "landbird/land",
        "landbird/water",
        "waterbird/land",
        "waterbird/water",
    )
    assert list(data.group_counts(Split.TRAIN).values()) == [16, 4, 4, 16]
    assert list(data.group_counts(Split.VAL).values()) == [4, 4, 4, 4]
    assert list(data.group_counts(Split.TEST).values()) == [4, 4, 4, 4]
    first = data.table.iloc[0]
    assert first["img_id"] == "1"
    assert first["img_filename"] == "000.Landbird/jungle_0_00.jpg"
    assert first["caption"] == "a landbird on the jungle"
    assert first["mask_filename"] == "segmentations/000.Landbird/jungle_0_00.png"
    assert set(read_labels(data.path(first["mask_filename"])).flat) == {0, 1}
    assert data.class_words == (("landbird",), ("waterbird",))
    assert data.spurious_attribute == "background"


def test_captions_and_masks_are_optional(waterbirds_folder: Path) -> None:
    (waterbirds_folder / "captions.csv").unlink()
    (waterbirds_folder / "segmentations").rename(waterbirds_folder / "other")
    data = Waterbirds(waterbirds_folder).read()
    assert "caption" not in data.table.columns
    assert "mask_filename" not in data.table.columns


def test_single_missing_caption_and_mask_are_empty(waterbirds_folder: Path) -> None:
    captions = pd.read_csv(waterbirds_folder / "captions.csv")
    captions.drop(index=0).to_csv(waterbirds_folder / "captions.csv", index=False)
    (waterbirds_folder / "segmentations/000.Landbird/jungle_0_00.png").unlink()
    table = Waterbirds(waterbirds_folder).read().table
    assert list(table["caption"].iloc[:2]) == ["", "a landbird on the forest"]
    assert table["mask_filename"].iloc[0] == ""
    assert table["mask_filename"].iloc[1] != ""


def test_other_classes_in_the_same_layout(waterbirds_folder: Path) -> None:
    data = Waterbirds(waterbirds_folder, ["cat", "dog"], ["in", "out"], [["cat"], ["dog", "puppy"]])
    assert data.read().grouper.names[3] == "dog/out"
    assert data.read().class_words[1] == ("dog", "puppy")


def test_number_of_word_lists_must_be_that_of_the_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 1 lists for 2 classes; expected one list of words"):
        Waterbirds(tmp_path, class_words=[["bird"]])


def test_construction_touches_no_file(tmp_path: Path) -> None:
    Waterbirds(tmp_path / "nowhere")


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Waterbirds(tmp_path / "nowhere").read()
    text = str(caught.value)
    assert f"dataset.root={tmp_path / 'nowhere'}: no such folder" in text
    assert "Expected Waterbirds unpacked there" in text
    assert "dataset.root=DIR" in text


def test_missing_metadata_says_what_the_folder_holds(waterbirds_folder: Path) -> None:
    (waterbirds_folder / "metadata.csv").unlink()
    with pytest.raises(DataError) as caught:
        Waterbirds(waterbirds_folder).read()
    text = str(caught.value)
    assert f"metadata.csv not found in {waterbirds_folder}" in text
    assert "it holds: 000.Landbird, 001.Waterbird, captions.csv, segmentations" in text
    assert "set dataset.root to it" in text


def test_empty_metadata_is_not_a_csv(waterbirds_folder: Path) -> None:
    (waterbirds_folder / "metadata.csv").write_text("")
    with pytest.raises(DataError, match=r"metadata\.csv cannot be read as a CSV file: No columns"):
        Waterbirds(waterbirds_folder).read()


@pytest.mark.parametrize("column", ["img_id", "img_filename", "y", "split", "place"])
def test_misspelt_column_is_named_with_what_stands_there(
    waterbirds_folder: Path, column: str
) -> None:
    path = waterbirds_folder / "metadata.csv"
    wrong = {"place": "plce", "y": "label"}.get(column, column + "s")
    header, rest = path.read_text().split("\n", 1)
    names = [wrong if c == column else c for c in header.split(",")]
    path.write_text(",".join(names) + "\n" + rest)
    with pytest.raises(DataError) as caught:
        Waterbirds(waterbirds_folder).read()
    text = str(caught.value)
    assert f"has no column '{column}'." in text
    assert (f"Did you mean {wrong}?" in text) == (column != "y")
    assert f"found {', '.join(names)}" in text


def test_empty_split(waterbirds_folder: Path) -> None:
    path = waterbirds_folder / "metadata.csv"
    table = pd.read_csv(path)
    table[table["split"] != 1].to_csv(path, index=False)
    with pytest.raises(DataError, match=r"the val split is empty.*found the splits \[0, 2\]"):
        Waterbirds(waterbirds_folder).read()


def test_class_out_of_range(waterbirds_folder: Path) -> None:
    change(waterbirds_folder, 5, "y", "2")
    with pytest.raises(DataError, match=r"column 'y' holds 2 in row 5; expected .* from 0 to 1"):
        Waterbirds(waterbirds_folder).read()


def test_repeated_id(waterbirds_folder: Path) -> None:
    change(waterbirds_folder, 5, "img_id", "3")
    with pytest.raises(DataError, match=r"img_id must be unique; '3' .* \(first repeat in row 5\)"):
        Waterbirds(waterbirds_folder).read()


def test_missing_and_empty_images_are_found_before_training(waterbirds_folder: Path) -> None:
    data = Waterbirds(waterbirds_folder).read()
    first, second = data.table["img_filename"].iloc[[2, 7]]
    data.path(first).unlink()
    data.path(second).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        data.check_files()
    text = str(caught.value)
    assert f"row 2: {first} is missing" in text
    assert f"row 7: {second} has zero bytes" in text


def test_wrong_column_of_the_captions(waterbirds_folder: Path) -> None:
    path = waterbirds_folder / "captions.csv"
    path.write_text(path.read_text().replace("img_filename,caption", "img_filename,captoin"))
    with pytest.raises(DataError) as caught:
        Waterbirds(waterbirds_folder).read()
    text = str(caught.value)
    assert f"{path} has no column 'caption'. Did you mean captoin?" in text
    assert "Expected img_filename,caption; found img_filename, captoin." in text
