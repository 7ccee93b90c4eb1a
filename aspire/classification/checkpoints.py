"""Keeping the selected weights and the state to resume from, atomically."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from safetensors.torch import save

from aspire.classification.module import ClassificationModule
from aspire.classification.selection import selection_rule
from aspire.pipeline.store import write_atomic
from aspire.progress import Advance


class SelectionCheckpoint(pl.Callback):
    """After every evaluation: record it, keep the weights if they are the best, keep the state.

    ``selected.safetensors`` are the weights of the best evaluation under the rule, ``last.ckpt``
    the whole training state, ``metrics.csv`` one line per evaluation. Each is whole at any moment;
    after a kill the run goes on from the last evaluation and ends with the same weights.

    Args:
        folder: of this phase.
        selection: name of a rule of :mod:`aspire.classification.selection`.
    """

    def __init__(self, folder: Path, selection: str) -> None:
        self.folder = folder
        self.rule = selection_rule(selection)
        self.best: list[float] | None = None
        self.best_step = -1
        self.history: list[dict[str, float]] = []

    @property
    def last(self) -> Path:
        """The state to resume from."""
        return self.folder / "last.ckpt"

    @property
    def selected(self) -> Path:
        """The weights to use."""
        return self.folder / "selected.safetensors"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ClassificationModule)
        metrics = pl_module.val_metrics
        assert metrics is not None
        step = trainer.global_step
        row = {"step": float(step), "train/loss": pl_module.train_loss, **metrics.flat("val")}
        self.history.append(row)
        score = self.rule(metrics, step)
        if self.best is None or score > tuple(self.best):
            self.best, self.best_step = list(score), step
            if trainer.is_global_zero:
                state = {k: v.detach().cpu() for k, v in pl_module.net.state_dict().items()}
                write_atomic(self.selected, save({k: v.contiguous() for k, v in state.items()}))
        if trainer.is_global_zero:
            write_atomic(self.folder / "metrics.csv", _csv(self.history))
        temporary = self.last.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(self.last)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.best_step = state_dict["best_step"]
        self.history = list(state_dict["history"])


def _csv(rows: list[dict[str, float]]) -> bytes:
    columns = list(dict.fromkeys(k for row in rows for k in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


class ShowProgress(pl.Callback):
    """Forwards each finished step to the one progress display."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def on_train_batch_end(self, *args: Any) -> None:
        self.advance(1)
