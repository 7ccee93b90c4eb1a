"""``aspire discover``: which features is a classifier leaning on?"""

from __future__ import annotations

from omegaconf import DictConfig

from aspire.cli._app import console
from aspire.cli._bench import Bench, show_features, show_groups


def job(cfg: DictConfig) -> None:
    """Caption, extract, edit, score and rank; print the features of each class."""
    bench = Bench("discover", cfg)
    show_groups(bench.dataset)
    discovery = bench.pipeline.discover(bench.classifier(int(cfg.seed)))
    show_features(bench.dataset, discovery.features, int(cfg.top))
    console.print(
        f"\n[bold]features[/bold]  {discovery.features.folder / 'records.jsonl'}\n"
        f"[bold]edits[/bold]     {discovery.edits.folder}\n"
        "[bold]next[/bold]      aspire generate, or aspire run for the table and the report"
    )
