"""``aspire data``: what datasets there are and what is in them."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from aspire.cli._app import compose_config, console
from aspire.cli._bench import read_dataset, show_groups
from aspire.confdir import conf_dir
from aspire.data.table import Split
from aspire.errors import ConfigError, did_you_mean

ACTIONS = ("list", "show")


def job(cfg: DictConfig) -> None:
    """List the datasets, or show one."""
    if cfg.action not in ACTIONS:
        raise ConfigError(
            f"aspire data {cfg.action}: no such action.{did_you_mean(str(cfg.action), ACTIONS)} "
            f"Actions: {', '.join(ACTIONS)}."
        )
    if cfg.action == "list":
        _list()
    else:
        _show(cfg)


def _list() -> None:
    from rich.table import Table

    table = Table(box=None)
    for column in ("dataset", "what", "root"):
        table.add_column(column)
    for path in sorted((conf_dir() / "dataset").glob("*.yaml")):
        what = path.read_text().splitlines()[0].lstrip("# ")
        cfg, _ = compose_config("data", [f"dataset={path.stem}"])
        root = Path(str(OmegaConf.select(cfg, "dataset.root")))
        there = "" if root.exists() or path.stem.startswith("mini_") else " (not here yet)"
        table.add_row(path.stem, what, f"{root}{there}")
    console.print(table)
    console.print("\n[bold]next[/bold]  aspire data show dataset=NAME")


def _show(cfg: DictConfig) -> None:
    dataset = read_dataset(cfg.dataset)
    console.print(f"{dataset.name} in {dataset.root}")
    console.print(
        f"classes: {', '.join(dataset.class_names)}; spurious attribute "
        f"({dataset.spurious_attribute}): {', '.join(dataset.attribute_names)}\n"
        f"a group: {dataset.group_definition}; worst group: the one with the lowest accuracy"
    )
    show_groups(dataset)
    columns = [c for c in ("caption", "mask_filename", "objects") if c in dataset.table.columns]
    for column in columns:
        share = (dataset.table[column] != "").mean()
        console.print(f"{column}: {100 * share:.0f} % of the images")
    if "caption" in columns:
        for caption in dataset.split(Split.TRAIN)["caption"].head(5):
            console.print(f"  [dim]{caption}[/dim]")
    dataset.check_files()
    console.print("every image is there and has content")
