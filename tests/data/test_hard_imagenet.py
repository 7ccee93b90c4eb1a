"""Hard ImageNet: images, masks and ranking, and the three definitions of a group."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aspire.data.hard_imagenet import CLASSES, HardImageNet
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError

TRAIN, VAL = 12, 2  # images per class
WNID = next(iter(CLASSES))


def name(wnid: str, split: str, i: int) -> str:
    return f"{wnid}_{i}.JPEG" if split == "train" else f"ILSVRC2012_val_{i:08d}.JPEG"


def write(root: Path) -> Path:
    """Real paths and names; the ranking names the authors' own folders."""
    ranking = {}
    for index, wnid in enumerate(CLASSES):
        for split, number in (("train", TRAIN), ("val", VAL)):
            images, masks = root / split / wnid, root / "hardImageNet" / split
            images.mkdir(parents=True)
            masks.mkdir(parents=True, exist_ok=True)
            for i in range(number):
                file = name(wnid, split, index * 100 + i)
                Image.new("RGB", (6, 5), (index, i, 0)).save(images / file)
                Image.fromarray(np.full((5, 6), 255, np.uint8)).save(
                    masks / f"{wnid}_{file}", "PNG"
                )
        order = [f"/data/ILSVRC2012/train/{wnid}/{name(wnid, 'train', index * 100 + i)}"
                 for i in range(TRAIN)]  # fmt: skip
        ranking[index * 7] = order
    (root / "train" / "n01440764").mkdir()  # a class of ImageNet that is none of the 15
    (root / "hardImageNet" / "meta").mkdir()
    write_ranking(root, ranking)
    return root


def write_ranking(root: Path, content: object) -> None:
    path = root / "hardImageNet" / "meta" / "paths_by_rank2.pkl"
    path.write_bytes(pickle.dumps(content))


def ranks(data: Dataset, wnid: str) -> dict[int, tuple[int, int]]:
    """Position in the ranking -> (split, place)."""
    table = data.table[data.table["img_filename"].str.startswith(f"train/{wnid}/")]
    return {
        int(row.img_filename.rsplit("_", 1)[1].split(".")[0]) % 100: (row.split, row.place)
        for row in table.itertuples()
    }


def test_b_takes_both_ends_of_the_ranking_out_of_train(tmp_path: Path) -> None:
    data = HardImageNet(write(tmp_path), held_out=2).read()
    data.check_files()
    assert data.attribute_names == ("cue", "no_cue")
    assert data.class_names[0] == "balance beam"
    assert len(data.class_names) == 15
    train, val, test = 0, 1, 2
    for wnid in CLASSES:
        assert ranks(data, wnid) == {
            0: (test, 0), 1: (val, 0), 2: (test, 0), 3: (val, 0),  # the strongest cue
            4: (train, 0), 5: (train, 0), 6: (train, 1), 7: (train, 1),
            8: (val, 1), 9: (test, 1), 10: (val, 1), 11: (test, 1),  # the weakest
        }  # fmt: skip
    assert set(data.group_counts(Split.TEST).values()) == {2}
    assert set(data.group_counts(Split.VAL).values()) == {2}
    unseen = data.split(Split.UNSEEN)  # the official val split, whose cues are not ranked
    assert len(unseen) == 15 * VAL
    assert set(unseen["place"]) == {-1}
    assert "(B)" in data.group_definition


def test_b_with_other_settings(tmp_path: Path) -> None:
    root = write(tmp_path)
    swapped = HardImageNet(root, held_out=2, strongest_first=False).read()
    assert ranks(swapped, WNID)[0] == (2, 1)
    assert ranks(swapped, WNID)[11] == (2, 0)
    unknown = HardImageNet(root, held_out=2, low_share=None).read()
    assert {ranks(unknown, WNID)[i] for i in range(4, 8)} == {(0, -1)}
    quarter = HardImageNet(root, held_out=1, low_share=0.25).read()
    assert [ranks(quarter, WNID)[i][1] for i in range(2, 10)] == [0] * 7 + [1]


def test_masks_are_found_by_class_and_name(tmp_path: Path) -> None:
    root = write(tmp_path / "images")
    (root / "hardImageNet" / "train" / f"{WNID}_{name(WNID, 'train', 5)}").unlink()
    data = HardImageNet(root, held_out=2).read()
    assert f"train/{WNID}/{name(WNID, 'train', 5)}" not in set(data.table["img_filename"])
    first = data.table.iloc[0]
    assert first["mask_filename"] == (
        "hardImageNet/train/" + "_".join(first["img_filename"].split("/")[1:])
    )
    (root / "hardImageNet").rename(tmp_path / "masks")
    elsewhere = HardImageNet(root, masks=tmp_path / "masks", held_out=2).read()
    assert elsewhere.path(elsewhere.table["mask_filename"].iloc[0]).is_file()
    assert elsewhere.table["img_filename"].equals(data.table["img_filename"])


def test_a_needs_the_images_only(tmp_path: Path) -> None:
    root = write(tmp_path / "images")
    (root / "hardImageNet").rename(tmp_path / "gone")
    data = HardImageNet(root, "A", held_out=3).read()
    assert "mask_filename" not in data.table.columns
    assert set(data.group_counts(Split.TRAIN).values()) == {TRAIN - 3}
    assert set(data.group_counts(Split.VAL).values()) == {3}
    assert set(data.group_counts(Split.TEST).values()) == {VAL}
    assert data.grouper.num_groups == 15
    again = HardImageNet(root, "A", held_out=3).read()
    assert again.table.equals(data.table)
    other = HardImageNet(root, "A", held_out=3, seed=1).read()
    assert not other.table.equals(data.table)


def test_c_is_the_users_table(tmp_path: Path) -> None:
    root = write(tmp_path)
    lines = ["img_filename,y,split,place"]
    for index, wnid in enumerate(CLASSES):
        label = (wnid, CLASSES[wnid])[index % 2]  # by wnid or by name
        for i, split in enumerate(("train", "val", "test")):
            file = name(wnid, "train", index * 100 + i)
            lines.append(f"train/{wnid}/{file},{label},{split},{('snow', 'no snow')[i % 2]}")
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    data = HardImageNet(root, "C", table=tmp_path / "mine.csv").read()
    assert data.table["y"].tolist() == [i for i in range(15) for _ in range(3)]
    assert data.attribute_names == ("no snow", "snow")
    assert (data.table["mask_filename"] != "").all()
    with pytest.raises(ConfigError, match="definition=C needs a table"):
        HardImageNet(root, "C")


@pytest.mark.parametrize("form", ["json", "csv", "ordered"])
def test_other_forms_of_the_ranking(tmp_path: Path, form: str) -> None:
    root = write(tmp_path)
    path = root / "hardImageNet" / "meta" / "paths_by_rank2.pkl"
    content = pickle.loads(path.read_bytes())
    before = HardImageNet(root, held_out=2).read().table
    if form == "json":
        path = path.with_suffix(".json")
        path.write_text(json.dumps(content))
    elif form == "csv":
        path = path.with_suffix(".csv")
        rows = [(p, r) for paths in content.values() for r, p in enumerate(paths)]
        rows.sort(key=lambda r: r[0])
        path.write_text("path,rank\n" + "\n".join(f"{p},{r}" for p, r in rows))
    else:
        path.write_bytes(pickle.dumps(OrderedDict(content)))
    after = HardImageNet(root, held_out=2, ranking=path).read().table
    assert after.equals(before)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def test_a_pickle_that_runs_code_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    write_ranking(root, {0: [Evil()]})
    with pytest.raises(DataError, match=r"holds (posix|nt)\.system and is not loaded"):
        HardImageNet(root, held_out=2).read()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as a pickle"),
        (b"\x80\x04}q\x00(K", "cannot be read as a pickle"),
        (b"<html>quota</html>", "cannot be read as a pickle"),
        (pickle.dumps([1]), "holds a list; expected class -> list of paths"),
        (pickle.dumps({0: "x"}), "holds a str for class 0"),
        (pickle.dumps({0: [3]}), "holds 3; expected paths that end in <wnid>/<file>"),
        (pickle.dumps({0: [f"{WNID}/{WNID}_777.JPEG"]}), "ranks 1 images that are not in"),
        (pickle.dumps({0: [f"{WNID}/{name(WNID, 'train', 0)}"] * 2}), "more than once"),
        (pickle.dumps({0: [f"{WNID}/{name(WNID, 'train', 0)}"]}), "ranks 1 images of"),
        (pickle.dumps({0: np.zeros(2)}), "is not loaded, since a pickle can run code"),
    ],
)
def test_rankings_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    root = write(tmp_path)
    (root / "hardImageNet" / "meta" / "paths_by_rank2.pkl").write_bytes(content)
    with pytest.raises(DataError) as caught:
        HardImageNet(root, held_out=2).read()
    assert said in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    with pytest.raises(DataError, match=r"ranks 12 images of .* takes 200 of them"):
        HardImageNet(root).read()
    with pytest.raises(DataError, match=r"holds 12 images; expected more than the 50"):
        HardImageNet(root, "A").read()
    (root / "hardImageNet/meta/paths_by_rank2.pkl").unlink()
    with pytest.raises(DataError, match=r"ranking of definition B is not in .*(.|\n)*dataset\.ran"):
        HardImageNet(root, held_out=2).read()
    (root / "val" / WNID).rename(root / "val" / "balance_beam")
    with pytest.raises(DataError, match=r"val lacks 1 of the 15 classes:(.|\n)*- n02777292/"):
        HardImageNet(root, "A", held_out=2).read()
    with pytest.raises(DataError, match=r"masks=.*nowhere: no such folder"):
        HardImageNet(root, "A", masks=tmp_path / "nowhere", held_out=2).read()


def test_published_groups_are_those_of_the_default_definition() -> None:
    import yaml

    from aspire.confdir import conf_dir

    node = yaml.safe_load((conf_dir() / "dataset" / "hard_imagenet.yaml").read_text())
    names = [f"{c}/{cue}" for c in CLASSES.values() for cue in ("cue", "no_cue")]
    for split in ("val", "test"):
        assert list(node["published"][split]) == names
        assert set(node["published"][split].values()) == {node["held_out"]}
