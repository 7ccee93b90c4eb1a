"""Runs as rows by columns: means over seeds, gains, and why a cell is not full."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aspire.errors import ConfigError, did_you_mean
from aspire.identity import arm_name
from aspire.reporting.table import Cell, check_metrics, flat_settings
from aspire.runs.ledger import JobEntry

Json = dict[str, Any]
Key = tuple[str, ...]

FIELDS = ("dataset", "model", "baseline", "augmentation")
PLAIN = "none"  # the augmentation that gains are measured against


@dataclass(frozen=True)
class Gain:
    """A mean difference over seeds that both arms have, fractions.

    Args:
        low, high: 95 % interval by Student's t over the pairs; None with fewer than two.
        n: number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def text(self, between: str = " ") -> str:
        """In points: ``+12.3 [8.1, 15.0]``.

        >>> Gain(0.123, 0.081, 0.15, 3).text(), Gain(-0.05, None, None, 1).text()
        ('+12.3 [8.1, 15.0]', '-5.0 (1)')
        """
        if self.low is None or self.high is None:
            return f"{100 * self.mean:+.1f} ({self.n})"
        return f"{100 * self.mean:+.1f}{between}[{100 * self.low:.1f}, {100 * self.high:.1f}]"


def paired_gain(before: Mapping[int, float], after: Mapping[int, float]) -> Gain | None:
    """The gain over shared seeds, with the interval of Student's t over their differences.

    It is wide for few seeds because they say little: a bootstrap of three pairs, called 95 %, holds
    the true gain in 75 % of cases.

    Args:
        before, after: seed -> value of the two arms.

    >>> gain = paired_gain({0: 0.1, 1: 0.2, 2: 0.3}, {0: 0.4, 1: 0.6, 2: 0.8, 3: 0.9})
    >>> round(gain.mean, 3), round(gain.low, 3), round(gain.high, 3), gain.n
    (0.4, 0.152, 0.648, 3)
    """
    pairs = [after[s] - before[s] for s in sorted(set(before) & set(after))]
    if not pairs:
        return None
    if len(pairs) == 1:
        return Gain(pairs[0], None, None, 1)
    from scipy.special import stdtrit  # the quantile of Student's t

    mean, error = statistics.fmean(pairs), statistics.stdev(pairs) / len(pairs) ** 0.5
    half = float(stdtrit(len(pairs) - 1, 0.975)) * error
    return Gain(mean, mean - half, mean + half, len(pairs))


@dataclass
class Entry:
    """All seeds of one arm in one column.

    Args:
        results: seed -> content of ``result.json``.
        open: jobs of this cell that are not done, by seed.
    """

    results: dict[int, Json] = field(default_factory=dict)
    open: dict[int, JobEntry] = field(default_factory=dict)

    def values(self, metric: str, split: str) -> dict[int, float]:
        """Seed -> value, of those that have one."""
        found = {s: r["metrics"].get(split, {}).get(metric) for s, r in self.results.items()}
        return {s: found[s] for s in sorted(found) if found[s] is not None}


@dataclass
class Grid:
    """What is printed, before it is printed.

    Args:
        rows, cols: fields whose values are the rows and the columns.
        cells: (row, augmentation or "", column) -> entry.
    """

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    metrics: tuple[str, ...]
    split: str
    cells: dict[tuple[Key, str, Key], Entry]

    @cached_property
    def lines(self) -> list[tuple[Key, str]]:
        """(row, augmentation) in order: ERM first, and of each row the plain arm."""
        order = {"": 0, PLAIN: 0, "duplicates": 1}
        found = {(row, arm) for row, arm, _ in self.cells}
        return sorted(
            found, key=lambda f: ([(v != "erm", v) for v in f[0]], order.get(f[1], 2), f[1])
        )

    @cached_property
    def columns(self) -> list[Key]:
        """The columns in order."""
        return sorted({column for _, _, column in self.cells})

    def label(self, row: Key, arm: str) -> str:
        """How a line is called."""
        if not arm or arm == PLAIN:
            return ", ".join(row)
        return ", ".join((*row[:-1], arm_name(row[-1], arm)))

    def at(self, row: Key, arm: str, column: Key) -> Entry:
        """A cell; an empty one where there is none."""
        return self.cells.get((row, arm, column), Entry())

    def cell(self, metric: str, row: Key, arm: str, column: Key) -> Cell:
        """The numbers of a cell."""
        return Cell(tuple(self.at(row, arm, column).values(metric, self.split).values()))

    def gain(self, metric: str, row: Key, arm: str, column: Key) -> Gain | None:
        """Against the plain arm of the same row; None for that arm itself."""
        if arm in ("", PLAIN):
            return None
        before = self.at(row, PLAIN, column).values(metric, self.split)
        return paired_gain(before, self.at(row, arm, column).values(metric, self.split))

    @property
    def results(self) -> Iterable[Json]:
        """Every result in it."""
        return (r for entry in self.cells.values() for r in entry.results.values())

    def shared(self, name: str) -> dict[str, list[str]]:
        """Value of an entry of the results -> the rows that have it, for the header."""
        found: dict[str, set[str]] = defaultdict(set)
        for (row, _, _), entry in self.cells.items():
            for result in entry.results.values():
                found[str(result[name])].add(", ".join(row))
        return {value: sorted(rows) for value, rows in sorted(found.items())}


def make_grid(
    jobs: Sequence[JobEntry],
    results: Mapping[str, Json],
    rows: Sequence[str],
    cols: Sequence[str],
    metrics: Sequence[str],
    split: str,
) -> Grid:
    """Sort jobs into cells.

    Args:
        jobs: done or not.
        results: folder of a done job -> its result.
        rows, cols: some of ``FIELDS``. With the augmentation in neither, each row has a line per
            augmentation, and gains.

    Raises:
        ConfigError: for a field or metric that does not exist, and for runs with different settings
            in one cell, naming both.
    """
    check_metrics(metrics)
    for key, fields in (("rows", rows), ("cols", cols)):
        for name in fields:
            if name not in FIELDS:
                raise ConfigError(
                    f"{key}={name}: no such field.{did_you_mean(name, FIELDS)} Fields: "
                    f"{', '.join(FIELDS)}."
                )
    if not rows or not cols or set(rows) & set(cols):
        raise ConfigError(
            f"rows={','.join(rows)} cols={','.join(cols)}: expected one or more different fields "
            "in both, for example rows=baseline cols=dataset."
        )
    by_arm = "augmentation" not in (*rows, *cols)
    cells: dict[tuple[Key, str, Key], Entry] = defaultdict(Entry)
    folders: dict[int, str] = {}
    for job in jobs:
        about = job.about
        if any(about.get(k) is None for k in (*FIELDS, "seed")):
            continue
        place = (
            tuple(str(about[k]) for k in rows),
            str(about["augmentation"]) if by_arm else "",
            tuple(str(about[k]) for k in cols),
        )
        entry, seed = cells[place], int(about["seed"])
        if job.state != "done":
            entry.open[seed] = job
            continue
        folder = str(job.look.folder)
        result = results[folder]
        for other in entry.results.values():
            _refuse_mixed(place, other, folders[id(other)], result, folder)
        entry.results[seed], folders[id(result)] = result, folder
    for entry in cells.values():
        entry.open = {s: j for s, j in entry.open.items() if s not in entry.results}
    grid = Grid(tuple(rows), tuple(cols), tuple(metrics), split, dict(cells))
    if not cells:
        raise ConfigError("No job here says what it is; run aspire table without rows and cols.")
    return grid


def _refuse_mixed(
    place: tuple[Key, str, Key], first: Json, where: str, second: Json, there: str
) -> None:
    """Numbers of runs that differ in more than the seed are never averaged."""
    a, b = _settings(first), _settings(second)
    differing = [k for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    if not differing and first["seed"] == second["seed"]:
        differing = ["generated_digest"]
        a, b = first, second
    if not differing:
        return
    row, arm, column = place
    name = " / ".join(p for p in (", ".join(row), arm, ", ".join(column)) if p)
    listed = "; ".join(f"{k}: {a.get(k)} and {b.get(k)}" for k in differing[:6])
    more = f" and {len(differing) - 6} more" if len(differing) > 6 else ""
    raise ConfigError(
        f"{name}: runs with different settings fall into one cell.\n  {listed}{more}\n"
        f"  {where}\n  {there}\n"
        "Name the folder of one sweep, take another field for rows or cols, or leave both out: "
        "then each setting has a row of its own."
    )


def _settings(result: Json) -> dict[str, Any]:
    """Everything but the seed that makes two runs different, flat."""
    flat = {k: result[k] for k in ("dataset_digest", *FIELDS)} | flat_settings(result)
    del flat["data"]
    return flat
