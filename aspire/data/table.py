"""The metadata table: what every dataset is, once its reader has done its work.

A reader turns files into a :class:`Dataset`; nothing after it knows where the files came from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import pandas as pd

from aspire.data.files import read_regular
from aspire.data.groups import Grouper
from aspire.errors import DataError, did_you_mean
from aspire.stored.seals import read_digest, write_digest
from aspire.text import quoted

REQUIRED = ("img_id", "img_filename", "y", "split", "place")
PHOTOGRAPH = "place_filename"
OPTIONAL = ("caption", "mask_filename", "objects", "source", "parent_id", PHOTOGRAPH)


class Split(IntEnum):
    """The numbers of the ``split`` column, as Waterbirds introduced them.

    ``UNSEEN`` is optional: further test images, of a style or source that no other split has.
    """

    TRAIN = 0
    VAL = 1
    TEST = 2
    UNSEEN = 3


class Reader(Protocol):
    """Turns a dataset's files into the metadata table. Construction must be cheap."""

    def read(self) -> Dataset: ...


@dataclass(frozen=True)
class Dataset:
    """A metadata table with the names of its classes and attributes.

    Args:
        name: as in ``dataset=NAME``.
        root: folder that ``img_filename`` and ``mask_filename`` are relative to.
        table: columns ``img_id`` (str, unique), ``img_filename`` (str), ``y`` (int, class index),
            ``split`` (see :class:`Split`), ``place`` (int, attribute index, -1 unknown) and
            optionally ``caption`` (str), ``mask_filename`` (str; label map, 1 = class object),
            ``objects`` (JSON text, phrase -> value in the label map), ``place_filename`` (str; the
            photograph that the background is from, as in Waterbirds: images that share it are no
            independent evidence of what it does). Missing values are ``""``.
            Its ``attrs`` may hold ``notes``, see :func:`.csv_file.add_note`.
        class_names, attribute_names: in index order.
        spurious_attribute: what ``place`` stands for, for example "background".
        group_definition: what a group is, in a sentence, for datasets where that is a choice.
        class_words: per class further words for its object ("bulldog" for a dog), used to keep
            the class object out of the foreground phrases.
        own_cue: the attribute that stands for each class's own cue, and so for another thing in
            every class; None where attributes mean the same everywhere.

    Raises:
        DataError: naming the column and the first row that breaks the contract.
    """

    name: str
    root: Path
    table: pd.DataFrame
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    spurious_attribute: str = "attribute"
    class_words: tuple[tuple[str, ...], ...] = field(default=())
    group_definition: str = "class and attribute of an image"
    own_cue: int | None = None

    def __post_init__(self) -> None:
        table = self.table
        for column in REQUIRED:
            if column not in table.columns:
                hint = did_you_mean(column, [c for c in table.columns if c not in REQUIRED])
                raise DataError(
                    f"{self.name}: the metadata table of {self.root} has no column '{column}'."
                    f"{hint} Expected the columns {', '.join(REQUIRED)}; found "
                    f"{', '.join(map(str, table.columns))}."
                )
        for column in ("img_filename", *(c for c in OPTIONAL if c in table.columns)):
            self.table[column] = table[column].fillna("").astype(str)
        self._check_range("y", 0, len(self.class_names) - 1, "class_names")
        self._check_range("place", -1, len(self.attribute_names) - 1, "attribute_names")
        self._check_range("split", 0, 3, "the splits 0 train, 1 val, 2 test, 3 unseen")
        self._check_objects()
        self.table["img_id"] = table["img_id"].astype(str)
        twice = self.table["img_id"][self.table["img_id"].duplicated()]
        if len(twice):
            raise DataError(
                f"{self.name}: img_id must be unique; '{twice.iloc[0]}' appears more than once "
                f"(first repeat in row {int(twice.index[0])})."
            )
        for split in (Split.TRAIN, Split.VAL, Split.TEST):
            if not (self.table["split"] == split).any():
                raise DataError(
                    f"{self.name}: the {split.name.lower()} split is empty. Expected rows with "
                    f"split={split.value} in the metadata table of {self.root}; found the splits "
                    f"{sorted(int(s) for s in self.table['split'].unique())}."
                )

    def _check_range(self, column: str, low: int, high: int, names: str) -> None:
        values = pd.to_numeric(self.table[column], errors="coerce")
        bad = values.isna() | (values < low) | (values > high) | (values % 1 != 0)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            given = self.table[column].tolist()[row]  # a plain value: numpy's show their type
            shown = quoted(given) if isinstance(given, str) else repr(given)
            raise DataError(
                f"{self.name}: column '{column}' holds {shown} in row {row}; "
                f"expected a whole number from {low} to {high} ({names})."
            )
        self.table[column] = values.astype(int)

    def _check_objects(self) -> None:
        cells = self.table["objects"].tolist() if "objects" in self.table.columns else []
        known = {"": True}
        for cell in cells:
            if cell not in known:
                known[cell] = _names_values(cell)
        if all(known.values()):
            return
        bad = [row for row, cell in enumerate(cells) if not known[cell]]
        raise DataError(
            f"{self.name}: column 'objects' holds {quoted(cells[bad[0]])} in row {bad[0]}"
            f"{f' and {len(bad) - 1} more such cells' if len(bad) > 1 else ''}; expected JSON that "
            'gives each phrase its value in the label map, 0 to 255, such as {"ball": 2}, or '
            "nothing."
        )

    @property
    def notes(self) -> Mapping[str, Sequence[str]]:
        """What the reader left out or took for granted: kind -> a line each."""
        found: dict[str, list[str]] = self.table.attrs.get("notes", {})
        return found

    @property
    def grouper(self) -> Grouper:
        """Group ids and names of this dataset."""
        return Grouper(self.class_names, self.attribute_names)

    @property
    def splits(self) -> list[Split]:
        """The splits that have images, in order."""
        return [s for s in Split if (self.table["split"] == s).any()]

    def split(self, split: Split) -> pd.DataFrame:
        """The rows of one split, in table order."""
        return self.table[self.table["split"] == split].reset_index(drop=True)

    def group_counts(self, split: Split) -> dict[str, int]:
        """Group name -> number of images of that split."""
        rows = self.split(split)
        groups = self.grouper.ids(rows["y"].to_numpy(), rows["place"].to_numpy())
        return {n: int((groups == g).sum()) for g, n in enumerate(self.grouper.names)}

    def class_counts(self, split: Split) -> dict[str, int]:
        """Class name -> number of images of that split."""
        y = self.split(split)["y"].to_numpy()
        return {name: int((y == i).sum()) for i, name in enumerate(self.class_names)}

    def path(self, relative: str) -> Path:
        """Absolute path of a file of this dataset."""
        return self.root / relative

    def check_files(self) -> None:
        """Find images that are missing or empty before any time is spent.

        Raises:
            DataError: with the count and the first rows.
        """
        problems: list[str] = []
        for row, name in enumerate(self.table["img_filename"]):
            path = self.path(name)
            if not path.is_file():  # nor a pipe or a device
                problems.append(f"row {row}: {name} is missing")
            elif path.stat().st_size == 0:
                problems.append(f"row {row}: {name} has zero bytes")
        if problems:
            shown = "\n  ".join(problems[:5])
            more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise DataError(
                f"{self.name}: {len(problems)} of {len(self.table)} images cannot be read in "
                f"{self.root}:\n  {shown}{more}\nPut the files back or take their rows out of the "
                "metadata table."
            )

    def digest(self, cache: Path | None = None) -> str:
        """SHA-256 over the table, the names and the content of every image and mask.

        Independent of where the dataset is, and of ``place_filename``, which no training sees.

        Args:
            cache: folder that remembers the digest as long as no file's size or time changes, so
                that a large dataset is read once.
        """
        seen, newest = self.state()
        remembered = cache / f"{seen}.digest" if cache else None
        if remembered and (known := read_digest(remembered, newest)) is not None:
            return known
        whole = hashlib.sha256(self._text())
        for name in self._files():
            whole.update(hashlib.sha256(read_regular(self.path(name))).digest())
        if remembered:
            write_digest(remembered, whole.hexdigest())  # others may be reading it
        return whole.hexdigest()

    def state(self) -> tuple[str, float]:
        """A digest of the table and of the size and time of every file, and the latest time.

        What was found out about a dataset holds as long as this is the same.

        Raises:
            OSError: when a file cannot be looked at.
        """
        seen = hashlib.sha256(self._text())
        newest = 0.0
        for name in self._files():
            path = os.path.join(self.root, name)  # noqa: PTH118 - thousands, at every start
            stat = os.stat(path)  # noqa: PTH116
            newest = max(newest, stat.st_mtime)
            seen.update(f"{path}|{stat.st_size}|{stat.st_mtime_ns}".encode())
        return seen.hexdigest(), newest

    def _text(self) -> bytes:
        """All that a dataset is, but for its files."""
        read = (c for c in (*REQUIRED, *OPTIONAL) if c != PHOTOGRAPH)
        columns = [c for c in read if c in self.table.columns]
        head = json.dumps([self.class_names, self.attribute_names, self.class_words, columns])
        return (head + self.table[columns].to_csv(index=False)).encode()

    def _files(self) -> list[str]:
        """Images and masks, as the table names them."""
        columns = [c for c in ("img_filename", "mask_filename") if c in self.table.columns]
        return [name for column in columns for name in self.table[column] if name]


def name_of(given: str | None, where: str | Path) -> str:
    """What a user's own dataset is called: as given, or as its file or folder.

    >>> name_of(None, "data/pets.csv"), name_of("cats", "data/pets.csv"), name_of("", "data/a.b/")
    ('pets', 'cats', 'a.b')
    """
    path = Path(where)
    table = path.suffix.lower() in (".csv", ".tsv", ".txt", ".parquet", ".pq")
    return str(given or (path.stem if table else path.resolve().name) or "data")


def _names_values(cell: str) -> bool:
    try:
        found = msgspec.json.decode(cell, type=dict[str, int])
    except (msgspec.DecodeError, RecursionError):  # also of other types
        return False
    return all(0 <= value <= 255 for value in found.values())


def names_tuple(names: Sequence[str]) -> tuple[str, ...]:
    """A checked tuple of distinct, non-empty names.

    Raises:
        DataError: when a name is empty or appears twice.
    """
    result = tuple(str(n) for n in names)
    if not result or any(not n for n in result) or len(set(result)) != len(result):
        raise DataError(f"Names must be distinct and not empty; got {list(result)}.")
    return result
