"""Keeping the weights that may count and the state to resume from, atomically."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from safetensors.torch import save

from aspire.classification.selection import RULES, score
from aspire.progress import Advance
from aspire.stored.files import write_atomic
from aspire.stored.phases import weights_file
from aspire.stored.seals import file_digest
from aspire.training.module import ClassificationModule


class SelectionCheckpoint(pl.Callback):
    """After every evaluation: record it, keep the weights some rule would select, keep the state.

    ``step-<n>.safetensors`` are the weights of the evaluations that are the best under at least one
    rule of :mod:`aspire.classification.selection`, so that a finished run can be selected again;
    ``last.ckpt`` is the whole training state, ``metrics.csv`` has a line per evaluation. Each is
    whole at any moment; after a kill the run goes on from the last evaluation and ends with the
    same weights.

    Args:
        folder: of this phase.
        selection: name of the rule that counts; it must apply.
    """

    def __init__(self, folder: Path, selection: str) -> None:
        self.folder = folder
        self.selection = selection
        self.best: dict[str, tuple[list[float], int]] = {}  # rule -> score, step
        self.history: list[dict[str, float]] = []

    @property
    def last(self) -> Path:
        """The state to resume from."""
        return self.folder / "last.ckpt"

    @property
    def best_steps(self) -> dict[str, int]:
        """Rule -> step of the evaluation it selects."""
        return {rule: step for rule, (_, step) in self.best.items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ClassificationModule)
        measured, step = pl_module.measured, trainer.global_step
        row = {"step": float(step), "train/loss": pl_module.train_loss}
        for split, metrics in measured.items():
            row |= metrics.flat(split)
        self.history.append(row)
        score(self.selection, measured, step)
        for name, rule in RULES.items():
            found = rule(measured, step)
            if found is not None and (name not in self.best or found > tuple(self.best[name][0])):
                self.best[name] = (list(found), step)
        kept = {weights_file(self.folder, n) for n in self.best_steps.values()}
        if trainer.is_global_zero:
            if weights_file(self.folder, step) in kept:
                state = {k: v.detach().cpu() for k, v in pl_module.judged.state_dict().items()}
                state = {k: v.contiguous() for k, v in state.items()}
                write_atomic(weights_file(self.folder, step), save(state))
            write_atomic(self.folder / "metrics.csv", _csv(self.history))
        temporary = self.last.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(self.last)
            # Only now: a run that goes on from an older state would still need them.
            for file in set(self.folder.glob("step-*.safetensors")) - kept:
                file.unlink()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = {k: (list(s), int(n)) for k, (s, n) in state_dict["best"].items()}
        self.history = list(state_dict["history"])

    def finish(self, steps: int) -> None:
        """Mark the phase as done; its training state is not needed any more."""
        kept = sorted({weights_file(self.folder, n) for n in self.best_steps.values()})
        done = {
            "steps": steps,
            "best": self.best_steps,
            "history": self.history,
            "sha256": {file.name: file_digest(file) for file in kept},
        }
        write_atomic(self.folder / "finished.json", json.dumps(done).encode())
        self.last.unlink(missing_ok=True)


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
        self.seen = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.advance(trainer.global_step - self.seen)
        self.seen = trainer.global_step

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen = trainer.global_step
