"""A user's own table, without code: CSV or Parquet with one row per image.

The unified columns, in any order; only the first two must be there::

    img_filename   path of the image, relative to dataset.images (also: path, filename, ...)
    y              class: its number, or its name (also: label, class, target)
    place          spurious attribute: number, name, or -1 / empty where unknown
    split          0, 1, 2 (, 3) or train, val, test (, unseen)
    img_id, caption, mask_filename, objects, source, parent_id

Without ``split`` every class and attribute is divided by ``fractions``; where only the val split is
missing it is drawn from train. Without ``place`` the groups are unknown. Without ``img_id`` the row
number is the id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from aspire.data.csv_file import read_csv
from aspire.data.files import holds, open_regular
from aspire.data.paths import relative_names
from aspire.data.table import Dataset, name_of
from aspire.data.unified import FRACTIONS, Unifier, dataset_of
from aspire.errors import ConfigError, DataError
from aspire.values import Natural


class TableFile:
    """Reader of a CSV, TSV or Parquet file.

    Args:
        metadata: the file.
        images: folder that the paths are relative to; None for the folder of the file.
        columns: unified name -> the file's name, where they differ, e.g. ``{y: species}``.
        class_names, attribute_names: in the order of their numbers; None to take what stands in
            the file (names sorted; whole numbers 0 to k-1 as they are).
        class_words: per class, words that captions use for its object; None for the class names.
        spurious_attribute: what ``place`` stands for.
        fractions: shares of val and test where the file has no splits.
        split_seed: of that draw.
        name: of the dataset; None for the name of the file.
    """

    def __init__(
        self,
        metadata: str | Path | None,
        images: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
        class_names: Sequence[str] | None = None,
        attribute_names: Sequence[str] | None = None,
        class_words: Sequence[Sequence[str]] | None = None,
        spurious_attribute: str = "attribute",
        fractions: Mapping[str, float] = FRACTIONS,
        split_seed: Natural = 0,
        name: str | None = None,
    ) -> None:
        if not metadata:
            raise ConfigError(
                "dataset.metadata is not set; expected a CSV or Parquet file with one row per "
                "image: dataset.metadata=FILE"
            )
        self.metadata = Path(metadata)
        self.images = Path(images) if images else self.metadata.parent
        self.unify = Unifier(columns, class_names, attribute_names, fractions, split_seed)
        self.class_words = class_words
        self.spurious_attribute = spurious_attribute
        self.name = name_of(name, metadata)

    def read(self) -> Dataset:
        """The metadata table, its rows in the order of the file.

        Raises:
            DataError: when the file cannot be read, or a column or value is not as described.
        """
        if self.metadata.suffix.lower() in (".parquet", ".pq"):
            frame = read_parquet(self.metadata)
        else:
            frame = read_csv(self.metadata, key="metadata", all_text=True)
        if not self.images.is_dir():
            raise DataError(
                f"dataset.images={self.images}: no such folder. Expected the folder that the paths "
                f"of {self.metadata.name} are relative to; set it with dataset.images=DIR."
            )
        table, classes, attributes = self.unify(frame, str(self.metadata))
        name_files(table, self.images, self.metadata)
        return dataset_of(
            self.name,
            self.images,
            table,
            (classes, attributes),
            self.spurious_attribute,
            self.class_words,
        )


def name_files(table: pd.DataFrame, root: Path, source: object) -> None:
    """Images and masks by the one rule for paths, in place; see :mod:`aspire.data.paths`."""
    table["img_filename"] = relative_names(table["img_filename"].tolist(), root, source)
    if "mask_filename" in table.columns:
        masks = table["mask_filename"].tolist()
        table["mask_filename"] = relative_names(masks, root, source, {*table["img_filename"]})


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file.

    Raises:
        DataError: when it is missing or not Parquet.
    """
    if not path.is_file():
        raise DataError(
            f"{path.name} not found in {path.parent} (it holds: {holds(path.parent)}). Set "
            "dataset.metadata to the Parquet file."
        )
    try:
        import pyarrow.parquet as pq

        with open_regular(path) as file:
            frame: pd.DataFrame = pq.ParquetFile(file).read().to_pandas()
    except ImportError:
        raise ConfigError(
            "Parquet files need pyarrow: pip install 'aspire-shortcuts[parquet]'"
        ) from None
    except Exception as error:  # pyarrow's own, OSError, and pandas' for odd types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as a Parquet file: {reason}") from None
    frame.attrs = {}
    return frame.reset_index() if frame.index.name else frame
