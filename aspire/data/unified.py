"""From a user's table, in whatever words, to the unified columns.

Shared by the readers of table files and of Hugging Face folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aspire.data.table import OPTIONAL, REQUIRED, Dataset, Split, names_tuple
from aspire.data.tables import (
    check_fractions,
    complete_splits,
    split_numbers,
    stratified_split,
)
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.text import quoted

FRACTIONS = {"val": 0.1, "test": 0.2}

# Other names that people give the unified columns, tried in this order.
ALIASES = {
    "img_filename": ("path", "filename", "file_name", "file", "image_path", "image"),
    "y": ("label", "class", "target"),
    "place": ("attribute", "a", "spurious"),
    "split": ("partition",),
    "img_id": ("image_id", "id"),
    "mask_filename": ("mask",),
    "caption": ("text",),
}
SETTING = {"y": "class_names", "place": "attribute_names"}


class Unifier:
    """Turns a table of texts into the unified columns; shared by all readers of users' tables.

    Args:
        columns, class_names, attribute_names, fractions, seed: as in :class:`TableFile`.

    Raises:
        ConfigError: for settings that cannot work with any table.
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None,
        class_names: Sequence[str] | None,
        attribute_names: Sequence[str] | None,
        fractions: Mapping[str, float],
        seed: int,
    ) -> None:
        known = (*REQUIRED, *OPTIONAL)
        for name in columns or {}:
            if name not in known:
                raise ConfigError(
                    f"dataset.columns names '{name}', which is no unified column."
                    f"{did_you_mean(name, known)} Columns: {', '.join(known)}."
                )
        self.columns = dict(columns or {})
        self.names = {
            "y": names_tuple(class_names) if class_names else None,
            "place": names_tuple(attribute_names) if attribute_names else None,
        }
        self.fractions = check_fractions(fractions)
        self.seed = seed

    def __call__(
        self, frame: pd.DataFrame, where: str
    ) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
        """The unified table, class names and attribute names.

        Args:
            frame: one row per image; values are made texts, "" where missing.
            where: the file, for messages.
        """
        if not len(frame):
            raise DataError(f"{where} has no rows; expected one per image.")
        table = self._pick(frame, where)
        empty = np.flatnonzero((table["img_filename"] == "").to_numpy())
        if len(empty):
            raise DataError(
                f"{where}: column 'img_filename' is empty in row {empty[0]} and {len(empty) - 1} "
                "others; expected the path of an image."
            )
        y, classes = self._indices(table["y"].tolist(), "y", where)
        if len(classes) < 2:
            raise DataError(
                f"{where}: every image is of the class '{classes[0]}'; expected two or more "
                "classes in column 'y'."
            )
        place = np.full(len(table), -1, dtype=np.int64)
        attributes = self.names["place"] or ("unknown",)
        if "place" in table.columns:
            place, attributes = self._indices(table["place"].tolist(), "place", where)
        if "img_id" not in table.columns:
            table["img_id"] = [str(i) for i in range(len(table))]
        ids = table["img_id"].tolist()
        strata = list(zip(y.tolist(), place.tolist(), strict=True))
        if "split" in table.columns:
            given = np.array(split_numbers(table["split"].tolist(), where), dtype=np.int64)
            split = complete_splits(given, ids, strata, self.fractions, self.seed)
        else:
            split = stratified_split(ids, strata, self.fractions, self.seed)
        if not (split == Split.TEST).any():
            raise DataError(
                f"{where}: no row is of the test split (found "
                f"{', '.join(Split(s).name.lower() for s in np.unique(split))}). Mark some rows "
                "with test in column 'split', or leave the column out to have one drawn."
            )
        table = table.assign(y=y, place=place, split=split)
        order = [c for c in (*REQUIRED, *OPTIONAL) if c in table.columns]
        table = table[order]
        table.attrs.update(frame.attrs)
        return table, classes, attributes

    def _pick(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """The unified columns as texts, whatever they are called in the file."""
        found = [str(c) for c in frame.columns]
        picked: dict[str, list[str]] = {}
        for name in (*REQUIRED, *OPTIONAL):
            source = self.columns.get(name)
            if source is not None and source not in found:
                raise DataError(
                    f"{where} has no column '{source}' (dataset.columns.{name})."
                    f"{did_you_mean(source, found)} Found {', '.join(found)}."
                )
            if source is None:
                names = [n for n in (name, *ALIASES.get(name, ())) if n in found]
                # img_filename wins over path; but path or filename? That is for the user to say.
                if len(names) > 1 and names[0] != name and name in ("img_filename", "y", "place"):
                    raise DataError(
                        f"{where}: the columns {' and '.join(names)} could all be '{name}'. Say "
                        f"which one with 'dataset.columns={{{name}: {names[0]}}}'."
                    )
                source = names[0] if names else None
            if source is not None:
                column = frame.iloc[:, found.index(source)]
                picked[name] = [_text(v, where, source) for v in column.tolist()]
        for name in ("img_filename", "y"):
            if name not in picked:
                raise DataError(
                    f"{where} has no column '{name}'.{did_you_mean(name, found)} Expected "
                    f"img_filename and y (or {', '.join(ALIASES[name])}), and optionally place, "
                    f"split, caption; found {', '.join(found)}. Other names: "
                    f"'dataset.columns={{{name}: NAME}}'."
                )
        return pd.DataFrame(picked, dtype=object)

    def _indices(
        self, values: list[str], column: str, where: str
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Numbers and names of a column of numbers or names; -1 for an unknown place."""
        unknown = {"", "-1", "-1.0"} if column == "place" else set()
        known = sorted(set(values) - unknown)
        if "" in known:
            raise DataError(
                f"{where}: column '{column}' is empty in row {values.index('')}; expected the "
                "class of the image. Fill it in or take the row out."
            )
        names = self.names[column]
        numbers = {v: n for v in known if (n := _whole(v)) is not None}
        if names is not None:
            lookup = {n: i for i, n in enumerate(names)}
            if lookup.keys().isdisjoint(known):
                lookup = {v: n for v, n in numbers.items() if 0 <= n < len(names)}
        elif known and len(numbers) == len(known):
            levels = sorted({n for n in numbers.values() if n >= 0})
            names = tuple(str(n) for n in levels)
            lookup = {v: levels.index(n) for v, n in numbers.items() if n >= 0}
        else:
            _one_kind(values, known, column, where)
            names = tuple(known) or ("unknown",)
            lookup = {n: i for i, n in enumerate(names)}
        bad = next((i for i, v in enumerate(values) if v not in unknown and v not in lookup), None)
        if bad is not None:
            given = self.names[column]
            expected = f"{', '.join(given)}, or " if given else "names, or "
            upto = f" to {len(given) - 1}" if given else ""
            raise DataError(
                f"{where}: column '{column}' holds {quoted(values[bad])} in row {bad}; expected "
                f"{expected}a whole number from 0{upto} (dataset.{SETTING[column]})."
                f"{did_you_mean(values[bad], names)}"
            )
        if column == "y" and len(names) > max(2, len(values) // 2):
            raise DataError(
                f"{where}: column 'y' holds {len(known)} different values in {len(values)} rows, "
                f"such as {quoted(known[0])}; expected classes, each with several images. Name the "
                "right column with 'dataset.columns={y: NAME}'."
            )
        indices = [-1 if v in unknown else lookup[v] for v in values]
        return np.array(indices, dtype=np.int64), names


def _one_kind(values: list[str], known: list[str], column: str, where: str) -> None:
    """Names only: no numbers among them, none that differ in case alone."""
    figures = [v for v in known if _is_number(v)]
    if figures:
        other = next((v for v in known if v not in figures), None)
        odd = figures if other else [v for v in figures if _whole(v) is None]
        row = min(values.index(v) for v in odd)
        kind = f", beside names such as {quoted(other)}" if other else ", which is not whole"
        kind = ", which is no class number" if len(values[row]) > 18 else kind
        raise DataError(
            f"{where}: column '{column}' holds {quoted(values[row])} in row {row}{kind}; expected "
            "whole numbers only or names only. If these are names, list them all in "
            f"dataset.{SETTING[column]}."
        )
    seen: dict[str, str] = {}
    for value in known:
        same = seen.setdefault(value.lower(), value)
        if same != value:
            raise DataError(
                f"{where}: column '{column}' holds {quoted(same)} and {quoted(value)}, which "
                f"differ in case only. Spell them alike, or list both in dataset.{SETTING[column]}."
            )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _whole(value: str) -> int | None:
    """The number that a text such as 3, -1 or 3.0 stands for."""
    digits = value.removesuffix(".0").removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        return None
    return int(value.removesuffix(".0"))


def _text(value: object, where: str, column: str) -> str:
    """A cell as stripped text, "" where it is missing."""
    if isinstance(value, str):
        return value.strip()
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, dict | list | tuple | bytes | np.ndarray):
        raise DataError(
            f"{where}: column '{column}' holds {type(value).__name__} values (images within the "
            "table?); expected text or numbers. For a Hugging Face dataset use dataset=hf."
        )
    return str(value)


def dataset_of(
    name: str,
    root: Path,
    table: pd.DataFrame,
    names: tuple[Sequence[str], Sequence[str]],
    attribute: str,
    words: Sequence[Sequence[str]] | None,
) -> Dataset:
    """A dataset of a user's table.

    Args:
        name, root: of the dataset; the table's files are relative to the root.
        table: in the unified columns.
        names: of the classes and of the attributes, in index order.
        attribute: the spurious attribute, in a word.
        words: for each class the phrases that name its object; None for its name.

    Raises:
        ConfigError: when there are not as many lists of words as classes.
    """
    classes, attributes = map(tuple, names)
    group = f"class and {attribute} of an image"
    if attributes == ("unknown",):
        group = "unknown: the dataset names no spurious attribute"
    return Dataset(
        name=name,
        root=root,
        table=table,
        class_names=classes,
        attribute_names=attributes,
        spurious_attribute=attribute,
        class_words=words_of(words, classes),
        group_definition=group,
    )


def words_of(
    words: Sequence[Sequence[str]] | None, classes: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """Words per class; the class names where none are given.

    Raises:
        ConfigError: when there are not as many lists as classes.
    """
    if words is not None and len(words) != len(classes):
        raise ConfigError(
            f"dataset.class_words has {len(words)} lists for {len(classes)} classes "
            f"({', '.join(classes)}); expected one list of words per class."
        )
    return tuple(tuple(w) for w in words) if words is not None else tuple((c,) for c in classes)
