"""CelebA in the four forms in which people have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from celeba_faces import FACES, NAMES, images, values, write_txt

from aspire.data.celeba import CelebA
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError


def write_csv(root: Path) -> Path:
    """Kaggle's archive, unpacked: the image folder is nested."""
    images(root / "img_align_celeba" / "img_align_celeba")
    lines = [",".join(["image_id", *NAMES])]
    lines += [f"{n}," + ",".join(map(str, values(b, m))) for n, (b, m, _) in FACES.items()]
    (root / "list_attr_celeba.csv").write_text("\n".join(lines) + "\n")
    lines = ["image_id,partition", *(f"{n},{p}" for n, (_, _, p) in FACES.items())]
    (root / "list_eval_partition.csv").write_text("\n".join(lines) + "\n")
    return root


def write_unified(root: Path) -> Path:
    images(root / "img_align_celeba")
    lines = [",img_id,img_filename,y,split,place"]
    for i, (name, (b, m, p)) in enumerate(FACES.items()):
        lines.append(f"{i},{name[:6]},{name},{int(b > 0)},{p},{int(m > 0)}")
    (root / "celeba_metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def write_balancing_groups(root: Path) -> Path:
    images(root / "img_align_celeba")
    lines = ["id,filename,split,y,a"]
    for i, (name, (b, m, p)) in enumerate(FACES.items()):
        lines.append(f"{i},{name},{p},{int(b > 0)},{int(m > 0)}")
    (root / "metadata_celeba.csv").write_text("\n".join(lines) + "\n")
    return root


def read(root: Path) -> Dataset:
    data = CelebA(root).read()
    data.check_files()
    return data


@pytest.mark.parametrize("write", [write_csv, write_txt, write_unified, write_balancing_groups])
def test_every_form_gives_the_same_groups(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    data = read(write(tmp_path / "data"))
    assert data.grouper.names == ("dark/female", "dark/male", "blond/female", "blond/male")
    assert list(data.group_counts(Split.TRAIN).values()) == [2, 2, 2, 2]
    assert list(data.group_counts(Split.VAL).values()) == [1, 1, 1, 1]
    assert list(data.group_counts(Split.TEST).values()) == [1, 1, 1, 1]
    third = data.table.iloc[2]
    assert (third["y"], third["place"], third["split"]) == (1, 0, 0)
    assert third["img_filename"].endswith("img_align_celeba/000003.jpg")
    assert data.group_definition == (
        "Blond_Hair (the class) and Male of a face, as CelebA annotates them"
    )


def test_any_two_attributes(tmp_path: Path) -> None:
    root = write_csv(tmp_path / "data")
    data = CelebA(root, "Male", "Blond_Hair", ("female", "male"), ("dark", "blond")).read()
    assert data.table["y"].tolist() == [int(m > 0) for _, m, _ in FACES.values()]
    assert data.spurious_attribute == "blond_hair"


def test_zero_and_one_do_as_well(tmp_path: Path) -> None:
    root = write_csv(tmp_path / "data")
    path = root / "list_attr_celeba.csv"
    path.write_text(path.read_text().replace("-1", "0"))
    assert read(root).table["y"].tolist() == [int(b > 0) for b, _, _ in FACES.values()]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("write", "file", "old", "new", "said"),
    [
        (write_csv, "list_attr_celeba.csv", "Blond_Hair", "Blonde_Hair",
         "has no attribute 'Blond_Hair'. Did you mean Blonde_Hair?"),
        (write_csv, "list_attr_celeba.csv", "image_id", "image",
         "has no column 'image_id'. Did you mean image?"),
        (write_csv, "list_attr_celeba.csv", "000002.jpg", "000001.jpg",
         "the image 000001.jpg appears more than once"),
        (write_csv, "list_eval_partition.csv", "000016.jpg,2\n", "",
         "1 images of list_attr_celeba.csv are not in list_eval_partition.csv, such as 000016.jpg"),
        (write_csv, "list_eval_partition.csv", "000016.jpg,2", "000016.jpg,3",
         "holds 3 in row 15; expected 0 train, 1 val or 2 test"),
        (write_csv, "list_eval_partition.csv", "partition", "split",
         "has no column 'partition'."),
        (write_txt, "celeba/list_attr_celeba.txt", "16\n", "17\n",
         "announces 17 images in its first line and holds 16"),
        (write_txt, "celeba/list_attr_celeba.txt", "16\n", "",
         "expected the number of images in the first line"),
        (write_txt, "celeba/list_attr_celeba.txt", "000002.jpg -1", "000002.jpg",
         "line 4: '000002.jpg"),
        (write_txt, "celeba/list_eval_partition.txt", "000002.jpg 0", "000002.jpg train",
         "line 2: '000002.jpg train'; expected an image name and 1 whole numbers"),
        (write_balancing_groups, "metadata_celeba.csv", "split,y,a", "split,y,g",
         "has no column 'place'"),
    ],
)  # fmt: skip
def test_damaged_annotations(
    tmp_path: Path, write: Callable[[Path], Path], file: str, old: str, new: str, said: str
) -> None:
    root = write(tmp_path / "data")
    edit(root / file, old, new)
    with pytest.raises(DataError) as caught:
        CelebA(root).read()
    assert said in str(caught.value)


def test_other_values_are_named(tmp_path: Path) -> None:
    root = write_txt(tmp_path / "data")
    path = root / "celeba" / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    parts = lines[4].split()
    parts[10] = "5"
    lines[4] = " ".join(parts)
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="'Blond_Hair' holds 5 in row 2; expected -1 and 1"):
        CelebA(root).read()


def test_missing_files_are_shown_beside_what_is_there(tmp_path: Path) -> None:
    root = write_csv(tmp_path / "data")
    (root / "list_eval_partition.csv").unlink()
    with pytest.raises(DataError) as caught:
        CelebA(root).read()
    lines = str(caught.value).splitlines()
    assert lines[1].split() == ["expected", "found"]
    assert lines[2].split() == ["+", "img_align_celeba/", "img_align_celeba/"]
    assert lines[3].split() == ["+", "list_attr_celeba.csv", "list_attr_celeba.csv"]
    assert lines[4].split() == ["-", "list_eval_partition.csv"]


def test_missing_images_and_folder(tmp_path: Path) -> None:
    root = write_csv(tmp_path / "data")
    (root / "img_align_celeba").rename(root / "faces")
    with pytest.raises(DataError, match=r"CelebA's images are not in"):
        CelebA(root).read()
    with pytest.raises(DataError, match=r"no such folder. Expected CelebA unpacked there"):
        CelebA(tmp_path / "nowhere").read()


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="two classes and two attribute values"):
        CelebA("x", class_names=("a", "b", "c"))
    with pytest.raises(ConfigError, match="both Male; expected two attributes"):
        CelebA("x", target="Male")
