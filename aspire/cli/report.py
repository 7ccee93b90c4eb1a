"""``aspire report``: write the page about a finished run, discovery or sweep again."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from aspire.cli._datasets import read_dataset
from aspire.console import console
from aspire.errors import AspireError
from aspire.reporting.artifacts import read_result
from aspire.reporting.discovery_report import write_discovery_report
from aspire.reporting.report import write_report
from aspire.reporting.sweep_report import write_sweep_report
from aspire.reporting.sweep_sources import Originals
from aspire.runs.ledger import JobEntry, find_jobs
from aspire.stored.config import read_node
from aspire.stored.results import read_training


def job(cfg: DictConfig) -> None:
    """Write ``report.html`` from what is in the folder and in its outputs folder."""
    folder = Path(cfg.dir).resolve()
    stale_after = float(cfg.stale_after)
    if not (folder / "result.json").is_file() and (jobs := find_jobs(folder, stale_after)):
        report = write_sweep_report(folder, _originals(jobs), stale_after)
    else:
        write = write_report if "arms" in read_result(folder) else write_discovery_report
        report = write(folder, folder.parent.parent)
    console.show("[bold]report[/bold]  {}\n[bold]next[/bold]    open it in a browser", report)


def _originals(jobs: list[JobEntry]) -> dict[str, Originals]:
    """Where the images of the datasets are that ASPIRE was used on; without those that are gone."""
    found: dict[str, Originals] = {}
    tried: set[str] = set()
    for entry in jobs:
        name, folder = str(entry.about.get("dataset")), entry.look.folder
        if entry.state != "done" or name in tried:
            continue
        if not read_training(folder)["generated_digest"]:
            continue
        tried.add(name)
        try:
            dataset = read_dataset(read_node(folder, "dataset"))
        except AspireError as error:
            console.show(
                "[yellow]note[/yellow]    no pictures of {} before an edit: {}", name, error
            )
            continue
        table = dataset.table
        files = dict(zip(table["img_id"].astype(str), table["img_filename"], strict=True))
        found[name] = Originals(dataset.root, files)
    return found
