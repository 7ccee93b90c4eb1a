"""Results of many runs as one table: mean and sample standard deviation over seeds."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError, did_you_mean
from aspire.identity import arm_name
from aspire.stored.config import leaves
from aspire.stored.notes import note
from aspire.stored.results import damage, read_any
from aspire.text import csv_table, markdown, markdown_table, visible

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
    settings: str = ""  # that differ from rows which would look the same, as key=value

    @property
    def arm(self) -> str:
        """``erm`` or ``erm + aspire``."""
        return arm_name(self.baseline, self.augmentation)


def find_results(folder: Path) -> list[dict[str, Any]]:
    """Every training result below a folder.

    Raises:
        ConfigError: when the folder is missing or holds none.
    """
    return [result for _, result in find_runs(folder)]


def find_runs(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The same, each with its folder."""
    folder = Path(folder)
    results = []
    for path in sorted(folder.rglob("result.json")) if folder.is_dir() else []:
        if reason := damage(path.parent):
            note(f"not in the table: {reason}")
            continue
        content = read_any(path.parent)
        if "weights_sha256" in content:  # of a training run, not of a whole `aspire run`
            results.append((path.parent, content))
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
        names = ("dataset", "dataset_digest", "baseline", "augmentation", "model", "identity")
        groups[json.dumps([result[k] for k in names], sort_keys=True)].append(result)
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
    told = differing([group[0] for group in groups.values()])
    rows = [replace(row, settings=text) for row, text in zip(rows, told, strict=True)]
    rows.sort(
        key=lambda r: (
            *(r.dataset, r.model, r.baseline != "erm", r.baseline),
            order.get(r.augmentation, 2),
        )
    )
    return rows


COLUMNS = ("dataset", "model", "arm", "needs", "selection", "steps", "settings")
_DIGEST = re.compile("[0-9a-f]{64}")  # of a file or of own code, by whose content a run is known
KEYS = 4  # settings named per row


def flat_settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the seed that makes two runs different, under dotted names."""
    settings = {k: v[:8] if _DIGEST.fullmatch(str(v)) else v for k, v in leaves(result["identity"])}
    return settings | {"data": str(result["dataset_digest"])[:8]}


def differing(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each result the settings by which it differs from those that look the same otherwise.

    That is within one arm on one dataset, and for the model's own settings within one model.
    """
    flat = [flat_settings(r) for r in results]
    found: list[dict[str, Any]] = [{} for _ in results]

    def tell(keys_of: Callable[[Mapping[str, Any]], Hashable], own: str) -> None:
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for i, result in enumerate(results):
            alike[keys_of(result)].append(i)
        for group in alike.values():
            names = dict.fromkeys(k for i in group for k in flat[i] if k.startswith(own))
            for name in names:
                if len({json.dumps(flat[i].get(name)) for i in group}) > 1:
                    for i in group:
                        found[i][name] = flat[i].get(name)

    tell(lambda r: (r["dataset"], r["model"]), "model.")
    tell(lambda r: tuple(r[k] for k in ("dataset", "model", "baseline", "augmentation")), "")
    # Steps have a column of their own.
    return [_settings({k: v for k, v in f.items() if k != "fit.steps"}) for f in found]


def _settings(found: Mapping[str, Any]) -> str:
    words = [f"{k}={v}" for k, v in found.items()]
    more = f" and {len(words) - KEYS} more" if len(words) > KEYS else ""
    return ", ".join(words[:KEYS]) + more


def shown_columns(rows: Sequence[Row]) -> list[str]:
    """Every column; the settings only where some differ."""
    return [c for c in COLUMNS if c != "settings" or any(r.settings for r in rows)]


def usable_metrics(
    results: Iterable[Mapping[str, Any]], metrics: Sequence[str], split: str
) -> list[str]:
    """Metrics that some run has; the worst class in place of the worst group without groups."""
    measured = [r["metrics"].get(split, {}) for r in results]
    known = [m for m in metrics if any(r.get(m) is not None for r in measured)]
    if "worst_group_acc" in metrics and "worst_group_acc" not in known:
        known[:0] = [m for m in ("worst_class_acc",) if any(r.get(m) is not None for r in measured)]
    return list(dict.fromkeys(known)) or list(metrics)


def caption(split: str) -> str:
    """What the numbers are; goes with every table."""
    return f"{split} accuracy in %: mean ± sample standard deviation over seeds (number of seeds)"


def as_text(rows: Sequence[Row], metrics: Sequence[str], split: str, style: str) -> str:
    """The table as Markdown, CSV or JSON.

    Raises:
        ConfigError: for another style.
    """
    columns = shown_columns(rows)
    about = [{c: getattr(r, c) for c in columns} for r in rows]
    if style == "json":
        numbers = [{m: {"mean": c.mean, "std": c.std} for m, c in r.cells.items()} for r in rows]
        return json.dumps(
            [a | {"seeds": r.seeds} | n for a, r, n in zip(about, rows, numbers, strict=True)],
            indent=1,
        )
    if style == "csv":
        return csv_table(
            [
                a
                | {"seeds": len(r.seeds)}
                | {f"{m}_{s}": getattr(r.cells[m], s) for m in metrics for s in ("mean", "std")}
                for a, r in zip(about, rows, strict=True)
            ]
        )
    if style == "md":
        lines = [
            [*map(markdown, a.values()), *cells(r, metrics)]
            for a, r in zip(about, rows, strict=True)
        ]
        return f"{markdown_table([*columns, *metrics], lines)}\n\n{caption(split)}"
    raise ConfigError(f"format={style}: expected rich, md, csv or json.")


def cells(row: Row, metrics: Sequence[str]) -> list[str]:
    """The texts of one row's numbers."""
    return [row.cells[m].text() for m in metrics]


def as_rich(rows: Sequence[Row], metrics: Sequence[str], split: str, width: int = 80) -> Any:
    """The table for a terminal.

    What is the same everywhere goes into the caption, and what leaves no room for the numbers below
    the table, by number.

    Args:
        width: characters in a line.
    """
    from rich.box import SIMPLE_HEAD
    from rich.text import Text

    from aspire.console import Table

    columns = shown_columns(rows)
    varying = [c for c in columns if c == "arm" or len({getattr(r, c) for r in rows}) > 1]
    fixed = [f"{c} {getattr(rows[0], c)}" for c in columns if c not in varying]
    kept = list(varying)
    below: list[str] = []
    while _width(rows, kept, metrics) > width - 5 * bool(below):
        if (last := next((c for c in reversed(kept) if c not in ("dataset", "arm")), None)) is None:
            break
        kept.remove(last)
        below.insert(0, last)
    words = [", ".join(f"{c} {getattr(r, c)}" for c in below if getattr(r, c)) for r in rows]
    notes = {text: n for n, text in enumerate(dict.fromkeys(w for w in words if w), 1)}
    lines = [", ".join(fixed), *(f"[{n}] {text}" for text, n in notes.items())]
    table = Table(
        caption(split),
        caption=Text("\n".join(visible(line) for line in lines if line)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column in kept:
        table.add_column(column, overflow="fold")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for row, text in zip(rows, words, strict=True):
        names = {c: str(getattr(row, c)) for c in kept}
        if text:
            names["arm"] += f" [{notes[text]}]"
        table.add_row(*names.values(), *cells(row, metrics))
    return table


def _width(rows: Sequence[Row], columns: Sequence[str], metrics: Sequence[str]) -> int:
    """Characters of a table's widest line, two between columns."""
    texts = [[c, *(visible(getattr(r, c)) for r in rows)] for c in columns]
    texts += [[m, *(r.cells[m].text() for r in rows)] for m in metrics]
    return sum(max(map(len, column)) + 2 for column in texts)
