"""What the readers share: finding files, reading tables, words for splits, fair random splits."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aspire.data.table import Split
from aspire.errors import ConfigError, DataError, did_you_mean

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

# First bytes of what is often saved under the name of a table.
_NOT_A_TABLE = (
    (b"PK\x03\x04", "a spreadsheet or ZIP archive; export it as CSV (UTF-8)"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"<!doctype", "a web page, not the file behind the link; download it again"),
    (b"<html", "a web page, not the file behind the link; download it again"),
    (b"par1", "a Parquet file; give it the ending .parquet"),
)


# --- files ----------------------------------------------------------------------------------


def holds(folder: Path, limit: int = 8) -> str:
    """What a folder holds, in a few words for an error message."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(p.name for p in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more


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


def image_files(folder: Path) -> list[str]:
    """Names of the images directly in a folder, sorted. Hidden files and texts do not count.

    Raises:
        DataError: for files that are neither, so that no image is left out unsaid.
    """
    names, other = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_dir():
                continue
            suffix = Path(entry.name).suffix.lower()
            if suffix in IMAGE_SUFFIXES:
                names.append(entry.name)
            elif suffix not in _BESIDE:
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


def read_csv(path: Path, key: str = "root", all_text: bool = False) -> pd.DataFrame:
    """A CSV file (or tab-separated, by the ending ``.tsv``).

    Args:
        path: of the file.
        key: the setting to name when it is missing.
        all_text: every value as text, "" where empty; otherwise pandas' types.

    Raises:
        DataError: when it is missing, empty, not a CSV, or its rows do not fit its header.
    """
    if not path.is_file():
        raise DataError(
            f"{path.name} not found in {path.parent} (it holds: {holds(path.parent)}). Expected "
            f"the dataset's own {'folder' if key == 'root' else 'file'}; set dataset.{key} to it."
        )
    with path.open("rb") as file:
        head = file.read(4096)
    for start, what in _NOT_A_TABLE:
        if head.lstrip().lower().startswith(start.lower()):
            raise DataError(f"{path} is {what}.")
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        _check_header(path, head, separator)
        types = str if all_text else {"img_id": str, "img_filename": str, "image_id": str}
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=types,
            keep_default_na=False,  # a class may be called NA or null
            na_values=[] if all_text else [""],
            low_memory=False,
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a CSV file: {str(error).strip()}") from None
    return table.fillna("") if all_text else table


def _check_header(path: Path, head: bytes, separator: str) -> None:
    if b"\0" in head:
        raise DataError(f"{path} is not a text file: it holds NUL bytes. Export it as CSV (UTF-8).")
    text = head.decode("utf-8-sig", errors="ignore").replace("\r\n", "\n").replace("\r", "\n")
    records = csv.reader(io.StringIO(text), delimiter=separator)
    names, first = next(records, []), next(records, [])
    line = text.split("\n", 1)[0]
    # pandas would take the first field for a name of the row.
    if 1 < len(names) < len(first) and text.count("\n") > 1:
        raise DataError(
            f"{path}: the rows have more fields ({len(first)}) than the header has names "
            f"({', '.join(names)}). Put values that contain a comma in quotes."
        )
    twice = sorted({n for n in names if n and names.count(n) > 1})
    if twice:
        raise DataError(
            f"{path}: the column '{twice[0]}' stands {names.count(twice[0])} times in the header. "
            "Column names must be unique; rename or remove all but one."
        )
    if len(names) == 1:
        for other, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if other in line and other != separator:
                raise DataError(
                    f"{path}: the columns are separated by {word} ({line.strip()}); expected "
                    f"commas. Save it as CSV with commas{', or name it .tsv' * (other == chr(9))}."
                )


def require_columns(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    """Stop when a column is missing.

    Raises:
        DataError: naming it and what stands there.
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

    Raises:
        DataError: when the file lacks one of its columns.
    """
    if not path.is_file() or "img_filename" not in table.columns:
        return table
    captions = read_csv(path)
    require_columns(captions, ("img_filename", "caption"), path)
    by_name = captions.drop_duplicates("img_filename").set_index("img_filename")["caption"]
    return table.assign(caption=table["img_filename"].map(by_name).fillna(""))


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
