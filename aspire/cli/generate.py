"""``aspire generate``: personalise, generate, filter."""

from __future__ import annotations

from omegaconf import DictConfig

from aspire.cli._app import console
from aspire.cli._bench import Bench
from aspire.cli._show import show_groups
from aspire.pipeline.generating import count_reasons


def job(cfg: DictConfig) -> None:
    """Make the augmented set and say what was kept."""
    bench = Bench("generate", cfg)
    show_groups(bench.dataset)
    made = bench.generate(int(cfg.seed))
    console.print(
        f"\nkept {len(made.kept)} of {len(made.images.records)} images "
        f"(rejected: {count_reasons(made.decisions.records)})\n"
        f"[bold]images[/bold]     {made.images.folder}\n"
        f"[bold]decisions[/bold]  {made.decisions.folder / 'records.jsonl'}\n"
        "[bold]next[/bold]       aspire train augmentation=aspire"
    )
