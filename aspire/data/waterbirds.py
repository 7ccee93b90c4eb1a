"""Waterbirds, and any folder that is laid out like it.

Layout of ``waterbird_complete95_forest2water2`` (Sagawa et al. 2020)::

    metadata.csv                  img_id,img_filename,y,split,place,place_filename
    <species>/<image>.jpg
    captions.csv                  optional: img_filename,caption
    segmentations/<species>/<image>.png   optional: mask of the animal, as CUB ships them

split 0/1/2 = train/val/test, y 1 = waterbird, place 1 = water.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from aspire.data.table import Dataset, names_tuple
from aspire.errors import ConfigError, DataError, did_you_mean


class Waterbirds:
    """Reader of the Waterbirds layout.

    Args:
        root: folder that holds ``metadata.csv``.
        class_names: names of y = 0, 1, ...
        attribute_names: names of place = 0, 1, ...
        class_words: per class, words that captions use for its object; None for the class names.
    """

    def __init__(
        self,
        root: str | Path,
        class_names: Sequence[str] = ("landbird", "waterbird"),
        attribute_names: Sequence[str] = ("land", "water"),
        class_words: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.root = Path(root)
        self.class_names = names_tuple(class_names)
        self.attribute_names = names_tuple(attribute_names)
        self.class_words = tuple(tuple(w) for w in class_words or [(n,) for n in class_names])
        if len(self.class_words) != len(self.class_names):
            raise ConfigError(
                f"dataset.class_words has {len(self.class_words)} lists for "
                f"{len(self.class_names)} classes; expected one list of words per class."
            )

    def read(self) -> Dataset:
        """The metadata table.

        Raises:
            DataError: when the folder or a column is missing, or a value is out of range.
        """
        if not self.root.is_dir():
            raise DataError(
                f"dataset.root={self.root}: no such folder. Expected Waterbirds unpacked there "
                "(metadata.csv and one folder per species); say where it is with "
                "dataset.root=DIR."
            )
        table = read_csv(self.root / "metadata.csv")
        table = join_captions(table, self.root / "captions.csv")
        if (self.root / "segmentations").is_dir() and "img_filename" in table.columns:
            masks = [
                PurePosixPath("segmentations", str(name)).with_suffix(".png").as_posix()
                for name in table["img_filename"]
            ]
            table["mask_filename"] = [m if (self.root / m).is_file() else "" for m in masks]
        return Dataset(
            name="waterbirds",
            root=self.root,
            table=table,
            class_names=self.class_names,
            attribute_names=self.attribute_names,
            spurious_attribute="background",
            class_words=self.class_words,
        )


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV file.

    Raises:
        DataError: when it is missing, empty or not a CSV.
    """
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in path.parent.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{path.name} not found in {path.parent} (it holds: {found}). Expected the dataset's "
            "own folder; set dataset.root to it."
        )
    try:
        return pd.read_csv(path, dtype={"img_id": str, "img_filename": str})
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a CSV file: {str(error).strip()}") from None


def join_captions(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the ``caption`` column from a file of ``img_filename,caption``, where there is one.

    Raises:
        DataError: when the file lacks one of its columns.
    """
    if not path.is_file() or "img_filename" not in table.columns:
        return table
    captions = read_csv(path)
    for column in ("img_filename", "caption"):
        if column not in captions.columns:
            raise DataError(
                f"{path} has no column '{column}'.{did_you_mean(column, captions.columns)} "
                f"Expected img_filename,caption; found {', '.join(captions.columns)}."
            )
    by_name = captions.drop_duplicates("img_filename").set_index("img_filename")["caption"]
    return table.assign(caption=table["img_filename"].map(by_name).fillna(""))
