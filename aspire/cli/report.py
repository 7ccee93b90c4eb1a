"""``aspire report``: write the page about a finished run or discovery again."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from aspire.cli._app import console
from aspire.reporting.artifacts import read_result
from aspire.reporting.discovery_report import write_discovery_report
from aspire.reporting.report import write_report


def job(cfg: DictConfig) -> None:
    """Write ``report.html`` from what lies in the folder and in its outputs folder."""
    folder = Path(cfg.dir).resolve()
    write = write_report if "arms" in read_result(folder) else write_discovery_report
    report = write(folder, folder.parent.parent)
    console.print(f"[bold]report[/bold]  {report}\n[bold]next[/bold]    open it in a browser")
