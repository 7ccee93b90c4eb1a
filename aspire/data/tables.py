"""What the readers share: finding files, reading tables, words for splits, fair random splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aspire.data.csv_file import add_note, read_csv
from aspire.data.images import is_image
from aspire.data.paths import Names
from aspire.data.table import Split
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.text import quoted

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
# Files that systems and people leave beside images.
_BESIDE = frozenset({".txt", ".csv", ".json", ".md", ".xml", ".db", ".ini", ".html", ".yaml", ""})

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), Split.TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), Split.VAL),
    **dict.fromkeys(("test", "testing"), Split.TEST),
    "unseen": Split.UNSEEN,
}

# --- files ----------------------------------------------------------------------------------


def expected_and_found(root: Path, expected: Sequence[str]) -> str:
    """Two columns, expected files (marked where they are there) beside what the folder holds."""
    found = []
    if root.is_dir():
        found = sorted(p.name + ("/" if p.is_dir() else "") for p in root.iterdir())
        found = [*found[:12], f"... {len(found) - 12} more"] if len(found) > 12 else found
    left = [f"{'+' if (root / e).exists() else '-'} {e}" for e in expected]
    width = max(len(line) for line in [*left, "expected"]) + 3
    rows = max(len(left), len(found), 1)
    left += [""] * (rows - len(left))
    right = [*(found or ["nothing"]), *[""] * (rows - max(len(found), 1))]
    lines = [f"  {'expected':<{width}}found"]
    lines += [f"  {a:<{width}}{b}".rstrip() for a, b in zip(left, right, strict=True)]
    return "\n".join(lines)


def require_folder(root: Path, what: str, expected: Sequence[str], key: str = "root") -> None:
    """Stop when a dataset's folder is not there.

    Raises:
        DataError: with what is expected in it.
    """
    if not root.is_dir():
        kind = "is a file, not a folder" if root.is_file() else "no such folder"
        raise DataError(
            f"dataset.{key}={root}: {kind}. Expected {what} unpacked there "
            f"({', '.join(expected)}); say where it is with dataset.{key}=DIR."
        )


def image_files(folder: Path, left_out: list[str] | None = None) -> list[str]:
    """Names of the images directly in a folder, sorted.

    By its ending, or where that is none of an image by its content.

    Args:
        left_out: takes the names of what is no image; hidden files only where they are images.

    Raises:
        DataError: for files of a kind that is unknown here, so that no image is left out unsaid.
    """
    names, other = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                continue
            path = Path(entry.path)
            suffix, hidden = path.suffix.lower(), entry.name.startswith(".")
            if not hidden and (suffix in IMAGE_SUFFIXES or is_image(path)):
                names.append(entry.name)
            elif hidden and not is_image(path):
                continue
            elif hidden or suffix in _BESIDE:
                if left_out is not None:
                    left_out.append(entry.name)
            else:
                other.append(entry.name)
    if other:
        raise DataError(
            f"{folder} holds {len(other)} files that are not images of a known kind, such as "
            f"{sorted(other)[0]}. Known: {' '.join(sorted(IMAGE_SUFFIXES))}. Convert them or move "
            "them away."
        )
    return sorted(names)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def masks_beside(root: Path, names: Iterable[str], folder: str = "segmentations") -> list[str]:
    """For each image the mask of the same name in ``folder``, "" where there is none."""
    masks = [PurePosixPath(folder, str(n)).with_suffix(".png").as_posix() for n in names]
    return [m if (root / m).is_file() else "" for m in masks]


# --- tables ---------------------------------------------------------------------------------


def require_columns(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    """Stop when a column is missing.

    Raises:
        DataError: naming it and what is there.
    """
    for name in names:
        if name not in table.columns:
            found = [str(c) for c in table.columns]
            raise DataError(
                f"{path} has no column '{name}'.{did_you_mean(name, found)} "
                f"Expected {','.join(names)}; found {', '.join(found)}."
            )


def join_captions(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the ``caption`` column from a file of ``img_filename,caption``, where there is one.

    Of several captions of an image the first that is not empty counts. The others, and those that
    name no image, are noted.

    Raises:
        DataError: when the file lacks one of its columns.
    """
    if not os.path.lexists(path) or "img_filename" not in table.columns:
        return table
    captions = read_csv(path, all_text=True, rest="caption")
    require_columns(captions, ("img_filename", "caption"), path)
    images = Names(table["img_filename"])
    found: dict[str, str] = {}
    lost, further = [], []
    pairs = zip(captions["img_filename"], captions["caption"], strict=True)
    for row, (given, caption) in enumerate(pairs):
        name = images.find(given)
        if name is None:
            lost.append(f"{path.name}, row {row}: {quoted(given)} is none of the images")
        elif found.get(name) and caption:
            further.append(f"{path.name}, row {row}: {quoted(caption)} of {name}")
        else:
            found[name] = found.get(name) or caption
    joined = table.assign(caption=table["img_filename"].map(found).fillna(""))
    for kind, lines in captions.attrs.get("notes", {}).items():
        add_note(joined, kind, *lines)
    add_note(joined, "caption of no image", *lost)
    add_note(joined, "further caption, not used", *further)
    return joined


# --- splits ---------------------------------------------------------------------------------


def split_numbers(values: Sequence[str], where: str) -> list[int]:
    """Words or numbers of a split column as the numbers of :class:`Split`.

    Raises:
        DataError: with the first row that is neither.
    """
    result = []
    for row, value in enumerate(values):
        word = value.strip().lower()
        number = word.removesuffix(".0")
        if word in SPLIT_WORDS:
            result.append(int(SPLIT_WORDS[word]))
        elif number in {"0", "1", "2", "3"}:
            result.append(int(number))
        else:
            raise DataError(
                f"{where}: column 'split' holds {value!r} in row {row}; expected 0, 1, 2 or train, "
                f"val, test.{did_you_mean(word, SPLIT_WORDS)}"
            )
    return result


def check_fractions(fractions: Mapping[str, float]) -> dict[Split, float]:
    """Shares of the val and test split, the rest being train.

    Raises:
        ConfigError: when they are not numbers between 0 and 1 that leave something for train.
    """
    given = {str(k): v for k, v in fractions.items()}
    numbers = [v for v in given.values() if isinstance(v, int | float) and 0 < v < 1]
    if set(given) != {"val", "test"} or len(numbers) != 2 or sum(numbers) >= 1:
        raise ConfigError(
            f"dataset.fractions={dict(given)}: expected a share for val and one for test, each "
            "above 0 and together below 1, such as {val: 0.1, test: 0.2}; train takes the rest."
        )
    return {Split.VAL: float(given["val"]), Split.TEST: float(given["test"])}


def stratified_split(
    ids: Sequence[str],
    strata: Sequence[object],
    fractions: Mapping[Split, float],
    seed: int,
) -> NDArray[np.int64]:
    """A split drawn per stratum; it follows from the ids and the seed, not from their order.

    Each stratum gives ``round(share * size)`` images to each split of ``fractions``, at least one
    where it has enough for every split, and the rest to train.

    Args:
        ids: (N,) unique names.
        strata: (N,) hashable, such as (class, attribute).
        fractions: split -> share.
        seed: of the draw.

    Returns:
        (N,) numbers of :class:`Split`.
    """
    order: dict[object, list[int]] = {}
    ranks = [hashlib.sha256(f"{seed}|{i}".encode()).digest() for i in ids]
    for row in sorted(range(len(ids)), key=lambda r: ranks[r]):
        order.setdefault(strata[row], []).append(row)
    result = np.full(len(ids), int(Split.TRAIN), dtype=np.int64)
    for rows in order.values():
        least = int(len(rows) > len(fractions))
        first = 0
        for split, share in fractions.items():
            number = max(round(share * len(rows)), least)
            result[rows[first : first + number]] = int(split)
            first += number
    return result


def complete_splits(
    split: NDArray[np.int64],
    ids: Sequence[str],
    strata: Sequence[object],
    fractions: Mapping[Split, float],
    seed: int,
) -> NDArray[np.int64]:
    """Where only the val split is missing, draw it from the training images."""
    if (split == Split.VAL).any() or not (split == Split.TEST).any():
        return split
    train: list[int] = np.flatnonzero(split == Split.TRAIN).tolist()
    drawn = stratified_split(
        [ids[i] for i in train],
        [strata[i] for i in train],
        {Split.VAL: fractions[Split.VAL]},
        seed,
    )
    result = split.copy()
    result[train] = drawn
    return result
