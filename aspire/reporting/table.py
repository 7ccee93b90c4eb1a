"""Results of many runs as one table: mean and sample standard deviation over seeds."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError, did_you_mean
from aspire.stored.notes import note
from aspire.stored.results import damage, read_any
from aspire.text import cell, markdown

METRICS = (
    "worst_group_acc",
    "acc",
    "acc_adjusted",
    "acc_balanced",
    "worst_class_acc",
)


@dataclass(frozen=True)
class Cell:
    """One metric of one arm over its seeds; fractions in [0, 1]."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean over the seeds, None without any."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation (ddof 1), None below two seeds."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self) -> str:
        """In percent: ``86.1 ± 0.9 (3)``, or ``86.1 (1)`` for one seed.

        >>> Cell((0.8, 0.9)).text(), Cell((0.5,)).text(), Cell(()).text()
        ('85.0 ± 7.1 (2)', '50.0 (1)', '-')
        """
        if self.mean is None:
            return "-"
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{spread} ({len(self.values)})"


@dataclass(frozen=True)
class Row:
    """One arm: what was trained how, and its metrics."""

    dataset: str
    model: str
    baseline: str
    augmentation: str
    needs: str
    selection: str
    steps: int
    seeds: tuple[int, ...]
    cells: dict[str, Cell]

    @property
    def arm(self) -> str:
        """``erm`` or ``erm + aspire``."""
        return arm_name(self.baseline, self.augmentation)


def arm_name(baseline: str, augmentation: str) -> str:
    """How an arm is called everywhere.

    >>> arm_name("erm", "none"), arm_name("erm", "aspire")
    ('erm', 'erm + aspire')
    """
    return baseline if augmentation == "none" else f"{baseline} + {augmentation}"


def find_results(folder: Path) -> list[dict[str, Any]]:
    """Every training result below a folder.

    Raises:
        ConfigError: when the folder is missing or holds none.
    """
    folder = Path(folder)
    results = []
    for path in sorted(folder.rglob("result.json")) if folder.is_dir() else []:
        if reason := damage(path.parent):
            note(f"not in the table: {reason}")
            continue
        content = read_any(path.parent)
        if "weights_sha256" in content:  # of a training run, not of a whole `aspire run`
            results.append(content)
    if not results:
        raise ConfigError(
            f"{folder}: no finished training run below it. Expected folders with a result.json; "
            "make one with aspire train, or name another folder: aspire table DIR."
        )
    return results


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse metrics that do not exist.

    Raises:
        ConfigError: with the nearest right name.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise ConfigError(
                f"metrics: {metric} does not exist.{did_you_mean(metric, METRICS)} Metrics: "
                f"{', '.join(METRICS)}."
            )


def rows_of(
    results: Iterable[dict[str, Any]], metrics: Sequence[str], split: str = "test"
) -> list[Row]:
    """Group results into rows that differ in nothing but the seed.

    Two runs of one arm with different settings (steps, learning rate, ...) are two rows: their
    numbers are never averaged.

    Raises:
        ConfigError: for a metric that does not exist.
    """
    check_metrics(metrics)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        same = [result["dataset_digest"], result["baseline"], result["augmentation"]]
        same += [result["model"], json.dumps(result["identity"], sort_keys=True)]
        groups["|".join(same)].append(result)
    rows = []
    for group in groups.values():
        first = group[0]
        group.sort(key=lambda r: r["seed"])
        cells = {}
        for metric in metrics:
            values = [r["metrics"].get(split, {}).get(metric) for r in group]
            cells[metric] = Cell(tuple(v for v in values if v is not None))
        rows.append(
            Row(
                dataset=first["dataset"],
                model=first["model"],
                baseline=first["baseline"],
                augmentation=first["augmentation"],
                needs=first["needs"],
                selection=first["selection"],
                steps=first["steps"],
                seeds=tuple(r["seed"] for r in group),
                cells=cells,
            )
        )
    order = {"none": 0, "duplicates": 1}
    rows.sort(
        key=lambda r: (
            *(r.dataset, r.model, r.baseline != "erm", r.baseline),
            order.get(r.augmentation, 2),
        )
    )
    return rows


COLUMNS = ("dataset", "model", "arm", "needs", "selection", "steps")


def caption(split: str) -> str:
    """What the numbers are; stands with every table."""
    return f"{split} accuracy in %: mean ± sample standard deviation over seeds (number of seeds)"


def as_text(rows: Sequence[Row], metrics: Sequence[str], split: str, style: str) -> str:
    """The table as Markdown, CSV or JSON.

    Raises:
        ConfigError: for another style.
    """
    if style == "json":
        content = [
            {
                **{c: getattr(r, c) for c in COLUMNS},
                "seeds": r.seeds,
                **{m: {"mean": c.mean, "std": c.std} for m, c in r.cells.items()},
            }
            for r in rows
        ]
        return json.dumps(content, indent=1)
    if style == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            [*COLUMNS, "seeds", *(f"{m}_{s}" for m in metrics for s in ("mean", "std"))]
        )
        for r in rows:
            numbers = [v for m in metrics for v in (r.cells[m].mean, r.cells[m].std)]
            writer.writerow([*(cell(getattr(r, c)) for c in COLUMNS), len(r.seeds), *numbers])
        return text.getvalue().rstrip("\n")
    if style == "md":
        head = [*COLUMNS, *metrics]
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        lines += [
            f"| {' | '.join([*(markdown(getattr(r, c)) for c in COLUMNS), *cells(r, metrics)])} |"
            for r in rows
        ]
        return "\n".join([*lines, "", caption(split)])
    raise ConfigError(f"format={style}: expected rich, md, csv or json.")


def cells(row: Row, metrics: Sequence[str]) -> list[str]:
    """The texts of one row's numbers."""
    return [row.cells[m].text() for m in metrics]


def as_rich(rows: Sequence[Row], metrics: Sequence[str], split: str) -> Any:
    """The table for a terminal; columns that are the same everywhere go into the caption."""
    from aspire.console import Table

    varying = [c for c in COLUMNS if c == "arm" or len({getattr(r, c) for r in rows}) > 1]
    fixed = [f"{c} {getattr(rows[0], c)}" for c in COLUMNS if c not in varying]
    table = Table(
        title=caption(split), caption=", ".join(fixed), title_justify="left", caption_justify="left"
    )
    for column in varying:
        table.add_column(column)
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(getattr(row, c)) for c in varying), *cells(row, metrics))
    return table
