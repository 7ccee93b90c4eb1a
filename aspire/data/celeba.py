"""CelebA: hair colour, with gender as the shortcut (Liu et al. 2015; Sagawa et al. 2020).

Layouts that are read, each with ``img_align_celeba/NNNNNN.jpg`` beside it or nested twice, as
Kaggle's archive unpacks::

    list_attr_celeba.csv, list_eval_partition.csv     Kaggle, group_DRO, WILDS
    list_attr_celeba.txt, list_eval_partition.txt     the authors, torchvision
    metadata.csv | celeba_metadata.csv                img_filename,y,split,place (DFR)
    metadata_celeba.csv                               id,filename,split,y,a (BalancingGroups)

Everything may be in ``root`` or in ``root/celeba``. The attribute files hold -1/1 (or 0/1), the
partition 0/1/2 = train/val/test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aspire.data.csv_file import read_csv
from aspire.data.files import holds
from aspire.data.table import Dataset, names_tuple
from aspire.data.tables import expected_and_found, join_captions, require_columns, require_folder
from aspire.errors import ConfigError, DataError, did_you_mean

IMAGES = "img_align_celeba"
ANNOTATIONS = ("list_attr_celeba", "list_eval_partition")
PREPARED = ("metadata.csv", "celeba_metadata.csv", "metadata_celeba.csv")


class CelebA:
    """Reader of CelebA in any of its layouts.

    Args:
        root: folder that holds the annotations and the image folder.
        target: attribute that is the class (y = 1 where it is set).
        spurious: attribute that is the shortcut (place = 1 where it is set).
        class_names: names of y = 0, 1.
        attribute_names: names of place = 0, 1.
        class_words: per class, words that captions use for its object; None for the class names.
    """

    def __init__(
        self,
        root: str | Path,
        target: str = "Blond_Hair",
        spurious: str = "Male",
        class_names: Sequence[str] = ("dark", "blond"),
        attribute_names: Sequence[str] = ("female", "male"),
        class_words: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.root = Path(root)
        self.target = target
        self.spurious = spurious
        self.class_names = names_tuple(class_names)
        self.attribute_names = names_tuple(attribute_names)
        self.class_words = tuple(tuple(w) for w in class_words or [(n,) for n in class_names])
        if not len(self.class_words) == len(self.class_names) == len(self.attribute_names) == 2:
            raise ConfigError(
                "dataset=celeba has two classes and two attribute values; got class_names="
                f"{list(class_names)}, attribute_names={list(attribute_names)} and "
                f"{len(self.class_words)} lists of class_words."
            )
        if target == spurious:
            raise ConfigError(
                f"dataset.target and dataset.spurious are both {target}; expected two attributes."
            )

    def read(self) -> Dataset:
        """The metadata table.

        Raises:
            DataError: when files are missing, disagree with each other or hold other values.
        """
        expected = [f"{IMAGES}/", *(f"{a}.csv" for a in ANNOTATIONS)]
        require_folder(self.root, "CelebA", expected)
        root = self.root
        if not _annotated(root) and _annotated(root / "celeba"):
            root = root / "celeba"
        table = self._table(root)
        table["img_filename"] = self._images(root, table["img_filename"])
        return Dataset(
            name="celeba",
            root=root,
            table=join_captions(table, root / "captions.csv"),
            class_names=self.class_names,
            attribute_names=self.attribute_names,
            spurious_attribute=self.spurious.lower(),
            class_words=self.class_words,
            group_definition=f"{self.target} (the class) and {self.spurious} of a face, "
            "as CelebA annotates them",
        )

    def _table(self, root: Path) -> pd.DataFrame:
        for suffix in (".csv", ".txt"):
            attributes, partition = (root / f"{a}{suffix}" for a in ANNOTATIONS)
            if attributes.is_file() and partition.is_file():
                return self._annotations(attributes, partition)
        if (self.target, self.spurious) == ("Blond_Hair", "Male"):
            for name in PREPARED:
                if (root / name).is_file():
                    return _prepared(root / name)
        raise DataError(
            f"CelebA's annotations are not in {root}:\n"
            + expected_and_found(root, [f"{IMAGES}/", *(f"{a}.csv" for a in ANNOTATIONS)])
            + "\nThe same two files as .txt, or metadata.csv, do as well. Put them there, or say "
            "where they are with dataset.root=DIR."
        )

    def _annotations(self, attributes: Path, partition: Path) -> pd.DataFrame:
        marks = _read_attributes(attributes)
        for name in (self.target, self.spurious):
            if name not in marks.columns:
                names = [str(c) for c in marks.columns]
                raise DataError(
                    f"{attributes} has no attribute '{name}'.{did_you_mean(name, names)} "
                    f"Attributes: {', '.join(c for c in names if c != 'image_id')}."
                )
        splits = _read_partition(partition)
        _same_images((attributes, marks), (partition, splits))
        joined = marks[["image_id", self.target, self.spurious]].merge(splits, on="image_id")
        return pd.DataFrame(
            {
                "img_id": joined["image_id"].str.rsplit(".", n=1).str[0],
                "img_filename": joined["image_id"],
                "y": _binary(joined[self.target], attributes),
                "split": joined["partition"],
                "place": _binary(joined[self.spurious], attributes),
            }
        )

    def _images(self, root: Path, names: pd.Series) -> pd.Series:
        """Paths relative to ``root``."""
        first = str(names.iloc[0])
        if (root / first).is_file() or first.startswith(f"{IMAGES}/"):
            return names
        for folder in (f"{IMAGES}/{IMAGES}/", f"{IMAGES}/"):
            if (root / folder).is_dir():
                return folder + names
        raise DataError(
            f"CelebA's images are not in {root}:\n"
            + expected_and_found(root, [f"{IMAGES}/"])
            + f"\nUnpack {IMAGES}.zip there, or say where it is with dataset.root=DIR."
        )


def _annotated(root: Path) -> bool:
    names = [f"{a}{suffix}" for a in ANNOTATIONS for suffix in (".csv", ".txt")]
    return any((root / n).is_file() for n in (*names, *PREPARED))


def _read_attributes(path: Path) -> pd.DataFrame:
    """``image_id`` and one column per attribute; the text form begins with the number of rows."""
    if path.suffix == ".csv":
        table = read_csv(path)
        require_columns(table, ("image_id",), path)
        return table
    lines = path.read_text("utf-8", errors="replace").splitlines()
    count = lines[0].strip() if lines else ""
    if not count.isdigit() or len(lines) < 2:
        raise DataError(
            f"{path} begins with {count[:60]!r}; expected the number of images in the first line "
            "and the names of the attributes in the second."
        )
    return _rows(lines[2:], ["image_id", *lines[1].split()], path, first=3, number=int(count))


def _read_partition(path: Path) -> pd.DataFrame:
    """``image_id`` and ``partition``; the text form has no header."""
    if path.suffix == ".csv":
        table = read_csv(path)
        require_columns(table, ("image_id", "partition"), path)
        table = table[["image_id", "partition"]]
    else:
        lines = path.read_text("utf-8", errors="replace").splitlines()
        table = _rows(lines, ["image_id", "partition"], path, first=1)
    bad = np.flatnonzero(~table["partition"].isin([0, 1, 2]).to_numpy())
    if len(bad) or not len(table):
        given = f"{table['partition'].tolist()[bad[0]]!r} in row {bad[0]}" if len(bad) else "no row"
        raise DataError(f"{path} holds {given}; expected 0 train, 1 val or 2 test per image.")
    return table


def _rows(
    lines: Sequence[str],
    names: Sequence[str],
    path: Path,
    first: int,
    number: int | None = None,
) -> pd.DataFrame:
    """Lines of a file name and whole numbers; ``first`` is the number of the first line."""
    files: list[str] = []
    values: list[list[int]] = []
    for index, line in enumerate(lines):
        parts = line.split()
        if not parts:
            continue
        try:
            numbers = [int(p) for p in parts[1:]]
        except ValueError:
            numbers = []
        if len(numbers) != len(names) - 1:
            raise DataError(
                f"{path} line {first + index}: {line.strip()[:60]!r}; expected an image name and "
                f"{len(names) - 1} whole numbers."
            )
        files.append(parts[0])
        values.append(numbers)
    if number is not None and number != len(files):
        raise DataError(
            f"{path} announces {number} images in its first line and holds {len(files)}. The file "
            "is cut off or was changed; get it again."
        )
    table = pd.DataFrame(np.array(values, dtype=np.int64).reshape(len(files), len(names) - 1))
    table.columns = pd.Index(names[1:])
    table.insert(0, "image_id", files)
    return table


def _same_images(one: tuple[Path, pd.DataFrame], other: tuple[Path, pd.DataFrame]) -> None:
    for path, table in (one, other):
        twice = table["image_id"][table["image_id"].duplicated()]
        if len(twice):
            raise DataError(f"{path}: the image {twice.iloc[0]} appears more than once.")
    for (path, table), (missing, there) in ((one, other), (other, one)):
        lost = sorted(set(table["image_id"]) - set(there["image_id"]))
        if lost:
            raise DataError(
                f"{len(lost)} images of {path.name} are not in {missing.name}, such as {lost[0]}. "
                f"Expected both files in {path.parent} to list the same images; found "
                f"{len(table)} and {len(there)}."
            )


def _binary(values: pd.Series, path: Path) -> NDArray[np.int64]:
    """-1/1 or 0/1 as 0/1."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    allowed = (-1, 1) if (numbers == -1).any() else (0, 1)
    bad = np.flatnonzero(~np.isin(numbers, allowed))
    if len(bad):
        raise DataError(
            f"{path}: attribute '{values.name}' holds {values.tolist()[bad[0]]!r} in row {bad[0]}; "
            "expected -1 and 1, or 0 and 1, throughout."
        )
    return np.asarray(numbers == 1, dtype=np.int64)


def _prepared(path: Path) -> pd.DataFrame:
    """A table that others made: the unified columns, or those of BalancingGroups."""
    table = read_csv(path)
    names = {"filename": "img_filename", "image_id": "img_filename", "a": "place", "id": "img_id"}
    new = {k: v for k, v in names.items() if k in table.columns and v not in table.columns}
    table = table.rename(columns=new)
    require_columns(table, ("img_filename", "y", "split", "place"), path)
    if not len(table):
        raise DataError(f"{path} has no rows; the folder holds: {holds(path.parent)}.")
    table["img_filename"] = table["img_filename"].astype(str)
    if "img_id" not in table.columns:
        table["img_id"] = table["img_filename"].str.rsplit("/", n=1).str[-1].str.split(".").str[0]
    return table[["img_id", "img_filename", "y", "split", "place"]].copy()
