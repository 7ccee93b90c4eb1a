"""A finished run as another rule would have selected it: nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from omegaconf import DictConfig

from aspire.cli.evaluate import dataset_of, judged, keep, kept_at, weights_of
from aspire.errors import DataError
from aspire.progress import Progress
from aspire.runs.trained import TrainedRun
from aspire.stored.results import SplitResult


def reselected(
    folder: Path, result: dict[str, Any], cfg: DictConfig, progress: Progress
) -> dict[str, Any]:
    """The result of a run by the rule ``cfg.selection``, on ``cfg.split``.

    A run that has not been judged by it yet is, once: as ``aspire evaluate RUN selection=RULE``
    does and keeps it.

    Args:
        folder: of the run.
        result: content of its ``result.json``.
        cfg: of ``aspire table``.
        progress: shows the images.

    Raises:
        ConfigError: for a rule that does not apply to this run.
        DataError: when its images are not those of its training any more.
        AspireError: when its network or its images cannot be read.
    """
    rule, split = str(cfg.selection), str(cfg.split)
    if result["selection"] == rule:
        return result
    run, outputs = TrainedRun(folder, "hit"), Path(cfg.paths.outputs)
    weights = weights_of(run, rule)
    path = kept_at(outputs, run, weights, result["dataset_digest"], split, rule)
    measured = _kept(path, split)
    if measured is None:
        dataset = dataset_of(folder)
        if dataset.digest(outputs / "cache") != result["dataset_digest"]:
            raise DataError(
                "its images or their table are not those of its training any more, so this cannot "
                f"stand in one table with it. As they are now: aspire evaluate {folder} "
                f"selection={rule}"
            )
        told, frame = judged(run, weights, dataset, split, rule, cfg.trainer, progress)
        keep(path, told, frame)
        measured = told["metrics"][split]
    return {**result, "selection": rule, "metrics": {split: measured}}


class _Judged(msgspec.Struct):
    metrics: dict[str, SplitResult]


def _kept(path: Path, split: str) -> dict[str, Any] | None:
    """The metrics of a split in a file of ``aspire evaluate``; None without a sound one."""
    if not path.is_file():
        return None
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_Judged).metrics[split]
    except (msgspec.DecodeError, KeyError, OSError):
        return None
    measured: dict[str, Any] = msgspec.to_builtins(told)
    return measured
