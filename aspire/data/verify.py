"""Is this the dataset that the papers used? Counts per split and group against the published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError, did_you_mean

ROWS = 3  # so many rows of a group that has too many are named

Published = Mapping[str, Mapping[str, int]]  # split -> group -> number of images


@dataclass(frozen=True)
class Count:
    """One group of one split.

    Args:
        rows: the first rows of the metadata table beyond the published number, where there are
            too many.
    """

    split: str
    group: str
    published: int
    found: int
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        many = self.found - self.published
        where = f"{self.split} {self.group}: published {self.published}, found {self.found}"
        if many > 0:
            return f"{where}, {many} too many; the first beyond: {'; '.join(self.rows)}"
        return f"{where}, {-many} missing"


def compare(dataset: Dataset, published: Published) -> list[Count]:
    """Every published count with the one found, in the published order.

    Raises:
        ConfigError: when a split is unknown.
        DataError: when the published groups are not those of this dataset.
    """
    splits = {s.name.lower(): s for s in Split}
    names = list(dataset.grouper.names)
    counts = []
    for split_name, groups in published.items():
        if split_name not in splits:
            raise ConfigError(
                f"dataset.published.{split_name}: no such split."
                f"{did_you_mean(split_name, splits)} Splits: {', '.join(splits)}."
            )
        split = splits[split_name]
        found = dataset.group_counts(split)
        for group, number in groups.items():
            if group not in found:
                raise DataError(
                    f"{dataset.name}: its counts were published for the group '{group}', which "
                    f"is none of its groups here.{did_you_mean(group, names)} Groups: "
                    f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}. Were the class "
                    "or attribute names or the definition of the groups changed? Then there is "
                    "nothing to compare with."
                )
            rows: tuple[str, ...] = ()
            if found[group] > number:
                rows = _rows(dataset, split, names.index(group), int(number))
            counts.append(Count(split_name, group, int(number), found[group], rows))
    return counts


def surplus(dataset: Dataset, published: Published) -> dict[str, int]:
    """Images of the published splits that are in none of the published groups, by split."""
    result = {}
    for split_name, groups in published.items():
        split = Split[split_name.upper()]
        counted = sum(n for g, n in dataset.group_counts(split).items() if g in groups)
        if rest := len(dataset.split(split)) - counted:
            result[split_name] = rest
    return result


def _rows(dataset: Dataset, split: Split, group: int, published: int) -> tuple[str, ...]:
    table = dataset.table
    ids = dataset.grouper.ids(table["y"].to_numpy(), table["place"].to_numpy())
    rows = np.flatnonzero((table["split"].to_numpy() == split) & (ids == group))
    files = table["img_filename"].tolist()
    return tuple(f"row {row} ({files[row]})" for row in rows[published:][:ROWS].tolist())
