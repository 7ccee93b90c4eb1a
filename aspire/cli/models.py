"""``aspire models``: which model files a configuration loads, and bringing them to a machine."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aspire.cli._app import build, task_overrides
from aspire.console import Table, console
from aspire.errors import ConfigError, ServiceError, did_you_mean
from aspire.model_files import checkpoints_of, fetch, files_on_hub, licence, snapshot, state
from aspire.pretrained import Checkpoint

GROUPS = (
    "model", "classifier", "captioner", "extractor", "segmenter", "inpainter", "restyler", "score",
    "personaliser", "generator", "filter",
)  # fmt: skip


class Needed(NamedTuple):
    """A model, and the choices that load it."""

    checkpoint: Checkpoint
    by: str


def job(cfg: DictConfig) -> None:
    """Do what the first word says."""
    if cfg.action not in ACTIONS:
        raise ConfigError(
            f"aspire models {cfg.action}: no such action.{did_you_mean(str(cfg.action), ACTIONS)} "
            f"Actions: {', '.join(ACTIONS)}."
        )
    ACTIONS[cfg.action](cfg)


def needed(cfg: DictConfig, groups: Sequence[str] = GROUPS) -> list[Needed]:
    """The models that the backends of a configuration load, each once.

    Args:
        cfg: the configuration.
        groups: of ``conf/`` that count.
    """
    choices = HydraConfig.get().runtime.choices
    found: dict[tuple[str, str], tuple[Checkpoint, list[str]]] = {}
    for group in groups:
        for part, name in _parts(cfg, group, str(choices.get(group))):
            for checkpoint in checkpoints_of(part):
                key = (checkpoint.model, checkpoint.revision)
                _, names = found.setdefault(key, (checkpoint, []))
                names.append(f"{group}={name}")
    return [Needed(c, ", ".join(dict.fromkeys(names))) for c, names in found.values()]


def _parts(cfg: DictConfig, group: str, choice: str) -> Iterator[tuple[Any, str]]:
    """The objects of a group; those that the pipeline would complete with its data get none."""
    nodes = cfg.filter.items() if group == "filter" else [(choice, cfg[group])]
    for name, node in nodes:
        part = build(node)
        if isinstance(part, functools.partial):
            part = part(root=Path(), refs={})
        yield part, str(name)


def _list(cfg: DictConfig) -> None:
    rows = []
    for checkpoint, by in needed(cfg):
        where = state(checkpoint)
        folder = snapshot(checkpoint) if where in ("here", "incomplete") else None
        rows.append(
            {
                "model": checkpoint.model,
                "revision": "" if checkpoint.folder or checkpoint.file else checkpoint.revision,
                "for": by,
                "where": where,
                "bytes": size_of(folder) if folder else None,
                "commit": folder.name if folder else "",
                "instead": checkpoint.instead,
            }
        )
    if cfg.format == "json":
        console.print(json.dumps(rows, indent=1))
        return
    if not rows:
        console.print("No model is loaded: everything this configuration needs is installed.")
        return
    table = Table()
    for column in ("model", "for", "where", "size", "or do without"):
        table.add_column(column, overflow="fold")
    for row in rows:
        size = "" if row["bytes"] is None else in_words(int(str(row["bytes"])))
        name = f"{row['model']} @ {row['revision']}" if row["revision"] else str(row["model"])
        table.add_row(name, str(row["for"]), str(row["where"]), size, str(row["instead"]))
    console.print(table)
    if any(row["where"] in ("missing", "incomplete") for row in rows):
        console.show("\n[bold]next[/bold]  aspire models fetch cache {}", _words(cfg))


def _fetch(cfg: DictConfig) -> None:
    if not cfg.dir:
        raise ConfigError(
            "aspire models fetch: into what? Type: aspire models fetch cache ... for this machine, "
            "or aspire models fetch DIR ... for a machine without network."
        )
    cache = None if cfg.dir == "cache" else Path(str(cfg.dir)).expanduser()
    wanted = [n.checkpoint for n in needed(cfg) if _is_on_hub(n.checkpoint)]
    if not wanted:
        console.print("Nothing to fetch: this configuration loads no model of the hub.")
        return
    listed = [(c, files_on_hub(c, cache)) for c in wanted]  # what cannot be had is said first
    missing = sum(f.size for _, files in listed for f in files if not f.here)
    console.show("{} models, {} to fetch", len(wanted), in_words(missing))
    for checkpoint, files in listed:
        folder = fetch(checkpoint, files, cache)
        size = in_words(sum(f.size for f in files))
        console.show("  {:<50} {:>9}  {}", checkpoint.model, size, folder.name[:10])
    if cache is None:
        console.show("\n[bold]next[/bold]  HF_HUB_OFFLINE=1 aspire discover {}", _words(cfg))
        return
    console.show(
        "\n[bold]next[/bold]  copy {} to the other machine, and there:\n"
        "      HF_HUB_CACHE={} HF_HUB_OFFLINE=1 aspire discover {}",
        *(cache, cache, _words(cfg)),
    )


def _licences(cfg: DictConfig) -> None:
    rows = []
    for checkpoint, by in needed(cfg):
        if _is_on_hub(checkpoint):
            try:
                named = licence(checkpoint) or "none named on its card"
            except ServiceError:
                named = "not known on this machine, and the hub was not reached"
        else:
            named = "with this package: see NOTICE"
            if "/" in checkpoint.model:
                named = "yours: see the folder"
        rows.append({"model": checkpoint.model, "for": by, "licence": named})
    if cfg.format == "json":
        console.print(json.dumps(rows, indent=1))
        return
    if not rows:
        console.print("No model is loaded; NOTICE names what comes with the package.")
        return
    table = Table()
    for column in ("model", "for", "licence"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)


def _is_on_hub(checkpoint: Checkpoint) -> bool:
    return checkpoint.file is None and checkpoint.folder is None


def size_of(folder: Path) -> int:
    """Bytes of all files below it."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _words(cfg: DictConfig) -> str:
    """What was typed, for the verb that comes next."""
    own = ("action=", "dir=", "format=")
    return " ".join(w for w in task_overrides() if not w.startswith(own))


def in_words(size: int) -> str:
    """Bytes as they are read.

    >>> in_words(2_500_000_000), in_words(1_234)
    ('2.5 GB', '1 kB')
    """
    for unit, width in (("GB", 10**9), ("MB", 10**6)):
        if size >= width:
            return f"{size / width:.1f} {unit}"
    return f"{size / 1000:.0f} kB"


ACTIONS = {"list": _list, "fetch": _fetch, "licences": _licences}
