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
from pathlib import Path

from aspire.data.csv_file import read_csv
from aspire.data.table import Dataset, names_tuple
from aspire.data.tables import join_captions, masks_beside, require_folder
from aspire.errors import ConfigError

# Names of the folder within the archives of the authors and of WILDS.
ARCHIVE_FOLDERS = ("waterbird_complete95_forest2water2", "waterbirds_v1.0")


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
        root = self._folder()
        table = read_csv(root / "metadata.csv")
        table = join_captions(table, root / "captions.csv")
        if (root / "segmentations").is_dir() and "img_filename" in table.columns:
            table["mask_filename"] = masks_beside(root, table["img_filename"])
        return Dataset(
            name="waterbirds",
            root=root,
            table=table,
            class_names=self.class_names,
            attribute_names=self.attribute_names,
            spurious_attribute="background",
            class_words=self.class_words,
            group_definition="class of the animal and the background it was pasted on",
        )

    def _folder(self) -> Path:
        """The folder with the metadata: the one given, or the archive's own folder in it."""
        require_folder(self.root, "Waterbirds", ["metadata.csv", "one folder per species"])
        if not (self.root / "metadata.csv").is_file():
            for name in ARCHIVE_FOLDERS:
                if (self.root / name / "metadata.csv").is_file():
                    return self.root / name
        return self.root
