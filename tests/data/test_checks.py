"""The checks on load: what is found, what is said, what is left out."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aspire.data.checks import check_dataset
from aspire.data.duplicates import look_alikes
from aspire.data.table import Dataset, Split
from aspire.data.waterbirds import Waterbirds
from aspire.errors import ConfigError, DataError


@pytest.fixture
def data(waterbirds_folder: Path) -> Dataset:
    return Waterbirds(waterbirds_folder).read()


def file(data: Dataset, row: int, column: str = "img_filename") -> Path:
    return data.path(data.table[column].iloc[row])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_good_data_passes_unchanged(data: Dataset) -> None:
    same, report = check_dataset(data, thorough=True)
    assert same is data
    assert report.to_dict() == {
        "on_bad": "error", "thorough": True, "images": 72, "problems": {}, "notes": {},
        "dropped": {}, "masks_dropped": 0,
    }  # fmt: skip
    assert report.text() == ""


def test_one_report_with_row_numbers(data: Dataset) -> None:
    file(data, 2).unlink()
    file(data, 7).write_bytes(b"")
    file(data, 9).write_bytes(b"no image at all")
    truncate(file(data, 11))
    with pytest.raises(DataError) as caught:
        check_dataset(data)
    text = str(caught.value)
    assert f"waterbirds: 4 of 72 rows have problems in {data.root}" in text
    assert "missing: 1\n    row 2: " in text
    assert "zero bytes: 1\n    row 7: " in text
    assert "unreadable: 1\n    row 9: " in text
    assert "(15 bytes): not an image of a known kind" in text
    assert "truncated: 1\n    row 11: " in text
    assert "dataset.on_bad=skip" in text


def test_skip_leaves_those_rows_out_and_counts_them(data: Dataset) -> None:
    test = int(np.flatnonzero(data.table["split"] == Split.TEST)[0])
    for row in (2, 7, test):
        file(data, row).unlink()
    gone = set(data.table["img_id"].iloc[[2, 7, test]])
    kept, report = check_dataset(data, on_bad="skip")
    assert len(kept.table) == 69
    assert not gone & set(kept.table["img_id"])
    assert kept.table.index.tolist() == list(range(69))
    assert len(data.table) == 72  # the given one is as it was
    assert report.dropped == {"train": 2, "test": 1}
    assert json.loads(json.dumps(report.to_dict()))["problems"] == {"missing": 3}
    assert kept.name == data.name
    assert check_dataset(kept)[1].problems == {}


def test_ten_rows_are_named_and_the_rest_counted(data: Dataset) -> None:
    for row in range(14):
        file(data, row).unlink()
    with pytest.raises(DataError) as caught:
        check_dataset(data)
    assert str(caught.value).count("is missing") == 10
    assert "    and 4 more\n" in str(caught.value)


def test_all_missing_asks_for_the_folder(data: Dataset, tmp_path: Path) -> None:
    moved = dataclasses.replace(data, root=tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"Every image is missing: is dataset\.root"):
        check_dataset(moved)
    with pytest.raises(DataError, match="would leave no image of the train split"):
        check_dataset(moved, on_bad="skip")


def test_masks(data: Dataset) -> None:
    file(data, 0, "mask_filename").unlink()
    Image.new("1", (9, 24)).save(file(data, 1, "mask_filename"))
    file(data, 2, "mask_filename").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        check_dataset(data)
    text = str(caught.value)
    assert "mask missing: 1\n    row 0: " in text
    assert "is 9 x 24, its image 24 x 24" in text
    assert "mask unreadable: 1\n    row 2: " in text
    kept, report = check_dataset(data, on_bad="skip")
    assert len(kept.table) == 72  # the images are good
    assert kept.table["mask_filename"].tolist()[:3] == ["", "", ""]
    assert data.table["mask_filename"].iloc[0] != ""
    assert report.masks_dropped == 3
    assert report.dropped == {}


def test_mask_that_was_not_turned_with_its_image(data: Dataset) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 12)).save(file(data, 0), exif=exif)
    Image.new("1", (24, 12)).save(file(data, 0, "mask_filename"))
    with pytest.raises(DataError, match=r"24 x 12, its image 12 x 24 \(one of them was turned\)"):
        check_dataset(data)


def test_unusual_files_are_noted(data: Dataset) -> None:
    masks = data.table.drop(columns="mask_filename")
    data = dataclasses.replace(data, table=masks)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (8, 8)).save(file(data, 0))
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(file(data, 1), "PNG")
    Image.new("RGBA", (8, 8)).save(file(data, 2), "PNG")
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(file(data, 3), "GIF", save_all=True, append_images=frames[1:])
    Image.new("RGB", (8, 8)).save(file(data, 4), exif=exif)
    same, report = check_dataset(data)
    assert same is data
    assert {k: v[0].row for k, v in report.notes.items()} == {
        "CMYK": 0, "16-bit": 1, "transparent": 2, "animated": 3, "EXIF-rotated": 4
    }  # fmt: skip
    assert "the first of 2 frames" in report.text()


def test_huge_and_colourless(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(file(data, 5), "TIFF")
    monkeypatch.setattr("aspire.data.images.MAX_PIXELS", 600)  # 24 x 24 is 576
    Image.new("RGB", (25, 25)).save(file(data, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow refuses the double of it
    Image.new("RGB", (40, 40)).save(file(data, 4))
    with pytest.raises(DataError) as caught:
        check_dataset(data)
    text = str(caught.value)
    assert "too large: 2\n    row 3: " in text
    assert "25 x 25 pixels; at most 600" in text
    assert "colours unknown: 1\n    row 5: " in text


def test_damage_inside_a_file_takes_a_thorough_look(tmp_path: Path) -> None:
    data = grid(tmp_path)
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    content = buffer.getvalue()
    file(data, 0).write_bytes(content[:6000] + b"\0" * 2000 + content[8000:])
    assert check_dataset(data)[1].problems == {}
    with pytest.raises(DataError, match=r"(unreadable|truncated): 1\n    row 0: 0\.png"):
        check_dataset(data, thorough=True)


def test_changed_tables_are_checked_again(data: Dataset) -> None:
    table = data.table
    table.loc[3, "img_id"] = table.loc[4, "img_id"]
    table.loc[5, "y"] = 7
    table.loc[6, "place"] = -2
    with pytest.raises(DataError) as caught:
        check_dataset(data)
    text = str(caught.value)
    assert "img_id not unique: 1\n    row 4: " in text
    assert "y out of range: 1\n    row 5: y 7, expected 0 to 1" in text
    assert "place out of range: 1\n    row 6: place -2, expected -1 to 1" in text
    assert len(check_dataset(data, on_bad="skip")[0].table) == 69


def grid(root: Path, **columns: list[object]) -> Dataset:
    """Noise images 0.png ... 5.png, two of each split."""
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(root / f"{i}.png")
    values = {
        "img_id": list("abcdef"), "img_filename": [f"{i}.png" for i in range(6)],
        "y": [0, 1] * 3, "place": [0] * 6, "split": [0, 0, 1, 1, 2, 2], **columns,
    }  # fmt: skip
    return Dataset("toy", root, pd.DataFrame(values), ("cat", "dog"), ("land", "water"))


def test_one_file_in_two_rows(tmp_path: Path) -> None:
    leak = grid(tmp_path, img_filename=["0.png", "1.png", "2.png", "3.png", "0.png", "5.png"])
    with pytest.raises(DataError, match=r"in two splits: 1\n    row 0: 0\.png, rows 0 and 4"):
        check_dataset(leak)
    kept, _ = check_dataset(leak, on_bad="skip")
    assert kept.table["img_id"].tolist() == list("bcdef")  # test stays whole
    labels = grid(tmp_path, img_filename=["0.png", "0.png", "2.png", "3.png", "4.png", "5.png"])
    with pytest.raises(DataError, match=r"two labels: 1\n    row 1: 0\.png is also in row 0"):
        check_dataset(labels)


def test_look_alikes_across_splits_are_found_when_asked(tmp_path: Path) -> None:
    data = grid(tmp_path)
    with Image.open(tmp_path / "4.png") as image:  # a test image, smaller and as a JPEG
        image.resize((48, 48)).convert("RGB").save(tmp_path / "1.png", "JPEG", quality=70)
    assert check_dataset(data)[1].problems == {}
    with pytest.raises(DataError, match=r"row 1: 1\.png looks like 4\.png \(row 4\)"):
        check_dataset(data, duplicates=True)
    kept, report = check_dataset(data, on_bad="skip", duplicates=True)
    assert kept.table["img_id"].tolist() == list("acdef")
    assert report.dropped == {"train": 1}


def test_look_alikes_are_clusters_and_plain_images_are_none(tmp_path: Path) -> None:
    data = grid(tmp_path)
    paths = [data.path(n) for n in data.table["img_filename"]]
    assert look_alikes(paths) == []
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"x")
    found = look_alikes([paths[0], plain, paths[1], paths[0], broken, plain, paths[1], paths[0]])
    assert found == [[0, 3, 7], [2, 6]]


def test_groups_that_are_never_trained_on_are_noted(tmp_path: Path) -> None:
    data = grid(tmp_path, place=[0, 0, 0, 0, 1, 0], y=[0, 0, 0, 0, 0, 1])
    text = check_dataset(data)[1].text()
    assert "note: group not in train: 2" in text
    assert "cat/water has 1 images in test and none in train" in text
    assert "note: class not in train: 1\n    dog has no image in train" in text


def test_unknown_choice(data: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"on_bad=skp: no such choice\. Did you mean skip\?"):
        check_dataset(data, on_bad="skp")


def test_files_in_which_nothing_was_found_are_opened_once(data: Dataset, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def looked_at(**options: bool) -> int:
        seen: list[int] = []
        check_dataset(data, progress=seen.append, cache=cache, **options)
        return len(seen)

    assert [looked_at(), looked_at()] == [72, 0]
    assert [looked_at(thorough=True), looked_at(thorough=True)] == [72, 0]
    # one that changes, in size or in time alone, is looked at again
    os.utime(file(data, 3), (0, 0))
    assert [looked_at(), looked_at()] == [72, 0]
    truncate(file(data, 3))
    for _ in range(2):  # what is wrong is not forgotten
        with pytest.raises(DataError, match=r"1 of 72 rows have problems"):
            check_dataset(data, cache=cache)


def test_files_with_something_to_tell_are_opened_each_time(data: Dataset, tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32)).save(file(data, 5))
    for _ in range(2):
        _, report = check_dataset(data, cache=tmp_path / "cache", on_bad="skip")
        assert len(report.notes["CMYK"]) == 1


def test_progress_counts_rows(data: Dataset) -> None:
    seen: list[int] = []
    check_dataset(data, progress=seen.append)
    assert seen == list(range(1, 73))


def test_headers_of_3000_images_take_about_a_second(tmp_path: Path) -> None:
    number = 3000
    content = io.BytesIO()
    Image.new("RGB", (32, 32), "green").save(content, "JPEG")
    for i in range(number):
        (tmp_path / f"{i}.jpg").write_bytes(content.getvalue())
    table = pd.DataFrame(
        {
            "img_id": [str(i) for i in range(number)],
            "img_filename": [f"{i}.jpg" for i in range(number)],
            "y": [i % 2 for i in range(number)],
            "place": 0,
            "split": [i % 3 for i in range(number)],
        }
    )
    data = Dataset("many", tmp_path, table, ("a", "b"), ("c",))
    check_dataset(data)
    start = time.process_time()
    check_dataset(data)
    assert time.process_time() - start < 1.5  # 0.3 s; the rest is for slow machines
