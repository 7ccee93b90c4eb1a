"""Blank: where the images are from, and what is in its folder.

Layout::

    labels.csv        file,class,background,split
    <any>/<image>.jpg
"""

from __future__ import annotations

from pathlib import Path

from aspire.data.csv_file import read_csv
from aspire.data.table import Dataset, Split
from aspire.data.tables import require_folder

CLASSES = ("cat", "dog")
BACKGROUNDS = ("indoors", "outdoors")


class Blank:
    """Reader of that layout.

    Args:
        root: folder that holds ``labels.csv``.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def read(self) -> Dataset:
        """The metadata table.

        Raises:
            DataError: when the folder or the file is missing, or a name is none of the above.
        """
        require_folder(self.root, "Blank", ["labels.csv", "the images"])
        table = read_csv(self.root / "labels.csv", all_text=True)
        splits = {split.name.lower(): split.value for split in Split}
        table["img_filename"] = table["img_id"] = table["file"]
        table["y"] = table["class"].map(dict(zip(CLASSES, range(2), strict=True)))
        table["place"] = table["background"].map(dict(zip(BACKGROUNDS, range(2), strict=True)))
        table["split"] = table["split"].map(splits)
        return Dataset(
            name="blank",
            root=self.root,
            table=table,
            class_names=CLASSES,
            attribute_names=BACKGROUNDS,
            spurious_attribute="background",
        )
