"""``aspire evaluate``: a finished run on a dataset, every group metric."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from aspire.cli._app import build
from aspire.cli._datasets import checked_dataset
from aspire.cli._show import show_metrics
from aspire.console import console
from aspire.data.image_table import ImageTable
from aspire.data.images import read_image
from aspire.data.table import Dataset, Split
from aspire.errors import AspireError, DataError
from aspire.identity import digest_of
from aspire.reporting.predictions import predictions, write_predictions
from aspire.runs.trained import load_run
from aspire.stored.config import base_of, read_network, read_node, rerooted
from aspire.stored.files import write_atomic
from aspire.stored.trouble import UNWRITABLE

CHUNK = 256  # images in memory at once


def job(cfg: DictConfig) -> None:
    """Rebuild the classifier from the run's folder and judge it."""
    from aspire.classification.metrics import group_metrics
    from aspire.classification.predictor import RunPredictor
    from aspire.progress import Bars

    names = {s.name.lower(): s for s in Split}
    run = load_run(Path(cfg.run))
    model = read_network(run.folder)
    dataset = _dataset(cfg, run.folder)
    if list(dataset.class_names) != run.result["class_names"]:
        raise DataError(
            f"The run tells {', '.join(run.result['class_names'])} apart, the dataset holds "
            f"{', '.join(dataset.class_names)}. Expected the same classes in the same order; name "
            "them with 'dataset.class_names=[...]'."
        )
    table = ImageTable.of(dataset, names[cfg.split])
    weights = run.check(run.weights_by(cfg.selection) if cfg.selection else run.weights)
    predictor = RunPredictor(
        run,
        lambda: build(model),
        lambda: build(cfg.trainer).torch_device(),
        weights=weights,
    )
    parts: list[np.ndarray] = []
    with Bars(console).task("evaluate", total=len(table)) as advance:
        for start in range(0, len(table), CHUNK):
            images = [read_image(p) for p in table.paths[start : start + CHUNK]]
            parts.append(predictor(images))
            advance(len(images))
    counts = list(dataset.group_counts(Split.TRAIN).values())
    probabilities = np.concatenate(parts)
    metrics = group_metrics(
        probabilities.argmax(1) == table.y, table.y, table.group, dataset.grouper, counts
    )
    result = {
        **{k: run.result[k] for k in ("baseline", "augmentation", "model", "seed", "needs")},
        "selection": cfg.selection or run.result["selection"],
        "run": run.folder.name,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "dataset": dataset.name,
        "split": cfg.split,
        "metrics": {cfg.split: metrics.to_dict()},
    }
    data = dataset.digest(Path(cfg.paths.outputs) / "cache")
    key = digest_of([result["weights_sha256"], data, cfg.split, cfg.selection])[:8]
    path = Path(cfg.paths.outputs) / "evaluate" / f"{run.folder.name}-{key}.json"
    show_metrics(result, cfg.split)
    try:
        write_atomic(path, json.dumps(result, indent=1).encode())
        write_predictions(_judged(table, probabilities, dataset), path.with_suffix(".csv"))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        console.show("\n[yellow]note[/yellow]    not kept: {} cannot be written", path)
        return
    console.show("\n[bold]result[/bold]  {}", path)
    console.show("[bold]images[/bold]  {}", path.with_suffix(".csv"))
    console.show("[bold]next[/bold]    aspire table")


def _judged(table: ImageTable, probabilities: np.ndarray, dataset: Dataset) -> pd.DataFrame:
    """The predictions with the true class and group ("" where unknown) of every image."""
    frame = predictions(table.paths, probabilities, dataset.class_names)
    groups = [dataset.grouper.names[g] if g >= 0 else "" for g in table.group]
    frame.insert(1, "class", [dataset.class_names[y] for y in table.y])
    frame.insert(2, "group", groups)
    return frame


def _dataset(cfg: DictConfig, folder: Path) -> Dataset:
    """The one that was typed, else the one the run was trained on, wherever it is by now.

    Raises:
        AspireError: when it cannot be read, with what to type where it has moved.
    """
    if cfg.get("dataset"):
        try:
            return checked_dataset(cfg.dataset)[0]
        except DataError as error:
            hint = "For pictures without labels there is: aspire predict RUN FOLDER"
            raise DataError(f"{error}\n{hint}") from None
    node = read_node(folder, "dataset")
    if cfg.root is not None:
        node = rerooted(node, Path(cfg.root))
    try:
        return checked_dataset(node)[0]
    except AspireError as error:
        if base_of(node).exists():
            raise
        hint = f"It was in {base_of(node)}. Where it has moved: aspire evaluate RUN root=DIR"
        raise type(error)(f"{error}\n{hint}") from None
