"""A grid as text: for a terminal, Markdown, CSV and JSON; LaTeX is in ``grid_latex``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aspire.errors import ConfigError
from aspire.reporting.grid import Grid, Key
from aspire.reporting.published import METRICS, Published, published
from aspire.reporting.table import caption
from aspire.runs.ledger import JobEntry
from aspire.text import csv_table, markdown, markdown_table, visible

GAIN = "  gain"
NARROW = 13  # characters of a cell; four columns fit a terminal
MARKS = {"second-hand": "*", "recalled": "**"}  # behind a published number
READ = {"second-hand": "seen quoted elsewhere", "recalled": "from memory, not verified"}


@dataclass
class Line:
    """One line of a block: what it is called and its texts, one per column."""

    label: str
    texts: list[str]
    kind: str = "numbers"  # or gain, published


@dataclass
class Block:
    """The lines of one metric."""

    metric: str
    lines: list[Line] = field(default_factory=list)


@dataclass
class Layout:
    """Everything that is printed, in the order of printing.

    Args:
        header: what the numbers are, the selection rules, what the methods need.
        columns: their names.
        notes: why cells are not full, numbered from 1 as in the cells.
        sources: of published numbers.
    """

    header: list[str]
    columns: list[str]
    blocks: list[Block]
    notes: list[str]
    sources: list[str]


def lay_out(grid: Grid, against: str | None = None) -> Layout:
    """Texts of every cell, with a note for each that is not full.

    Raises:
        ConfigError: ``against`` something that does not fit this grid.
    """
    notes: dict[str, int] = {}
    known = _published(grid, against)
    blocks = []
    for metric in grid.metrics:
        block = Block(metric)
        for row, arm in grid.lines:
            label = grid.label(row, arm)
            texts = [_text(grid, metric, row, arm, c, notes) for c in grid.columns]
            block.lines.append(Line(label, texts))
            gains = [grid.gain(metric, row, arm, c) for c in grid.columns]
            if any(gains):
                texts = [g.text() if g else "-" for g in gains]
                block.lines.append(Line(GAIN, texts, "gain"))
            block.lines += _published_lines(grid, known.get(metric, []), row, arm)
        blocks.append(block)
    used = {p.source: p for numbers in known.values() for p in numbers}
    sources = [f"{p.source}: {p.about}" for _, p in sorted(used.items())]
    if against and not used:
        sources = [
            f"Nothing was published for {', '.join(', '.join(c) for c in grid.columns)} under "
            f"{', '.join(grid.metrics)}; there are numbers of waterbirds and celeba under "
            f"{' and '.join(METRICS)}."
        ]
    listed = [f"[{n}] {text}" for text, n in notes.items()]
    columns = [", ".join(c) for c in grid.columns]
    return Layout(header_of(grid), columns, blocks, listed, sources)


def header_of(grid: Grid) -> list[str]:
    """What goes with every such table."""
    lines = [caption(grid.split)]
    gains = (
        grid.gain(metric, row, arm, column)
        for metric in grid.metrics
        for row, arm in grid.lines
        for column in grid.columns
    )
    if any(gains):
        lines.append(
            "gain: mean difference in points to the line without augmentation, over the seeds both "
            "have [95 % interval, Student's t over their differences]"
        )
    for name, title in (("selection", "selection"), ("needs", "needs")):
        values = grid.shared(name)
        if len(values) == 1:
            lines.append(f"{title}: {next(iter(values))}")
        elif values:
            lines.append(
                f"{title}: " + "; ".join(f"{v}: {', '.join(r)}" for v, r in values.items())
            )
    return lines


def _text(
    grid: Grid, metric: str, row: Key, arm: str, column: Key, notes: dict[str, int]
) -> str:  # fmt: skip
    entry, cell = grid.at(row, arm, column), grid.cell(metric, row, arm, column)
    gaps = [_why(job) for _, job in sorted(entry.open.items())]
    if not entry.results and not entry.open:
        gaps = [_never(grid, row, arm, column)]
    numbers = sorted({notes.setdefault(g, len(notes) + 1) for g in gaps})
    marks = "".join(f" [{n}]" for n in numbers)
    if cell.mean is not None:
        return cell.text() + marks
    if entry.results:  # measured, but the metric is unknown: no groups
        return "-" + marks
    states = {j.state for j in entry.open.values()} or {"new"}
    first = next(s for s in ("failed", "stale", "running", "new") if s in states)
    return {"new": "not run"}.get(first, first) + marks


def _why(job: JobEntry) -> str:
    """The same words for jobs that are open for the same reason, so that they share a note."""
    finish = f". Finish with: {job.sweep or job.command}"
    if job.state == "running":
        return f"running: {job.look.who}"
    if job.state == "new":
        return f"not run yet{finish}"
    return f"{job.state}: {job.look.reason.rstrip('.')}{finish}"


def _never(grid: Grid, row: Key, arm: str, column: Key) -> str:
    words = {**dict(zip(grid.rows, row, strict=True)), **dict(zip(grid.cols, column, strict=True))}
    if arm:
        words["augmentation"] = arm
    command = " ".join(f"{k}={v}" for k, v in words.items())
    return f"never started: aspire train {command}, with the settings of the others"


def _published(grid: Grid, against: str | None) -> dict[str, list[Published]]:
    if against is None:
        return {}
    if against != "published":
        raise ConfigError(f"against={against}: expected published.")
    if grid.rows != ("baseline",) or grid.cols != ("dataset",):
        raise ConfigError(
            "against=published knows baselines and datasets: take rows=baseline cols=dataset."
        )
    names = {c[0] for c in grid.columns}
    rows = {(row[0], arm) for row, arm in grid.lines}
    return {
        m: [p for p in published(m, names) if (p.baseline, p.augmentation) in rows]
        for m in grid.metrics
    }


def _published_lines(
    grid: Grid, numbers: Sequence[Published], row: Key, arm: str
) -> list[Line]:  # fmt: skip
    mine = [p for p in numbers if (p.baseline, p.augmentation) == (row[0], arm)]
    lines = []
    for source in dict.fromkeys(p.source for p in mine):
        by_dataset = {p.dataset: p for p in mine if p.source == source}
        texts = []
        for column in grid.columns:
            found = by_dataset.get(column[0])
            texts.append(f"{found.text()}{MARKS.get(found.read, '')}" if found else "-")
        lines.append(Line(f"  {source}", texts, "published"))
    return lines


# --- styles ----------------------------------------------------------------------------------


def as_markdown(layout: Layout, width: int = 80) -> str:
    """One table per metric, aligned so that it can be read as it is.

    Args:
        width: a wider table is split by columns, so that it fits a terminal; 0 for never.
    """
    parts = [t for block in layout.blocks for t in _markdown_tables(layout, block, width)]
    below = [f"- {markdown(t)}" for t in (*layout.header, *layout.notes, *sources_of(layout))]
    return "\n\n".join([*parts, "\n".join(below)])


def _markdown_tables(layout: Layout, block: Block, width: int) -> list[str]:
    labels = [block.metric, *(_indented(line.label) for line in block.lines)]
    first = max(map(len, labels))
    tables: list[list[list[str]]] = []
    room = 0
    for i, name in enumerate(layout.columns):
        column = [markdown(name), *(line.texts[i] for line in block.lines)]
        needed = max(map(len, column)) + 3
        if not tables or (width and needed > room):
            tables.append([labels])
            room = width - first - 4
        tables[-1].append(column)
        room -= needed
    lines = [list(zip(*table, strict=True)) for table in tables]
    return [markdown_table(head, rest) for head, *rest in lines]


def _indented(label: str) -> str:
    """A label below another has an arrow where a terminal has spaces."""
    inner = label.removeprefix("  ")
    return f"{'↳ ' if inner != label else ''}{markdown(inner)}"


def as_rich_grid(layout: Layout) -> list[Any]:
    """Renderables for a terminal of 80 columns: a table per metric, then notes."""
    from rich.text import Text

    from aspire.console import Table

    shown: list[Any] = []
    for block in layout.blocks:
        table = Table(title=block.metric, padding=(0, 1, 0, 0))
        table.add_column("")
        for column in map(visible, layout.columns):
            # Long names break at an underscore.
            head, _, tail = column.rpartition("_") if len(column) > NARROW else ("", "", column)
            table.add_column(Text(f"{head}_\n{tail}" if head else tail), justify="right")
        above = ""
        for line in block.lines:
            style = "" if line.kind == "numbers" else "dim"
            cells = [t.replace(" [", "\n[") if len(t) > NARROW else t for t in line.texts]
            label = line.label
            if line.kind == "numbers":  # under its baseline an arm needs no more than its own name
                label = label.replace(f"{above} + ", "  + ") if above else label
                above = above if label != line.label else label
            table.add_row(label, *(Text(t, justify="right") for t in cells), style=style)
        shown += [table, Text("")]
    shown += [Text(visible(t), style="dim") for t in layout.header]
    shown += [Text(visible(t)) for t in (*layout.notes, *sources_of(layout))]
    return shown


def records(grid: Grid) -> list[dict[str, Any]]:
    """One record per cell and metric, for CSV and JSON."""
    found = []
    for metric in grid.metrics:
        for row, arm in grid.lines:
            for column in grid.columns:
                entry, cell = grid.at(row, arm, column), grid.cell(metric, row, arm, column)
                gain = grid.gain(metric, row, arm, column)
                jobs = list(entry.open.values())
                first = next(iter(entry.results.values()), None)
                found.append(
                    {
                        **dict(zip(grid.rows, row, strict=True)),
                        **({"augmentation": arm} if arm else {}),
                        **dict(zip(grid.cols, column, strict=True)),
                        "metric": metric,
                        "mean": cell.mean,
                        "std": cell.std,
                        "n": len(cell.values),
                        "gain": gain and gain.mean,
                        "gain_low": gain and gain.low,
                        "gain_high": gain and gain.high,
                        "gain_n": gain.n if gain else 0,
                        "needs": first and first["needs"],
                        "selection": first and first["selection"],
                        "open": "; ".join(f"seed {j.about['seed']} {j.state}" for j in jobs),
                        "reason": "; ".join(j.look.reason for j in jobs if j.look.reason),
                        "finish": "; ".join(j.command for j in jobs if j.command),
                    }
                )
    return found


def as_csv(grid: Grid, against: str | None) -> str:
    """Long form, one line per cell and metric."""
    return csv_table(records(grid) + _published_records(grid, against))


def as_json(grid: Grid, against: str | None) -> str:
    """The header and the same records."""
    content = {
        "header": header_of(grid),
        "cells": records(grid),
        "published": _published_records(grid, against),
    }
    return json.dumps(content, indent=1)


def _published_records(grid: Grid, against: str | None) -> list[dict[str, Any]]:
    return [
        {
            "baseline": p.baseline,
            "augmentation": p.augmentation,
            "dataset": p.dataset,
            "metric": metric,
            "mean": p.mean,
            "std": p.std,
            "source": p.about,
            "read": p.read,
        }
        for metric, numbers in _published(grid, against).items()
        for p in numbers
    ]


def sources_of(layout: Layout) -> list[str]:
    """Where published numbers come from, and how they were read."""
    if not layout.sources:
        return []
    return [*layout.sources, *(f"{m} {READ[k]}" for k, m in MARKS.items())]
