"""``aspire sweep``: the jobs of a sweep, and what became of each."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from aspire.cli._sweep import age, counts, in_colour, reasons
from aspire.console import Table, console
from aspire.errors import ConfigError, did_you_mean
from aspire.runs.ledger import JobEntry, find_jobs


def job(cfg: DictConfig) -> None:
    """Print the states; nothing is changed."""
    if cfg.action != "status":
        raise ConfigError(
            f"aspire sweep {cfg.action}: no such action.{did_you_mean(str(cfg.action), ['status'])}"
            " Type aspire sweep status DIR."
        )
    entries = find_jobs(Path(cfg.dir), float(cfg.stale_after))
    if not entries:
        raise ConfigError(
            f"{cfg.dir}: no job in it. Expected the folder of a sweep (outputs/sweeps/NAME) or one "
            "with runs below it, such as outputs/train; start one with aspire train."
        )
    if cfg.format == "json":
        print(json.dumps([_plain(e) for e in entries], indent=1))
        return
    table = Table(title=str(cfg.dir))
    table.add_column("job", no_wrap=True)
    table.add_column("state")
    table.add_column("age", justify="right", no_wrap=True)
    for entry in entries:
        table.add_row(entry.name, in_colour(entry.state), age(entry))
    console.print(table)
    console.print(counts(entries))
    for line in reasons(entries):
        console.print(line)
    open_jobs = [e for e in entries if e.state in ("failed", "stale", "new")]
    if command := next((e.sweep or e.command for e in open_jobs), ""):
        console.show("[bold]next[/bold]  {}", command)


def _plain(entry: JobEntry) -> dict[str, object]:
    look = entry.look
    return {
        **entry.about,
        "state": look.state,
        "age": round(look.age, 1),
        "who": look.who,
        "reason": look.reason,
        "seconds": look.seconds,
        "folder": str(look.folder),
        "command": entry.command,
        "log": str(entry.log) if entry.log else None,
    }
