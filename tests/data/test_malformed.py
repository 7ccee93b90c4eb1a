"""Everything that arrives broken: files, tables, folders, Hugging Face folders.

One line per case: what is given, and a part of what is said. No library's own exception comes
through, and nothing is read with another number of rows than it has.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aspire.data.checks import check_dataset
from aspire.data.hf_dataset import HFDataset
from aspire.data.image_folder import ImageFolder
from aspire.data.images import image_size, read_image, read_labels
from aspire.data.table_file import TableFile
from aspire.data.waterbirds import Waterbirds
from aspire.errors import AspireError, ConfigError

Given = Callable[[Path], object]
GOOD = "path,y,split\na.png,0,0\nb.png,1,0\nc.png,0,1\nd.png,1,2\n"


def csv(content: str | bytes, name: str = "t.csv", **settings: Any) -> Given:
    """A table file is read."""

    def given(root: Path) -> object:
        data = content.encode() if isinstance(content, str) else content
        (root / name).write_bytes(data)
        return TableFile(root / name, **settings).read()

    return given


def parquet(columns: dict[str, Any]) -> Given:
    def given(root: Path) -> object:
        pd.DataFrame(columns).to_parquet(root / "t.parquet")
        return TableFile(root / "t.parquet").read()

    return given


def folder(*names: str, **settings: Any) -> Given:
    """Folders are read: .png is an image, a slash an empty folder, the rest some other file."""

    def given(root: Path) -> object:
        for name in names:
            path = root / "data" / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if name.endswith(".png"):
                Image.new("RGB", (4, 4)).save(path)
            elif not name.endswith("/"):
                path.write_bytes(b"x")
        return ImageFolder(root / "data", **settings).read()

    return given


def hf(
    columns: dict[str, Any], spoil: Callable[[Path], object] | None = None, **types: Any
) -> Given:
    """A Hugging Face dataset is saved, spoilt and read; ``image`` is cast to Image."""

    def given(root: Path) -> object:
        datasets = pytest.importorskip("datasets")
        made = datasets.Dataset.from_dict(columns)
        if "image" in columns:
            made = made.cast_column("image", datasets.Image())
        for name, labels in types.items():
            made = made.cast_column(name, datasets.ClassLabel(names=labels))
        made.save_to_disk(str(root / "hf"))
        if spoil is not None:
            spoil(root / "hf")
        return HFDataset(root / "hf", root / "cache").read()

    return given


def hf_parts(**parts: dict[str, Any]) -> Given:
    def given(root: Path) -> object:
        datasets = pytest.importorskip("datasets")
        made = {k: datasets.Dataset.from_dict(v) for k, v in parts.items()}
        datasets.DatasetDict(made).save_to_disk(str(root / "hf"))
        return HFDataset(root / "hf", root / "cache").read()

    return given


def hf_folder(*names: str) -> Given:
    def given(root: Path) -> object:
        (root / "hf").mkdir()
        for name in names:
            (root / "hf" / name).write_text("{}")
        return HFDataset(root / "hf", root / "cache").read()

    return given


def image(content: bytes, read: Callable[[Path], object] = read_image) -> Given:
    def given(root: Path) -> object:
        (root / "a.png").write_bytes(content)
        return read(root / "a.png")

    return given


def metadata(edit: Callable[[str], str]) -> Given:
    """The Waterbirds layout with another metadata.csv is read and checked."""

    def given(root: Path) -> object:
        rows = ["img_id,img_filename,y,split,place,place_filename"]
        for i in range(6):
            Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(root / f"{i}.png")
            rows.append(f"{i},{i}.png,{i % 2},{i // 2},{i % 2},/x.jpg")
        (root / "metadata.csv").write_text(edit("\n".join(rows) + "\n"))
        return check_dataset(Waterbirds(root).read())

    return given


def encoded(kind: str, mode: str = "RGB", cut: int | None = None) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, kind)
    return buffer.getvalue()[:cut]


def saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", "x")
    return buffer.getvalue()


def arrow(root: Path) -> Path:
    return next(root.glob("*.arrow"))


def without(key: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        state = json.loads((root / "state.json").read_text())
        state.pop(key)
        (root / "state.json").write_text(json.dumps(state))

    return spoil


PICTURES = [Image.new("RGB", (4, 4), (i, 0, 0)) for i in range(4)]
DAMAGED = "cannot be read as a Hugging Face dataset"
LABELS = {"label": [0, 1, 0, 1], "split": ["train", "train", "val", "test"]}
PATHS = {"path": ["a", "b", "c", "d"], **LABELS}

CASES: dict[str, tuple[Given, str]] = {
    # --- tables
    "csv: no file": (lambda root: TableFile(root / "t.csv").read(), "t.csv not found in"),
    "csv: a folder": (lambda root: TableFile(root).read(), "not found in"),
    "csv: empty": (csv(""), "cannot be read as a CSV file"),
    "csv: only blank lines": (csv("\n\n\n"), "cannot be read as a CSV file"),
    "csv: header only": (csv("path,y\n"), "has no rows; expected one per image"),
    "csv: web page": (csv("<!DOCTYPE html><html>quota</html>"), "is a web page, not the file"),
    "csv: html": (csv("  <html><body>404</body></html>"), "is a web page, not the file"),
    "csv: spreadsheet": (csv(zipped()), "is a spreadsheet or ZIP archive; export it as CSV"),
    "csv: gzip": (csv(gzip.compress(GOOD.encode())), "is gzip-compressed; unpack it first"),
    "csv: no known letters": (
        csv(b"path,y\na.png,0\nk\x81fer.png,0\n"), "neither UTF-8 nor Windows-1252 text (line 3)"),
    "csv: UTF-16 cut off": (csv(GOOD.encode("utf-16")[:-1]), "it holds NUL bytes"),
    "csv: NUL bytes": (csv(b"path,y\n\0\0\0,0\n"), "it holds NUL bytes"),
    "csv: an image": (csv(encoded("PNG")), "it holds NUL bytes"),
    "csv: parquet": (csv(b"PAR1xxxx"), "give it the ending .parquet"),
    "csv: semicolons": (csv("path;y\na;0\nb;1;1\n"), "separated by semicolons"),
    "csv: tabs": (csv("path\ty\na\t0\nb\n"), "separated by tabs"),
    "csv: column twice": (csv("path,y,y\na,0,1\n"), "the column 'y' appears 2 times"),
    "csv: more fields than names": (
        csv("path,y\na,0,1\nb,1,1\n"), "the rows have more fields (3) than the header has names"),
    "csv: one row with more fields": (
        csv("path,y\na,0\nb,1,1\nc,0\n"),
        "row 1 (line 3) has 3 fields, the header 2 (path, y): 'b,1,1'. Put a value with a comma"),
    "csv: open quote": (csv('path,y\n"a,0\nb,1\n'), "opened in line 2 is never closed"),
    "csv: a number of 5,000 digits": (
        csv(GOOD.replace("b.png,1", f"b.png,{'9' * 5000}")), "which is no class number"),
    "csv: objects that are no JSON": (
        csv("path,y,objects\na,0,\nb,1,{bad\nc,0,[1]\nd,1,\ne,0,\nf,1,\n"),
        "'{bad' in row 1 and 1 more such cells; expected JSON"),
    "csv: objects that are no numbers": (
        csv('path,y,split,objects\na,0,0,\nb,1,0,"{""ball"": ""x""}"\nc,0,1,\nd,1,2,\n'),
        'such as {"ball": 2}'),
    "csv: objects above 255": (
        csv('path,y,split,objects\na,0,0,"{""ball"": 256}"\nb,1,0,\nc,0,1,\nd,1,2,\n'), "0 to 255"),
    "csv: no path column": (csv("pth,y\na,0\n"), "has no column 'img_filename'."),
    "csv: no label column": (csv("path,yy\na,0\n"), "has no column 'y'."),
    "csv: named column missing": (
        csv(GOOD, columns={"y": "speces"}), "has no column 'speces' (dataset.columns.y)"),
    "csv: empty path": (csv(GOOD.replace("b.png", "")), "'img_filename' is empty in row 1"),
    "csv: short row": (csv(GOOD.replace("b.png,1,0", "b.png")), "column 'y' is empty in row 1"),
    "csv: empty label": (csv(GOOD.replace("b.png,1", "b.png,")), "column 'y' is empty in row 1"),
    "csv: negative label": (csv(GOOD.replace("b.png,1", "b.png,-3")), "holds '-3' in row 1"),
    "csv: half a class": (csv(GOOD.replace("b.png,1", "b.png,0.5")), "holds '0.5' in row 1"),
    "csv: words among numbers": (
        csv(GOOD.replace("b.png,1", "b.png,dog")), "beside names such as 'dog'"),
    "csv: one class": (csv(GOOD.replace(",1,", ",0,")), "every image is of the class '0'"),
    "csv: Dog and dog": (
        csv("path,y,split\na,Dog,0\nb,dog,0\nc,cat,1\nd,cat,2\ne,cat,2\nf,cat,2\n"),
        "'Dog' and 'dog', which differ in case only"),
    "csv: file names as labels": (csv("path,y\n" + "".join(f"{i}.png,id{i}\n" for i in range(30))),
        "holds 30 different values in 30 rows"),
    "csv: unknown class name": (
        csv(GOOD.replace("b.png,1", "b.png,dgo"), class_names=["cat", "dog"]),
        "holds 'dgo' in row 1; expected cat, dog, or a whole number from 0 to 1"),
    "csv: class out of range": (
        csv(GOOD.replace("b.png,1", "b.png,2"), class_names=["cat", "dog"]), "holds '2' in row 1"),
    "csv: unknown split": (
        csv(GOOD.replace("c.png,0,1", "c.png,0,trian")), "in row 2; expected 0, 1, 2 or train"),
    "csv: empty split": (csv(GOOD.replace("c.png,0,1", "c.png,0,")), "holds '' in row 2"),
    "csv: split out of range": (csv(GOOD.replace("c.png,0,1", "c.png,0,7")), "holds '7' in row 2"),
    "csv: no test split": (csv(GOOD.replace("1,2", "1,1")), "no row is of the test split"),
    "csv: no train split": (csv(GOOD.replace(",0\n", ",1\n")), "the train split is empty"),
    "csv: web addresses": (
        csv(GOOD.replace("b.png", "https://x.org/b.png")), "row 1 names a web address"),
    "csv: id twice": (
        csv("img_id,path,y,split\na,a,0,0\na,b,1,0\nb,c,0,1\nc,d,1,2\n"), "'a' appears more than"),
    "csv: no image folder": (csv(GOOD, images="nowhere"), "dataset.images=nowhere: no such folder"),
    "csv: wrong fractions": (csv(GOOD, fractions={"val": 2}), "expected a share for val and one"),
    "csv: name given twice": (csv(GOOD, class_names=["a", "a"]), "distinct and not empty"),
    "parquet: no file": (
        lambda root: TableFile(root / "t.parquet").read(), "t.parquet not found in"),
    "parquet: text": (csv(GOOD, name="t.parquet"), "cannot be read as a Parquet file"),
    "parquet: empty": (csv(b"", name="t.parquet"), "cannot be read as a Parquet file"),
    "parquet: no rows": (parquet({"path": [], "y": []}), "has no rows"),
    "parquet: images within": (
        parquet({"image": [{"bytes": b"x"}] * 4, "y": [0, 1, 0, 1]}), "use dataset=hf"),
    "parquet: missing label": (
        parquet({"path": list("abcd"), "y": [0, 1, None, 1]}), "'y' is empty in row 2"),
    # --- folders
    "folder: none": (lambda root: ImageFolder(root / "x").read(), "no such folder"),
    "folder: empty": (folder("./"), "holds no class folder"),
    "folder: images without a class": (folder("0.png", "1.png"), "holds 2 images itself"),
    "folder: one class": (folder("a/0.png"), "holds one class folder"),
    "folder: empty class": (folder("a/0.png", "b/"), "b holds no image"),
    "folder: split beside class": (
        folder("train/a/0.png", "cat/0.png"), "holds the split folder train/ beside cat/"),
    "folder: misspelt split": (folder("train/a/0.png", "tets/a/0.png"), "Did you mean test?"),
    "folder: images in a split": (
        folder("train/0.png", "test/a/0.png"), "holds the image 0.png itself"),
    "folder: empty split": (folder("train/a/0.png", "test/"), "holds no class folder"),
    "folder: images and folders": (
        folder("a/0.png", "a/x/0.png", "b/0.png"), "holds both images (0.png) and folders (x/)"),
    "folder: attributes for one class only": (
        folder("a/x/0.png", "b/0.png"), "has attribute folders and"),
    "folder: too deep": (folder("a/x/y/0.png", "b/x/0.png"), "one level too deep"),
    "folder: class that train lacks": (
        folder("train/cat/0.png", "train/dog/0.png", "test/dgo/0.png"), "Did you mean dog?"),
    "folder: no test split": (
        folder("train/a/0.png", "train/b/0.png", "val/a/0.png"), "expected images in train/ and"),
    "folder: unknown kind of image": (
        folder("a/0.png", "b/0.heic"), "not images of a known kind, such as 0.heic"),
    "folder: other class names": (
        folder("a/0.png", "b/0.png", class_names=["a", "c"]), "the class folders of"),
    "folder: Cat and cat": (folder("Cat/0.png", "cat/0.png", "b/0.png"), "differ in case only"),
    # --- Hugging Face folders
    "hf: none": (lambda root: HFDataset(root / "x", root).read(), "no such folder"),
    "hf: empty": (hf_folder(), "neither dataset_dict.json nor state.json"),
    "hf: parquet folder": (hf_folder("0000.parquet"), "load_dataset('parquet'"),
    "hf: empty state": (hf_folder("state.json"), DAMAGED),
    "hf: empty dictionary": (hf_folder("dataset_dict.json"), DAMAGED),
    "hf: arrow file gone": (hf(PATHS, lambda r: arrow(r).unlink()), DAMAGED),
    "hf: arrow file cut off": (
        hf(PATHS, lambda r: arrow(r).write_bytes(arrow(r).read_bytes()[:100])),
        DAMAGED),
    "hf: arrow file is text": (hf(PATHS, lambda r: arrow(r).write_text("x" * 500)),
        DAMAGED),
    "hf: state without files": (hf(PATHS, without("_data_files")), DAMAGED),
    "hf: info is no json": (hf(PATHS, lambda r: (r / "dataset_info.json").write_text("{")),
        DAMAGED),
    "hf: unknown split": (hf_parts(train=PATHS, tets=PATHS), "the split 'tets'. Did you mean"),
    "hf: other columns per split": (
        hf_parts(train=PATHS, test={**PATHS, "x": [1] * 4}), "differ in their columns or types"),
    "hf: no rows": (hf_parts(train={"path": [], "label": []}), DAMAGED),
    "hf: no test split": (hf_parts(train=PATHS, validation=PATHS), "no row is of the test split"),
    "hf: no label": (hf({"path": ["a"] * 4}), "has no column 'y'"),
    "hf: no image": (hf({"label": [0, 1, 0, 1]}), "has no column 'img_filename'"),
    "hf: image missing": (
        hf({"image": [*PICTURES[:3], None], **LABELS}), "column 'image' has no image in row 3"),
    "hf: label without a class": (
        hf({"image": PICTURES, **LABELS, "label": [0, 1, -1, 1]}, label=["cat", "dog"]),
        "holds '-1' in row 2; expected cat, dog"),
    "hf: label missing": (hf({**PATHS, "label": [0, 1, None, 1]}), "column 'y' is empty in row 2"),
    "hf: boxes as labels": (
        hf({**PATHS, "label": [[0, 1], [1], [0], [1]]}), "column 'label' holds list values"),
    # --- the Waterbirds layout
    "waterbirds: file as root": (
        lambda root: Waterbirds(Path(shutil.copy(__file__, root / "f"))).read(), "is a file, not"),
    "waterbirds: web page": (metadata(lambda t: "<html>"), "metadata.csv is a web page"),
    "waterbirds: column gone": (metadata(lambda t: t.replace("place,", "plc,", 1)), "mean plc?"),
    "waterbirds: label missing": (
        metadata(lambda t: t.replace("3.png,1", "3.png,")), "'y' holds nan in row 3"),
    "waterbirds: label text": (
        metadata(lambda t: t.replace("3.png,1", "3.png,x")), "column 'y' holds 'x' in row 3"),
    "waterbirds: place out of range": (
        metadata(lambda t: t.replace("3.png,1,1,1", "3.png,1,1,2")), "'place' holds 2 in row 3"),
    "waterbirds: more fields": (
        metadata(lambda t: t.replace("/x.jpg", "/x.jpg,1")), "more fields (7) than the header"),
    "waterbirds: no file name": (metadata(lambda t: t.replace("3.png", "")), "row 3: no file name"),
    "waterbirds: folder as image": (metadata(lambda t: t.replace("3.png", ".")), "is a folder"),
    "waterbirds: missing image": (
        metadata(lambda t: t.replace("3.png", "33.png")), "row 3: 33.png is missing"),
    "waterbirds: image in two splits": (
        metadata(lambda t: t.replace("3.png", "0.png")), "row 0: 0.png, rows 0 and 3"),
    "waterbirds: image of two classes": (
        metadata(lambda t: t.replace("3.png", "2.png")), "is also in row 2 with another y"),
    # --- images
    "image: none": (lambda root: read_image(root / "a.png"), "does not exist"),
    "image: a folder": (read_image, "cannot be read"),
    "image: zero bytes": (image(b""), "(0 bytes) cannot be read"),
    "image: text": (image(b"hello"), "(5 bytes) cannot be read"),
    "image: web page": (image(b"<html>404</html>"), "cannot be read"),
    "image: svg": (image(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "cannot be read"),
    "image: jpeg cut off": (image(encoded("JPEG", cut=700)), "truncated"),
    "image: png cut off": (image(encoded("PNG", cut=700)), "cannot be read"),
    "image: png header only": (image(encoded("PNG", cut=33)), "cannot be read"),
    "image: png signature only": (image(encoded("PNG", cut=8)), "cannot be read"),
    "image: gif cut off": (image(encoded("GIF", cut=20)), "cannot be read"),
    "image: webp cut off": (image(encoded("WEBP", cut=60)), "cannot be read"),
    "image: bmp cut off": (image(encoded("BMP", cut=90)), "cannot be read"),
    "image: tiff cut off": (image(encoded("TIFF", cut=90)), "cannot be read"),
    "image: wrong size in tiff": (image(saved(np.zeros((9, 9), np.float32))), "decimal numbers"),
    "image: 32-bit grey": (image(saved(np.full((2, 2), 99999, np.int32))), "0 to 65535"),
    "image: size of nothing": (image(b"x", image_size), "cannot be read"),
    "mask: zero bytes": (image(b"", read_labels), "cannot be read"),
    "mask: too many labels": (
        image(saved(np.array([[0, 999]], np.uint16)), read_labels), "holds labels up to 999"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_malformed(case: str, tmp_path: Path) -> None:
    given, said = CASES[case]
    with pytest.raises(AspireError) as caught:
        given(tmp_path)
    text = str(caught.value)
    assert said in text
    assert caught.value.exit_code == (2 if isinstance(caught.value, ConfigError) else 3)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60
