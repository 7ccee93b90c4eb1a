"""What is passed on is what there was, and says where it came from."""

import dataclasses
import hashlib
import json
import re

import msgspec
import numpy as np
import pandas as pd
import pytest
from pages import commit
from PIL import Image

from aspire.data.export import COLUMNS, MARK, Export
from aspire.data.generated import read_generated
from aspire.data.images import png_bytes, read_image, read_labels
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError
from aspire.records import FilterDecision, SyntheticImage

KEPT = [True, False, True]


def write_artifact(folder, upstream, records):
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_bytes(
        b"".join(msgspec.json.encode(r) + b"\n" for r in records)
    )
    (folder / "rejected.jsonl").touch()
    return commit(folder, upstream, {})


@pytest.fixture
def store(tmp_path, waterbirds):
    """Three generated images, two of them kept."""
    parents = tuple(waterbirds.table["img_id"][:2])
    root = tmp_path / "outputs" / "artifacts"
    images = [
        SyntheticImage(
            img_id=f"generated-001-{i:05d}", y=1, seed=70 + i, prompt="a bird, on land",
            parents=parents, file=f"files/{i}.png", mask=f"files/m{i}.png",
        )
        for i in range(3)
    ]  # fmt: skip
    made = write_artifact(root / "generate" / "aaa", {}, images)
    (root / "generate" / "aaa" / "files").mkdir()
    for i, image in enumerate(images):
        folder = root / "generate" / "aaa"
        (folder / image.file).write_bytes(png_bytes(np.full((8, 8, 3), 10 * i, np.uint8)))
        mask = np.zeros((8, 8), np.uint8)
        mask[2:4, 2:4] = 255
        (folder / image.mask).write_bytes(png_bytes(mask))
    write_artifact(root / "measure" / "bbb", {"generate": made}, [])
    decide(root / "filter" / "ccc", images)
    return root


def decide(folder, images):
    decisions = [
        FilterDecision(img_id=i.img_id, kept=k, reason=None if k else "near_uniform", scores={})
        for i, k in zip(images, KEPT, strict=True)
    ]
    measured = json.loads((folder.parents[1] / "measure/bbb/manifest.json").read_text())
    write_artifact(folder, {"measure": measured["digest"]}, decisions)


def hashes(root, names):
    return [hashlib.sha256(read_image(root / n).tobytes()).hexdigest() for n in names]


def read_back(folder, like):
    """The csv form as a dataset, with no reader in between."""
    table = pd.read_csv(folder / "metadata.csv", dtype={"img_id": str}, keep_default_na=False)
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    return Dataset("again", folder, table, like.class_names, like.attribute_names)


def test_csv_read_back_has_the_same_counts_and_pixels(tmp_path, waterbirds):
    assert Export(waterbirds).write("csv", tmp_path / "out") == 72
    again = read_back(tmp_path / "out", waterbirds)
    for split in (Split.TRAIN, Split.VAL, Split.TEST):
        assert again.group_counts(split) == waterbirds.group_counts(split)
    names = waterbirds.table["img_filename"]
    assert hashes(again.root, again.table["img_filename"]) == hashes(waterbirds.root, names)
    for column in ("img_id", "caption", "y", "place", "split"):
        assert again.table[column].tolist() == waterbirds.table[column].tolist()
    for row in (0, 50):
        mask = read_labels(again.path(again.table["mask_filename"][row]))
        assert (mask == read_labels(waterbirds.path(waterbirds.table["mask_filename"][row]))).all()
    assert set(again.table["source"]) == {"real"}
    assert again.table["class"][0] == "landbird"
    assert again.table["attribute"][0] == "land"


def test_generated_images_go_along_with_their_provenance(tmp_path, waterbirds, store):
    generated = read_generated(store / "generate" / "aaa")
    assert (len(generated.records), generated.made, generated.filtered) == (2, 3, "ccc")
    Export(waterbirds, generated).write("csv", tmp_path / "out")
    table = read_back(tmp_path / "out", waterbirds).table
    rows = table[table["source"] == "generated"]
    assert rows["seed"].astype(str).tolist() == ["70", "72"]
    assert set(rows["prompt"]) == {"a bird, on land"}
    assert set(rows["parent_id"]) == {";".join(waterbirds.table["img_id"][:2])}
    assert set(rows["place"]) == {-1}
    assert set(rows["split"]) == {0}
    last = rows.iloc[-1]
    assert read_image(tmp_path / "out" / last["img_filename"])[0, 0, 0] == 20
    mask = read_labels(tmp_path / "out" / last["mask_filename"])
    assert mask.max() == 1  # 1 is the class object, as everywhere
    assert mask.sum() == 4
    card = (tmp_path / "out" / "README.md").read_text()
    assert "(set aaa): 2 of 3 passed the filters (decisions ccc)" in card
    assert "| generated | 2 | 0 | 0 |" in re.sub(" +", " ", card)


def test_a_run_a_filter_or_a_set_of_generated_images(store, tmp_path):
    by_filter = read_generated(store / "filter" / "ccc")
    run = tmp_path / "outputs" / "run" / "birds-1"
    run.mkdir(parents=True)
    folders = {
        s: {"folder": f"artifacts/{s}/{k}"} for s, k in (("generate", "aaa"), ("filter", "ccc"))
    }
    (run / "result.json").write_text(json.dumps({"generation": {"0": folders}}))
    for found in (by_filter, read_generated(run)):
        assert [r.seed for r in found.records] == [70, 72]
    images = [
        dataclasses.make_dataclass("I", ["img_id"])(f"generated-001-{i:05d}") for i in range(3)
    ]
    decide(store / "filter" / "ddd", images)
    with pytest.raises(ConfigError, match=r"several filters have judged it(.|\n)*ccc\n.*ddd"):
        read_generated(store / "generate" / "aaa")
    for folder in ("filter/ccc", "filter/ddd"):
        (store / folder / "manifest.json").unlink()
    assert read_generated(store / "generate" / "aaa").filtered is None
    with pytest.raises(ConfigError, match="expected a folder of aspire run"):
        read_generated(tmp_path)


def test_generated_images_of_another_dataset_are_refused(tmp_path, waterbirds, store):
    other = dataclasses.replace(waterbirds, table=waterbirds.table.assign(
        img_id=[f"x{i}" for i in range(72)]))  # fmt: skip
    with pytest.raises(ConfigError, match="which waterbirds does not have"):
        Export(other, read_generated(store / "filter" / "ccc")).write("csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_image_folder(tmp_path, waterbirds, store):
    out = tmp_path / "out"
    Export(waterbirds, read_generated(store / "filter" / "ccc")).write("folder", out)
    count = {
        "/".join(p.relative_to(out).parts): len(list(p.iterdir()))
        for p in out.glob("t*/*/*")
        if p.is_dir()
    }
    assert count == {
        **{"train/landbird/land": 16, "train/landbird/water": 4, "train/waterbird/land": 4},
        **{"train/waterbird/water": 16, "train/waterbird/unknown": 2},
        **{f"test/{c}/{a}": 4 for c in waterbirds.class_names for a in waterbirds.attribute_names},
    }
    table = pd.read_csv(out / "metadata.csv", dtype=str, keep_default_na=False)
    assert all((out / name).is_file() for name in table["img_filename"])
    assert all((out / name).is_file() for name in table["mask_filename"])
    captions = pd.read_csv(out / "captions.csv", keep_default_na=False)
    assert captions["caption"][0] == waterbirds.table["caption"][0]


def test_names_collide_with_nobody(tmp_path, waterbirds):
    """Same name in two folders, absolute names, case, endings, and folder names with slashes."""
    root = tmp_path / "in"
    pixels = np.zeros((4, 4, 3), np.uint8)
    names = ["a/x.png", "b/x.png", "a/X.png", "a/x.jpg", str(root / "abs.png"), "../up.png"]
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + i).save(path)
    table = pd.DataFrame(
        {"img_id": range(6), "img_filename": names, "y": 0, "place": 0, "split": [0, 0, 0, 0, 1, 2]}
    )
    data = Dataset("odd", root, table, ("a/b", "a?b"), ("x",))
    for form in ("csv", "folder"):
        out = tmp_path / form
        Export(data).write(form, out)
        written = pd.read_csv(out / "metadata.csv")["img_filename"].tolist()
        assert len({n.casefold() for n in written}) == 6
        assert hashes(out, written) == hashes(root, names)
        inside = {p.relative_to(out).parts[0] for p in out.rglob("*.png")}
        assert inside <= {"images", "train", "val", "test"}
    assert (tmp_path / "folder" / "train" / "a_b" / "x").is_dir()


def test_without_attributes_there_is_no_attribute_folder(tmp_path, waterbirds):
    unknown = dataclasses.replace(waterbirds, table=waterbirds.table.assign(place=-1))
    Export(unknown).write("folder", tmp_path / "out")
    assert len(list((tmp_path / "out" / "train" / "landbird").glob("*.jpg"))) == 20


def test_hugging_face(tmp_path, waterbirds, store):
    datasets = pytest.importorskip("datasets")
    Export(waterbirds, read_generated(store / "filter" / "ccc")).write("hf", tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert {k: len(v) for k, v in loaded.items()} == {"train": 42, "val": 16, "test": 16}
    assert loaded["train"].features["y"].names == list(waterbirds.class_names)
    raw = loaded["test"].cast_column("image", datasets.Image(decode=False))
    names = waterbirds.split(Split.TEST)["img_filename"]
    assert [r["image"]["bytes"] for r in raw] == [waterbirds.path(n).read_bytes() for n in names]
    last = loaded["train"][-1]
    assert (last["source"], last["seed"], last["place"]) == ("generated", "72", -1)
    assert np.asarray(last["mask"]).max() == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "outputs"]


def test_hugging_face_is_optional(tmp_path, waterbirds, monkeypatch):
    monkeypatch.setattr("aspire.data.export_hf.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install datasets"):
        Export(waterbirds).write("hf", tmp_path / "out")


def test_nothing_is_overwritten_unless_asked_and_nothing_foreign_ever(tmp_path, waterbirds):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder will do
    Export(waterbirds).write("csv", out)
    with pytest.raises(ConfigError, match=r"is not empty.*overwrite=true"):
        Export(waterbirds).write("csv", out)
    Export(waterbirds).write("folder", out, overwrite=True)
    assert not (out / "images").exists()
    assert (out / "train").is_dir()
    (out / MARK).unlink()
    with pytest.raises(ConfigError, match="is not an earlier export"):
        Export(waterbirds).write("csv", out, overwrite=True)
    assert (out / "train").is_dir()
    with pytest.raises(ConfigError, match="is inside the dataset"):
        Export(waterbirds).write("csv", waterbirds.root / "copy")
    with pytest.raises(ConfigError, match=r"to=cvs: .*csv"):
        Export(waterbirds).write("cvs", out)


def test_a_missing_image_leaves_nothing(tmp_path, waterbirds):
    table = waterbirds.table.copy()
    table.loc[60, "img_filename"] = "gone.jpg"
    with pytest.raises(DataError, match=r"No such file or directory .*gone\.jpg"):
        Export(dataclasses.replace(waterbirds, table=table)).write("csv", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_card(tmp_path, waterbirds):
    export = Export(
        waterbirds,
        licence="CC BY 4.0.",
        homepage="https://example.org/birds",
        command="aspire data export dataset=waterbirds to=csv dir=...",
    )
    export.write("csv", tmp_path / "out")
    card = re.sub(" +", " ", (tmp_path / "out" / "README.md").read_text())
    for words in (
        "# waterbirds, exported by aspire",
        "72 images. Classes: landbird, waterbird. Spurious attribute (background): land, water.",
        "| waterbird/land | 4 | 4 | 4 |",
        "Licence of the original images: CC BY 4.0. Its terms hold for this copy",
        "https://example.org/birds",
        "copies of the originals, byte by byte",
        "aspire data export dataset=waterbirds to=csv dir=...",
    ):
        assert words in card
    assert str(tmp_path) not in card
    Export(waterbirds).write("csv", tmp_path / "out", overwrite=True)
    assert "No licence is recorded" in (tmp_path / "out" / "README.md").read_text()
