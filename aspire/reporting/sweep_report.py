"""The report of a sweep: one HTML file with its table, gains, groups, features, pictures and jobs.

Equal inputs give equal bytes, except for the states and ages of jobs that are not done.
"""

from __future__ import annotations

import os
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aspire.environment import yardstick_of
from aspire.errors import ConfigError
from aspire.identity import arm_name
from aspire.progress import duration
from aspire.reporting.artifacts import Json
from aspire.reporting.grid import PLAIN, Gain, Grid, make_grid
from aspire.reporting.grid_text import Layout, lay_out
from aspire.reporting.page import write_page
from aspire.reporting.sweep_sources import Found, Originals, found_on, read_results
from aspire.reporting.table import Cell
from aspire.runs.ledger import JobEntry, find_jobs
from aspire.version import __version__

METRICS = ("worst_group_acc", "acc", "acc_adjusted", "acc_balanced")
MARK = re.compile(r" \[(\d+)\]")


@dataclass(frozen=True)
class CellView:
    """A cell of the table.

    Args:
        text: mean and standard deviation, or what became of the jobs.
        value: the mean, by which the table is sorted; None without one.
        notes: numbers of the notes that say why it is not full.
    """

    text: str
    value: float | None
    gain: Gain | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RowView:
    """An arm in every column, and its mean over the columns where all have a value."""

    baseline: str
    arm: str
    label: str
    needs: str
    cells: tuple[CellView, ...]
    mean: float | None


@dataclass(frozen=True)
class PairView:
    """A baseline without and with an augmentation on one dataset."""

    label: str
    before: Cell
    after: Cell
    gain: Gain | None


@dataclass(frozen=True)
class GroupsView:
    """Accuracy of every group for every arm on one dataset; of every class without groups.

    Args:
        kind: group or class.
        arms: their labels.
        rows: name, images, and for each arm its accuracy and whether it is the arm's worst.
    """

    dataset: str
    kind: str
    arms: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[tuple[Cell, bool], ...]], ...]


@dataclass(frozen=True)
class JobView:
    """A job with its numbers, and how to get to it."""

    entry: JobEntry
    arm: str
    link: str
    worst: float | None
    acc: float | None
    spent: str


@dataclass(frozen=True)
class SweepPage:
    """Everything the page says, before it looks like anything."""

    name: str
    aspire: str
    verdict: str
    facts: list[tuple[str, str, str]]
    columns: list[str]
    tables: dict[str, list[RowView]]
    header: list[str]
    notes: list[tuple[str, str]]
    pairs: dict[str, list[PairView]]
    groups: list[GroupsView]
    found: list[Found]
    jobs: list[JobView]
    command: str
    folder: str
    absent: list[str] = field(default_factory=list)

    @property
    def gains(self) -> bool:
        """Whether any number of the tables has one."""
        return any(c.gain for rows in self.tables.values() for row in rows for c in row.cells)


def write_sweep_report(
    folder: Path,
    originals: Mapping[str, Originals] | None = None,
    stale_after: float = 60.0,
) -> Path:
    """Write ``report.html`` into the folder of a sweep, or of many runs.

    Args:
        originals: dataset -> where its images are, for the pictures before an edit; those that are
            shown are kept, small, in ``report_images/``.

    Raises:
        ConfigError: without a finished job, and for runs with different settings in one cell.
    """
    folder = Path(folder)
    jobs = find_jobs(folder, stale_after)
    results = read_results([j.look.folder for j in jobs if j.state == "done"])
    if not results:
        raise ConfigError(
            f"{folder}: no finished job in it, so there is nothing to report; see aspire sweep "
            f"status {folder}."
        )
    tests = [r["metrics"].get("test", {}) for r in results.values()]
    unknown = any(t.get("worst_group_acc") is None for t in tests)
    metrics = (*METRICS, "worst_class_acc") if unknown else METRICS
    grid = make_grid(jobs, results, ["baseline"], ["dataset"], metrics, "test")
    layout = lay_out(grid)
    found = []
    for dataset in sorted({r["dataset"] for r in results.values()}):
        runs = [(Path(f), r) for f, r in results.items() if r["dataset"] == dataset]
        where = (originals or {}).get(dataset)
        if (one := found_on(dataset, runs, folder / "report_images", where)) is not None:
            found.append(one)
    page = SweepPage(
        name=folder.resolve().name,
        aspire=__version__,
        verdict=verdict_of(grid),
        facts=list(_facts(grid, jobs)),
        columns=layout.columns,
        tables=_tables(grid, layout),
        header=layout.header,
        notes=[(str(n), text.partition("] ")[2]) for n, text in enumerate(layout.notes, 1)],
        pairs=_pairs(grid),
        groups=_groups(grid),
        found=found,
        jobs=[_job(j, folder, results) for j in jobs],
        command=next((j.sweep for j in jobs if j.sweep), ""),
        folder=shlex.quote(str(folder)),
    )
    return write_page(folder / "report.html", "sweep.html.j2", page=page)


def verdict_of(grid: Grid) -> str:
    """What the table says in a sentence or two."""
    gains = [g for _, _, _, g in _all_gains(grid, "aspire")]
    metric = "worst-group accuracy"
    if not gains:
        return f"{len(grid.lines)} arms on {_number(grid.columns, 'dataset')}, without ASPIRE."
    better = sum(g.mean > 0 for g in gains)
    mean = 100 * statistics.fmean(g.mean for g in gains)
    seeds = {g.n for g in gains}
    count = "one seed each" if seeds == {1} else f"{min(seeds)} to {max(seeds)} seeds each"
    count = f"{max(seeds)} seeds each" if len(seeds) == 1 and seeds != {1} else count
    text = (
        f"ASPIRE raises {metric} in {better} of {len(gains)} pairs of baseline and dataset, by "
        f"{mean:+.1f} points on average ({count})."
    )
    return f"{text} One seed cannot tell a gain from chance." if seeds == {1} else text


def _number(items: Sequence[object], word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}"


def _all_gains(grid: Grid, augmentation: str) -> Iterator[tuple[str, str, str, Gain]]:
    for row, arm in grid.lines:
        for column in grid.columns:
            gain = grid.gain("worst_group_acc", row, arm, column)
            if arm == augmentation and gain is not None:
                yield row[0], arm, column[0], gain


def _facts(grid: Grid, jobs: Sequence[JobEntry]) -> Iterator[tuple[str, str, str]]:
    states = [j.state for j in jobs]
    yield "jobs done", str(states.count("done")), f"of {len(jobs)}"
    bad = [s for s in ("failed", "stale", "running", "new") if s in states]
    for state in bad:
        yield {"new": "not run"}.get(state, state), str(states.count(state)), ""
    yield "datasets", str(len(grid.columns)), ""
    yield "baselines", str(len({row for row, _ in grid.lines})), ""
    best = max(_all_gains(grid, "aspire"), key=lambda g: g[3].mean, default=None)
    if best is not None:
        yield "largest gain, points", f"{100 * best[3].mean:+.1f}", f"{best[0]}, {best[2]}"


def _tables(grid: Grid, layout: Layout) -> dict[str, list[RowView]]:
    tables = {}
    for block in layout.blocks:
        lines = [line for line in block.lines if line.kind == "numbers"]
        if any(
            grid.cell(block.metric, row, arm, c).values
            for row, arm in grid.lines
            for c in grid.columns
        ):
            tables[block.metric] = [
                _row(grid, block.metric, row, arm, line.texts)
                for (row, arm), line in zip(grid.lines, lines, strict=True)
            ]
    return tables


def _row(grid: Grid, metric: str, row: tuple[str, ...], arm: str, texts: Sequence[str]) -> RowView:
    cells = tuple(
        CellView(
            text=MARK.sub("", text),
            value=grid.cell(metric, row, arm, column).mean,
            gain=grid.gain(metric, row, arm, column),
            notes=tuple(MARK.findall(text)),
        )
        for column, text in zip(grid.columns, texts, strict=True)
    )
    values = [c.value for c in cells if c.value is not None]
    results = [r for c in grid.columns for r in grid.at(row, arm, c).results.values()]
    return RowView(
        baseline=row[0],
        arm=arm,
        label=grid.label(row, arm),
        needs=", ".join(sorted({str(r["needs"]) for r in results})) or "-",
        cells=cells,
        mean=statistics.fmean(values) if len(values) == len(cells) else None,
    )


def _pairs(grid: Grid) -> dict[str, list[PairView]]:
    """Dataset -> a pair for every augmented arm that has both ends."""
    found: dict[str, list[PairView]] = {}
    for column in grid.columns:
        pairs = []
        for row, arm in grid.lines:
            before = grid.cell("worst_group_acc", row, PLAIN, column)
            after = grid.cell("worst_group_acc", row, arm, column)
            if arm in ("", PLAIN) or before.mean is None or after.mean is None:
                continue
            label = row[0] if arm == "aspire" else arm_name(row[0], arm)
            gain = grid.gain("worst_group_acc", row, arm, column)
            pairs.append(PairView(label, before, after, gain))
        if pairs:
            found[column[0]] = pairs
    return found


def _groups(grid: Grid) -> list[GroupsView]:
    views = []
    for column in grid.columns:
        entries = {
            grid.label(row, arm): list(grid.at(row, arm, column).results.values())
            for row, arm in grid.lines
        }
        entries = {label: results for label, results in entries.items() if results}
        if not entries:
            continue
        first = next(iter(entries.values()))[0]["metrics"]["test"]
        for kind, parts in (("group", "groups"), ("class", "classes")):
            names = [n for n, g in first.get(parts, {}).items() if g["acc"] is not None]
            if names:
                arms = [_by_name(names, parts, results) for results in entries.values()]
                rows = [
                    (name, first[parts][name]["n"], tuple(arm[i] for arm in arms))
                    for i, name in enumerate(names)
                ]
                views.append(GroupsView(column[0], kind, tuple(entries), tuple(rows)))
                break
    return views


def _by_name(names: Sequence[str], parts: str, results: Sequence[Json]) -> list[tuple[Cell, bool]]:
    """Of one arm the accuracy under each name, and whether it is the lowest."""
    tests = [r["metrics"]["test"].get(parts, {}) for r in results]
    values = [[t.get(n, {}).get("acc") for t in tests] for n in names]
    cells = [Cell(tuple(v for v in vs if v is not None)) for vs in values]
    worst = min((c.mean for c in cells if c.mean is not None), default=None)
    return [(c, c.mean is not None and c.mean == worst) for c in cells]


def _job(job: JobEntry, folder: Path, results: Mapping[str, Json]) -> JobView:
    test = results.get(str(job.look.folder), {}).get("metrics", {}).get("test", {})
    there = job.look.folder.is_dir()
    link = Path(os.path.relpath(job.look.folder, folder)).as_posix() if there else ""
    return JobView(
        entry=job,
        arm=arm_name(
            str(job.about.get("baseline") or "?"), str(job.about.get("augmentation") or "none")
        ),
        link=f"{quote(link)}/" if link else "",  # a folder may be called javascript:
        worst=test.get("worst_group_acc"),
        acc=test.get("acc"),
        spent=_spent(job),
    )


def _spent(job: JobEntry) -> str:
    """Time of all attempts, with the yardstick of the machine where it was noted."""
    if not job.look.seconds:
        return ""
    known = yardstick_of(job.look.folder)
    beside = f" at {known.product:.0f} GFLOPS" if known else ""
    return f"{duration(job.look.seconds)}{beside}"
