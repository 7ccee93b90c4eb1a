"""``aspire table``: results of many runs, mean and standard deviation over seeds."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from aspire.cli._app import console
from aspire.errors import ConfigError
from aspire.reporting.table import as_rich, as_text, find_results, rows_of


def job(cfg: DictConfig) -> None:
    """Print the table of all runs below a folder."""
    if cfg.split not in ("val", "test", "unseen"):
        raise ConfigError(f"split={cfg.split}: expected val, test or unseen.")
    metrics = list(cfg.metrics)
    rows = rows_of(find_results(Path(cfg.dir)), metrics, cfg.split)
    if cfg.format == "rich":
        console.print(as_rich(rows, metrics, cfg.split))
    else:
        print(as_text(rows, metrics, cfg.split, cfg.format))
