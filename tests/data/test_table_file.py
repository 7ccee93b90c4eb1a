"""A user's table: names, numbers, splits and what is missing; and the same data in three forms."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aspire.data.hf_dataset import HFDataset
from aspire.data.image_folder import ImageFolder
from aspire.data.table import Dataset, Split
from aspire.data.table_file import TableFile
from aspire.data.tables import stratified_split
from aspire.data.waterbirds import Waterbirds
from aspire.errors import ConfigError, DataError

SHARED = Path(os.environ.get("ASPIRE_SHARED_DATA") or Path(__file__).parents[3] / "shared/data")

ROWS = (
    "path,label,a,split\n"
    "a.jpg,dog,water,train\nb.jpg,cat,land,train\nc.jpg,dog,,val\nd.jpg,cat,land,Test\n"
)


def table(folder: Path, text: str = ROWS, name: str = "my.csv", **settings: object) -> Dataset:
    path = folder / name
    path.write_text(text)
    return TableFile(path, **settings).read()


def test_names_numbers_and_words(tmp_path: Path) -> None:
    data = table(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.attribute_names == ("land", "water")
    assert data.table["img_filename"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert data.table["y"].tolist() == [1, 0, 1, 0]
    assert data.table["place"].tolist() == [1, 0, -1, 0]
    assert data.table["split"].tolist() == [0, 0, 1, 2]
    assert data.table["img_id"].tolist() == ["0", "1", "2", "3"]
    assert data.class_words == (("cat",), ("dog",))
    assert data.root == tmp_path


def test_only_two_columns(tmp_path: Path) -> None:
    text = "img_filename,y\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(100))
    data = table(tmp_path, text)
    assert data.attribute_names == ("unknown",)
    assert set(data.table["place"]) == {-1}
    assert data.group_definition.startswith("unknown")
    for y in (0, 1):  # 50 images a class: 5 val, 10 test
        split = data.table.loc[data.table["y"] == y, "split"]
        assert [(split == s).sum() for s in (0, 1, 2)] == [35, 5, 10]
    other = table(tmp_path, text, split_seed=1)
    assert other.table["split"].tolist() != data.table["split"].tolist()
    half = table(tmp_path, text, fractions={"val": 0.2, "test": 0.5})
    assert len(half.split(Split.TEST)) == 50


def test_drawn_split_does_not_depend_on_the_order_of_the_rows() -> None:
    ids = [f"{i}" for i in range(60)]
    strata = [int(i) % 3 for i in ids]
    shares = {Split.VAL: 0.1, Split.TEST: 0.2}
    split = dict(zip(ids, stratified_split(ids, strata, shares, 0), strict=True))
    back = stratified_split(ids[::-1], strata[::-1], shares, 0)
    assert dict(zip(ids[::-1], back, strict=True)) == split
    assert stratified_split(["a", "b", "c"], [0] * 3, shares, 0).tolist() != [0, 0, 0]
    assert sorted(stratified_split(["a", "b", "c"], [0] * 3, shares, 0)) == [0, 1, 2]
    assert stratified_split(["a"], [0], shares, 0).tolist() == [0]


def test_val_is_drawn_from_train_where_only_it_is_missing(tmp_path: Path) -> None:
    text = "path,y,split\n" + "".join(
        f"{i}.png,{i % 2},{'test' if i >= 40 else 'train'}\n" for i in range(60)
    )
    split = table(tmp_path, text).table["split"].tolist()
    assert split[40:] == [2] * 20
    assert sorted(split[:40]) == [0] * 36 + [1] * 4


@pytest.mark.parametrize(
    ("values", "classes", "y"),
    [
        (["0", "1", "1", "0"], ("0", "1"), [0, 1, 1, 0]),
        (["1", "2", "2", "1"], ("1", "2"), [0, 1, 1, 0]),
        (["10", "9", "9", "10"], ("9", "10"), [1, 0, 0, 1]),
        (["1.0", "0.0", "0", "1"], ("0", "1"), [1, 0, 0, 1]),
        (["NA", "null", "null", "NA"], ("NA", "null"), [0, 1, 1, 0]),
        (["True", "False", "False", "True"], ("False", "True"), [1, 0, 0, 1]),
        ([" dog", "cat ", "cat", "dog"], ("cat", "dog"), [1, 0, 0, 1]),
    ],
)
def test_kinds_of_labels(
    tmp_path: Path, values: list[str], classes: tuple[str, ...], y: list[int]
) -> None:
    lines = [f"{i}.png,{v},{s}" for i, (v, s) in enumerate(zip(values, "0012", strict=True))]
    data = table(tmp_path, "path,y,split\n" + "\n".join(lines))
    assert data.class_names == classes
    assert data.table["y"].tolist() == y


def test_given_names_set_the_order_and_name_numbers(tmp_path: Path) -> None:
    data = table(tmp_path, class_names=["dog", "cat"], attribute_names=["water", "land"])
    assert data.table["y"].tolist() == [0, 1, 0, 1]
    assert data.table["place"].tolist() == [0, 1, -1, 1]
    text = "path,y,split\na,1,0\nb,0,0\nc,1,1\nd,0,2\n"
    named = table(tmp_path, text, class_names=["wolf", "fox"])
    assert named.class_names == ("wolf", "fox")
    assert named.table["y"].tolist() == [1, 0, 1, 0]


def test_columns_by_other_names_and_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeffbild,art,split\na,x,0\nb,z,0\nc,x,1\nd,z,2\n"
    data = table(tmp_path, text, columns={"img_filename": "bild", "y": "art"})
    assert data.table["img_filename"].tolist() == list("abcd")


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_other_kinds_of_table(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {"path": list("abcd"), "y": [0, 1, 0, 1], "a": [0, None, 1, -1], "split": [0, 0, 1, 2]}
    )
    path = tmp_path / f"my.{kind}"
    if kind == "tsv":
        frame.to_csv(path, sep="\t", index=False)
    else:
        frame.to_parquet(path)
    assert TableFile(path).read().table["place"].tolist() == [0, -1, 1, -1]


def test_absolute_and_windows_paths(tmp_path: Path) -> None:
    text = f"path,y,split\n{tmp_path}/x/a.png,0,0\nx\\b.png,1,0\nc.png,0,1\nd.png,1,2\n"
    assert table(tmp_path, text).table["img_filename"].tolist() == [
        "x/a.png", "x/b.png", "c.png", "d.png"
    ]  # fmt: skip


def test_optional_columns_come_along(tmp_path: Path) -> None:
    text = "path,y,split,mask,text,objects\n" + "".join(
        f"{n},{y},{s},m/{n},a {n},\n" for n, y, s in (("a", 0, 0), ("b", 1, 1), ("c", 0, 2))
    )
    data = table(tmp_path, text, class_names=["u", "v"], images=tmp_path)
    assert data.table["mask_filename"].tolist() == ["m/a", "m/b", "m/c"]
    assert data.table["caption"].tolist() == ["a a", "a b", "a c"]


def test_large_tables_are_fast(tmp_path: Path) -> None:
    import time

    number = 50_000
    lines = [f"{i}.png,{('cat', 'dog')[i % 2]},{('x', 'y', '')[i % 3]}\n" for i in range(number)]
    start = time.perf_counter()
    assert len(table(tmp_path, "path,y,place\n" + "".join(lines)).table) == number
    assert time.perf_counter() - start < 15


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.metadata is not set"):
        TableFile(None)
    with pytest.raises(ConfigError, match=r"names 'label', which is no unified column"):
        TableFile("x", columns={"label": "y"})
    with pytest.raises(ConfigError, match=r"fractions=.*expected a share for val"):
        TableFile("x", fractions={"val": 0.5, "test": 0.5})
    with pytest.raises(ConfigError, match="has 1 lists for 2 classes"):
        table(tmp_path, class_words=[["dog"]])


GOOD = "path,y,split\na.png,0,0\nb.png,1,0\nc.png,0,1\nd.png,1,2\n"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        GOOD.replace("a.png", '"a, b.png"'),
        GOOD.replace("a.png", '"a\nb.png"'),
        GOOD.replace("a.png", "k\u00e4fer \u732b.png"),
    ],
)
def test_odd_tables_keep_their_number_of_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    data = TableFile(path).read()
    assert data.table["y"].tolist() == [0, 1, 0, 1]
    assert data.table["split"].tolist() == [0, 0, 1, 2]


# --- the same data as a table, as folders and as a Hugging Face dataset ---------------------


def as_csv(source: Dataset, folder: Path) -> Dataset:
    classes, places = np.array(source.class_names), np.array(source.attribute_names)
    rows = source.table
    frame = pd.DataFrame(
        {
            "path": rows["img_filename"],
            "label": classes[rows["y"]],
            "attribute": places[rows["place"]],
            "split": np.array(["train", "val", "test"])[rows["split"]],
            "caption": rows["caption"],
            "mask_filename": rows["mask_filename"],
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    return TableFile(folder / "table.csv", images=source.root).read()


def as_folder(source: Dataset, folder: Path) -> Dataset:
    words = ["train", "val", "test"]
    for i, row in enumerate(source.table.itertuples()):
        group = (words[row.split], source.class_names[row.y], source.attribute_names[row.place])
        target = folder.joinpath(*group) / f"{i:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.path(row.img_filename), target)
    return ImageFolder(folder).read()


def as_hf(source: Dataset, folder: Path) -> Dataset:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(source.class_names)),
            "place": datasets.ClassLabel(names=list(source.attribute_names)),
            "caption": datasets.Value("string"),
        }
    )
    parts = {}
    for word, split in (("train", 0), ("validation", 1), ("test", 2)):
        rows = source.table[source.table["split"] == split]
        columns = {
            "image": [str(source.path(n)) for n in rows["img_filename"]],
            "label": rows["y"].tolist(),
            "place": rows["place"].tolist(),
            "caption": rows["caption"].tolist(),
        }
        parts[word] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(folder / "saved"))
    return HFDataset(folder / "saved", folder / "cache").read()


def contents(data: Dataset, split: Split) -> list[tuple[str, int, int]]:
    """Of every image, in order: digest of its file, class, attribute."""
    rows = data.split(split)
    return [
        (hashlib.sha256(data.path(r.img_filename).read_bytes()).hexdigest(), r.y, r.place)
        for r in rows.itertuples()
    ]


def compare(source: Dataset, made: Dataset) -> None:
    assert made.class_names == source.class_names
    assert made.grouper.names == source.grouper.names
    for split in source.splits:
        assert made.group_counts(split) == source.group_counts(split)
        assert contents(made, split) == contents(source, split)  # and in the same order


FORMS = [as_csv, as_folder, as_hf]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data(
    tmp_path: Path, waterbirds: Dataset, form: Callable[[Dataset, Path], Dataset]
) -> None:
    compare(waterbirds, form(waterbirds, tmp_path))


@pytest.mark.realdata
@pytest.mark.parametrize("form", FORMS)
def test_photos_in_every_form_are_the_same_data(
    tmp_path: Path, form: Callable[[Dataset, Path], Dataset]
) -> None:
    if not (SHARED / "waterpets").is_dir():
        pytest.skip(f"no photos at {SHARED / 'waterpets'}; set ASPIRE_SHARED_DATA")
    source = Waterbirds(SHARED / "waterpets", ["cat", "dog"]).read()
    assert list(source.group_counts(Split.TRAIN).values()) == [700, 17, 22, 338]
    assert list(source.group_counts(Split.TEST).values()) == [100, 100, 50, 50]
    compare(source, form(source, tmp_path))


def test_two_files_of_one_column_name_are_for_the_user_to_choose(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"columns path and file could all be 'img_filename'"):
        table(tmp_path, "path,file,y\na,b,0\nc,d,1\n")
