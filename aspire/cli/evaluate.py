"""``aspire evaluate``: a finished run on a dataset, every group metric."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from aspire.progress import Bars, Progress
from aspire.reporting.predictions import predictions, write_predictions
from aspire.runs.trained import TrainedRun, load_run
from aspire.stored.config import base_of, read_network, read_node, rerooted
from aspire.stored.files import write_atomic
from aspire.stored.seals import file_digest
from aspire.stored.trouble import UNWRITABLE

CHUNK = 256  # images in memory at once


def job(cfg: DictConfig) -> None:
    """Rebuild the classifier from the run's folder and judge it."""
    run = load_run(Path(cfg.run))
    read_network(run.folder)  # one that cannot be made is told before any image is read
    dataset = _dataset(cfg, run.folder)
    weights = weights_of(run, cfg.selection)
    result, frame = judged(
        run, weights, dataset, cfg.split, cfg.selection, cfg.trainer, Bars(console)
    )
    data = dataset.digest(Path(cfg.paths.outputs) / "cache")
    path = kept_at(Path(cfg.paths.outputs), run, weights, data, cfg.split, cfg.selection)
    show_metrics(result, cfg.split)
    if not keep(path, result, frame):
        console.show("\n[yellow]note[/yellow]    not kept: {} cannot be written", path)
        return
    console.show("\n[bold]result[/bold]  {}", path)
    console.show("[bold]images[/bold]  {}", path.with_suffix(".csv"))
    console.show("[bold]next[/bold]    aspire table")


def weights_of(run: TrainedRun, selection: str | None) -> Path:
    """The weights that a rule takes, None for the run's own, once they are seen to be its own.

    Raises:
        ConfigError: for a rule that does not apply to it.
        DamagedError: when they are not what the run was finished with.
    """
    return run.check(run.weights_by(selection) if selection else run.weights)


def kept_at(
    outputs: Path, run: TrainedRun, weights: Path, data: str, split: str, selection: str | None
) -> Path:
    """Where the judgement of these weights on a split of a dataset, by its digest, is kept."""
    key = digest_of([file_digest(weights), data, split, selection])[:8]
    return outputs / "evaluate" / f"{run.folder.name}-{key}.json"


def keep(path: Path, result: Mapping[str, Any], frame: pd.DataFrame) -> bool:
    """Write a judgement; False where nothing can be written there."""
    try:
        write_atomic(path, json.dumps(result, indent=1).encode())
        write_predictions(frame, path.with_suffix(".csv"))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return False
    return True


def judged(
    run: TrainedRun,
    weights: Path,
    dataset: Dataset,
    split: str,
    selection: str | None,
    trainer: DictConfig,
    progress: Progress,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """What a run's network with these weights says of a split, and whether that is right.

    Args:
        run: whose network it is.
        weights: of it.
        dataset: with the run's classes.
        split: ``train``, ``val``, ``test`` or ``unseen``.
        selection: by which the weights were selected; None for the run's own rule.
        trainer: where it is computed.
        progress: shows the images.

    Returns:
        Every group metric with what the run was, and a row for each image.

    Raises:
        DataError: for another dataset's classes.
    """
    from aspire.classification.metrics import group_metrics
    from aspire.classification.predictor import RunPredictor

    if list(dataset.class_names) != run.result["class_names"]:
        raise DataError(
            f"The run tells {', '.join(run.result['class_names'])} apart, the dataset holds "
            f"{', '.join(dataset.class_names)}. Expected the same classes in the same order; name "
            "them with 'dataset.class_names=[...]'."
        )
    model = read_network(run.folder)
    table = ImageTable.of(dataset, {s.name.lower(): s for s in Split}[split])
    predictor = RunPredictor(
        run, lambda: build(model), lambda: build(trainer).torch_device(), weights=weights
    )
    parts: list[np.ndarray] = []
    with progress.task("evaluate", total=len(table)) as advance:
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
        "selection": selection or run.result["selection"],
        "run": run.folder.name,
        "weights_sha256": file_digest(weights),
        "dataset": dataset.name,
        "split": split,
        "metrics": {split: metrics.to_dict()},
    }
    return result, _rows(table, probabilities, dataset)


def _rows(table: ImageTable, probabilities: np.ndarray, dataset: Dataset) -> pd.DataFrame:
    """The predictions with the true class and group ("" where unknown) of every image."""
    frame = predictions(table.paths, probabilities, dataset.class_names)
    groups = [dataset.grouper.names[g] if g >= 0 else "" for g in table.group]
    frame.insert(1, "class", [dataset.class_names[y] for y in table.y])
    frame.insert(2, "group", groups)
    return frame


def _dataset(cfg: DictConfig, folder: Path) -> Dataset:
    """The one that was typed, else that of the run."""
    if not cfg.get("dataset"):
        return dataset_of(folder, cfg.root)
    try:
        return checked_dataset(cfg.dataset)[0]
    except DataError as error:
        hint = "For pictures without labels there is: aspire predict RUN FOLDER"
        raise DataError(f"{error}\n{hint}") from None


def dataset_of(folder: Path, root: str | None = None) -> Dataset:
    """The one a run was trained on, wherever it is by now.

    Args:
        folder: of the run.
        root: where its images are; None for where they were.

    Raises:
        AspireError: when it cannot be read, with what to type where it has moved.
    """
    node = read_node(folder, "dataset")
    if root is not None:
        node = rerooted(node, Path(root))
    try:
        return checked_dataset(node)[0]
    except AspireError as error:
        if base_of(node).exists():
            raise
        hint = f"It was in {base_of(node)}. Where it has moved: aspire evaluate RUN root=DIR"
        raise type(error)(f"{error}\n{hint}") from None
