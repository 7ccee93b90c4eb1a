"""SpuCoDogs: small and big dogs, indoors and outdoors (Joshi et al. 2023, SpuCo).

Layout, without any table::

    {train,val,test}/{small_dogs,big_dogs}/{indoor,outdoor}/*.jpg

in ``root`` or in ``root/spuco_dogs``. Small dogs are mostly indoors and big dogs outdoors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aspire.data.csv_file import add_note
from aspire.data.table import Dataset, Split, names_tuple
from aspire.data.tables import (
    expected_and_found,
    image_files,
    join_captions,
    masks_beside,
    require_folder,
    subfolders,
)
from aspire.errors import ConfigError, DataError

SPLITS = (Split.TRAIN, Split.VAL, Split.TEST)
CLASSES = ("small_dogs", "big_dogs")
ATTRIBUTES = ("indoor", "outdoor")


class SpuCoDogs:
    """Reader of the folders of SpuCoDogs.

    Args:
        root: folder that holds ``train``, ``val`` and ``test``.
        class_names: names of y = 0 (folder ``small_dogs``) and 1 (``big_dogs``).
        attribute_names: names of place = 0 (``indoor``) and 1 (``outdoor``).
        class_words: per class, words that captions use for its object; None for the class names.
    """

    def __init__(
        self,
        root: str | Path,
        class_names: Sequence[str] = CLASSES,
        attribute_names: Sequence[str] = ATTRIBUTES,
        class_words: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.root = Path(root)
        self.class_names = names_tuple(class_names)
        self.attribute_names = names_tuple(attribute_names)
        self.class_words = tuple(tuple(w) for w in class_words or [(n,) for n in class_names])
        if not len(self.class_words) == len(self.class_names) == len(self.attribute_names) == 2:
            raise ConfigError(
                "dataset=spuco_dogs has two classes and two places; got class_names="
                f"{list(class_names)}, attribute_names={list(attribute_names)} and "
                f"{len(self.class_words)} lists of class_words."
            )

    def read(self) -> Dataset:
        """The metadata table, its rows in the order of the folders and names.

        Raises:
            DataError: when a folder is missing, empty or of another name.
        """
        splits = [s.name.lower() for s in SPLITS]
        require_folder(self.root, "SpuCoDogs", [f"{s}/" for s in splits])
        root = self.root
        if not (root / "train").is_dir() and (root / "spuco_dogs" / "train").is_dir():
            root = root / "spuco_dogs"
        _require(root, splits, only=False)
        rows: list[tuple[str, int, int, int]] = []
        left_out: list[str] = []
        for split in SPLITS:
            top = root / split.name.lower()
            _require(top, CLASSES)
            for y, dogs in enumerate(CLASSES):
                _require(top / dogs, ATTRIBUTES)
                for place, scene in enumerate(ATTRIBUTES):
                    folder = f"{top.name}/{dogs}/{scene}"
                    if subfolders(root / folder):
                        raise DataError(
                            f"{root / folder} holds the folder {subfolders(root / folder)[0]}/; "
                            "expected images only. Move its images up or away."
                        )
                    left: list[str] = []
                    names = image_files(root / folder, left)
                    left_out += [f"{folder}/{n}" for n in sorted(left)]
                    if not names:
                        raise DataError(
                            f"{root / folder} holds no image; expected the {scene} {dogs} of the "
                            f"{top.name} split. Unpack the archive again."
                        )
                    rows += [(f"{folder}/{n}", y, int(split), place) for n in names]
        table = pd.DataFrame(rows, columns=["img_filename", "y", "split", "place"])
        table.insert(0, "img_id", table["img_filename"].str.rsplit(".", n=1).str[0])
        if table["img_id"].duplicated().any():  # a.jpg beside a.png
            table["img_id"] = table["img_filename"]
        add_note(table, "no image, left out", *left_out)
        if (root / "segmentations").is_dir():
            table["mask_filename"] = masks_beside(root, table["img_filename"])
        return Dataset(
            name="spuco_dogs",
            root=root,
            table=join_captions(table, root / "captions.csv"),
            class_names=self.class_names,
            attribute_names=self.attribute_names,
            spurious_attribute="background",
            class_words=self.class_words,
            group_definition="size of the dog and whether it was photographed indoors or outdoors",
        )


def _require(folder: Path, names: Sequence[str], only: bool = True) -> None:
    """Every one of these subfolders, and with ``only`` no image or folder beside them."""
    missing = [n for n in names if not (folder / n).is_dir()]
    extra = [n for n in subfolders(folder) if n not in names] if only else []
    extra += image_files(folder)[:1] if only else []
    if missing or extra:
        raise DataError(
            f"{folder} is not laid out like SpuCoDogs:\n"
            + expected_and_found(folder, [f"{n}/" for n in names])
            + "\nExpected {train,val,test}/{small_dogs,big_dogs}/{indoor,outdoor}/*.jpg; set "
            "dataset.root to the folder that holds train, val and test."
        )
