"""``aspire table``: results of many runs, mean and standard deviation over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from aspire.cli._app import task_overrides
from aspire.console import console
from aspire.errors import AspireError, ConfigError
from aspire.progress import Bars, Silent
from aspire.reporting.grid import make_grid
from aspire.reporting.grid_latex import as_latex
from aspire.reporting.grid_text import (
    as_csv,
    as_json,
    as_markdown,
    as_rich_grid,
    lay_out,
)
from aspire.reporting.table import (
    as_rich,
    as_text,
    find_results,
    find_runs,
    rows_of,
    usable_metrics,
)
from aspire.runs.ledger import find_jobs
from aspire.stored.notes import note
from aspire.stored.results import read_training


def job(cfg: DictConfig) -> None:
    """Print the table of all runs below a folder."""
    metrics = _words(cfg.metric or cfg.metrics)
    folder = Path(cfg.dir)
    jobs = find_jobs(folder, float(cfg.stale_after))
    done = [j.look.folder for j in jobs if j.state == "done"]
    results = {str(f): read_training(f) for f in done}
    for entry in jobs:
        if entry.look.damaged:
            note(f"not in the table: {entry.name}: {entry.look.reason}")
    if cfg.selection:
        results = _by_rule(results or {str(f): r for f, r in find_runs(folder)}, cfg)
        jobs = [j for j in jobs if j.state != "done" or str(j.look.folder) in results]
    if jobs and (cfg.rows or cfg.cols):
        grid = make_grid(
            jobs, results, _words(cfg.rows), _words(cfg.cols), metrics, str(cfg.split)
        )  # fmt: skip
        _show_grid(grid, cfg)
        return
    if jobs and (cfg.against or cfg.format == "latex"):
        given = "against=published" if cfg.against else "format=latex"
        raise ConfigError(f"{given} needs rows and columns: add rows=baseline cols=dataset.")
    found = list(results.values())
    if not found and not cfg.selection:
        found = find_results(folder)
    if not (cfg.metric or _typed_metrics()):
        metrics = usable_metrics(found, metrics, cfg.split)
    rows = rows_of(found, metrics, cfg.split)
    if cfg.format == "rich":
        console.print(as_rich(rows, metrics, cfg.split, console.width))
    else:
        print(as_text(rows, metrics, cfg.split, cfg.format))


def _by_rule(results: dict[str, Any], cfg: DictConfig) -> dict[str, Any]:
    """The runs that another rule can select, as it would have."""
    from aspire.cli._reselect import reselected

    # the other formats are read by programs
    progress = Bars(console) if cfg.format == "rich" else Silent()
    found = {}
    for folder, result in results.items():
        try:
            found[folder] = reselected(Path(folder), result, cfg, progress)
        except AspireError as error:
            note(f"not in the table: {folder}: {error}")
    if not found:
        raise ConfigError(
            f"selection={cfg.selection}: none of {len(results)} runs below {cfg.dir} can be "
            "selected by it."
        )
    return found


def _show_grid(grid: Any, cfg: DictConfig) -> None:
    if cfg.format == "csv":
        print(as_csv(grid, cfg.against))
        return
    if cfg.format == "json":
        print(as_json(grid, cfg.against))
        return
    layout = lay_out(grid, cfg.against)
    if cfg.format == "rich":
        for part in as_rich_grid(layout):
            console.print(part)
        return
    print(as_markdown(layout, int(cfg.width)) if cfg.format == "md" else as_latex(layout))


def _typed_metrics() -> bool:
    return any(w.startswith("metrics=") for w in task_overrides())


def _words(given: Any) -> list[str]:
    """``a,b`` and ``[a,b]`` alike."""
    if given is None:
        return []
    if isinstance(given, ListConfig):
        return [str(g) for g in given]
    return [w.strip() for w in str(given).split(",") if w.strip()]
