"""A user's own folders, without code or table.

Any of these, the same throughout::

    <class>/*.jpg                               {train,val,test}/<class>/*.jpg
    <class>/<attribute>/*.jpg                   {train,val,test}/<class>/<attribute>/*.jpg

Optional in the root: ``captions.csv`` (img_filename,caption) and ``segmentations/`` with a PNG mask
at the same path. Without split folders every class and attribute is divided by ``fractions``; where
only val is missing it is drawn from train. Without attribute folders the groups are unknown.

Rows are in the order of the *file names*, so that files that were numbered keep their order, and
with it the batches of a seed, in whatever folders they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aspire.data.csv_file import add_note
from aspire.data.files import holds
from aspire.data.table import Dataset, Split, name_of, names_tuple
from aspire.data.tables import (
    SPLIT_WORDS,
    check_fractions,
    complete_splits,
    image_files,
    join_captions,
    masks_beside,
    stratified_split,
    subfolders,
)
from aspire.data.unified import FRACTIONS, dataset_of
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.values import Natural

MASKS, CAPTIONS = "segmentations", "captions.csv"
LAYOUTS = "CLASS/*.jpg or CLASS/ATTRIBUTE/*.jpg, all of it optionally in train/, val/ and test/"


class ImageFolder:
    """Reader of a folder of class folders.

    Args:
        root: the folder.
        class_names, attribute_names: names of the folders in the order of their numbers; None for
            alphabetical order.
        class_words: per class, words that captions use for its object; None for the class names.
        spurious_attribute: what the inner folders stand for.
        fractions: shares of val and test where there are no split folders.
        split_seed: of that draw.
        name: of the dataset; None for the name of the folder.
    """

    def __init__(
        self,
        root: str | Path | None,
        class_names: Sequence[str] | None = None,
        attribute_names: Sequence[str] | None = None,
        class_words: Sequence[Sequence[str]] | None = None,
        spurious_attribute: str = "attribute",
        fractions: Mapping[str, float] = FRACTIONS,
        split_seed: Natural = 0,
        name: str | None = None,
    ) -> None:
        if not root:
            raise ConfigError(
                f"dataset.root is not set; expected a folder laid out as {LAYOUTS}: "
                "dataset.root=DIR"
            )
        self.root = Path(root)
        self.class_names = names_tuple(class_names) if class_names else None
        self.attribute_names = names_tuple(attribute_names) if attribute_names else None
        self.class_words = class_words
        self.spurious_attribute = spurious_attribute
        self.fractions = check_fractions(fractions)
        self.split_seed = split_seed
        self.name = name_of(name, root)

    def read(self) -> Dataset:
        """The metadata table.

        Raises:
            DataError: when the folders are not laid out as described.
        """
        if not self.root.is_dir():
            raise DataError(
                f"dataset.root={self.root}: no such folder. Expected {LAYOUTS}; say where it is "
                "with dataset.root=DIR."
            )
        self._left_out: list[str] = []
        found = self._walk()
        classes = _order(self.class_names, {c for c, _ in found}, "class", self.root)
        attributes: tuple[str, ...] = ("unknown",)
        inner = {a for _, a in found if a is not None}
        if inner:
            attributes = _order(self.attribute_names, inner, "attribute", self.root)
        rows = [
            (path, classes.index(c), int(split), attributes.index(a) if a is not None else -1)
            for (c, a), images in found.items()
            for split, path in images
        ]
        rows.sort(key=lambda r: (r[2], r[0].rsplit("/", 1)[-1], r[0]))
        table = pd.DataFrame(rows, columns=["img_filename", "y", "split", "place"])
        table.insert(0, "img_id", table["img_filename"])
        table["split"] = self._splits(table)
        for name in (n for n in self._left_out if n != CAPTIONS):
            hidden = name.rpartition("/")[2].startswith(".")
            add_note(table, f"{'hidden' if hidden else 'no'} image, left out", name)
        if (self.root / MASKS).is_dir():
            table["mask_filename"] = masks_beside(self.root, table["img_filename"])
        return dataset_of(
            self.name,
            self.root,
            join_captions(table, self.root / CAPTIONS),
            (classes, attributes),
            self.spurious_attribute,
            self.class_words,
        )

    def _splits(self, table: pd.DataFrame) -> list[int]:
        split = table["split"].to_numpy(np.int64)
        ids = table["img_id"].tolist()
        strata = list(zip(table["y"].tolist(), table["place"].tolist(), strict=True))
        drawn = (split < 0).all()
        if drawn:
            split = stratified_split(ids, strata, self.fractions, self.split_seed)
        split = complete_splits(split, ids, strata, self.fractions, self.split_seed)
        if not (split == Split.TRAIN).any() or not (split == Split.TEST).any():
            if drawn:
                raise DataError(
                    f"{self.root} holds {len(ids)} images in class folders, too few to draw train, "
                    "val and test from. Add images, or put them into train/ and test/ yourself."
                )
            raise DataError(
                f"{self.root} holds {holds(self.root)}; expected images in train/ and test/ "
                "(val/ is drawn from train/ where it is missing), or class folders only, to have "
                "the splits drawn."
            )
        return [int(s) for s in split]

    def _images(self, folder: str) -> list[str]:
        left_out: list[str] = []
        names = image_files(self.root / folder, left_out)
        self._left_out += [f"{folder.rstrip('/')}/{n}".lstrip("/") for n in sorted(left_out)]
        return names

    def _walk(self) -> dict[tuple[str, str | None], list[tuple[int, str]]]:
        """(class, attribute or None) -> [(split or -1, path relative to the root)]."""
        stray = self._images("")
        if stray:
            raise DataError(
                f"{self.root} holds {len(stray)} images itself, such as {stray[0]}; expected them "
                f"in class folders: {LAYOUTS}."
            )
        tops = [n for n in subfolders(self.root) if n != MASKS]
        words = [n for n in tops if n.lower() in SPLIT_WORDS]
        if words and len(words) < len(tops):
            other = next(n for n in tops if n not in words)
            raise DataError(
                f"{self.root} holds the split folder {words[0]}/ beside {other}/; expected split "
                f"folders only, or class folders only.{did_you_mean(other, SPLIT_WORDS)}"
            )
        places = [(int(SPLIT_WORDS[n.lower()]), f"{n}/") for n in words] or [(-1, "")]
        found: dict[tuple[str, str | None], list[tuple[int, str]]] = {}
        depth: dict[bool, str] = {}  # whether there are attribute folders -> where
        for split, top in places:
            folders = [n for n in subfolders(self.root / top) if n != MASKS]
            if top and (stray := self._images(top)):
                raise DataError(
                    f"{self.root / top} holds the image {stray[0]} itself; expected class folders: "
                    f"{LAYOUTS}."
                )
            if not folders:
                raise DataError(
                    f"{self.root / top} holds no class folder ({holds(self.root / top)}); expected "
                    f"{LAYOUTS}."
                )
            for name in folders:
                for attribute, images in self._class(f"{top}{name}").items():
                    depth.setdefault(attribute is not None, f"{top}{name}/")
                    found.setdefault((name, attribute), []).extend((split, i) for i in images)
        if len(depth) > 1:
            raise DataError(
                f"{self.root}: {depth[True]} has attribute folders and {depth[False]} has images "
                f"without; expected the same for every class: {LAYOUTS}."
            )
        _same_classes(found, self.root)
        return found

    def _class(self, folder: str) -> dict[str | None, list[str]]:
        """Attribute (None without attribute folders) -> paths of the images."""
        here, inner = self._images(folder), subfolders(self.root / folder)
        if here and inner:
            raise DataError(
                f"{self.root / folder} holds both images ({here[0]}) and folders ({inner[0]}/); "
                f"expected {LAYOUTS}."
            )
        result: dict[str | None, list[str]] = {}
        for name in inner:
            deeper = subfolders(self.root / folder / name)
            if deeper:
                raise DataError(
                    f"{self.root / folder / name} holds the folder {deeper[0]}/, one level too "
                    f"deep; expected {LAYOUTS}. Is dataset.root the right folder?"
                )
            images = self._images(f"{folder}/{name}")
            result[name] = [f"{folder}/{name}/{n}" for n in images]
        if not inner:
            result[None] = [f"{folder}/{n}" for n in here]
        if not any(result.values()):
            raise DataError(
                f"{self.root / folder} holds no image ({holds(self.root / folder)}); put images "
                "there or remove the folder."
            )
        return {k: v for k, v in result.items() if v}


def _same_classes(
    found: Mapping[tuple[str, str | None], list[tuple[int, str]]], root: Path
) -> None:
    """Every class must have training images, or its folder is most likely misspelt."""
    splits: dict[str, set[int]] = {}
    for (name, _), images in found.items():
        splits.setdefault(name, set()).update(s for s, _ in images)
    trained = [n for n, s in splits.items() if s & {-1, int(Split.TRAIN)}]
    for name, seen in splits.items():
        if name not in trained and trained:
            word = Split(min(seen)).name.lower()
            raise DataError(
                f"{root}: the class folder {name}/ is in {word}/ and not in train/."
                f"{did_you_mean(name, trained)} Classes of train: {', '.join(sorted(trained))}."
            )
    if len(splits) < 2:
        raise DataError(
            f"{root} holds one class folder, {next(iter(splits))}/; expected two or more classes: "
            f"{LAYOUTS}."
        )
    lower: dict[str, str] = {}
    for name in splits:
        if lower.setdefault(name.lower(), name) != name:
            raise DataError(
                f"{root}: the class folders {lower[name.lower()]}/ and {name}/ differ in case "
                "only. Spell them alike."
            )


def _order(
    given: tuple[str, ...] | None, found: set[str], what: str, root: Path
) -> tuple[str, ...]:
    """The names in the order of their numbers."""
    if given is None:
        return tuple(sorted(found))
    if set(given) != found:
        raise DataError(
            f"dataset.{what}_names lists {', '.join(given)}; the {what} folders of {root} are "
            f"{', '.join(sorted(found))}. List exactly those, in the order of their numbers."
        )
    return given
