"""``aspire train``: one baseline on one dataset, with the chosen augmentation."""

from __future__ import annotations

from omegaconf import DictConfig

from aspire.cli._app import console
from aspire.cli._bench import Bench, show_groups, show_metrics


def job(cfg: DictConfig) -> None:
    """Train, or find the finished run, and say where it is."""
    bench = Bench("train", cfg)
    show_groups(bench.dataset)
    run = bench.train()
    show_metrics(run.result)
    console.print(
        f"\n[bold]run[/bold]   {run.folder}\n"
        f"[bold]next[/bold]  aspire evaluate {run.folder}\n"
        "      aspire table"
    )
