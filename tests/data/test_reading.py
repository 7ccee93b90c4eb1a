"""Files are read by what they hold, paths by one rule, and nothing is left out unsaid."""

import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aspire.data.checks import check_dataset
from aspire.data.csv_file import read_csv
from aspire.data.files import NotAFileError, open_regular
from aspire.data.image_folder import ImageFolder
from aspire.data.images import is_image, read_image
from aspire.data.probe import probe
from aspire.data.table_file import TableFile
from aspire.errors import DataError

FILES = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(6)]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Six cats and six dogs, cat/0.png and so on; each picture is another one."""
    for number, name in enumerate(FILES):
        save(tmp_path / name, number)
    return tmp_path


def save(path: Path, number: int, kind: str = "PNG") -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (20 * number, 9, 9)).save(path, kind)


def captions(root: Path, rows: list[str], encoding: str = "utf-8") -> ImageFolder:
    text = "\n".join(["img_filename,caption", *rows])
    (root / "captions.csv").write_bytes(text.encode(encoding))
    return ImageFolder(root)


def told(dataset) -> dict[str, int]:
    _, report = check_dataset(dataset)
    return {kind: len(findings) for kind, findings in report.notes.items()}


# --- paths


def test_captions_name_images_by_the_one_rule_and_strangers_are_counted(pets):
    save(pets / "dog/only.png", 12)
    rows = [
        "./cat/0.png,a",
        "cat\\1.png,b",
        "only.png,c",
        ".\\dog\\2.png,d",
        "CAT/3.png,e",
        "1.png,f",
    ]
    dataset = captions(pets, rows).read()
    found = dataset.table.set_index("img_filename")["caption"]
    assert {k: v for k, v in found.items() if v} == {
        "cat/0.png": "a", "cat/1.png": "b", "dog/only.png": "c", "dog/2.png": "d",
    }  # fmt: skip
    assert told(dataset) == {"caption of no image": 2}  # another case; two images are 1.png
    _, report = check_dataset(dataset)
    assert "captions.csv, row 4: 'CAT/3.png' is none of the images" in report.text()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_images_and_masks_in_tables_are_named_by_the_same_rule(pets, form):
    for i in range(6):
        save(pets / "masks" / f"m{i}.png", 0)
    masks = ["masks\\m0.png", "./masks/m1.png", "m2.png", str(pets / "masks/m3.png"), "", "m5.png"]
    names = ["cat\\0.png", "./cat/1.png", ".\\cat\\2.png", str(pets / "cat/3.png"), "cat//4.png"]
    frame = pd.DataFrame(
        {
            "path": [*names, "cat/5.png", *FILES[6:]],
            "y": [0] * 6 + [1] * 6,
            "mask": masks * 2,
        }
    )
    file = pets / f"t.{form}"
    frame.to_csv(file, index=False) if form == "csv" else frame.to_parquet(file)
    dataset, report = check_dataset(TableFile(file).read())
    assert dataset.table["img_filename"].tolist() == FILES
    expected = [f"masks/m{i}.png" if i != 4 else "" for i in range(6)]
    assert dataset.table["mask_filename"].tolist() == expected * 2
    assert not report.problems


def test_a_name_with_a_backslash_in_it_stays_itself(pets):
    save(pets / "a\\b.png", 13)
    rows = "".join(f"{n},{n[:3]}\n" for n in ["a\\b.png", *FILES])
    (pets / "t.csv").write_text("path,y\n" + rows.replace("a\\b.png,a\\b", "a\\b.png,cat"))
    assert TableFile(pets / "t.csv").read().table["img_filename"][0] == "a\\b.png"


def test_further_captions_of_an_image_are_counted(pets):
    dataset = captions(pets, [f"cat/0.png,caption {i}" for i in range(5)] + ["cat/1.png,b"]).read()
    assert told(dataset) == {"further caption, not used": 4}
    assert dataset.table.set_index("img_filename")["caption"]["cat/0.png"] == "caption 0"


# --- text


def test_commas_in_a_caption_are_part_of_it(pets):
    dataset = captions(pets, ["cat/0.png,a cat", "cat/1.png,a cat, a sofa, and a lamp"]).read()
    found = dataset.table.set_index("img_filename")["caption"]
    assert found["cat/1.png"] == "a cat, a sofa, and a lamp"
    _, report = check_dataset(dataset)
    assert "1 rows have commas in caption outside quotes (first: row 1)" in report.text()


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("latin-1", "not UTF-8, taken for Windows-1252 (Latin-1)"),
        ("cp1252", "not UTF-8, taken for Windows-1252 (Latin-1)"),
        ("utf-16", "UTF-16 text"),
    ],
)
def test_text_as_excel_saves_it(pets, encoding, said):
    dataset = captions(pets, ["cat/0.png,ein Kätzchen"], encoding).read()
    assert dataset.table["caption"].tolist().count("ein Kätzchen") == 1
    _, report = check_dataset(dataset)
    assert said in report.text()
    assert bool(report.notes) == bool(said)


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_where_every_row_agrees(tmp_path, mark, word):
    rows = ["path,y,caption", "a.png,cat,one", "b.png,dog,two"]
    (tmp_path / "t.csv").write_text("\n".join(rows).replace(",", mark))
    table = read_csv(tmp_path / "t.csv", all_text=True)
    assert table["y"].tolist() == ["cat", "dog"]
    assert table.attrs["notes"] == {"read as": [f"t.csv: its columns are separated by {word}"]}


def test_excel_says_its_separator_itself(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\npath;y\na,1.png;cat\n")
    assert read_csv(tmp_path / "t.csv", all_text=True)["path"].tolist() == ["a,1.png"]


# --- images by content


def test_images_are_what_they_hold_and_not_what_they_are_called(tmp_path):
    for number, name in enumerate(("0", "1.jfif", "2.dat", "3.JPE", "4.txt", "5.jpg")):
        save(tmp_path / "cat" / name, number, "JPEG")
        save(tmp_path / "dog" / name, number + 6, "PNG")
    (tmp_path / "cat/readme.txt").write_text("hello")
    (tmp_path / "cat/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (tmp_path / "dog/.DS_Store").write_bytes(b"x")
    save(tmp_path / "dog/.hidden.png", 1)
    dataset = ImageFolder(tmp_path).read()
    assert len(dataset.table) == 12
    assert told(dataset) == {"no image, left out": 2, "hidden image, left out": 1}
    assert dataset.notes["hidden image, left out"] == ["dog/.hidden.png"]
    assert read_image(tmp_path / "cat/0").shape == (8, 8, 3)


def test_programs_are_not_started_to_look_at_a_file(tmp_path):
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert not is_image(tmp_path / "a.eps")


# --- only files


@pytest.fixture(params=["pipe", "device", "folder", "dangling", "socket"])
def no_file(request, tmp_path):
    path = tmp_path / "odd.png"
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "dangling":
            path.symlink_to(tmp_path / "gone.png")
        case "socket":
            import socket

            os.chdir(tmp_path)  # the name of a socket is short
            socket.socket(socket.AF_UNIX).bind("odd.png")
    return path


def soon(action, seconds=10.0):
    """The error of something that must not hang."""
    caught: list[BaseException] = []

    def run():
        try:
            action()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()
    return caught[0] if caught else None


def test_only_files_are_opened(no_file, monkeypatch):
    monkeypatch.chdir(no_file.parent)
    assert isinstance(soon(lambda: open_regular(no_file)), NotAFileError)
    for read in (read_image, lambda p: read_csv(p, key="metadata")):
        error = soon(lambda read=read: read(no_file))
        assert isinstance(error, DataError)
        assert str(no_file) in str(error) or no_file.name in str(error)
    assert probe(no_file).problem[0] == "no file"
    assert not is_image(no_file)


def test_a_table_that_names_a_pipe_is_answered_with_its_row(pets):
    os.mkfifo(pets / "cat/6.png")
    rows = "".join(f"{n},{n[:3]}\n" for n in [*FILES, "cat/6.png", "/dev/zero"])
    (pets / "t.csv").write_text("path,y\n" + rows.replace("/dev/zero,/de", "/dev/zero,cat"))
    dataset = TableFile(pets / "t.csv").read()
    error = soon(lambda: check_dataset(dataset))
    assert "row 12: cat/6.png is a named pipe; expected a file" in str(error)
    assert "row 13: /dev/zero is a device; expected a file" in str(error)
    assert isinstance(soon(lambda: dataset.digest()), NotAFileError)
    kept, report = check_dataset(dataset, on_bad="skip")
    assert (len(kept.table), sum(report.dropped.values())) == (12, 2)


def test_numbers_that_are_none(pets):
    frame = pd.DataFrame({"path": FILES, "y": [0.0, np.inf] * 6})
    frame.to_parquet(pets / "t.parquet")
    with pytest.raises(DataError, match="'inf'"):
        TableFile(pets / "t.parquet").read()
