"""What is wrong or unusual in a dataset, found in one pass before any time is spent on it.

Problems stop the run (``on_bad=error``) or cost the image (``on_bad=skip``); notes are only told:

problems  missing, no file (a folder, a pipe), zero bytes, unreadable, truncated, too large,
          colours unknown, mask missing, mask unreadable, mask of another size, img_id not unique,
          y/place/split out of range, two labels,
          in two splits (one file, or with ``duplicates`` two that look alike)
notes     what the reader left out or took for granted (``Dataset.notes``), CMYK, 16-bit,
          transparent, animated, EXIF-rotated, listed twice, group not in train
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aspire.data.duplicates import look_alikes
from aspire.data.images import read_labels
from aspire.data.probe import probe
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError, DataError, did_you_mean
from aspire.stored.seals import read_digest, write_digest

VERSION = 1  # raised when the same files give other findings
SHOWN = 10  # rows a report names per kind
ON_BAD = ("error", "skip")


@dataclass(frozen=True)
class Finding:
    """One row of the metadata table and what is to say about it."""

    row: int
    text: str


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check_dataset` found.

    Args:
        dataset: its name.
        images: rows that were checked.
        on_bad: what was done about problems.
        thorough: whether every file was decoded, or only its header.
        problems, notes: kind -> findings, in the order of the rows (counted from 0).
        dropped: split -> rows that were left out.
        masks_dropped: masks that were left out, their images kept.
    """

    dataset: str
    images: int
    on_bad: str
    thorough: bool
    problems: Mapping[str, tuple[Finding, ...]]
    notes: Mapping[str, tuple[Finding, ...]]
    dropped: Mapping[str, int]
    masks_dropped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Counts as plain values for ``result.json``."""
        return {
            "on_bad": self.on_bad,
            "thorough": self.thorough,
            "images": self.images,
            "problems": {k: len(v) for k, v in self.problems.items()},
            "notes": {k: len(v) for k, v in self.notes.items()},
            "dropped": dict(self.dropped),
            "masks_dropped": self.masks_dropped,
        }

    def text(self) -> str:
        """Every kind with its count and its first rows."""
        lines = []
        for title, kinds in (("", self.problems), ("note: ", self.notes)):
            for kind, findings in kinds.items():
                lines.append(f"{title}{kind}: {len(findings)}")
                lines += [f"    {f.text}" for f in findings[:SHOWN]]
                if len(findings) > SHOWN:
                    lines.append(f"    and {len(findings) - SHOWN} more")
        return "\n".join(lines)


def check_dataset(
    dataset: Dataset,
    on_bad: str = "error",
    duplicates: bool = False,
    thorough: bool = False,
    progress: Callable[[int], None] | None = None,
    cache: Path | None = None,
) -> tuple[Dataset, CheckReport]:
    """Check every file and row.

    Args:
        dataset: as read.
        on_bad: ``error`` to stop at problems, ``skip`` to leave their rows out (of a bad mask: the
            mask; of an image in two splits: the copy in the earlier one, so that test stays whole).
        duplicates: also look for images in different splits that look alike; decodes every image.
        thorough: decode every image and mask, and not only those whose end looks cut off.
        progress: called with the number of rows after each.
        cache: folder that remembers that nothing was found in the files, as long as no file's size
            or time changes, so that they are opened once.

    Returns:
        The dataset, with ``skip`` without the bad rows, and the report.

    Raises:
        ConfigError: for an unknown ``on_bad``.
        DataError: with one report of all problems; or when skipping would empty a split.
    """
    if on_bad not in ON_BAD:
        raise ConfigError(
            f"dataset.on_bad={on_bad}: no such choice.{did_you_mean(str(on_bad), ON_BAD)} "
            "Expected error (stop and list what is wrong) or skip (leave those rows out)."
        )
    found = _Findings(dataset)
    found.rows()
    clean = None if cache is None else _Clean.of(dataset, thorough, cache)
    if clean is None or not clean.known():
        before = found.number()
        for row in range(len(dataset.table)):
            found.file(row, thorough)
            if progress is not None:
                progress(row + 1)
        if clean is not None and found.number() == before:
            clean.remember()
    found.repeats()
    if duplicates:
        found.alike()
    found.absent_groups()
    for kind, lines in dataset.notes.items():
        found.notes.setdefault(kind, []).extend(Finding(-1, line) for line in lines)
    bad_rows = sorted(found.bad)
    report = CheckReport(
        dataset=dataset.name,
        images=len(dataset.table),
        on_bad=on_bad,
        thorough=thorough,
        problems={k: tuple(sorted(v, key=lambda f: f.row)) for k, v in found.problems.items()},
        notes={k: tuple(v) for k, v in found.notes.items()},
        dropped=found.by_split(bad_rows) if on_bad == "skip" else {},
        masks_dropped=len(found.bad_masks - found.bad) if on_bad == "skip" else 0,
    )
    if report.problems and on_bad == "error":
        number = len(found.bad | found.bad_masks)
        raise DataError(
            f"{dataset.name}: {number} of {len(dataset.table)} rows have problems in "
            f"{dataset.root} (rows count from 0, the header not included):\n{report.text()}\n"
            f"{found.advice()}Fix the files, take the rows out of the metadata table, or leave "
            "them out with dataset.on_bad=skip."
        )
    return (
        (_without(dataset, bad_rows, found.bad_masks), report)
        if report.problems
        else (
            dataset,
            report,
        )
    )


def _without(dataset: Dataset, rows: list[int], masks: set[int]) -> Dataset:
    """The dataset without these rows, and without the masks of others."""
    table = dataset.table.copy()
    if masks:
        column = table["mask_filename"].tolist()
        table["mask_filename"] = ["" if i in masks else m for i, m in enumerate(column)]
    keep = np.ones(len(table), dtype=bool)
    keep[rows] = False
    kept = table[keep].reset_index(drop=True)
    for split in (Split.TRAIN, Split.VAL, Split.TEST):
        if not (kept["split"] == split).any():
            raise DataError(
                f"{dataset.name}: dataset.on_bad=skip would leave no image of the "
                f"{split.name.lower()} split ({len(rows)} of {len(table)} rows are bad). Is "
                f"{dataset.root} the right folder? dataset.on_bad=error lists what is wrong."
            )
    return dataclasses.replace(dataset, table=kept)


@dataclass(frozen=True)
class _Clean:
    """The memory of a dataset in whose files nothing was found.

    Args:
        file: where it is kept.
        digest: what it holds.
        newest: time of the latest change of the dataset's files.
    """

    file: Path
    digest: str
    newest: float

    @classmethod
    def of(cls, dataset: Dataset, thorough: bool, cache: Path) -> _Clean | None:
        """None for a dataset of which files are missing."""
        try:
            state, newest = dataset.state()
        except OSError:
            return None
        digest = hashlib.sha256(f"checked {VERSION} {thorough} {state}".encode()).hexdigest()
        return cls(cache / f"{digest}.checked", digest, newest)

    def known(self) -> bool:
        return read_digest(self.file, self.newest) == self.digest

    def remember(self) -> None:
        with contextlib.suppress(OSError):  # read only: the next start looks again
            write_digest(self.file, self.digest)


class _Findings:
    """Collects problems and notes; ``bad`` rows are to go, of ``bad_masks`` the mask only."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        table = dataset.table
        self.files: list[str] = table["img_filename"].tolist()
        self.masks: list[str] = [""] * len(table)
        if "mask_filename" in table.columns:
            self.masks = table["mask_filename"].tolist()
        self.problems: dict[str, list[Finding]] = {}
        self.notes: dict[str, list[Finding]] = {}
        self.bad: set[int] = set()
        self.bad_masks: set[int] = set()

    def problem(self, kind: str, row: int, text: str, mask: bool = False) -> None:
        self.problems.setdefault(kind, []).append(Finding(row, f"row {row}: {text}"))
        (self.bad_masks if mask else self.bad).add(row)

    def note(self, kind: str, row: int, text: str) -> None:
        self.notes.setdefault(kind, []).append(Finding(row, f"row {row}: {text}"))

    def number(self) -> int:
        """Findings so far."""
        return sum(map(len, (*self.problems.values(), *self.notes.values())))

    def by_split(self, rows: list[int]) -> dict[str, int]:
        split = pd.to_numeric(self.dataset.table["split"], errors="coerce").to_numpy()[rows]
        counts = {s.name.lower(): int((split == s).sum()) for s in Split}
        return {k: n for k, n in counts.items() if n}

    def advice(self) -> str:
        missing = len(self.problems.get("missing", ()))
        if missing == len(self.files):
            return "Every image is missing: is dataset.root (dataset.images) the right folder? "
        return ""

    # --- the table ---

    def rows(self) -> None:
        """The contract of the table; readers keep it, tables that were changed may not."""
        table = self.dataset.table
        for row in np.flatnonzero(table["img_id"].duplicated().to_numpy()).tolist():
            self.problem("img_id not unique", row, f"img_id {table['img_id'].iloc[row]!r} again")
        for column, low, high in (
            ("y", 0, len(self.dataset.class_names) - 1),
            ("place", -1, len(self.dataset.attribute_names) - 1),
            ("split", 0, max(Split)),
        ):
            values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
            good = (values >= low) & (values <= high) & (values % 1 == 0)
            for row in np.flatnonzero(~good).tolist():
                given = table[column].tolist()[row]
                text = f"{column} {given!r}, expected {low} to {high}"
                self.problem(f"{column} out of range", row, text)

    def repeats(self) -> None:
        """One file in two rows: a leak between splits, a contradiction, or just counted twice."""
        first: dict[str, int] = {}
        split, y = self.dataset.table["split"].tolist(), self.dataset.table["y"].tolist()
        for row, name in enumerate(self.files):
            other = first.setdefault(name, row)
            if other == row or not name:
                continue
            text = f"{name} is also in row {other}"
            if split[row] != split[other]:
                earlier = row if split[row] < split[other] else other
                self.problem("in two splits", earlier, f"{name}, rows {other} and {row}")
            elif y[row] != y[other]:
                self.problem("two labels", row, f"{text} with another y")
            else:
                self.note("listed twice", row, text)

    def alike(self) -> None:
        """Pictures in different splits that look alike."""
        rows = [r for r in range(len(self.files)) if r not in self.bad]
        split = self.dataset.table["split"].tolist()
        for cluster in look_alikes([self.dataset.path(self.files[r]) for r in rows]):
            last = max((rows[i] for i in cluster), key=lambda r: (split[r], -r))
            for row in (rows[i] for i in cluster):
                if split[row] != split[last] and self.files[row] != self.files[last]:
                    text = f"{self.files[row]} looks like {self.files[last]} (row {last})"
                    self.problem("in two splits", row, text)

    def absent_groups(self) -> None:
        """Classes and groups that are judged but never trained on."""
        counts = {s: self.dataset.group_counts(s) for s in self.dataset.splits}
        train = counts.get(Split.TRAIN, {})
        for split, groups in counts.items():
            for name, n in groups.items():
                if n and not train.get(name):
                    text = f"{name} has {n} images in {split.name.lower()} and none in train"
                    self.notes.setdefault("group not in train", []).append(Finding(-1, text))
        table = self.dataset.table
        trained = set(table.loc[table["split"] == Split.TRAIN, "y"].tolist())
        for y, name in enumerate(self.dataset.class_names):
            if y not in trained:
                text = f"{name} has no image in train"
                self.notes.setdefault("class not in train", []).append(Finding(-1, text))

    # --- the files ---

    def file(self, row: int, thorough: bool) -> None:
        """One image and its mask."""
        name, mask = self.files[row], self.masks[row]
        if not name:
            self.problem("missing", row, "no file name")
            return
        image = probe(self.dataset.path(name), thorough)
        if image.problem is not None:
            self.problem(image.problem[0], row, f"{name}{image.problem[1]}")
        for kind, text in image.notes:
            self.note(kind, row, f"{name}{text}")
        if image.size is None or not mask:
            return
        labels = probe(self.dataset.path(mask), thorough, read_labels)
        if labels.problem is not None:
            kind = f"mask {labels.problem[0] if labels.problem[0] == 'missing' else 'unreadable'}"
            self.problem(kind, row, f"{mask}{labels.problem[1]}", mask=True)
        elif labels.size is not None and labels.size != image.size:
            turned = " (one of them was turned)" if labels.size == image.size[::-1] else ""
            text = (
                f"{mask} is {labels.size[1]} x {labels.size[0]}, its image {image.size[1]} x "
                f"{image.size[0]}{turned}"
            )
            self.problem("mask of another size", row, text, mask=True)
