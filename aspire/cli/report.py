"""``aspire report``: write the page about a finished ``aspire run`` again."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from aspire.cli._app import console
from aspire.reporting.report import write_report


def job(cfg: DictConfig) -> None:
    """Write ``report.html`` from what lies in the run's folder and in its outputs folder."""
    folder = Path(cfg.dir).resolve()
    report = write_report(folder, folder.parent.parent)
    console.print(f"[bold]report[/bold]  {report}\n[bold]next[/bold]    open it in a browser")
