"""Hard ImageNet: 15 ImageNet classes with strong spurious cues (Moayeri et al. 2022).

Layout, the images being those of ILSVRC2012::

    {train,val}/<wnid>/<file>.JPEG                          images
    hardImageNet/{train,val}/<wnid>_<file>                  masks of the class object
    hardImageNet/meta/paths_by_rank2.pkl                    per class, train images by cue strength

Masks and ranking may also be in ``root`` itself or anywhere else (``masks``, ``ranking``). Where
there are masks, an image without one is no part of the benchmark and left out.

The benchmark has no attribute labels, so what a group is has to be chosen (``definition``):

A  One group per class. Test is the official val split; val is ``held_out`` train images per class,
   drawn by the hash of their names. Needs the images only.
B  Class and strength of its cue, from the authors' ranking of the train images. Per class the
   ``2 * held_out`` weakest ("no_cue") and as many strongest ("cue") leave train; each end is dealt
   out in turn, test first, so that val and test hold equally extreme images and equally many with
   and without the cue. What stays in train counts as "no_cue" in the lower half of the class's
   ranking (``low_share``). The official val split is not ranked: it is the split "unseen", its
   groups unknown, and gives A's per-class accuracy as a second number.
C  A table of the user's (``table``): img_filename, y (name, wnid or 0-14), split, place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from aspire.data.csv_file import read_csv
from aspire.data.cue_ranking import read_ranking
from aspire.data.files import holds
from aspire.data.table import Dataset, Split
from aspire.data.table_file import name_files
from aspire.data.tables import expected_and_found, image_files, join_captions, require_folder
from aspire.data.unified import FRACTIONS, Unifier, words_of
from aspire.errors import ConfigError, DataError
from aspire.values import Count, Natural, OpenFraction

# wnid -> name; ImageNet indices 416, 602, 795, 537, 379, 785, 837, 433, 706, 746, 655, 810, 890,
# 981 and 801.
CLASSES = {
    "n02777292": "balance beam",
    "n03535780": "horizontal bar",
    "n04228054": "ski",
    "n03218198": "dog sled",
    "n02492660": "howler monkey",
    "n04162706": "seat belt",
    "n04356056": "sunglasses",
    "n02807133": "swimming cap",
    "n03899768": "patio",
    "n04019541": "puck",
    "n03770439": "miniskirt",
    "n04264628": "space bar",
    "n04540053": "volleyball",
    "n09835506": "baseball player",
    "n04251144": "snorkel",
}
CUES = ("cue", "no_cue")  # place 0 and 1
MASKS = "hardImageNet"
RANKINGS = ("meta/paths_by_rank2.pkl", "paths_by_rank2.pkl", "paths_by_rank2.json")


class HardImageNet:
    """Reader of Hard ImageNet with one of three definitions of a group; see the module.

    Args:
        root: folder that holds ``train`` and ``val`` with a folder per wnid.
        definition: A, B or C.
        masks: folder of the masks; None to look for it.
        ranking: the ranking (pkl, json or csv); None to look for it.
        strongest_first: whether the ranking begins with the strongest cue.
        held_out: images per class and split that leave train.
        low_share: share of a class's ranking that counts as "no_cue" in train; None to leave the
            groups of train unknown.
        table: of definition C.
        class_words: per class, words that captions use for its object; None for the class names.
        seed: of the draw in definition A.
    """

    def __init__(
        self,
        root: str | Path,
        definition: Literal["A", "B", "C"] = "B",
        masks: str | Path | None = None,
        ranking: str | Path | None = None,
        strongest_first: bool = True,
        held_out: Count = 50,
        low_share: OpenFraction | None = 0.5,
        table: str | Path | None = None,
        class_words: Sequence[Sequence[str]] | None = None,
        seed: Natural = 0,
    ) -> None:
        if definition == "C" and not table:
            raise ConfigError(
                "dataset.definition=C needs a table with img_filename, y, split and place: "
                "dataset.table=FILE"
            )
        self.root = Path(root)
        self.definition = definition
        self.masks = Path(masks) if masks else None
        self.ranking = Path(ranking) if ranking else None
        self.strongest_first = strongest_first
        self.held_out = held_out
        self.low_share = low_share
        self.table = Path(table) if table else None
        self.class_words = words_of(class_words, tuple(CLASSES.values()))
        self.seed = seed

    def read(self) -> Dataset:
        """The metadata table, by split, class and file name.

        Raises:
            DataError: when files are missing or the ranking does not fit them.
        """
        require_folder(self.root, "the images of Hard ImageNet", ["train/<wnid>/", "val/<wnid>/"])
        attributes: tuple[str, ...] = CUES
        if self.definition == "A":
            rows, attributes = self._per_class(), ("any scene",)
            group = f"class only (A); val is {self.held_out} train images per class"
        elif self.definition == "B":
            rows = self._by_cue()
            group = (
                f"class and strength of its spurious cue (B): the {2 * self.held_out} lowest and "
                f"highest ranked train images per class are val and test; in train the lowest "
                f"{self.low_share if self.low_share is not None else 'unknown'} of the ranking "
                "count as no_cue; unseen is the official val split"
            )
        else:
            rows, attributes = self._user_table()
            group = "class and attribute as in the user's own table (C)"
        return Dataset(
            name="hard_imagenet",
            root=self.root,
            table=join_captions(self._with_masks(rows), self.root / "captions.csv"),
            class_names=tuple(CLASSES.values()),
            attribute_names=attributes,
            spurious_attribute="spurious cue",
            class_words=self.class_words,
            group_definition=group,
            own_cue=CUES.index("cue") if self.definition == "B" else None,
        )

    # --- the definitions ---

    def _per_class(self) -> pd.DataFrame:
        train, official = self._images("train"), self._images("val")
        rows = []
        for y, wnid in enumerate(CLASSES):
            names = train[wnid]
            if len(names) <= self.held_out:
                raise DataError(
                    f"{self.root / 'train' / wnid} holds {len(names)} images; expected more than "
                    f"the {self.held_out} that leave it for val. Lower dataset.held_out."
                )
            drawn = sorted(
                names, key=lambda n: hashlib.sha256(f"{self.seed}|{n}".encode()).digest()
            )
            val = set(drawn[: self.held_out])
            rows += [(n, y, Split.VAL if n in val else Split.TRAIN, 0) for n in names]
            rows += [(n, y, Split.TEST, 0) for n in official[wnid]]
        return _table(rows)

    def _by_cue(self) -> pd.DataFrame:
        path = self.ranking or self._find(RANKINGS)
        if path is None or not path.is_file():
            places = [f"{MASKS}/{RANKINGS[0]}"]
            raise DataError(
                f"The ranking of definition B is not {'in' if path is None else 'at'} "
                f"{path or self.root}:\n{expected_and_found(self.root, places)}\n"
                "It comes with the masks; say where it is with dataset.ranking=FILE, or use "
                "dataset.definition=A, which needs none."
            )
        train = self._images("train")
        ranked = self._ranked(path, train)
        rows = []
        for y, wnid in enumerate(CLASSES):
            order, ends = ranked[wnid], 2 * self.held_out
            if len(order) <= 2 * ends:
                raise DataError(
                    f"{path} ranks {len(order)} images of {wnid} ({CLASSES[wnid]}); definition B "
                    f"takes {2 * ends} of them for val and test. Lower dataset.held_out."
                )
            chosen: dict[str, tuple[Split, int]] = {}
            for place, end in ((0, order[:ends]), (1, order[::-1][:ends])):
                for position, name in enumerate(end):
                    chosen[name] = (Split.VAL if position % 2 else Split.TEST, place)
            low = len(order) - round((self.low_share or 0) * len(order))
            position_of = {n: i for i, n in enumerate(order)}
            for name in train[wnid]:
                place = -1
                if self.low_share is not None and name in position_of:
                    place = int(position_of[name] >= low)
                rows.append((name, y, *chosen.get(name, (Split.TRAIN, place))))
        if (self.root / "val").is_dir():
            official = self._images("val")
            for y, wnid in enumerate(CLASSES):
                rows += [(n, y, Split.UNSEEN, -1) for n in official[wnid]]
        return _table(rows)

    def _ranked(self, path: Path, train: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Per wnid its train images, the strongest cue first."""
        have = {w: {PurePosixPath(n).name: n for n in names} for w, names in train.items()}
        result: dict[str, list[str]] = {w: [] for w in CLASSES}
        lost: list[str] = []
        for wnid, name in read_ranking(path):
            if wnid not in have:
                continue
            if name in have[wnid]:
                result[wnid].append(have[wnid][name])
            elif not (self.root / "train" / wnid / name).is_file():
                lost.append(f"{wnid}/{name}")
        for names in result.values():
            if len(set(names)) != len(names):
                twice = next(n for n in names if names.count(n) > 1)
                raise DataError(f"{path} ranks {twice} more than once; expected every image once.")
        if lost:
            raise DataError(
                f"{path} ranks {len(lost)} images that are not in {self.root / 'train'}, such as "
                f"{lost[0]}. Expected all of the 15 classes there."
            )
        return result if self.strongest_first else {w: n[::-1] for w, n in result.items()}

    def _user_table(self) -> tuple[pd.DataFrame, tuple[str, ...]]:
        assert self.table is not None
        frame = read_csv(self.table, key="table", all_text=True)
        column = "y" if "y" in frame.columns else "label"
        if column in frame.columns:
            frame[column] = [CLASSES.get(v.strip(), v.strip()) for v in frame[column]]
        unify = Unifier(None, tuple(CLASSES.values()), None, FRACTIONS, self.seed)
        table, _, attributes = unify(frame, str(self.table))
        name_files(table, self.root, self.table)
        return table, attributes

    # --- files ---

    def _images(self, split: str) -> dict[str, list[str]]:
        """Per wnid the paths of the images that belong to the benchmark."""
        missing = [w for w in CLASSES if not (self.root / split / w).is_dir()]
        if missing:
            folder = self.root / split
            raise DataError(
                f"{folder} lacks {len(missing)} of the 15 classes:\n"
                + expected_and_found(folder, [f"{w}/" for w in CLASSES])
                + f"\nExpected the images of ILSVRC2012 in {split}/<wnid>/; set dataset.root to "
                "the folder that holds train/ and val/."
            )
        masks = self._mask_folder()
        stems = _stems(masks / split) if masks else {}
        result = {}
        for wnid in CLASSES:
            names = image_files(self.root / split / wnid)
            if stems:
                names = [n for n in names if f"{wnid}_{PurePosixPath(n).stem}" in stems]
            if not names:
                raise DataError(
                    f"{self.root / split / wnid} holds no image"
                    f"{f' with a mask in {masks}' if stems else ''} "
                    f"({holds(self.root / split / wnid)}); expected those of {CLASSES[wnid]}."
                )
            result[wnid] = [f"{split}/{wnid}/{n}" for n in names]
        return result

    def _mask_folder(self) -> Path | None:
        if self.masks is not None:
            if not self.masks.is_dir():
                raise DataError(
                    f"dataset.masks={self.masks}: no such folder. Expected train/ and val/ with "
                    "<wnid>_<file>; leave the setting out to do without masks."
                )
            return self.masks
        found = self.root / MASKS
        return found if found.is_dir() else None

    def _find(self, names: Sequence[str]) -> Path | None:
        folders = [f for f in (self._mask_folder(), self.root) if f is not None]
        return next((f / n for f in folders for n in names if (f / n).is_file()), None)

    def _with_masks(self, table: pd.DataFrame) -> pd.DataFrame:
        masks = self._mask_folder()
        if masks is None or "mask_filename" in table.columns:
            return table
        top = PurePosixPath(os.path.relpath(masks, self.root).replace(os.sep, "/"))
        files = {split: _stems(masks / split) for split in ("train", "val")}
        found = []
        for name in table["img_filename"]:
            parts = PurePosixPath(name).parts[-3:]
            key = f"{parts[-2]}_{PurePosixPath(name).stem}" if len(parts) == 3 else ""
            mask = files.get(parts[0], {}).get(key)
            found.append((top / parts[0] / mask).as_posix() if mask else "")
        return table.assign(mask_filename=found)


def _stems(folder: Path) -> dict[str, str]:
    """Name without ending -> name, of what a folder holds; nothing where there is no folder."""
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return {PurePosixPath(n).stem: n for n in names}


def _table(rows: Sequence[tuple[str, int, int, int]]) -> pd.DataFrame:
    rows = sorted(rows, key=lambda r: (int(r[2]), r[1], r[0]))
    table = pd.DataFrame(rows, columns=["img_filename", "y", "split", "place"])
    table["split"] = table["split"].astype(int)
    table.insert(0, "img_id", table["img_filename"].str.rsplit(".", n=1).str[0])
    return table
